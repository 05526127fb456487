//! Health checks of slots.

use std::time::Duration;

use lb_core::{Name, PathMatch};

use super::{
    ConfigError,
    writer::{Writer, positive, time},
};

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The time from one check to the next.
    pub inter: Duration,
    /// The number of failures in a row that take a server down.
    pub fall: u32,
    /// The number of successes in a row that bring it up.
    pub rise: u32,
    /// A request to make; without it, a connection that opens is a success.
    pub http: Option<HttpCheck>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            inter: Duration::from_secs(2),
            fall: 3,
            rise: 2,
            http: None,
        }
    }
}

/// The request of a health check, and the answer that is a success.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCheck {
    /// The method of the check.
    pub method: Method,
    /// The path to ask for.
    pub path: PathMatch,
    /// The host to ask for; without it the request has none, and is of HTTP/1.0.
    pub host: Option<Name>,
    /// The status that is a success; by default 200 to 399.
    pub expect: Option<u16>,
}

/// The method of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Method {
    /// For the whole answer.
    #[default]
    Get,
    /// For its head.
    Head,
    /// For what can be asked.
    Options,
}

impl HttpCheck {
    /// `GET` of a path.
    #[must_use]
    pub fn new(path: PathMatch) -> Self {
        Self {
            method: Method::Get,
            path,
            host: None,
            expect: None,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let path = check_path(&self.path)?;
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
        };
        match &self.host {
            None => out.line(format_args!("option httpchk {method} {path}")),
            Some(host) => {
                let host = check_host(host)?;
                out.line(format_args!("option httpchk"));
                out.line(format_args!(
                    "http-check send meth {method} uri {path} ver HTTP/1.1 hdr Host {host}"
                ));
            }
        }
        match self.expect {
            None => {}
            Some(status @ 100..=599) => {
                out.line(format_args!("http-check expect status {status}"));
            }
            Some(status) => {
                return Err(ConfigError::OutOfRange {
                    what: "expected status",
                    value: status.to_string(),
                    expected: "100 to 599",
                });
            }
        }
        Ok(())
    }
}

impl Check {
    pub(super) fn words(&self) -> Result<String, ConfigError> {
        let inter = time("inter", self.inter)?;
        let (fall, rise) = (positive("fall", self.fall)?, positive("rise", self.rise)?);
        Ok(format!(" check inter {inter} fall {fall} rise {rise}"))
    }
}

fn check_path(path: &PathMatch) -> Result<&str, ConfigError> {
    let text = path.text();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._~/-".contains(c);
    match text.starts_with('/') && text.chars().all(fits) {
        true => Ok(text),
        false => Err(ConfigError::Unwritable {
            what: "check path",
            text: text.to_owned(),
        }),
    }
}

fn check_host(host: &Name) -> Result<&str, ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    match host.as_str().chars().all(fits) {
        true => Ok(host.as_str()),
        false => Err(ConfigError::Unwritable {
            what: "check host",
            text: host.as_str().to_owned(),
        }),
    }
}
