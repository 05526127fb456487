//! Traefik's rules, as far as hosts and paths: `Host(`a`) && (PathPrefix(`/x`) || Path(`/y`))`.
//!
//! A rule becomes alternatives of a host and a path. Where an alternative stands for more requests than the rule has,
//! because a matcher such as `Method` or a `!` cannot be expressed, it says so: such a rule is never served, but what it
//! may match is known. Of a pattern that is the domain that it ends in, or the path that it begins with.

use lb_core::{PathMatch, RouteHost};

use super::{Protocol, regexp};
use crate::widen;

/// One way to fulfil a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternative {
    /// The hosts. None: every host.
    pub host: Option<RouteHost>,
    /// The paths. None: every path.
    pub path: Option<PathMatch>,
}

/// A rule that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The ways to fulfil it. Together they match every request that the rule matches.
    pub alternatives: Vec<Alternative>,
    /// What they cannot express: then they match more than the rule.
    pub beyond: Option<String>,
}

impl Rule {
    /// A rule of which nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            alternatives: vec![Alternative::default()],
            beyond: Some("the rule".to_owned()),
        }
    }
}

/// Why a text is no rule that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(pub(super) String);

/// The ways to fulfil `rule`.
///
/// # Errors
/// [`InvalidRule`] where Traefik would refuse the rule, or where it could never match: an empty host, such as an unset
/// variable leaves behind, is never taken for every host.
pub fn parse(protocol: Protocol, rule: &str) -> Result<Rule, InvalidRule> {
    read(protocol, rule, false)
}

/// What `rule` may match where [`parse`] refuses it: a matcher whose value cannot be read may match anything. `None` where
/// not even its parts are known.
#[must_use]
pub fn may_match(protocol: Protocol, rule: &str) -> Option<Rule> {
    read(protocol, rule, true).ok()
}

fn read(protocol: Protocol, rule: &str, tolerant: bool) -> Result<Rule, InvalidRule> {
    let mut parser = Parser {
        protocol,
        rest: rule,
        depth: 0,
        beyond: None,
        tolerant,
    };
    let alternatives = parser.alternatives()?;
    parser.space();
    if !parser.rest.is_empty() {
        return Err(parser.unexpected("&& or ||"));
    }
    if alternatives.is_empty() && !tolerant {
        return Err(InvalidRule("it can never match".to_owned()));
    }
    Ok(Rule {
        alternatives,
        beyond: parser.beyond,
    })
}

/// The priority of a router that names none: the length of its rule, and the lowest for TCP's catch-all.
#[must_use]
pub fn default_priority(protocol: Protocol, rule: &str) -> i32 {
    let bare: String = rule.chars().filter(|c| !c.is_whitespace()).collect();
    if protocol == Protocol::Tcp && matches!(bare.as_str(), "HostSNI(`*`)" | "HostSNI(\"*\")") {
        return -1;
    }
    i32::try_from(rule.len()).unwrap_or(i32::MAX)
}

struct Parser<'a> {
    protocol: Protocol,
    rest: &'a str,
    depth: usize,
    beyond: Option<String>,
    /// If `true`, a matcher whose value cannot be read may match anything.
    tolerant: bool,
}

impl Parser<'_> {
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

    /// What stands where something else was expected. Values are left out: they may be secrets.
    fn unexpected(&self, expected: &str) -> InvalidRule {
        let found = match self.rest.chars().next() {
            None => "the end".to_owned(),
            Some(c) if c.is_ascii_alphanumeric() => "a word".to_owned(),
            Some(c) => format!("{c:?}"),
        };
        InvalidRule(format!("expected {expected}, found {found}"))
    }

    fn alternatives(&mut self) -> Result<Vec<Alternative>, InvalidRule> {
        let mut all = self.conjunction()?;
        while self.eat("||") {
            all.extend(self.conjunction()?);
            bounded(&all)?;
        }
        Ok(all)
    }

    fn conjunction(&mut self) -> Result<Vec<Alternative>, InvalidRule> {
        let mut all = self.term()?;
        while self.eat("&&") {
            let right = self.term()?;
            let mut both: Vec<Alternative> = Vec::new();
            for left in &all {
                for right in &right {
                    if let Some(joined) = left.and(right)
                        && !both.contains(&joined)
                    {
                        both.push(joined);
                    }
                    bounded(&both)?;
                }
            }
            all = both;
        }
        Ok(all)
    }

    fn term(&mut self) -> Result<Vec<Alternative>, InvalidRule> {
        if self.eat("!") {
            self.deeper()?;
            self.term()?;
            self.depth -= 1;
            return Ok(self.anything("!"));
        }
        if self.eat("(") {
            self.deeper()?;
            let inner = self.alternatives()?;
            self.depth -= 1;
            return match self.eat(")") {
                true => Ok(inner),
                false => Err(self.unexpected(")")),
            };
        }
        self.space();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if name.is_empty() {
            return Err(self.unexpected("a matcher such as Host(`a`)"));
        }
        // A text that is no matcher is not repeated: it may be anything that got here by mistake.
        if !self.tolerant && !rest.trim_start().starts_with('(') {
            return Err(self.unexpected("a matcher such as Host(`a`)"));
        }
        let matcher = match Matcher::of(self.protocol, name) {
            Some(matcher) => matcher,
            None if self.tolerant => Matcher {
                name: "a matcher",
                kind: Kind::Beyond,
            },
            None => {
                return Err(InvalidRule(format!(
                    "{} is no matcher of {} routers",
                    bare(name),
                    self.protocol
                )));
            }
        };
        self.rest = rest;
        if self.tolerant && self.empty_arguments() {
            return Ok(self.anything(matcher.name));
        }
        let values = self.arguments(matcher.name)?;
        match self.apply(matcher, &values) {
            Err(_) if self.tolerant => Ok(self.readable(matcher, &values)),
            found => found,
        }
    }

    /// The ways of the values that can be read, and anything for the others.
    fn readable(&mut self, matcher: Matcher, values: &[String]) -> Vec<Alternative> {
        let mut all = self.anything(matcher.name);
        for value in values {
            if let Ok(ways) = self.apply(matcher, std::slice::from_ref(value)) {
                all.extend(ways);
            }
        }
        all.truncate(MAX_ALTERNATIVES);
        all
    }

    /// Takes `()`, if it stands next.
    fn empty_arguments(&mut self) -> bool {
        let before = self.rest;
        let empty = self.eat("(") && self.eat(")");
        if !empty {
            self.rest = before;
        }
        empty
    }

    fn deeper(&mut self) -> Result<(), InvalidRule> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(InvalidRule(format!(
                "more than {MAX_DEPTH} nested parentheses"
            ))),
            false => Ok(()),
        }
    }

    fn anything(&mut self, what: &str) -> Vec<Alternative> {
        if self.beyond.is_none() {
            self.beyond = Some(what.to_owned());
        }
        vec![Alternative::default()]
    }

    /// The ways that have all requests of a matcher that cannot be expressed; without one, any request.
    fn wider(&mut self, what: &str, ways: impl Iterator<Item = Alternative>) -> Vec<Alternative> {
        let anything = self.anything(what);
        let ways: Vec<Alternative> = ways.collect();
        match ways.is_empty() {
            true => anything,
            false => ways,
        }
    }

    fn apply(
        &mut self,
        matcher: Matcher,
        values: &[String],
    ) -> Result<Vec<Alternative>, InvalidRule> {
        if let Some(empty) = values.iter().find(|value| value.is_empty())
            && !matches!(matcher.kind, Kind::Beyond | Kind::PathRegexp)
        {
            return Err(InvalidRule(format!(
                "{}({empty:?}) has an empty value, as an unset variable leaves behind",
                matcher.name
            )));
        }
        let mut all = Vec::new();
        for value in values {
            match matcher.kind {
                Kind::Host => all.push(Alternative::of_host(exact_host(matcher.name, value)?)),
                Kind::Sni if value == "*" => all.push(Alternative::of_host(RouteHost::Any)),
                Kind::Sni => all.push(Alternative::of_host(exact_host(matcher.name, value)?)),
                Kind::HostRegexp => match regexp::hosts(value) {
                    Some(hosts) => all.extend(hosts.into_iter().map(Alternative::of_host)),
                    None => {
                        let what = format!("the pattern of {}", matcher.name);
                        let hosts = widen::hosts_of_pattern(value).into_iter();
                        all.extend(self.wider(&what, hosts.map(Alternative::of_host)));
                    }
                },
                Kind::Path | Kind::PathPrefix if value.contains(['{', '}']) => {
                    let what = format!("the pattern of {}", matcher.name);
                    let begin = value.split(['{', '}']).next().unwrap_or_default();
                    let path = widen::beginning(begin).into_iter();
                    all.extend(self.wider(&what, path.map(Alternative::of_path)));
                }
                Kind::PathRegexp => {
                    let path = widen::path_of_pattern(value).into_iter();
                    all.extend(self.wider(matcher.name, path.map(Alternative::of_path)));
                }
                Kind::Path => all.push(Alternative::of_path(path(matcher.name, value, true)?)),
                Kind::PathPrefix => {
                    all.push(Alternative::of_path(path(matcher.name, value, false)?));
                }
                Kind::Beyond => {}
            }
            bounded(&all)?;
        }
        if matcher.kind == Kind::Beyond {
            all = self.anything(matcher.name);
        }
        Ok(all)
    }

    fn arguments(&mut self, name: &str) -> Result<Vec<String>, InvalidRule> {
        if !self.eat("(") {
            return Err(self.unexpected(&format!("( after {name}")));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.quoted(name)?);
            if self.eat(")") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(self.unexpected(&format!(", or ) in {name}")));
            }
        }
    }

    /// A Go string: in backticks as it is, in double quotes with escapes.
    fn quoted(&mut self, name: &str) -> Result<String, InvalidRule> {
        self.space();
        let unclosed = |quote: char| InvalidRule(format!("expected a closing {quote} in {name}"));
        if let Some(inner) = self.rest.strip_prefix('`') {
            let (value, rest) = inner.split_once('`').ok_or_else(|| unclosed('`'))?;
            self.rest = rest;
            return Ok(value.to_owned());
        }
        if let Some(inner) = self.rest.strip_prefix('"') {
            let mut value = String::new();
            let mut chars = inner.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        self.rest = inner.get(at + 1..).unwrap_or_default();
                        return Ok(value);
                    }
                    '\\' => match chars.next() {
                        Some((_, c @ ('\\' | '"' | '`' | '.'))) => value.push(c),
                        _ => {
                            return Err(InvalidRule(format!(
                                "expected \\\\ or \\\" after a backslash in {name}"
                            )));
                        }
                    },
                    c => value.push(c),
                }
            }
            return Err(unclosed('"'));
        }
        Err(self.unexpected(&format!("a value in backticks in {name}")))
    }
}

#[derive(Debug, Clone, Copy)]
struct Matcher {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What routes cannot express.
    Beyond,
    Host,
    HostRegexp,
    Path,
    PathPrefix,
    PathRegexp,
    Sni,
}

const HTTP: [(&str, Kind); 15] = [
    ("ClientIP", Kind::Beyond),
    ("Header", Kind::Beyond),
    ("HeaderRegexp", Kind::Beyond),
    ("Headers", Kind::Beyond),
    ("HeadersRegexp", Kind::Beyond),
    ("Host", Kind::Host),
    ("HostHeader", Kind::Host),
    ("HostRegexp", Kind::HostRegexp),
    ("Method", Kind::Beyond),
    ("Path", Kind::Path),
    ("PathPrefix", Kind::PathPrefix),
    ("PathRegexp", Kind::PathRegexp),
    ("Query", Kind::Beyond),
    ("QueryRegexp", Kind::Beyond),
    ("Methods", Kind::Beyond),
];

const TCP: [(&str, Kind); 4] = [
    ("ALPN", Kind::Beyond),
    ("ClientIP", Kind::Beyond),
    ("HostSNI", Kind::Sni),
    ("HostSNIRegexp", Kind::HostRegexp),
];

impl Matcher {
    /// Traefik knows each matcher in any letter case.
    fn of(protocol: Protocol, name: &str) -> Option<Self> {
        let all: &[(&'static str, Kind)] = match protocol {
            Protocol::Http => &HTTP,
            Protocol::Tcp => &TCP,
        };
        all.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(name, kind)| Self { name, kind: *kind })
    }
}

/// A matcher's name as it is shown: nothing long.
fn bare(name: &str) -> String {
    name.chars().take(32).collect()
}

fn exact_host(name: &str, value: &str) -> Result<RouteHost, InvalidRule> {
    // One trailing dot does not count, for rules as for requests.
    let host = value.strip_suffix('.').unwrap_or(value);
    match host.parse() {
        Ok(host @ RouteHost::Exact(_)) => Ok(host),
        Ok(_) => Err(InvalidRule(format!(
            "{name} takes {value:?} as it stands, which matches no request; HostRegexp(`^.+\\.example$`) matches what is below a domain"
        ))),
        Err(error) => Err(InvalidRule(error.to_string())),
    }
}

fn path(name: &str, value: &str, exact: bool) -> Result<PathMatch, InvalidRule> {
    let written = match exact {
        true => format!("={value}"),
        false => format!("^{value}"),
    };
    written
        .parse()
        .map_err(|error: lb_core::model::InvalidRoute| InvalidRule(format!("{name}: {error}")))
}

impl Alternative {
    fn of_host(host: RouteHost) -> Self {
        Self {
            host: Some(host),
            path: None,
        }
    }

    fn of_path(path: PathMatch) -> Self {
        Self {
            host: None,
            path: Some(path),
        }
    }

    /// Both at once; `None` when no request can fulfil both.
    fn and(&self, other: &Self) -> Option<Self> {
        let host = match (&self.host, &other.host) {
            (Some(a), Some(b)) => Some(both_hosts(a, b)?),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let path = match (&self.path, &other.path) {
            (Some(a), Some(b)) => Some(both_paths(a, b)?),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Some(Self { host, path })
    }
}

fn both_hosts(a: &RouteHost, b: &RouteHost) -> Option<RouteHost> {
    let within = |inner: &RouteHost, outer: &RouteHost| match (inner, outer) {
        (_, RouteHost::Any) => true,
        (RouteHost::Exact(host) | RouteHost::Wildcard(host), RouteHost::Wildcard(_)) => {
            inner == outer || outer.matches(host)
        }
        _ => inner == outer,
    };
    if within(a, b) {
        return Some(a.clone());
    }
    within(b, a).then(|| b.clone())
}

fn both_paths(a: &PathMatch, b: &PathMatch) -> Option<PathMatch> {
    if b.contains(a) {
        return Some(a.clone());
    }
    a.contains(b).then(|| b.clone())
}

fn bounded(alternatives: &[Alternative]) -> Result<(), InvalidRule> {
    match alternatives.len() > MAX_ALTERNATIVES {
        true => Err(InvalidRule(format!(
            "it has more than {MAX_ALTERNATIVES} alternatives"
        ))),
        false => Ok(()),
    }
}

const MAX_DEPTH: usize = 16;
pub(super) const MAX_ALTERNATIVES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ways(rule: &Rule) -> Vec<String> {
        rule.alternatives
            .iter()
            .map(|way| {
                let host = way.host.as_ref().map(ToString::to_string);
                let path = way.path.as_ref().map(ToString::to_string);
                format!("{}{}", host.unwrap_or_default(), path.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn rules_of_hosts_and_paths_become_routes() {
        for (rule, expected) in [
            ("Host(`A.example`)", &["a.example"][..]),
            ("host(\"a.example\")", &["a.example"]),
            ("Host(`a.example.`)", &["a.example"]),
            ("Host(`a`) || Host(`b`)", &["a", "b"]),
            ("Host(`a`,`b`)", &["a", "b"]),
            ("Host(`a`) && PathPrefix(`/x`)", &["a^/x"]),
            (
                "(Host(`a`) || Host(`b`)) && (PathPrefix(`/x`) || Path(`/y`))",
                &["a^/x", "a=/y", "b^/x", "b=/y"],
            ),
            ("Host(`a`) && PathPrefix(`/x`) || Host(`b`)", &["a^/x", "b"]),
            ("HostRegexp(`^.+\\.example\\.com$`)", &["*.example.com"]),
            ("HostRegexp(`{sub:.+}.example.com`)", &["*.example.com"]),
            (
                "HostRegexp(`^example\\.(com|org)$`)",
                &["example.com", "example.org"],
            ),
            ("HostRegexp(`.+`)", &["*"]),
            (
                "HostRegexp(`^.+\\.example$`) && Host(`a.example`)",
                &["a.example"],
            ),
            ("Path(`/a/b`) && PathPrefix(`/a`)", &["=/a/b"]),
            (
                "PathPrefix(`/a`) && PathPrefix(`/a/b`) && Host(`h`)",
                &["h^/a/b"],
            ),
            ("PathPrefix(`/a`) && PathPrefix(`/ab`)", &["^/ab"]),
            ("PathPrefix(`/a/`)", &["^/a/"]),
            ("PathPrefix(`/a/`) && PathPrefix(`/a`)", &["^/a/"]),
            ("PathPrefix(`/`)", &["/"]),
        ] {
            let found = parse(Protocol::Http, rule).unwrap();
            assert_eq!(ways(&found), expected, "{rule}");
            assert_eq!(found.beyond, None, "{rule}");
        }
        let sni = parse(Protocol::Tcp, "HostSNI(`*`)").unwrap();
        assert_eq!(ways(&sni), ["*"]);
    }

    #[test]
    fn s03_what_can_never_match_or_is_no_rule_is_refused_never_widened() {
        for rule in [
            "",
            "Host(``)",
            "Host(\"\")",
            "Host(`a`) || Host(``)",
            "Host(`a`, ``)",
            "PathPrefix(``)",
            "Host(`a`) && PathPrefix(``)",
            "HostRegexp(``)",
            "Host(`*`)",
            "Host(`*.example`)",
            "Host('a')",
            "Host(`a`",
            "Host(a)",
            "Host(`a`) Host(`b`)",
            "Host(`a`) && Host(`b`)",
            "Path(`/a`) && Path(`/b`)",
            "Nonsense(`a`)",
            "HostSNI(`a`)",
            "Host(`a`) &&",
            "Host(`a`) && ()",
            "Host(`a b`)",
            "PathPrefix(`x`)",
        ] {
            assert!(parse(Protocol::Http, rule).is_err(), "{rule}");
        }
        for rule in ["HostSNI(``)", "Host(`a`)", "HostSNI(`*.a`)"] {
            assert!(parse(Protocol::Tcp, rule).is_err(), "{rule}");
        }
        let deep = format!("{}Host(`a`){}", "(".repeat(99), ")".repeat(99));
        assert!(parse(Protocol::Http, &deep).is_err());
        assert!(parse(Protocol::Http, &"!".repeat(99_999)).is_err());
        let wide = vec!["(Host(`a`) || Host(`b`))"; 40].join(" && ");
        let found = parse(Protocol::Http, &wide).unwrap();
        assert_eq!(ways(&found), ["a", "b"], "the same hosts again add nothing");
    }

    #[test]
    fn what_routes_cannot_express_is_named_and_what_it_may_match_is_known() {
        for (rule, expected, beyond) in [
            ("Host(`a`) && !PathPrefix(`/x`)", &["a"][..], "!"),
            ("Host(`a`) && Method(`GET`)", &["a"], "Method"),
            ("Host(`a`) && Header(`X-Key`, `secret`)", &["a"], "Header"),
            ("Query(`k`, ``)", &[""], "Query"),
            (
                "HostRegexp(`^[a-z]+\\.example$`) && PathPrefix(`/x`)",
                &["*.example^/x"],
                "the pattern of HostRegexp",
            ),
            ("Path(`/p/{id}`)", &["^/p/"], "the pattern of Path"),
            ("PathPrefix(`/{id}`)", &[""], "the pattern of PathPrefix"),
            (
                "HostRegexp(`^k1[45]+\\.ex$`) && PathPrefix(`/admin`)",
                &["*.ex^/admin"],
                "the pattern of HostRegexp",
            ),
            (
                "HostRegexp(`{sub:[a-z]+}.m2.ex`)",
                &["*.m2.ex"],
                "the pattern of HostRegexp",
            ),
            (
                "HostRegexp(`^(.+\\.)?m21\\.ex$`)",
                &["m21.ex", "*.m21.ex"],
                "the pattern of HostRegexp",
            ),
            ("HostRegexp(`a`)", &[""], "the pattern of HostRegexp"),
            ("PathRegexp(`^/m6(admin|secret)`)", &["^/m6"], "PathRegexp"),
            ("PathRegexp(`/m6`)", &[""], "PathRegexp"),
            ("!Host(`public.ex`) && PathPrefix(`/m25`)", &["^/m25"], "!"),
        ] {
            let found = parse(Protocol::Http, rule).unwrap();
            assert_eq!(ways(&found), expected, "{rule}");
            assert_eq!(found.beyond.as_deref(), Some(beyond), "{rule}");
        }
    }

    #[test]
    fn s01_a_rule_without_priority_has_its_length() {
        assert_eq!(
            default_priority(Protocol::Http, "Host(`foobar.traefik.com`)"),
            26
        );
        assert_eq!(default_priority(Protocol::Tcp, "HostSNI(`*`)"), -1);
        assert_eq!(default_priority(Protocol::Tcp, "HostSNI(`db`)"), 13);
    }

    proptest! {
        #[test]
        fn i7_no_text_makes_the_parser_fail_or_grow(rule in "[HostPah()&|!`/a, ]{0,200}") {
            if let Ok(rule) = parse(Protocol::Http, &rule) {
                prop_assert!(rule.alternatives.len() <= MAX_ALTERNATIVES);
            }
        }
    }
}
