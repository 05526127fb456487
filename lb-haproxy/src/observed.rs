//! What HAProxy says it does, reduced to what a decision needs. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_core::Name;
use serde::Serialize;

use crate::proto::{AdminState, ServerRow, StatRow, Status};

/// The address of a slot without a tenant: one that refuses, so that a slot made ready by mistake serves
/// nobody.
pub const PARKED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Returns `true` if an address is a parking place: loopback or unspecified, on port 0 or 1.
#[must_use]
pub fn is_parked(address: SocketAddr) -> bool {
    (address.ip().is_loopback() || address.ip().is_unspecified()) && address.port() <= 1
}

/// One server as HAProxy shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// Its name within the backend.
    pub name: Name,
    /// Its number within the backend.
    pub id: u32,
    /// The address it points to; `None` for a Unix socket or an unresolved name.
    pub address: Option<SocketAddr>,
    /// The administrative state that the administrator (here: `lb`) set.
    pub admin: AdminState,
    /// If `true`, the configuration declares it `disabled`, as it does slots.
    pub declared_disabled: bool,
    /// If `true`, HAProxy would send it traffic: administrative state and health together.
    pub running: bool,
    /// Its weight, as set.
    pub weight: u16,
    /// Its weight in the configuration: the only one but 0 that a static load-balancing algorithm takes.
    pub initial_weight: u16,
    /// If `true`, it has a health check.
    pub checked: bool,
    /// If `true`, it has an agent, which may call it down or up.
    pub has_agent: bool,
    /// If `true`, its agent is asked: what it says of the state and the weight then counts.
    pub agent_enabled: bool,
    /// If `true`, a check that it has is switched on. It is not on a server made at run time until `enable health`, nor
    /// after somebody's `disable health`.
    pub check_enabled: bool,
    /// If `true`, its check stands still: during maintenance, and after one that ended while the check was switched
    /// off.
    pub check_paused: bool,
    /// The port of its check, where it is not the address's; 0 otherwise.
    pub check_port: u16,
    /// The address of its check, where it is not the server's.
    pub check_address: Option<IpAddr>,
    /// If `true`, it is spoken to by TLS; `None` where HAProxy does not tell (before 2.4).
    pub ssl: Option<bool>,
    /// Seconds since its state last changed.
    pub unchanged_secs: u64,
}

impl Server {
    /// An untouched slot, as a fresh HAProxy shows it.
    #[must_use]
    pub fn slot(name: Name, id: u32) -> Self {
        Self {
            name,
            id,
            address: Some(PARKED),
            admin: AdminState::Maint,
            declared_disabled: true,
            running: false,
            weight: 1,
            initial_weight: 1,
            checked: false,
            has_agent: false,
            agent_enabled: false,
            check_enabled: true,
            check_paused: true,
            check_port: 0,
            check_address: None,
            ssl: None,
            unchanged_secs: 0,
        }
    }
}

impl Server {
    /// This server as a line of `show stat` shows it now; `None` where that line does not tell.
    ///
    /// It does not tell the administrative state of a server that is down, an address to a connection that is no
    /// administrator's, and on HAProxy before 2.4 no weight but the effective one.
    #[must_use]
    pub fn updated(&self, row: &StatRow) -> Option<Self> {
        let (admin, running) = match row.status {
            Status::Maint => (AdminState::Maint, false),
            Status::Drain => (AdminState::Drain, true),
            Status::Up | Status::GoingDown | Status::NoCheck => (AdminState::Ready, true),
            _ => return None,
        };
        Some(Self {
            address: Some(row.address?),
            admin,
            running,
            weight: row.user_weight?.try_into().ok()?,
            unchanged_secs: row.since_change?,
            ..self.clone()
        })
    }
}

impl From<ServerRow> for Server {
    fn from(row: ServerRow) -> Self {
        let admin = if row.admin.is_maint() {
            AdminState::Maint
        } else if row.admin.is_drain() {
            AdminState::Drain
        } else {
            AdminState::Ready
        };
        Self {
            address: row.socket_addr(),
            admin,
            declared_disabled: row.admin.is_declared_disabled(),
            running: admin != AdminState::Maint && row.op.is_up(),
            weight: row.weight,
            initial_weight: row.initial_weight,
            checked: row.check.is_configured(),
            has_agent: row.agent.is_configured(),
            agent_enabled: row.agent.is_configured() && row.agent.is_enabled(),
            check_enabled: row.check.is_enabled(),
            check_paused: row.check.is_paused(),
            check_port: row.check_port.unwrap_or(0),
            check_address: row.check_address,
            ssl: row.ssl,
            unchanged_secs: row.since_change.as_secs(),
            name: row.server,
            id: row.id,
        }
    }
}

/// The activity at one server right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Gauges {
    /// Sessions it serves, with those waiting for it.
    pub sessions: u64,
    /// Requests queued for it.
    pub queued: u64,
    /// Connections to it that carry requests. HAProxy before 2.4 may count kept idle ones too.
    pub used: u64,
    /// Connections to it kept for later use.
    pub idle: u64,
}

impl Gauges {
    /// The gauges of a server in `show stat`. HAProxy before 2.3 tells `used` and `idle` elsewhere.
    #[must_use]
    pub fn of(row: &StatRow) -> Self {
        Self {
            sessions: row.sessions,
            queued: row.queued.unwrap_or(0),
            used: row.used_connections.unwrap_or(0),
            idle: row.idle_connections.unwrap_or(0),
        }
    }

    /// Returns `true` if no request is on its way to it or from it.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.sessions == 0 && self.queued == 0 && self.used == 0
    }
}
