//! `backend` sections.

use std::fmt;

use lb_core::{Mode, Name};

use super::{
    Check, ConfigError, HeaderName, StickyCookie,
    defaults::mode_word,
    writer::{Writer, positive},
};
use crate::policy::HttpReuse;

/// A `backend` section: slots that are filled at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backend {
    /// Its name.
    pub name: Name,
    /// The protocol it speaks with its servers.
    pub mode: Mode,
    /// Who gets the next request.
    pub balance: Balance,
    /// The connections to servers that are used again.
    pub http_reuse: HttpReuse,
    /// A response header that names the backend, the slot and the address that answered.
    pub server_header: Option<HeaderName>,
    /// A cookie that keeps users with their endpoint.
    pub cookie: Option<StickyCookie>,
    /// Its slots.
    pub slots: Slots,
}

impl Backend {
    /// A backend for HTTP with this many slots, named `slot1` and so on.
    #[must_use]
    pub fn new(name: Name, slots: Slots) -> Self {
        Self {
            name,
            mode: Mode::Http,
            balance: Balance::RoundRobin,
            http_reuse: HttpReuse::default(),
            server_header: None,
            cookie: None,
            slots,
        }
    }

    pub(super) fn write(&self, restored: bool, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let needs_http = |what| ConfigError::NeedsHttp {
            section: "backend",
            name: self.name.clone(),
            what,
        };
        let http = self.mode == Mode::Http;
        out.section(format_args!("backend {}", self.name));
        out.line(format_args!("mode {}", mode_word(self.mode)));
        self.balance.write(out)?;
        let of_request = matches!(&self.balance, Balance::Hash { on, .. } if *on != HashOn::Source);
        if of_request && !http {
            return Err(needs_http("a hash of the request"));
        }
        if http {
            out.line(format_args!("http-reuse {}", reuse_word(self.http_reuse)));
            if self.http_reuse == HttpReuse::Never && !out.version.at_least(3, 0) {
                // Else a client that keeps its connection stays with the address that its slot had.
                out.line(format_args!("option http-server-close"));
            }
        }
        if let Some(header) = &self.server_header {
            if !http {
                return Err(needs_http("a response header"));
            }
            out.line(format_args!(
                "http-response set-header {header} %b/%s@%si:%sp"
            ));
        }
        out.line(format_args!(
            "load-server-state-from-file {}",
            if restored { "global" } else { "none" }
        ));
        if let Some(cookie) = &self.cookie {
            if !http {
                return Err(needs_http("a cookie"));
            }
            cookie.write(out);
        }
        let check = self.slots.check.as_ref();
        if let Some(request) = check.and_then(|check| check.http.as_ref()) {
            request.write(out)?;
        }
        self.slots.write(restored, self.balance.server_words(), out)
    }
}

/// Who gets the next request.
///
/// Only algorithms that take changes at run time without computing everything anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// A consistent hash, so that the same request goes to the same server while it is there.
    Hash {
        /// The part of a request that is hashed.
        on: HashOn,
        /// If `true`, servers are told apart by address (3.0+) instead of by slot, so that it does not matter which
        /// slot an endpoint is in.
        by_address: bool,
    },
    /// The server with the fewest connections.
    LeastConn,
    /// One of two at random, the one with fewer connections.
    Random,
    /// One after the other.
    RoundRobin,
}

/// The part of a request that a hash is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashOn {
    /// A request header.
    Header(HeaderName),
    /// The client's address.
    Source,
    /// The request's path.
    Uri,
}

impl Balance {
    fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        match self {
            Self::LeastConn => out.line(format_args!("balance leastconn")),
            Self::Random => out.line(format_args!("balance random")),
            Self::RoundRobin => out.line(format_args!("balance roundrobin")),
            Self::Hash { on, by_address } => {
                if *by_address {
                    out.needs("a hash by address", 3, 0)?;
                }
                out.line(format_args!("balance {on}"));
                out.line(format_args!("hash-type consistent"));
            }
        }
        Ok(())
    }

    fn server_words(&self) -> &'static str {
        match self {
            Self::Hash {
                by_address: true, ..
            } => " hash-key addr-port",
            _ => "",
        }
    }
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "hdr({name})"),
            Self::Source => f.write_str("source"),
            Self::Uri => f.write_str("uri"),
        }
    }
}

/// The slots of a backend: servers declared in advance, disabled and parked at an address that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slots {
    /// The prefix of their names, before the number.
    pub prefix: Name,
    /// The number of slots.
    pub count: u32,
    /// Their health check.
    pub check: Option<Check>,
    /// The most connections to each.
    pub maxconn: Option<u32>,
    /// The most idle connections kept to each. 0 keeps none, which is what versions need that hand a connection
    /// out again after its slot was re-pointed (before 3.0.10 and 3.2).
    pub pool_max_conn: Option<u32>,
}

impl Slots {
    /// This many slots, without check.
    #[must_use]
    pub fn new(prefix: Name, count: u32) -> Self {
        Self {
            prefix,
            count,
            check: None,
            maxconn: None,
            pool_max_conn: None,
        }
    }

    fn write(&self, restored: bool, more: &str, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let mut words = match restored {
            // Only a server with a name gets its address back from the state file. The name is never looked up.
            true => "slot.invalid:1 disabled init-addr last,127.0.0.1".to_owned(),
            false => "127.0.0.1:1 disabled".to_owned(),
        };
        if let Some(check) = &self.check {
            words.push_str(&check.words()?);
        }
        if let Some(maxconn) = self.maxconn {
            words.push_str(&format!(" maxconn {}", positive("maxconn", maxconn)?));
        }
        if let Some(most) = self.pool_max_conn {
            words.push_str(&format!(" pool-max-conn {most}"));
        }
        let (prefix, count) = (&self.prefix, positive("slots", self.count)?);
        out.line(format_args!(
            "server-template {prefix} 1-{count} {words}{more}"
        ));
        Ok(())
    }
}

fn reuse_word(reuse: HttpReuse) -> &'static str {
    match reuse {
        HttpReuse::Aggressive => "aggressive",
        HttpReuse::Always => "always",
        HttpReuse::Never => "never",
        HttpReuse::Safe => "safe",
    }
}
