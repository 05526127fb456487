//! The commands of the runtime API, as values.

use std::{fmt, net::SocketAddr, time::Duration};

use lb_core::{Name, Weight};
use serde::Serialize;

/// One server of one backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerRef {
    /// The backend.
    pub backend: Name,
    /// The server in it.
    pub server: Name,
}

impl ServerRef {
    /// Server `server` of backend `backend`.
    #[must_use]
    pub fn new(backend: Name, server: Name) -> Self {
        Self { backend, server }
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

/// The administrative state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// No new traffic but for persistent clients; checks go on.
    Drain,
    /// No traffic, no checks.
    Maint,
    /// Traffic, as far as its health allows.
    Ready,
}

/// What to make HAProxy believe of a server's health until its next check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As if its checks had failed.
    Down,
    /// As if its checks had passed.
    Up,
}

/// One command of the runtime API.
///
/// Every part is a typed value that cannot hold a separator, so the encoder cannot be made to write a second
/// command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// `enable health B/S`: starts the checks of a dynamic server.
    EnableHealth(ServerRef),
    /// `set server B/S addr A port P`.
    SetAddr(ServerRef, SocketAddr),
    /// `set server B/S check-port P`.
    SetCheckPort(ServerRef, u16),
    /// `set server B/S health …`.
    SetHealth(ServerRef, Health),
    /// `set severity-output number`.
    SetSeverity,
    /// `set server B/S state …`.
    SetState(ServerRef, AdminState),
    /// `set timeout cli …`.
    SetTimeout(Duration),
    /// `set server B/S weight N`.
    SetWeight(ServerRef, Weight),
    /// `show info`.
    ShowInfo,
    /// `show map`, or the entries of one map file.
    ShowMap(Option<MapName>),
    /// `show servers conn [B]`.
    ShowServersConn(Option<Name>),
    /// `show servers state [B]`.
    ShowServersState(Option<Name>),
    /// `show stat B 4 ID`: all servers of a backend, or the one with this id.
    ShowStat(Name, Option<u32>),
    /// `shutdown sessions server B/S`.
    ShutdownSessions(ServerRef),
}

/// A map as HAProxy knows it: the file named in its configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MapName(String);
