//! Requests and the connections that carry them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use super::{
    command::{Answer, error},
    server::Server,
    worker::{At, Worker},
};
use crate::policy::HttpReuse;

/// A client with one kept connection to HAProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// A request that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It reached this address, and runs until it is finished.
    Reached(RequestId, SocketAddr),
    /// It was sent to this address, where nobody listens: 503 after the retries.
    Unreachable(SocketAddr),
    /// No server takes requests: 503 at once.
    NoServer,
    /// There is no such backend.
    NoBackend,
}

/// The server that answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// It passes its health check.
    pub healthy: bool,
}

/// The connections of one worker, to clients and to servers.
#[derive(Debug)]
pub(super) struct Traffic {
    keep_alive: Duration,
    clients: BTreeMap<ClientId, Client>,
    running: BTreeMap<RequestId, Running>,
    /// Kept connections, by the serial number of their server.
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Client {
    requests: u64,
    /// Since when nothing runs for it.
    idle_since: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    client: ClientId,
    server: u64,
    address: SocketAddr,
    reuse: HttpReuse,
}

#[derive(Debug)]
struct Kept {
    server: u64,
    address: SocketAddr,
    origin: ClientId,
    /// It belongs to one client, as with `http-reuse never`.
    private: bool,
}

/// The facts that the gauges of one server give, and those that they do not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) sessions: usize,
    pub(super) used: usize,
    pub(super) idle: usize,
    /// Private connections at rest, which most versions tell nowhere.
    pub(super) glued: usize,
}

impl Traffic {
    pub(super) fn new(keep_alive: Duration) -> Self {
        Self {
            keep_alive,
            clients: BTreeMap::new(),
            running: BTreeMap::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn sessions(&self, server: u64) -> usize {
        self.running
            .values()
            .filter(|running| running.server == server)
            .count()
    }

    pub(super) fn gauges(&self, server: u64) -> Counted {
        let sessions = self.sessions(server);
        let kept = |private: bool| {
            self.kept
                .iter()
                .filter(|kept| kept.server == server && kept.private == private)
                .count()
        };
        Counted {
            sessions,
            used: sessions,
            idle: kept(false),
            glued: kept(true),
        }
    }

    /// Returns `true` if anything keeps a server from being deleted.
    pub(super) fn attached(&self, server: u64, idle_counts: bool) -> bool {
        let counted = self.gauges(server);
        counted.sessions + counted.glued > 0 || (idle_counts && counted.idle > 0)
    }

    pub(super) fn has_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub(super) fn serves(&self, client: ClientId) -> bool {
        self.running
            .values()
            .any(|running| running.client == client)
    }

    pub(super) fn knows(&self, request: RequestId) -> bool {
        self.running.contains_key(&request)
    }

    pub(super) fn leave(&mut self, client: ClientId) {
        self.clients.remove(&client);
        self.kept
            .retain(|kept| !(kept.private && kept.origin == client));
        self.running.retain(|_, running| running.client != client);
    }

    pub(super) fn expire(&mut self, now: Duration) {
        let keep_alive = self.keep_alive;
        let gone: BTreeSet<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                client
                    .idle_since
                    .is_some_and(|since| now >= since + keep_alive)
            })
            .map(|(id, _)| *id)
            .collect();
        for client in gone {
            self.leave(client);
        }
    }

    /// Whatever listened at an address is gone.
    pub(super) fn lose(&mut self, address: SocketAddr) {
        self.kept.retain(|kept| kept.address != address);
        self.cut(|running| running.address == address);
    }

    /// Ends requests half-way, with the clients' connections.
    fn cut(&mut self, which: impl Fn(&Running) -> bool) {
        let clients: BTreeSet<ClientId> = self
            .running
            .values()
            .filter(|running| which(running))
            .map(|running| running.client)
            .collect();
        for client in clients {
            self.leave(client);
        }
    }

    fn purge(&mut self, server: u64) {
        self.kept
            .retain(|kept| kept.private || kept.server != server);
    }
}

impl Worker {
    /// A client's request for a backend.
    pub(super) fn begin(
        &mut self,
        id: RequestId,
        client: ClientId,
        backend: &str,
        upstreams: &BTreeMap<SocketAddr, Upstream>,
    ) -> Outcome {
        let whatever = self.profile.reuses_whatever_the_address();
        let Some(pool) = self.backends.iter_mut().find(|known| known.name == backend) else {
            return Outcome::NoBackend;
        };
        let reuse = pool.reuse;
        let able: Vec<&Server> = pool
            .servers
            .iter()
            .filter(|server| server.takes_requests())
            .collect();
        pool.turn = pool.turn.wrapping_add(1);
        let chosen = pool
            .turn
            .checked_rem(able.len())
            .and_then(|turn| able.get(turn));
        let Some((server, address)) = chosen.and_then(|server| {
            Some((server.serial, SocketAddr::new(server.address?, server.port)))
        }) else {
            return Outcome::NoServer;
        };
        let traffic = &mut self.traffic;
        let first = traffic
            .clients
            .get(&client)
            .is_none_or(|known| known.requests == 0);
        let found = traffic.kept.iter().position(|kept| {
            let own = kept.origin == client;
            let allowed = match reuse {
                HttpReuse::Never => kept.private && own,
                HttpReuse::Safe => own || !first,
                HttpReuse::Aggressive | HttpReuse::Always => !kept.private || own,
            };
            kept.server == server && allowed && (whatever || kept.address == address)
        });
        let reached = match found {
            Some(at) => traffic.kept.swap_remove(at).address,
            None => address,
        };
        let known = traffic.clients.entry(client).or_insert(Client {
            requests: 0,
            idle_since: None,
        });
        known.requests += 1;
        if !upstreams.contains_key(&reached) {
            known.idle_since = Some(self.now);
            return Outcome::Unreachable(reached);
        }
        known.idle_since = None;
        traffic.running.insert(
            id,
            Running {
                client,
                server,
                address: reached,
                reuse,
            },
        );
        Outcome::Reached(id, reached)
    }

    /// A request has its response; its connections may be kept.
    pub(super) fn finish(&mut self, id: RequestId) {
        let Some(done) = self.traffic.running.remove(&id) else {
            return;
        };
        let now = self.now;
        if !self.traffic.serves(done.client)
            && let Some(client) = self.traffic.clients.get_mut(&done.client)
        {
            client.idle_since = Some(now);
        }
        if self.stopping {
            // A leaving worker keeps no connection, neither to clients nor to servers.
            self.traffic.leave(done.client);
            return;
        }
        let Some(server) = self.by_serial(done.server).and_then(|at| self.server(at)) else {
            return;
        };
        let private = done.reuse == HttpReuse::Never;
        if !private && server.is_maint() && !self.profile.pools_in_maintenance() {
            return;
        }
        self.traffic.kept.push(Kept {
            server: done.server,
            address: done.address,
            origin: done.client,
            private,
        });
    }

    /// Closes the kept connections of a server, but for those that belong to a client.
    pub(super) fn purge(&mut self, at: At) {
        if let Some(serial) = self.server(at).map(|server| server.serial) {
            self.traffic.purge(serial);
        }
    }

    pub(super) fn shutdown_sessions(&mut self, name: &str) -> Answer {
        let at = match self.find(name) {
            Ok(_) if self.stopping => return error("Proxy is disabled."),
            Ok(at) => at,
            Err(answer) => return answer,
        };
        if let Some(serial) = self.server(at).map(|server| server.serial) {
            self.traffic.cut(|running| running.server == serial);
        }
        Answer::Done
    }
}
