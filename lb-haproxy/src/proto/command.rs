//! The commands of the runtime API, as values.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::{Mode, Name, Weight};
use serde::Serialize;

use super::{MapKey, MapName, MapValue, MapVersion, SslCommand};

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

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Ready => "ready",
        })
    }
}

/// The health that HAProxy is to take a server for until its next check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As if its checks had failed.
    Down,
    /// As if its checks had passed.
    Up,
}

/// The settings of a server that is created at run time; what is left out has HAProxy's own default.
///
/// A created server starts in maintenance, and its checks are configured but not running until
/// [`Command::EnableHealth`]. Only settings that every version with `add server` takes are here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[non_exhaustive]
pub struct ServerOptions {
    /// If `true`, it has a health check.
    pub check: bool,
    /// The check's port, where it is not the server's.
    pub check_port: Option<u16>,
    /// Failed checks in a row that take it down.
    pub fall: Option<u16>,
    /// The time between two checks.
    pub inter: Option<Duration>,
    /// The most connections to it at a time.
    pub maxconn: Option<u32>,
    /// The most idle connections kept to it; 0 keeps none.
    pub pool_max_conn: Option<u32>,
    /// Passed checks in a row that bring it up.
    pub rise: Option<u16>,
    /// The time it takes to reach its full weight after it came up.
    pub slowstart: Option<Duration>,
    /// Its weight.
    pub weight: Option<Weight>,
}

/// One command of the runtime API.
///
/// Every part is a typed value that cannot hold a separator, so the encoder cannot be made to write a second
/// command. There is deliberately no variant that holds free text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// `add backend B from D mode M` (3.4+): a backend without servers, like the named `defaults` section.
    AddBackend {
        /// The backend to create.
        backend: Name,
        /// The `defaults` section.
        defaults: Name,
        /// The protocol it speaks with its servers.
        mode: Mode,
    },
    /// `add map [@V] M K V`. HAProxy appends a duplicate, it never replaces.
    AddMap {
        /// The map.
        map: MapName,
        /// The transaction, or the live content.
        version: Option<MapVersion>,
        /// The entry's key.
        key: MapKey,
        /// The entry's value.
        value: MapValue,
    },
    /// `add map [@V] M <<`, with the entries as its payload.
    ///
    /// Where HAProxy refuses one entry, those before it are in: use a transaction.
    /// [`map_batches`](super::map_batches) cuts a list to what one command may hold.
    AddMapEntries {
        /// The map.
        map: MapName,
        /// The transaction, or the live content.
        version: Option<MapVersion>,
        /// Keys and values, at least one.
        entries: Vec<(MapKey, MapValue)>,
    },
    /// `add server B/S A:P …` (2.6+).
    AddServer {
        /// The server to create.
        server: ServerRef,
        /// Its address.
        address: SocketAddr,
        /// Its settings.
        options: ServerOptions,
    },
    /// `clear map [@V] M`: empties it, or gives a transaction up.
    ClearMap {
        /// The map.
        map: MapName,
        /// The transaction, or the live content.
        version: Option<MapVersion>,
    },
    /// `commit map @V M` (2.4+): what was added under this version replaces the content, at once.
    CommitMap {
        /// The map.
        map: MapName,
        /// The transaction.
        version: MapVersion,
    },
    /// `del backend B` (3.4+); it must be unpublished and without servers.
    DelBackend(Name),
    /// `del map M K`. Since 3.4 it deletes one of several entries of the same key, before all of them.
    DelMap {
        /// The map.
        map: MapName,
        /// The entry's key.
        key: MapKey,
    },
    /// `del server B/S` (2.6+); the server must be in maintenance and unused.
    DelServer(ServerRef),
    /// `disable health B/S`: stops the checks of a server.
    DisableHealth(ServerRef),
    /// `disable agent B/S`: its agent is not asked any more.
    DisableAgent(ServerRef),
    /// `enable agent B/S`.
    EnableAgent(ServerRef),
    /// `enable health B/S`: starts the checks of a dynamic server.
    EnableHealth(ServerRef),
    /// `prepare map M` (2.4+): begins a transaction.
    PrepareMap(MapName),
    /// `prompt`: a toggle, which a session sends once by itself and refuses from anyone else.
    Prompt,
    /// `publish backend B` (3.4+): lets a created backend get traffic.
    PublishBackend(Name),
    /// `reload`, on the master's socket only. Up to 2.6 there is no reply: the connection closes.
    Reload,
    /// `set server B/S addr A port P`.
    SetAddr(ServerRef, SocketAddr),
    /// `set server B/S check-addr A [port P]` (2.4+; broken in 3.4.0).
    SetCheckAddr {
        /// The server.
        server: ServerRef,
        /// The address of its checks.
        address: IpAddr,
        /// Their port, where it changes too.
        port: Option<u16>,
    },
    /// `set server B/S check-port P`.
    SetCheckPort(ServerRef, u16),
    /// `set server B/S health …`.
    SetHealth(ServerRef, Health),
    /// `set map M K V`: the value of an entry that exists (of all, where there are several).
    SetMap {
        /// The map.
        map: MapName,
        /// The entry's key.
        key: MapKey,
        /// The entry's new value.
        value: MapValue,
    },
    /// `set severity-output number`.
    SetSeverity,
    /// `set server B/S ssl on|off` (2.4+).
    SetSsl(ServerRef, bool),
    /// `set server B/S state …`.
    SetState(ServerRef, AdminState),
    /// `set timeout cli …`: how long this connection may idle.
    SetTimeout(Duration),
    /// `set server B/S weight N`.
    SetWeight(ServerRef, Weight),
    /// `show sess 1`: names no session. It is answered when every thread of HAProxy has ended what it was doing, for
    /// HAProxy stops them all to look.
    AwaitThreads,
    /// `show backend`: the names of all backends.
    ShowBackend,
    /// `show cli level`: what this connection may do.
    ShowCliLevel,
    /// `show cli sockets`: where HAProxy takes commands.
    ShowCliSockets,
    /// `show info`.
    ShowInfo,
    /// `show map`, or the entries of one map file.
    ShowMap(Option<MapName>),
    /// `show map @V M` (2.4+): the entries of one version.
    ShowMapVersion(MapName, MapVersion),
    /// `show proc`, on the master's socket only.
    ShowProc,
    /// `show servers conn [B]`.
    ShowServersConn(Option<Name>),
    /// `show servers state [B]`.
    ShowServersState(Option<Name>),
    /// `show stat B 4 ID`: all servers of a backend, or the one with this id.
    ShowStat(Name, Option<u32>),
    /// `show stat -1 7 -1`: frontends, backends and servers of everything.
    ShowStatAll,
    /// `show stat -1 2 -1`: every backend as a whole, with its `balance`.
    ShowBackendStats,
    /// `show version` (2.4+).
    ShowVersion,
    /// `shutdown sessions server B/S`: cuts what runs there.
    ShutdownSessions(ServerRef),
    /// `unpublish backend B` (3.4+): no traffic any more.
    UnpublishBackend(Name),
    /// One of the commands about certificates.
    Ssl(SslCommand),
    /// `wait T srv-removable B/S` (3.0+): until the server may be deleted, at most this long.
    ///
    /// It holds up every later command of the same connection.
    WaitRemovable(ServerRef, Duration),
}

impl Command {
    /// Returns `true` if the command leaves HAProxy as it is, so that sending it again is harmless.
    #[must_use]
    pub fn is_read(&self) -> bool {
        if let Self::Ssl(command) = self {
            return command.is_read();
        }
        matches!(
            self,
            Self::AwaitThreads
                | Self::ShowBackend
                | Self::ShowCliLevel
                | Self::ShowCliSockets
                | Self::ShowInfo
                | Self::ShowMap(_)
                | Self::ShowMapVersion(..)
                | Self::ShowProc
                | Self::ShowServersConn(_)
                | Self::ShowServersState(_)
                | Self::ShowStat(..)
                | Self::ShowStatAll
                | Self::ShowBackendStats
                | Self::ShowVersion
                | Self::WaitRemovable(..)
        )
    }

    /// Returns `true` if its reply grows with what HAProxy has.
    pub(super) fn is_listing(&self) -> bool {
        matches!(
            self,
            Self::ShowBackend
                | Self::ShowMap(_)
                | Self::ShowServersConn(_)
                | Self::ShowServersState(_)
                | Self::ShowStat(..)
                | Self::ShowStatAll
                | Self::ShowBackendStats
                | Self::Ssl(_)
        )
    }

    /// Returns `true` if it ends with a payload, for which HAProxy prompts.
    pub(super) fn has_payload(&self) -> bool {
        match self {
            Self::AddMapEntries { .. } => true,
            Self::Ssl(command) => command.has_payload(),
            _ => false,
        }
    }

    /// The server the command is about, where it is about one.
    #[must_use]
    pub fn server(&self) -> Option<&ServerRef> {
        match self {
            Self::AddServer { server, .. }
            | Self::DelServer(server)
            | Self::DisableHealth(server)
            | Self::EnableHealth(server)
            | Self::DisableAgent(server)
            | Self::EnableAgent(server)
            | Self::SetSsl(server, _)
            | Self::SetAddr(server, _)
            | Self::SetCheckAddr { server, .. }
            | Self::SetCheckPort(server, _)
            | Self::SetHealth(server, _)
            | Self::SetState(server, _)
            | Self::SetWeight(server, _)
            | Self::ShutdownSessions(server)
            | Self::WaitRemovable(server, _) => Some(server),
            _ => None,
        }
    }
}
