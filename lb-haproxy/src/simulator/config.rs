//! What the simulated HAProxy was configured with.

use std::{net::SocketAddr, time::Duration};

use crate::policy::HttpReuse;

/// The parts of `haproxy.cfg` that the simulation knows.
#[derive(Debug, Clone)]
pub struct ConfigModel {
    /// The backends, in order. The first one has this number, as the frontend takes one before.
    pub backends: Vec<BackendModel>,
    /// The number of the first backend.
    pub first_backend_id: u32,
    /// The map files, with what they hold.
    pub maps: Vec<MapModel>,
    /// `tune.bufsize`.
    pub bufsize: usize,
    /// The level of the socket.
    pub level: Level,
    /// `timeout http-keep-alive` of the clients.
    pub keep_alive: Duration,
    /// `stats timeout`.
    pub cli_timeout: Duration,
}

impl Default for ConfigModel {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            first_backend_id: 3,
            maps: Vec::new(),
            bufsize: 16384,
            level: Level::Admin,
            keep_alive: Duration::from_secs(10),
            cli_timeout: Duration::from_secs(3600),
        }
    }
}

/// The `level` of a socket, or of a connection that lowered its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads some.
    User,
    /// Reads all.
    Operator,
    /// Changes.
    Admin,
}

/// One backend.
#[derive(Debug, Clone)]
pub struct BackendModel {
    /// Its name.
    pub name: String,
    /// Its `balance`.
    pub balance: Balance,
    /// Its `http-reuse`.
    pub reuse: HttpReuse,
    /// Its servers, in order.
    pub servers: Vec<ServerModel>,
}

impl BackendModel {
    /// A backend of so many slots, as `server-template slot 1-N 127.0.0.1:1 disabled` makes them.
    #[must_use]
    pub fn slots(name: &str, count: u32, check: Option<CheckModel>) -> Self {
        let servers = (1..=count)
            .map(|number| ServerModel {
                name: format!("slot{number}"),
                address: Some(crate::observed::PARKED),
                weight: 1,
                disabled: true,
                check,
                agent: false,
                track: None,
                restorable: false,
            })
            .collect();
        Self {
            name: name.to_owned(),
            balance: Balance::Dynamic,
            reuse: HttpReuse::Safe,
            servers,
        }
    }

    /// The same backend with another `http-reuse`.
    #[must_use]
    pub fn with_reuse(mut self, reuse: HttpReuse) -> Self {
        self.reuse = reuse;
        self
    }
}

/// The weights that the balancing algorithm allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Any weight, and servers added at run time.
    Dynamic,
    /// Only the initial weight and none.
    Static,
}

/// One `server` line, or one server of a `server-template` line.
#[derive(Debug, Clone)]
pub struct ServerModel {
    /// Its name.
    pub name: String,
    /// Its address; `None` for a Unix socket or a name that does not resolve.
    pub address: Option<SocketAddr>,
    /// Its `weight`.
    pub weight: u16,
    /// If `true`, it is declared `disabled`.
    pub disabled: bool,
    /// Its `check`.
    pub check: Option<CheckModel>,
    /// If `true`, it has an `agent-check` at its own address.
    pub agent: bool,
    /// The server it tracks: backend and server.
    pub track: Option<(String, String)>,
    /// If `true`, its address comes back from a state file: written with a name and `init-addr last,…`.
    pub restorable: bool,
}

/// The settings of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckModel {
    /// The time between two checks.
    pub inter: Duration,
    /// Checks in a row that bring it up.
    pub rise: u16,
    /// Checks in a row that take it down.
    pub fall: u16,
    /// The check's port, where it is not the server's.
    pub port: u16,
}

impl Default for CheckModel {
    fn default() -> Self {
        Self {
            inter: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            port: 0,
        }
    }
}

/// One map file that the configuration refers to.
#[derive(Debug, Clone)]
pub struct MapModel {
    /// Its number, as in `#4`.
    pub id: u32,
    /// Its name.
    pub file: String,
    /// The entries it holds at start.
    pub entries: Vec<(String, String)>,
    /// The text of `show map` after the file's name, up to the versions.
    pub description: String,
}
