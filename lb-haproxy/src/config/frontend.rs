//! `frontend` sections.

use std::{fmt, net::SocketAddr, time::Duration};

use lb_core::{Mode, Name, PathMatch, RouteHost};

use super::{ConfigError, ConfigPath, RateLimit, TlsBind, defaults::mode_word, writer::Writer};
use crate::{
    proto::MapName,
    routes::{
        REFUSE, Reading, agreement_lines, http_host_lines, http_path_lines, http_route_lines_but,
        sni_route_lines,
    },
};

/// A `frontend` section.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frontend {
    /// Its name.
    pub name: Name,
    /// The protocol of its traffic.
    pub mode: Mode,
    /// The addresses on which it listens.
    pub binds: Vec<Bind>,
    /// The most requests of one client.
    pub rate_limit: Option<RateLimit>,
    /// The rules for requests, of which the first that fits counts.
    pub rules: Vec<Rule>,
    /// The backend of all others. Without it they get 503.
    pub default_backend: Option<Name>,
    /// The map that sends all others where its entries say, changed at run time: see [`routes`](crate::routes).
    /// It has its own default, so there can be no `default_backend` beside it.
    pub route_map: Option<MapName>,
}

/// The time a TCP frontend waits for the beginning of a TLS handshake, which names the server.
const INSPECT_DELAY: Duration = Duration::from_secs(5);

/// The condition that a rule takes the request.
const FIXED: &str = "{ var(txn.lb_fixed) -m found }";

/// The variable of the backend of the rule that takes a request.
const RULE: &str = "txn.lb_fixed";

/// The variable of the backend of the rule that takes a reading of the path.
fn rule_as(reading: Reading) -> String {
    reading.variable().replace("lb_", "lb_fixed_")
}

impl Frontend {
    /// A frontend for HTTP that listens in one place.
    #[must_use]
    pub fn new(name: Name, bind: Bind) -> Self {
        Self {
            name,
            mode: Mode::Http,
            binds: vec![bind],
            rate_limit: None,
            rules: Vec::new(),
            default_backend: None,
            route_map: None,
        }
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = &Name> {
        self.rules
            .iter()
            .map(|rule| &rule.backend)
            .chain(&self.default_backend)
    }

    /// Returns `true` if a variable says which rule takes a request: rules go before the routes of the map, and paths may be
    /// read in several ways.
    fn has_fixed(&self) -> bool {
        let by_path = self.rules.iter().any(|rule| rule.path != PathMatch::any());
        by_path || (self.route_map.is_some() && !self.rules.is_empty())
    }

    /// The lines that set the variable of the rule that takes a request. They refuse one with 400 whose path leads to
    /// different rules, depending on how it is read.
    fn fixed_lines(&self) -> Result<Vec<String>, ConfigError> {
        let mut lines = Vec::new();
        if !self.has_fixed() {
            return Ok(lines);
        }
        // The first rule that fits is set last.
        for rule in self.rules.iter().rev() {
            let condition = rule.condition(None)?;
            lines.push(format!(
                "http-request set-var({RULE}) str({}){condition}",
                rule.backend
            ));
        }
        for reading in Reading::ALL {
            let variable = rule_as(reading);
            for rule in self.rules.iter().rev() {
                let condition = rule.condition(Some(reading))?;
                lines.push(format!(
                    "http-request set-var({variable}) str({}){condition}",
                    rule.backend
                ));
            }
            lines.push(format!(
                "{REFUSE} if !{FIXED} {{ var({variable}) -m found }}"
            ));
        }
        lines.extend(agreement_lines(RULE, rule_as));
        Ok(lines)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        if self.mode == Mode::Tcp && !self.rules.is_empty() {
            return Err(ConfigError::NeedsHttp {
                section: "frontend",
                name: self.name.clone(),
                what: "a rule by host or path",
            });
        }
        if self.binds.is_empty() {
            return Err(ConfigError::NoBind {
                frontend: self.name.clone(),
            });
        }
        out.section(format_args!("frontend {}", self.name));
        out.line(format_args!("mode {}", mode_word(self.mode)));
        for bind in &self.binds {
            out.line(format_args!("bind {bind}"));
        }
        if self.mode == Mode::Http && out.version.at_least(2, 6) {
            // A worker on its way out closes a kept connection with its next answer, never under its next request.
            out.line(format_args!("option idle-close-on-response"));
        }
        if let Some(limit) = &self.rate_limit {
            if self.mode == Mode::Tcp {
                return Err(ConfigError::NeedsHttp {
                    section: "frontend",
                    name: self.name.clone(),
                    what: "a limit on requests",
                });
            }
            limit.write(out)?;
        }
        let by_host = self.rules.iter().any(|rule| rule.host != RouteHost::Any);
        let by_route = self.route_map.is_some() && self.mode != Mode::Tcp;
        let mut first = Vec::new();
        if by_host || by_route {
            first.extend(http_host_lines());
        }
        if self.has_fixed() || by_route {
            first.extend(http_path_lines());
        }
        first.extend(self.fixed_lines()?);
        for line in first {
            out.line(format_args!("{line}"));
        }
        let mut uses = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let condition = match self.has_fixed() {
                // Routes change paths, so that a rule is not asked again.
                true => format!(" if {{ var(txn.lb_fixed) -m str -- {} }}", rule.backend),
                false => rule.condition(None)?,
            };
            uses.push(format!("use_backend {}{condition}", rule.backend));
        }
        let mut lines = Vec::new();
        if let Some(map) = &self.route_map {
            if self.default_backend.is_some() {
                return Err(ConfigError::TwoDefaults {
                    frontend: self.name.clone(),
                });
            }
            lines = match self.mode {
                Mode::Tcp => sni_route_lines(map, INSPECT_DELAY),
                _ => http_route_lines_but(map, (!self.rules.is_empty()).then_some(FIXED)),
            }?;
        }
        // HAProxy warns of other rules after `use_backend`.
        let at = lines
            .iter()
            .position(|line| line.starts_with("use_backend"))
            .unwrap_or(lines.len());
        lines.splice(at..at, uses);
        for line in lines {
            out.line(format_args!("{line}"));
        }
        if let Some(backend) = &self.default_backend {
            out.line(format_args!("default_backend {backend}"));
        }
        Ok(())
    }
}

/// An address on which a frontend listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bind {
    /// An address and port; the unspecified address is every one of the machine's.
    Tcp(SocketAddr),
    /// An address and port where clients begin with HTTP/2, without TLS.
    Http2(SocketAddr),
    /// An address and port with TLS.
    Tls(TlsBind),
    /// A unix socket.
    Unix(ConfigPath),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A scope has no place there.
            Self::Tcp(address) => write!(f, "{}", SocketAddr::new(address.ip(), address.port())),
            Self::Http2(address) => {
                let address = SocketAddr::new(address.ip(), address.port());
                write!(f, "{address} proto h2")
            }
            Self::Tls(tls) => tls.fmt(f),
            Self::Unix(path) => write!(f, "unix@{path}"),
        }
    }
}

/// The rule for requests that go to a backend, fixed in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Requests for which hosts.
    pub host: RouteHost,
    /// And for which paths.
    pub path: PathMatch,
    /// The backend they go to.
    pub backend: Name,
}

impl Rule {
    /// The condition that a request is one of these, by its path as it was sent or by a reading of it.
    fn condition(&self, reading: Option<Reading>) -> Result<String, ConfigError> {
        const HOST: &str = "var(txn.lb_host)";
        let mut first = reading.map(Reading::condition).unwrap_or_default();
        if !first.is_empty() {
            first.push(' ');
        }
        let host = match &self.host {
            RouteHost::Any => first,
            RouteHost::Exact(domain) => {
                format!("{first}{{ {HOST} -m str -- {} }} ", word("host", domain)?)
            }
            RouteHost::Wildcard(domain) => {
                format!("{first}{{ {HOST} -m end -- .{} }} ", word("host", domain)?)
            }
        };
        let sample = reading.map(|reading| format!("var({})", reading.variable()));
        let (sample, end) = match &sample {
            Some(variable) => (variable.as_str(), "/?"),
            None => ("path", ""),
        };
        let path = match &self.path {
            PathMatch::Prefix(path) if &**path == "/" => vec![String::new()],
            PathMatch::Exact(path) => {
                vec![format!(
                    "{{ {sample} -m str -- {}{end} }}",
                    word("path", path)?
                )]
            }
            PathMatch::Beginning(path) if path.ends_with('/') && reading.is_some() => {
                // A reading has a slash at its end.
                let path = word("path", path)?;
                vec![format!(
                    "{{ {sample} -m beg -- {path} }} !{{ {sample} -m str -- {path}? }}"
                )]
            }
            PathMatch::Beginning(path) => {
                vec![format!("{{ {sample} -m beg -- {} }}", word("path", path)?)]
            }
            PathMatch::Prefix(path) => {
                let path = word("path", path)?;
                let mut all = vec![format!("{{ {sample} -m beg -- {path}/ }}")];
                // A reading has a slash at its end.
                if reading.is_none() {
                    all.insert(0, format!("{{ path -m str -- {path} }}"));
                }
                all
            }
        };
        let either: Vec<String> = path
            .iter()
            .map(|path| format!("{host}{path}").trim_end().to_owned())
            .collect();
        match either.iter().all(String::is_empty) {
            true => Ok(String::new()),
            false => Ok(format!(" if {}", either.join(" or "))),
        }
    }
}

/// A host or path made of what HAProxy reads as itself.
fn word<'a>(what: &'static str, text: &'a str) -> Result<&'a str, ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._~!*+,;=:@/-".contains(c);
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text),
        false => Err(ConfigError::Unwritable {
            what,
            text: text.to_owned(),
        }),
    }
}
