//! Router rules as Traefik writes them: the part that is a list of hosts and paths.

use std::sync::Arc;

use lb_core::{PathMatch, RouteHost};

use super::fact::Complaint;

/// The most hosts and paths that one rule may expand to.
const MAX_MATCHES: usize = 256;

/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 16;

/// One alternative: hosts and paths, of which one each must fit; `None` where the rule says nothing of them.
#[derive(Debug, Clone, Default)]
struct Alternative {
    host: Option<RouteHost>,
    path: Option<PathMatch>,
}

/// Turns `Host`, `HostSNI`, `Path` and `PathPrefix`, joined by `&&`, `||` and parentheses, into hosts and paths.
///
/// Any other matcher makes the rule unusable as a whole: without it the route would catch requests that its
/// author kept out.
pub(crate) fn matches(text: &str) -> Result<Arc<[(RouteHost, PathMatch)]>, Complaint> {
    let mut parser = Parser { left: text };
    let alternatives = parser.any_of(0)?;
    parser.skip_space();
    if !parser.left.is_empty() {
        return Err(parser.unexpected("&&, || or the end"));
    }
    Ok(alternatives
        .into_iter()
        .map(|one| (one.host.unwrap_or_default(), one.path.unwrap_or_default()))
        .collect())
}

struct Parser<'t> {
    left: &'t str,
}

impl Parser<'_> {
    fn any_of(&mut self, depth: usize) -> Result<Vec<Alternative>, Complaint> {
        let mut all = self.all_of(depth)?;
        while self.eat("||") {
            all.extend(self.all_of(depth)?);
            check_size(all.len())?;
        }
        Ok(all)
    }

    fn all_of(&mut self, depth: usize) -> Result<Vec<Alternative>, Complaint> {
        let mut all = self.one(depth)?;
        while self.eat("&&") {
            let more = self.one(depth)?;
            check_size(all.len().saturating_mul(more.len()))?;
            let mut both = Vec::with_capacity(all.len() * more.len());
            for a in &all {
                for b in &more {
                    both.push(a.and(b)?);
                }
            }
            all = both;
        }
        Ok(all)
    }

    fn one(&mut self, depth: usize) -> Result<Vec<Alternative>, Complaint> {
        if depth > MAX_DEPTH {
            return Err(Complaint::value("expected at most 16 nested parentheses"));
        }
        if self.eat("(") {
            let inner = self.any_of(depth + 1)?;
            if !self.eat(")") {
                return Err(self.unexpected(")"));
            }
            return Ok(inner);
        }
        self.skip_space();
        let end = self
            .left
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.left.len());
        let (name, after) = self.left.split_at(end);
        if !matches!(name, "Host" | "HostSNI" | "Path" | "PathPrefix") {
            return Err(self.unexpected(
                "Host, HostSNI, Path or PathPrefix; other matchers cannot be honoured,",
            ));
        }
        let name = name.to_owned();
        self.left = after;
        if !self.eat("(") {
            return Err(self.unexpected("("));
        }
        let mut all = Vec::new();
        loop {
            let argument = self.quoted()?;
            let bad = |error: lb_core::model::InvalidRoute| Complaint::value(error.to_string());
            all.push(match name.as_str() {
                "Host" | "HostSNI" => Alternative {
                    host: Some(argument.parse().map_err(bad)?),
                    path: None,
                },
                _ => {
                    let exact = name == "Path";
                    let path = if exact {
                        format!("={argument}")
                    } else {
                        argument
                    };
                    Alternative {
                        host: None,
                        path: Some(path.parse().map_err(bad)?),
                    }
                }
            });
            check_size(all.len())?;
            if self.eat(",") {
                continue;
            }
            if self.eat(")") {
                return Ok(all);
            }
            return Err(self.unexpected(", or )"));
        }
    }

    fn quoted(&mut self) -> Result<String, Complaint> {
        self.skip_space();
        for quote in ['`', '"', '\''] {
            if let Some((inner, after)) = self
                .left
                .strip_prefix(quote)
                .and_then(|inner| inner.split_once(quote))
            {
                let inner = inner.to_owned();
                self.left = after;
                return Ok(inner);
            }
        }
        Err(self.unexpected("a quoted text"))
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.left.strip_prefix(token) {
            Some(after) => {
                self.left = after;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.left = self.left.trim_start();
    }

    fn unexpected(&self, expected: &str) -> Complaint {
        let found: String = self.left.chars().take(20).collect();
        Complaint::value(format!("expected {expected} at {found:?}"))
    }
}

impl Alternative {
    fn and(&self, other: &Self) -> Result<Self, Complaint> {
        let twice =
            |what: &str| Complaint::value(format!("expected one {what} in each alternative"));
        if self.host.is_some() && other.host.is_some() {
            return Err(twice("host"));
        }
        if self.path.is_some() && other.path.is_some() {
            return Err(twice("path"));
        }
        Ok(Self {
            host: self.host.clone().or_else(|| other.host.clone()),
            path: self.path.clone().or_else(|| other.path.clone()),
        })
    }
}

fn check_size(size: usize) -> Result<(), Complaint> {
    if size > MAX_MATCHES {
        return Err(Complaint::value(
            "expected at most 256 combinations of hosts and paths",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let show =
            |(host, path): &(RouteHost, PathMatch)| format!("{}{path}", String::from(host.clone()));
        matches(text)
            .map(|all| all.iter().map(show).collect())
            .map_err(|complaint| complaint.message)
    }

    #[test]
    fn rules_expand_to_hosts_and_paths() {
        for (rule, expected) in [
            ("Host(`a.example`)", vec!["a.example/"]),
            (
                "Host(`a.example`, `b.example`)",
                vec!["a.example/", "b.example/"],
            ),
            (
                "Host(`a.example`) && PathPrefix(`/api`)",
                vec!["a.example/api"],
            ),
            (
                "(Host(`a.example`) || Host(\"b.example\")) && (Path('/x')||PathPrefix(`/y`))",
                vec!["a.example=/x", "a.example/y", "b.example=/x", "b.example/y"],
            ),
            ("HostSNI(`*`)", vec!["*/"]),
        ] {
            assert_eq!(shown(rule).unwrap(), expected, "{rule}");
        }
    }

    #[test]
    fn a_matcher_that_cannot_be_honoured_makes_the_rule_unusable() {
        for rule in [
            "",
            "Method(`GET`)",
            "Host(`a`) && !Path(`/x`)",
            "HostRegexp(`.*`)",
            "Host(a)",
            "Host(`a`",
            "Host(`a`) Host(`b`)",
            "Host(`a`) && Host(`b`)",
            "Host(`a b`)",
        ] {
            assert!(shown(rule).is_err(), "{rule}");
        }
        assert!(shown(&"(".repeat(99_999)).is_err());
        let wide = vec!["Host(`a`)"; 17].join("||");
        let wide = format!("({wide}) && ({})", vec!["Path(`/a`)"; 17].join("||"));
        assert!(shown(&wide).is_err());
    }
}
