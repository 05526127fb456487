//! The `defaults` section.

use std::time::Duration;

use lb_core::Mode;

use super::{
    ConfigError,
    writer::{Writer, time},
};

/// The `defaults` section: what every frontend and backend starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// The protocol of a frontend's or backend's traffic, where it does not say.
    pub mode: Mode,
    /// The time a client may be silent.
    pub client: Duration,
    /// The time a server may be silent.
    pub server: Duration,
    /// The time a connection to a server may take. Below a second, as by default, HAProxy tries anew before the
    /// system sends the first packet again: a packet sent again may reach the next owner of the address.
    pub connect: Duration,
    /// The time a request may wait for a free server.
    pub queue: Duration,
    /// The time a request's head may take.
    pub http_request: Duration,
    /// The time a client's connection may idle between requests.
    pub http_keep_alive: Duration,
    /// The time an upgraded connection may be silent.
    pub tunnel: Duration,
    /// The number of times a failed connection is tried again.
    pub retries: u32,
    /// If `true`, each new try goes to another server.
    pub redispatch: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            mode: Mode::Http,
            client: Duration::from_secs(30),
            server: Duration::from_secs(30),
            connect: Duration::from_millis(500),
            queue: Duration::from_secs(5),
            http_request: Duration::from_secs(10),
            http_keep_alive: Duration::from_secs(10),
            tunnel: Duration::from_secs(3600),
            retries: 3,
            redispatch: true,
        }
    }
}

impl Defaults {
    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        out.section(format_args!("defaults"));
        out.line(format_args!("mode {}", self.mode_word()));
        for (name, value) in [
            ("client", self.client),
            ("server", self.server),
            ("connect", self.connect),
            ("queue", self.queue),
            ("http-request", self.http_request),
            ("http-keep-alive", self.http_keep_alive),
            ("tunnel", self.tunnel),
        ] {
            out.line(format_args!("timeout {name} {}", time(name, value)?));
        }
        out.line(format_args!("retries {}", self.retries.min(1000)));
        if self.redispatch {
            out.line(format_args!("option redispatch 1"));
        }
        Ok(())
    }

    fn mode_word(&self) -> &'static str {
        mode_word(self.mode)
    }
}

pub(super) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Http => "http",
        // Bytes are what every mode can be carried as.
        _ => "tcp",
    }
}
