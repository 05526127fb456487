//! The `global` section.

use std::time::Duration;

use super::{
    ConfigError, ConfigPath,
    writer::{Writer, positive, time},
};

/// The `global` section.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Global {
    /// The admin sockets, at least the one that changes are made through.
    pub sockets: Vec<StatsSocket>,
    /// The time an admin connection may idle (`stats timeout`).
    pub stats_timeout: Duration,
    /// The most admin connections (`stats maxconn`); the next one waits without a word.
    pub stats_maxconn: u32,
    /// The most connections; HAProxy's own choice by default.
    pub maxconn: Option<u32>,
    /// The number of threads; HAProxy's own choice by default.
    pub nbthread: Option<u32>,
    /// The time an old worker may live on for its last clients. Defaults to 15 minutes.
    pub hard_stop_after: Option<Duration>,
    /// The file that the addresses and states of slots are restored from at a start or reload.
    pub server_state_file: Option<ConfigPath>,
}

impl Global {
    /// One admin socket, and what it needs to be driven from outside.
    #[must_use]
    pub fn new(admin: ConfigPath) -> Self {
        Self {
            sockets: vec![StatsSocket::admin(admin)],
            stats_timeout: Duration::from_secs(3600),
            stats_maxconn: 32,
            maxconn: None,
            nbthread: None,
            hard_stop_after: Some(Duration::from_secs(900)),
            server_state_file: None,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        out.section(format_args!("global"));
        for socket in &self.sockets {
            socket.write(out);
        }
        let timeout = time("stats timeout", self.stats_timeout)?;
        out.line(format_args!("stats timeout {timeout}"));
        let stats_maxconn = positive("stats maxconn", self.stats_maxconn)?;
        out.line(format_args!("stats maxconn {stats_maxconn}"));
        if let Some(maxconn) = self.maxconn {
            out.line(format_args!("maxconn {}", positive("maxconn", maxconn)?));
        }
        if let Some(threads) = self.nbthread {
            out.line(format_args!("nbthread {}", positive("nbthread", threads)?));
        }
        if let Some(after) = self.hard_stop_after {
            let after = time("hard-stop-after", after)?;
            out.line(format_args!("hard-stop-after {after}"));
        }
        if let Some(file) = &self.server_state_file {
            out.line(format_args!("server-state-file {file}"));
        }
        Ok(())
    }
}

/// One admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsSocket {
    /// The path of the socket.
    pub path: ConfigPath,
    /// If `true`, it may change anything (`level admin`) or only show (`level user`).
    pub admin: bool,
}

impl StatsSocket {
    /// A socket that may change everything.
    #[must_use]
    pub fn admin(path: ConfigPath) -> Self {
        Self { path, admin: true }
    }

    /// A socket that may only show.
    #[must_use]
    pub fn reader(path: ConfigPath) -> Self {
        Self { path, admin: false }
    }

    fn write(&self, out: &mut Writer<'_>) {
        let path = &self.path;
        match self.admin {
            // Passing the listeners on is what makes a reload seamless without the master's help.
            true => out.line(format_args!(
                "stats socket {path} level admin mode 600 expose-fd listeners"
            )),
            false => out.line(format_args!("stats socket {path} level user mode 600")),
        }
    }
}
