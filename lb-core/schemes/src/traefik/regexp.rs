//! The regular expressions of hosts that are a list of hosts and domains.

use lb_core::RouteHost;

use super::rule::MAX_ALTERNATIVES;

/// The hosts that a pattern of `HostRegexp` matches, where routes can express them: every host, what is below a
/// domain, and literal hosts, each with groups of literal alternatives.
///
/// Hosts are compared in lower case: upper case matches none, but for an expression of any case.
pub(crate) fn hosts(pattern: &str) -> Option<Vec<RouteHost>> {
    let (pattern, any_case) = match pattern.strip_prefix("(?i)") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    if matches!(pattern, ".+" | ".*" | "^.+$" | "^.*$") {
        return Some(vec![RouteHost::Any]);
    }
    if pattern.starts_with('{') {
        return placeholder(pattern);
    }
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let (below, rest) = match inner
        .strip_prefix(".+\\.")
        .or_else(|| inner.strip_prefix(".*\\."))
    {
        Some(rest) => (true, rest),
        None => (false, inner),
    };
    expand(rest)?
        .into_iter()
        .map(|text| {
            if !any_case && text.contains(|c: char| c.is_ascii_uppercase()) {
                return None;
            }
            let written = match below {
                true => format!("*.{text}"),
                false => text,
            };
            let host: RouteHost = written.parse().ok()?;
            (host != RouteHost::Any).then_some(host)
        })
        .collect()
}

/// The form before Traefik 3: `{name:.+}.example`.
fn placeholder(pattern: &str) -> Option<Vec<RouteHost>> {
    let (inside, rest) = pattern.strip_prefix('{')?.split_once('}')?;
    let (_, expression) = inside.split_once(':')?;
    if !matches!(expression, ".+" | ".*") {
        return None;
    }
    if rest.is_empty() {
        return Some(vec![RouteHost::Any]);
    }
    let domain = rest.strip_prefix('.').filter(|domain| !domain.is_empty())?;
    format!("*.{domain}").parse().ok().map(|host| vec![host])
}

/// The texts that a pattern of literals, classes of characters and groups of literals stands for.
fn expand(pattern: &str) -> Option<Vec<String>> {
    let mut all = vec![String::new()];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let pieces: Vec<String>;
        if c == '(' {
            let (inside, after) = rest.get(1..)?.split_once(')')?;
            let inside = inside.strip_prefix("?:").unwrap_or(inside);
            pieces = inside.split('|').map(literal).collect::<Option<_>>()?;
            rest = after;
        } else if c == '[' {
            let (inside, after) = rest.get(1..)?.split_once(']')?;
            pieces = class(inside)?;
            rest = after;
        } else {
            let end = rest.find(['(', '[']).unwrap_or(rest.len());
            let (piece, after) = rest.split_at_checked(end)?;
            pieces = vec![literal(piece)?];
            rest = after;
        }
        if all.len().saturating_mul(pieces.len()) > MAX_ALTERNATIVES {
            return None;
        }
        all = all
            .iter()
            .flat_map(|start| pieces.iter().map(move |piece| format!("{start}{piece}")))
            .collect();
    }
    Some(all)
}

/// The characters of a class of letters, digits and ranges of them.
fn class(inside: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut chars = inside.chars().peekable();
    while let Some(first) = chars.next() {
        let is_range = chars.peek() == Some(&'-');
        let last = match is_range {
            true => {
                chars.next();
                chars.next()?
            }
            false => first,
        };
        let same_kind = |is: fn(&char) -> bool| is(&first) && is(&last);
        let fits = same_kind(char::is_ascii_digit)
            || same_kind(char::is_ascii_lowercase)
            || same_kind(char::is_ascii_uppercase);
        if !fits || first > last {
            return None;
        }
        all.extend((first..=last).map(String::from));
    }
    (!all.is_empty()).then_some(all)
}

/// A text without anything that means something in an expression.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('.' | '-')) => text.push(c),
                _ => return None,
            },
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => text.push(c),
            _ => return None,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_patterns_that_are_a_list_of_hosts_are_understood() {
        for (pattern, expected) in [
            ("^a\\.example$", Some("a.example")),
            ("(?i)^(www\\.)?a$", None),
            ("^(a|b)\\.example$", Some("a.example b.example")),
            ("^(?:a|b\\.c)\\.example$", Some("a.example b.c.example")),
            ("^.+\\.(a|b)\\.example$", Some("*.a.example *.b.example")),
            ("^.*$", Some("*")),
            ("{any:.+}", Some("*")),
            ("{sub:[a-z]+}.example", None),
            ("a\\.example", None),
            ("^a.example$", None),
            ("^[^.]+\\.example$", None),
            ("^(a|)$", None),
            ("^k1[45]\\.ex$", Some("k14.ex k15.ex")),
            ("^[a-c0]\\.ex$", Some("a.ex b.ex c.ex 0.ex")),
            ("^[^a]\\.ex$", None),
            ("^[a-]\\.ex$", None),
            ("^[]a]\\.ex$", None),
            ("^[c-a]\\.ex$", None),
            ("^[a-c]+\\.ex$", None),
            ("^([ab]|c)\\.ex$", None),
            ("^[a-z][a-z]\\.ex$", None),
            ("^A\\.ex$", None),
            ("(?i)^A\\.ex$", Some("a.ex")),
            ("^.+\\.$", None),
        ] {
            let found = hosts(pattern).map(|hosts| {
                let all: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                all.join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{pattern}");
        }
    }
}
