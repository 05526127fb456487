//! Traefik's rules, as far as hosts and paths: `Host(`a`) && (PathPrefix(`/x`) || Path(`/y`))`.
//!
//! A rule becomes the routes that match the same requests, or an error that names what routes cannot express;
//! nothing is approximated to something wider.

use lb_core::{PathMatch, RouteHost};

/// One way to fulfil a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Condition {
    pub(super) host: Option<RouteHost>,
    pub(super) path: Option<PathMatch>,
}

/// The ways to fulfil `rule`.
pub(super) fn parse(rule: &str) -> Result<Vec<Condition>, String> {
    let mut parser = Parser {
        rest: rule,
        depth: 0,
    };
    let conditions = parser.alternatives()?;
    parser.space();
    if !parser.rest.is_empty() {
        return Err(format!("expected && or || before {:?}", parser.rest));
    }
    if conditions.is_empty() {
        return Err("it can never match".to_owned());
    }
    Ok(conditions)
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn alternatives(&mut self) -> Result<Vec<Condition>, String> {
        let mut all = self.conjunction()?;
        while self.eat("||") {
            all.extend(self.conjunction()?);
            bounded(&all)?;
        }
        Ok(all)
    }

    fn conjunction(&mut self) -> Result<Vec<Condition>, String> {
        let mut all = self.term()?;
        while self.eat("&&") {
            let right = self.term()?;
            let mut both = Vec::new();
            for left in &all {
                for right in &right {
                    both.extend(left.and(right)?);
                    bounded(&both)?;
                }
            }
            all = both;
        }
        Ok(all)
    }

    fn term(&mut self) -> Result<Vec<Condition>, String> {
        if self.eat("!") {
            return Err("! cannot be expressed by routes".to_owned());
        }
        if self.eat("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(format!("more than {MAX_DEPTH} nested parentheses"));
            }
            let inner = self.alternatives()?;
            self.depth -= 1;
            return match self.eat(")") {
                true => Ok(inner),
                false => Err("expected )".to_owned()),
            };
        }
        self.space();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if name.is_empty() {
            return Err(format!(
                "expected a matcher such as Host(`a`) before {:?}",
                self.rest
            ));
        }
        self.rest = rest;
        let values = self.arguments(name)?;
        values
            .into_iter()
            .map(|value| condition(name, value))
            .collect()
    }

    fn arguments(&mut self, name: &str) -> Result<Vec<&'a str>, String> {
        if !self.eat("(") {
            return Err(format!("expected ( after {name}"));
        }
        let mut values = Vec::new();
        loop {
            self.space();
            let Some(quote @ ('`' | '"' | '\'')) = self.rest.chars().next() else {
                return Err(format!("expected a value in backticks in {name}"));
            };
            let inner = self.rest.get(1..).unwrap_or_default();
            let (value, rest) = inner
                .split_once(quote)
                .ok_or_else(|| format!("expected a closing {quote} in {name}"))?;
            values.push(value);
            self.rest = rest;
            if self.eat(")") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(format!("expected , or ) in {name}"));
            }
        }
    }
}

fn condition(name: &str, value: &str) -> Result<Condition, String> {
    let host = |host: Result<RouteHost, String>| {
        Ok(Condition {
            host: Some(host?),
            path: None,
        })
    };
    let path = |written: String| {
        let path = written
            .parse::<PathMatch>()
            .map_err(|error| error.to_string())?;
        Ok(Condition {
            host: None,
            path: Some(path),
        })
    };
    match name {
        "Host" | "HostSNI" => host(
            value
                .parse()
                .map_err(|e: lb_core::model::InvalidRoute| e.to_string()),
        ),
        "HostRegexp" | "HostSNIRegexp" => host(below_a_domain(value)),
        "PathPrefix" if value.contains('{') => Err(format!(
            "the pattern {value:?} cannot be expressed by routes"
        )),
        "PathPrefix" => path(value.to_owned()),
        "Path" if value.contains('{') => Err(format!(
            "the pattern {value:?} cannot be expressed by routes"
        )),
        "Path" => path(format!("={value}")),
        "Headers" | "HeadersRegexp" | "Header" | "HeaderRegexp" | "Method" | "ClientIP"
        | "Query" | "QueryRegexp" | "PathRegexp" | "ALPN" => {
            Err(format!("{name} cannot be expressed by routes"))
        }
        _ => Err(format!("{name} is no known matcher")),
    }
}

/// The one pattern that is a wildcard: anything, a dot, a domain.
fn below_a_domain(pattern: &str) -> Result<RouteHost, String> {
    let refused = || format!("the pattern {pattern:?} cannot be expressed by routes");
    let domain = match pattern.strip_prefix("^.+\\.") {
        Some(rest) => rest
            .strip_suffix('$')
            .ok_or_else(refused)?
            .replace("\\.", "."),
        // The form before Traefik 3: `{name:.+}.example`.
        None => {
            let (inside, domain) = pattern
                .strip_prefix('{')
                .and_then(|rest| rest.split_once("}."))
                .ok_or_else(refused)?;
            match inside.split_once(':') {
                Some((_, ".+")) => domain.to_owned(),
                _ => return Err(refused()),
            }
        }
    };
    format!("*.{domain}").parse().map_err(|_| refused())
}

impl Condition {
    /// Both at once; `None` when no request can fulfil both.
    fn and(&self, other: &Self) -> Result<Option<Self>, String> {
        let host = match (&self.host, &other.host) {
            (Some(a), Some(b)) if a == b => Some(a.clone()),
            (Some(RouteHost::Exact(_)), Some(RouteHost::Exact(_))) => return Ok(None),
            (Some(a), Some(b)) => {
                return Err(format!("{a} and {b} at once cannot be expressed by routes"));
            }
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let path = match (&self.path, &other.path) {
            (Some(a), Some(b)) if a == b => Some(a.clone()),
            (Some(PathMatch::Exact(_)), Some(PathMatch::Exact(_))) => return Ok(None),
            (Some(a), Some(b)) => {
                return Err(format!("{a} and {b} at once cannot be expressed by routes"));
            }
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Ok(Some(Self { host, path }))
    }
}

fn bounded(conditions: &[Condition]) -> Result<(), String> {
    match conditions.len() > MAX_CONDITIONS {
        true => Err(format!("it has more than {MAX_CONDITIONS} alternatives")),
        false => Ok(()),
    }
}

const MAX_DEPTH: usize = 16;
const MAX_CONDITIONS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ways(rule: &str) -> Result<Vec<String>, String> {
        Ok(parse(rule)?
            .into_iter()
            .map(|way| {
                let host = way.host.map(|host| host.to_string()).unwrap_or_default();
                let path = way.path.map(|path| path.to_string()).unwrap_or_default();
                format!("{host}{path}")
            })
            .collect())
    }

    #[test]
    fn rules_of_hosts_and_paths_become_routes() {
        for (rule, expected) in [
            ("Host(`A.example`)", &["a.example"][..]),
            ("Host(`a`) || Host(`b`)", &["a", "b"]),
            ("Host(`a`,`b`)", &["a", "b"]),
            ("Host(`a`) && PathPrefix(`/x`)", &["a/x"]),
            (
                "(Host(`a`) || Host(`b`)) && (PathPrefix(`/x`) || Path(`/y`))",
                &["a/x", "a=/y", "b/x", "b=/y"],
            ),
            ("Host(`a`) && PathPrefix(`/x`) || Host(`b`)", &["a/x", "b"]),
            ("HostRegexp(`^.+\\.example\\.com$`)", &["*.example.com"]),
            ("HostRegexp(`{sub:.+}.example.com`)", &["*.example.com"]),
            ("HostSNI(`*`)", &["*"]),
        ] {
            assert_eq!(ways(rule).unwrap(), expected, "{rule}");
        }
    }

    #[test]
    fn what_routes_cannot_express_is_refused_never_widened() {
        for rule in [
            "",
            "Host(`a`) && !PathPrefix(`/x`)",
            "Host(`a`) && Method(`GET`)",
            "HostRegexp(`^[a-z]+\\.example$`)",
            "HostRegexp(`.*`)",
            "Host(`a`",
            "Host(a)",
            "Host(`a`) Host(`b`)",
            "Host(`a`) && Host(`b`)",
            "Path(`/a`) && PathPrefix(`/a`)",
            "Nonsense(`a`)",
            "Path(`/{id}`)",
        ] {
            assert!(parse(rule).is_err(), "{rule}");
        }
        let deep = format!("{}Host(`a`){}", "(".repeat(99), ")".repeat(99));
        assert!(parse(&deep).is_err());
        let wide = vec!["(Host(`a`) || Host(`b`))"; 40].join(" && ");
        assert!(parse(&wide).is_ok(), "the same hosts again add nothing new");
    }

    proptest! {
        #[test]
        fn i7_no_text_makes_the_parser_fail_or_grow(rule in "[HostPah()&|!`/a, ]{0,200}") {
            if let Ok(ways) = parse(&rule) {
                prop_assert!(ways.len() <= MAX_CONDITIONS);
            }
        }
    }
}
