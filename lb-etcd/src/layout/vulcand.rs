//! The keys of vulcand, and the rules of its frontends.

use std::sync::Arc;

use lb_core::{PathMatch, RouteHost};
use lb_schemes::widen;

use super::{
    config::{RuleConfig, ValueKind},
    fact::Complaint,
    object::JsonFields,
};

pub(super) fn rules(base: &str, allow_unprotected: &[String]) -> Vec<RuleConfig> {
    let server = JsonFields {
        url: Some("/URL".to_owned()),
        ignore_case: true,
        ..JsonFields::default()
    };
    let frontend = JsonFields {
        service: Some("/BackendId".to_owned()),
        route: Some("/Route".to_owned()),
        ignore_case: true,
        unsupported: [("/Settings".to_owned(), "{}".to_owned())].into(),
        ..JsonFields::default()
    };
    // What is given up is reported, before it would withhold.
    let given_up = allow_unprotected.iter().map(|name| {
        let which = if name == "middlewares" { "*" } else { name };
        RuleConfig::new(
            format!("{base}/frontends/*/middlewares/{which}"),
            ValueKind::Unsupported,
        )
    });
    let rules = [
        RuleConfig::new(
            format!("{base}/backends/{{service}}/servers/{{endpoint}}"),
            ValueKind::Json(server.into()),
        ),
        // With settings it is reported as what is not supported.
        RuleConfig::new(format!("{base}/backends/*/backend"), ValueKind::Ignore)
            .only_if("/Settings", "|{}"),
        RuleConfig::new(
            format!("{base}/frontends/{{route}}/frontend"),
            ValueKind::Json(frontend.into()),
        ),
        RuleConfig::new(
            format!("{base}/frontends/{{route}}/middlewares/{{name}}"),
            ValueKind::Withhold,
        ),
        RuleConfig::new(
            format!("{base}/frontends/{{route}}/{{rest...}}"),
            ValueKind::Withhold,
        ),
        RuleConfig::new(format!("{base}/{{rest...}}"), ValueKind::Unsupported),
    ];
    given_up.chain(rules).collect()
}

/// The host and the path of a frontend's rule: `Host("a") && Path("/x")`, `PathRegexp("/x/.*")`.
///
/// Vulcand joins matchers with `&&` only. Any matcher that is no host and no path makes the rule unusable: without it,
/// the route would catch requests that its author kept out.
pub(super) fn matches(text: &str) -> Result<Arc<[(RouteHost, PathMatch)]>, Complaint> {
    let (mut host, mut path) = (None, None);
    let mut left = text.trim();
    loop {
        let (name, argument, after) = matcher(left)?;
        let argument = argument.as_str();
        match name {
            "Host" | "HostRegexp" => {
                let found = match name {
                    "Host" => literal(argument)?.parse(),
                    _ => host_of_regexp(argument)?.parse(),
                };
                let found: RouteHost = found.map_err(refused)?;
                if host.replace(found).is_some() {
                    return Err(Complaint::value("expected one host in the rule"));
                }
            }
            "Path" | "PathRegexp" => {
                let found = match name {
                    "Path" => format!("={}", literal(argument)?).parse(),
                    _ => path_of_regexp(argument)?.parse(),
                };
                let found: PathMatch = found.map_err(refused)?;
                if path.replace(found).is_some() {
                    return Err(Complaint::value("expected one path in the rule"));
                }
            }
            other => {
                return Err(Complaint::value(format!(
                    "expected Host, HostRegexp, Path or PathRegexp; {:?} cannot be honoured",
                    other.chars().take(20).collect::<String>()
                )));
            }
        }
        left = after.trim_start();
        if left.is_empty() {
            break;
        }
        left = left
            .strip_prefix("&&")
            .ok_or_else(|| Complaint::value("expected && or the end after a matcher"))?
            .trim_start();
    }
    Ok([(host.unwrap_or_default(), path.unwrap_or_default())].into())
}

/// Returns `true` if each regular expression of a rule is compared with the whole host or path there too.
pub(super) fn is_bound(text: &str) -> bool {
    let mut left = text.trim();
    while let Ok((name, argument, after)) = matcher(left) {
        let bound = match name {
            "HostRegexp" => is_bound_host(&argument),
            "PathRegexp" => is_bound_path(&argument),
            _ => true,
        };
        if !bound {
            return false;
        }
        let Some(next) = after.trim_start().strip_prefix("&&") else {
            break;
        };
        left = next.trim_start();
    }
    true
}

fn is_bound_host(expression: &str) -> bool {
    expression.ends_with('$') && (expression.starts_with('^') || expression.starts_with(r".*\."))
}

fn is_bound_path(expression: &str) -> bool {
    let open = expression.trim_start_matches('^');
    let open = open.strip_suffix('$').unwrap_or(open);
    // Every path has it.
    matches!(open, ".*" | "/.*") || (expression.starts_with('^') && expression.ends_with('$'))
}

/// The parts that can be read of a rule that cannot be used, as what it may match. Empty where that would be every host
/// and path.
///
/// Regular expressions are looked for anywhere in a text there, unless they are bound to its begin or its end.
pub(super) fn may_match(text: &str) -> Arc<[(RouteHost, PathMatch)]> {
    let (mut hosts, mut path): (Vec<RouteHost>, _) = (Vec::new(), None);
    let mut left = text.trim();
    // What comes after a part that cannot be read could only narrow.
    while let Ok((name, argument, after)) = matcher(left) {
        let argument = argument.as_str();
        match name {
            "Host" | "HostRegexp" if hosts.is_empty() => {
                let exact = match name {
                    "Host" => literal(argument).map(str::to_owned),
                    _ if !is_bound_host(argument) => Err(Complaint::value("")),
                    _ => host_of_regexp(argument),
                };
                let exact = exact.ok().and_then(|text| text.parse().ok());
                hosts = match exact {
                    Some(host) => vec![host],
                    None if name == "Host" => {
                        let end = argument.rsplit(['>', '*']).next();
                        widen::hosts_ending_in(end.unwrap_or_default())
                    }
                    None => widen::hosts_of_pattern(argument),
                };
            }
            "Path" | "PathRegexp" if path.is_none() => {
                let exact = match name {
                    "Path" => literal(argument).map(|text| format!("={text}")),
                    _ if !is_bound_path(argument) => Err(Complaint::value("")),
                    _ => path_of_regexp(argument),
                };
                path = exact.ok().and_then(|text| text.parse().ok());
                if path.is_none() {
                    path = match name {
                        "Path" => {
                            let begin = argument.split(['<', '*']).next();
                            widen::beginning(begin.unwrap_or_default())
                        }
                        _ => widen::path_of_pattern(argument),
                    };
                }
            }
            _ => {}
        }
        let Some(next) = after.trim_start().strip_prefix("&&") else {
            break;
        };
        left = next.trim_start();
    }
    if hosts.is_empty() && path.as_ref().is_none_or(|path| *path == PathMatch::any()) {
        return [].into();
    }
    if hosts.is_empty() {
        hosts.push(RouteHost::Any);
    }
    let path = path.unwrap_or_else(PathMatch::any);
    hosts.into_iter().map(|host| (host, path.clone())).collect()
}

/// `Name("argument")` or ``Name(`argument`)``, and what comes after it.
fn matcher(text: &str) -> Result<(&str, String, &str), Complaint> {
    let malformed = || Complaint::value("expected a matcher such as Host(\"a.example\")");
    let (name, after) = text.split_once('(').ok_or_else(malformed)?;
    let after = after.trim_start();
    let quote = after
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '`' | '\''))
        .ok_or_else(malformed)?;
    let (argument, after) = after
        .get(1..)
        .and_then(|after| after.split_once(quote))
        .ok_or_else(malformed)?;
    let after = after
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(|| Complaint::value("expected one argument in each matcher"))?;
    // Between double quotes, a backslash is written twice.
    let argument = match quote {
        '"' => argument.replace(r"\\", r"\"),
        _ => argument.to_owned(),
    };
    Ok((name.trim(), argument, after))
}

/// A text that stands for itself: `<name>` would be a variable.
fn literal(text: &str) -> Result<&str, Complaint> {
    if text.is_empty() || text == "*" {
        return Err(Complaint::value("expected a text that is not empty"));
    }
    if text.contains(['<', '>', '*']) {
        return Err(Complaint::value("expected no variable in a host or path"));
    }
    Ok(text)
}

/// The hosts of `a\.example` or `.*\.a\.example`.
fn host_of_regexp(text: &str) -> Result<String, Complaint> {
    let inner = text.trim_start_matches('^').trim_end_matches('$');
    let (wildcard, rest) = match inner.strip_prefix(r".*\.") {
        Some(rest) => (true, rest),
        None => (false, inner),
    };
    let plain = rest.replace(r"\.", ".");
    let fits = rest
        .replace(r"\.", "")
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain.is_empty() || !fits {
        return Err(Complaint::value(
            r"expected a regular expression of one host or one domain, such as .*\.a\.example",
        ));
    }
    Ok(if wildcard {
        format!("*.{plain}")
    } else {
        plain
    })
}

/// The paths of `/.*`, `/x(/.*)?` or `^/x$`.
fn path_of_regexp(text: &str) -> Result<String, Complaint> {
    let inner = text.trim_start_matches('^');
    let plain = |text: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~');
        text.starts_with('/') && !text.ends_with('/') && text.bytes().all(fits)
    };
    let open = inner.strip_suffix('$').unwrap_or(inner);
    if matches!(open, ".*" | "/.*") {
        return Ok("/".to_owned());
    }
    // `/x/.*` is not /x, and `/x.*` is also /xy: no route is either.
    if let Some(prefix) = open.strip_suffix("(/.*)?")
        && plain(prefix)
    {
        return Ok(prefix.to_owned());
    }
    match inner.strip_suffix('$') {
        Some(exact) if plain(exact) => Ok(format!("={exact}")),
        _ => Err(Complaint::value(
            "expected a regular expression of all paths, of one, or of one with all below it: /.*, ^/x$ or ^/x(/.*)?$",
        )),
    }
}

fn refused(error: lb_core::model::InvalidRoute) -> Complaint {
    Complaint::value(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_s03_rules_of_frontends_are_never_widened() {
        let shown = |text: &str| {
            matches(text).map(|all| {
                let show = |(host, path): &(RouteHost, PathMatch)| format!("{host}{path}");
                all.iter().map(show).collect::<Vec<_>>().join(" ")
            })
        };
        for (rule, expected) in [
            (r#"Host("a.example")"#, "a.example/"),
            (r#"Host("a.example") && Path("/x")"#, "a.example=/x"),
            ("Host(`a.example`) && PathRegexp(`/.*`)", "a.example/"),
            (r#"Path("/x")"#, "*=/x"),
            (r#"PathRegexp("/x(/.*)?")"#, "*/x"),
            (r#"PathRegexp("^/x/y(/.*)?$")"#, "*/x/y"),
            (r#"PathRegexp("^/x$")"#, "*=/x"),
            (r#"HostRegexp(".*\.a\.example")"#, "*.a.example/"),
            (
                r#"HostRegexp("a\.example") && PathRegexp(".*")"#,
                "a.example/",
            ),
        ] {
            assert_eq!(shown(rule).unwrap(), expected, "{rule}");
        }
        for rule in [
            "",
            r#"Host("")"#,
            r#"Host("*")"#,
            r#"Host("<sub>.example")"#,
            r#"Path("/users/<id>")"#,
            r#"Method("GET")"#,
            r#"Host("a") && Method("GET")"#,
            r#"Host("a") && Header("X", "y")"#,
            r#"Host("a") && Host("b")"#,
            r#"Host("a") || Host("b")"#,
            r#"PathRegexp("/x.*")"#,
            r#"PathRegexp("/x/.*")"#,
            r#"PathRegexp("/x")"#,
            r#"PathRegexp("/(a|b)")"#,
            r#"HostRegexp(".*")"#,
            r#"HostRegexp("(a|b).example")"#,
            "Host(a)",
            r#"Host("a""#,
        ] {
            assert!(matches(rule).is_err(), "{rule}");
        }
    }

    #[test]
    fn case_s04_what_a_rule_may_match_has_all_that_it_matches() {
        for (rule, expected) in [
            (
                r#"Host("a.example") && PathRegexp("/admin.*")"#,
                "a.example/",
            ),
            (
                r#"Host("a.example") && PathRegexp("^/admin.*")"#,
                "a.example^/admin",
            ),
            (r#"Host("a.example") && Header("X", "y")"#, "a.example/"),
            (r#"Host("<sub>.a.example") && Path("/x")"#, "*.a.example=/x"),
            (
                r#"HostRegexp("(a|b)\\.example$") && Path("/u/<id>")"#,
                "*.example^/u/",
            ),
            (r#"HostRegexp("a.*") && PathRegexp("^/x")"#, "*^/x"),
            // Where it is not bound, it is looked for anywhere.
            (
                r#"Host("a.example") && PathRegexp("/x(/.*)?")"#,
                "a.example/",
            ),
            (
                r#"Host("a.example") && PathRegexp("^/x(/.*)?")"#,
                "a.example^/x",
            ),
            (
                r#"Host("a.example") && PathRegexp("^/x(/.*)?$")"#,
                "a.example/x",
            ),
            (r#"HostRegexp("a\.example") && PathRegexp("/.*")"#, ""),
            (r#"HostRegexp(".*\.a\.example$")"#, "*.a.example/"),
            (r#"Path("/x/<id>")"#, "*^/x/"),
            (r#"Host("a.example") && Host("b.example")"#, "a.example/"),
            ("", ""),
            (r#"Method("GET")"#, ""),
            (r#"HostRegexp("a.*") && PathRegexp("/x.*")"#, ""),
            ("Host(a) && Path(`/x`)", ""),
        ] {
            let found = may_match(rule);
            let all: Vec<String> = found
                .iter()
                .map(|(host, path)| format!("{host}{path}"))
                .collect();
            assert_eq!(all.join(" "), expected, "{rule}");
        }
    }
}
