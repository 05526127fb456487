//! A look at the newest worker as it is, and not as it is told.

use std::net::SocketAddr;

use super::{
    agent::AgentWord,
    connection::ConnectionId,
    server::{Op, Server},
    simulation::Simulator,
    worker::Worker,
};
use crate::proto::AdminState;

/// One server of the newest worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView<'a> {
    /// Its backend's place in the configuration.
    pub place: usize,
    /// Its backend.
    pub backend: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The address it points to.
    pub address: Option<SocketAddr>,
    /// The administrative state that was set.
    pub admin: AdminState,
    /// Its weight.
    pub weight: u16,
    /// If `true`, HAProxy checks its health.
    pub checked: bool,
    /// If `true`, a check, and not only a command, says that it is well.
    pub vouched: bool,
    /// If `true`, new requests may go there.
    pub takes_requests: bool,
    /// The word of its agent that counts, if one was heard.
    pub agent: Option<AgentWord>,
    /// The number of requests it serves.
    pub sessions: usize,
}

impl Simulator {
    /// The number of the newest worker; `None` while there is none.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.workers.last().map(|worker| worker.pid)
    }

    /// Returns `true` if a connection is with the newest worker.
    #[must_use]
    pub fn is_newest(&self, id: ConnectionId) -> bool {
        self.newest().is_some() && self.pid_of(id) == self.newest()
    }

    /// The servers of the newest worker, in the order of the configuration.
    pub fn servers(&self) -> impl Iterator<Item = ServerView<'_>> {
        self.workers.last().into_iter().flat_map(|worker| {
            worker
                .backends
                .iter()
                .enumerate()
                .flat_map(move |(place, backend)| {
                    backend
                        .servers
                        .iter()
                        .map(move |server| view(worker, place, &backend.name, server))
                })
        })
    }

    /// The addresses that new requests for a backend may go to.
    #[must_use]
    pub fn serving(&self, backend: &str) -> Vec<SocketAddr> {
        self.servers()
            .filter(|server| server.backend == backend && server.takes_requests)
            .filter_map(|server| server.address)
            .collect()
    }

    /// The entries in effect of the newest worker's map, in the order they came.
    pub fn map_entries(&self, file: &str) -> impl Iterator<Item = (&str, &str)> {
        self.workers
            .last()
            .and_then(|worker| worker.maps.iter().find(|map| map.is(file)))
            .into_iter()
            .flat_map(|map| map.of(map.current))
            .map(|entry| (entry.key.as_str(), entry.value.as_str()))
    }
}

fn view<'a>(
    worker: &'a Worker,
    place: usize,
    backend: &'a str,
    server: &'a Server,
) -> ServerView<'a> {
    let admin = if server.is_maint() {
        AdminState::Maint
    } else if server.is_drain() {
        AdminState::Drain
    } else {
        AdminState::Ready
    };
    debug_assert!(server.op != Op::Running || admin != AdminState::Maint || server.track.is_some());
    ServerView {
        place,
        backend,
        name: &server.name,
        address: server.address.map(|ip| SocketAddr::new(ip, server.port)),
        admin,
        weight: server.weight,
        checked: server.check.configured,
        vouched: server.check.vouched,
        takes_requests: server.takes_requests(),
        agent: server.agent.heard.filter(|_| server.agent.enabled),
        sessions: worker.traffic.sessions(server.serial),
    }
}
