//! The whole: workers, connections to them, clients, and what listens where.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use super::{
    agent::AgentWord,
    config::ConfigModel,
    connection::{Connection, ConnectionId},
    profile::Profile,
    restore::restore,
    traffic::{ClientId, Outcome, RequestId, Upstream},
    worker::Worker,
};

/// A HAProxy that is only simulated: a value without clock or socket.
///
/// Bytes go in by [`send`](Self::send) and come out by [`receive`](Self::receive); time passes by
/// [`advance`](Self::advance); requests are made by [`request`](Self::request), which tells where they went.
///
/// ```
/// use lb_haproxy::simulator::{BackendModel, ConfigModel, Profile, Simulator};
///
/// let config = ConfigModel { backends: vec![BackendModel::slots("web", 2, None)], ..ConfigModel::default() };
/// let mut haproxy = Simulator::new(Profile::of(3, 0), config);
/// let socket = haproxy.connect().unwrap();
/// haproxy.send(socket, b"get weight web/slot1\n");
/// assert_eq!(haproxy.receive(socket), b"1 (initial 1)\n\n");
/// assert!(haproxy.is_closed(socket));
/// ```
#[derive(Debug)]
pub struct Simulator {
    profile: Profile,
    config: ConfigModel,
    now: Duration,
    /// The newest last.
    pub(super) workers: Vec<Worker>,
    connections: BTreeMap<ConnectionId, Connection>,
    upstreams: BTreeMap<SocketAddr, Upstream>,
    agents: BTreeMap<SocketAddr, AgentWord>,
    /// The worker that each client is connected to.
    clients: BTreeMap<ClientId, u32>,
    next_connection: u64,
    next_request: u64,
    next_pid: u32,
    address_delay: Duration,
}

impl Simulator {
    /// A HAProxy that has just started.
    #[must_use]
    pub fn new(profile: Profile, config: ConfigModel) -> Self {
        let mut simulator = Self {
            profile,
            config,
            now: Duration::ZERO,
            workers: Vec::new(),
            connections: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            agents: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_connection: 0,
            next_request: 0,
            next_pid: 100,
            address_delay: Duration::from_millis(1),
        };
        simulator.spawn();
        simulator
    }

    /// The version it plays.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The configuration of the next worker.
    pub fn config_mut(&mut self) -> &mut ConfigModel {
        &mut self.config
    }

    /// The time an accepted address takes to come into effect, from 2.9 on.
    pub fn set_address_delay(&mut self, delay: Duration) {
        self.address_delay = delay;
        for worker in &mut self.workers {
            worker.address_delay = delay;
        }
    }

    /// Lets something listen at an address, or nothing: then all connections to it end.
    pub fn set_upstream(&mut self, address: SocketAddr, upstream: Option<Upstream>) {
        match upstream {
            Some(upstream) => self.upstreams.insert(address, upstream),
            None => self.upstreams.remove(&address),
        };
        if upstream.is_none() {
            for worker in &mut self.workers {
                worker.traffic.lose(address);
            }
        }
    }

    /// Lets an agent at an address say something from now on, or nothing.
    pub fn set_agent(&mut self, address: SocketAddr, word: Option<AgentWord>) {
        match word {
            Some(word) => self.agents.insert(address, word),
            None => self.agents.remove(&address),
        };
    }

    // === time and processes

    /// Lets time pass until `now`, which must not go backwards.
    ///
    /// Tells whether a server of the newest worker changed by that.
    pub fn advance(&mut self, now: Duration) -> bool {
        self.now = self.now.max(now);
        let mut changed = false;
        for worker in &mut self.workers {
            changed = worker.advance(self.now, &self.upstreams, &self.agents);
        }
        for connection in self.connections.values_mut() {
            if let Some(worker) = self
                .workers
                .iter_mut()
                .find(|known| known.pid == connection.pid)
            {
                connection.advance(worker, self.config.bufsize);
            }
        }
        self.retire();
        changed
    }

    /// The next moment at which something that was asked for on the socket happens by itself.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        let waits = self
            .connections
            .values()
            .filter_map(Connection::waits_until);
        self.workers
            .iter()
            .filter_map(Worker::next_event)
            .chain(waits)
            .min()
    }

    /// A seamless reload: a new worker, with what a state file holds; the old one leaves when nothing needs it.
    pub fn reload(&mut self, state: Option<&str>) {
        for worker in &mut self.workers {
            worker.stopping = true;
        }
        self.spawn();
        if let (Some(state), Some(worker)) = (state, self.workers.last_mut()) {
            restore(worker, state);
        }
        self.retire();
    }

    /// The end of all workers and connections, and a new start.
    pub fn restart(&mut self, state: Option<&str>) {
        self.stop();
        self.spawn();
        if let (Some(state), Some(worker)) = (state, self.workers.last_mut()) {
            restore(worker, state);
        }
    }

    /// The end of all workers and connections. Nobody answers until [`restart`](Self::restart).
    pub fn stop(&mut self) {
        self.workers.clear();
        self.clients.clear();
        for connection in self.connections.values_mut() {
            connection.take_output();
            connection.closed = true;
        }
    }

    /// The text of a state file, as of now.
    #[must_use]
    pub fn state_file(&self) -> Option<String> {
        match self.workers.last()?.show_servers_state("") {
            super::command::Answer::Dump(text) => Some(text),
            _ => None,
        }
    }

    fn spawn(&mut self) {
        self.next_pid += 1;
        let mut worker = Worker::new(self.profile.clone(), &self.config, self.next_pid, self.now);
        worker.address_delay = self.address_delay;
        self.workers.push(worker);
    }

    /// Old workers leave when they have no request and no connection left.
    fn retire(&mut self) {
        let connected: BTreeSet<u32> = self
            .connections
            .values()
            .filter(|connection| !connection.closed)
            .map(|connection| connection.pid)
            .collect();
        self.workers.retain(|worker| {
            !worker.stopping || worker.traffic.has_running() || connected.contains(&worker.pid)
        });
    }

    // === the runtime socket

    /// A connection to the newest worker; `None` while there is none.
    pub fn connect(&mut self) -> Option<ConnectionId> {
        let pid = self.workers.last()?.pid;
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let connection = Connection::new(pid, self.config.level, self.config.cli_timeout, self.now);
        self.connections.insert(id, connection);
        Some(id)
    }

    pub(super) fn pid_of(&self, id: ConnectionId) -> Option<u32> {
        self.connections.get(&id).map(|connection| connection.pid)
    }

    /// Writes to a connection.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match self
            .workers
            .iter_mut()
            .find(|known| known.pid == connection.pid)
        {
            Some(worker) => connection.receive(bytes, worker, self.config.bufsize),
            None => connection.closed = true,
        }
    }

    /// Takes what a connection has to say.
    pub fn receive(&mut self, id: ConnectionId) -> Vec<u8> {
        self.connections
            .get_mut(&id)
            .map(Connection::take_output)
            .unwrap_or_default()
    }

    /// Returns `true` if nothing more will come from a connection.
    #[must_use]
    pub fn is_closed(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_none_or(|connection| connection.closed && !connection.has_output())
    }

    /// Closes a connection from the client's side.
    pub fn disconnect(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        self.retire();
    }

    /// Returns `true` if the newest worker has changes that were accepted and are not in effect.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.workers
            .last()
            .is_some_and(|worker| !worker.pending.is_empty())
    }

    // === traffic

    /// A client's next request. It runs until it is [finished](Self::finish).
    pub fn request(&mut self, client: ClientId, backend: &str) -> Outcome {
        let bound = self.clients.get(&client).copied();
        let newest = self.workers.last().map(|worker| worker.pid);
        let worker = self.workers.iter_mut().find(|worker| {
            // A leaving worker closes the connections on which nothing runs.
            Some(worker.pid) == bound && (!worker.stopping || worker.traffic.serves(client))
        });
        let worker = match worker {
            Some(worker) => worker,
            None => match self.workers.last_mut() {
                Some(worker) => worker,
                None => return Outcome::NoServer,
            },
        };
        if bound != newest || bound.is_none() {
            self.clients.insert(client, worker.pid);
        }
        self.next_request += 1;
        worker.begin(
            RequestId(self.next_request),
            client,
            backend,
            &self.upstreams,
        )
    }

    /// The response to a request has been sent.
    pub fn finish(&mut self, request: RequestId) {
        for worker in &mut self.workers {
            worker.finish(request);
        }
        self.retire();
    }

    /// Returns `true` if a request still runs. One that was neither finished nor runs was cut.
    #[must_use]
    pub fn is_running(&self, request: RequestId) -> bool {
        self.workers
            .iter()
            .any(|worker| worker.traffic.knows(request))
    }

    /// A client closes its connection.
    pub fn leave(&mut self, client: ClientId) {
        self.clients.remove(&client);
        for worker in &mut self.workers {
            worker.traffic.leave(client);
        }
        self.retire();
    }
}
