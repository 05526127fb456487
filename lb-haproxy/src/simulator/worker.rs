//! One worker process: its servers, its maps, its traffic.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    agent::AgentWord,
    command::{Answer, error},
    config::{Balance, ConfigModel},
    maps::Map,
    profile::Profile,
    server::{Op, Server, configured},
    traffic::{Traffic, Upstream},
};
use crate::policy::HttpReuse;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) profile: Profile,
    pub(super) pid: u32,
    pub(super) began: Duration,
    pub(super) now: Duration,
    /// On its way out: it serves what it has and changes nothing any more.
    pub(super) stopping: bool,
    pub(super) backends: Vec<Backend>,
    pub(super) maps: Vec<Map>,
    pub(super) pending: Vec<PendingAddress>,
    pub(super) address_delay: Duration,
    pub(super) traffic: Traffic,
    pub(super) serial: u64,
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) balance: Balance,
    pub(super) reuse: HttpReuse,
    pub(super) servers: Vec<Server>,
    pub(super) turn: usize,
}

/// The place of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) backend: usize,
    pub(super) server: usize,
}

/// An address that was accepted and is not in effect yet.
#[derive(Debug, Clone)]
pub(super) struct PendingAddress {
    pub(super) at: Duration,
    pub(super) serial: u64,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) maps_ports: bool,
}

impl Worker {
    pub(super) fn new(profile: Profile, config: &ConfigModel, pid: u32, now: Duration) -> Self {
        let mut serial = 0;
        let mut backends: Vec<Backend> = config
            .backends
            .iter()
            .zip(config.first_backend_id..)
            .map(|(model, id)| Backend {
                name: model.name.clone(),
                id,
                balance: model.balance,
                reuse: model.reuse,
                servers: configured(model, &mut serial, now),
                turn: 0,
            })
            .collect();
        if profile.from(3, 3) {
            for server in backends.iter_mut().flat_map(|backend| &mut backend.servers) {
                if !server.check.configured {
                    server.check.health = 0;
                }
            }
        }
        let mut worker = Self {
            profile,
            pid,
            began: now,
            now,
            stopping: false,
            backends,
            maps: config.maps.iter().map(Map::new).collect(),
            pending: Vec::new(),
            address_delay: Duration::from_millis(1),
            traffic: Traffic::new(config.keep_alive),
            serial,
        };
        let tracked: Vec<(String, String)> = worker
            .backends
            .iter()
            .flat_map(|backend| &backend.servers)
            .filter_map(|server| server.track.clone())
            .collect();
        for (backend, name) in tracked {
            let Some(at) = worker.lookup(&backend, &name) else {
                continue;
            };
            if let Some(server) = worker.server_mut(at) {
                server.referenced = true;
            }
            worker.inherit(at);
        }
        worker
    }

    pub(super) fn server(&self, at: At) -> Option<&Server> {
        self.backends.get(at.backend)?.servers.get(at.server)
    }

    pub(super) fn server_mut(&mut self, at: At) -> Option<&mut Server> {
        self.backends
            .get_mut(at.backend)?
            .servers
            .get_mut(at.server)
    }

    pub(super) fn name_of(&self, at: At) -> Option<(String, String)> {
        let backend = self.backends.get(at.backend)?;
        Some((
            backend.name.clone(),
            backend.servers.get(at.server)?.name.clone(),
        ))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = At> {
        let counts: Vec<usize> = self
            .backends
            .iter()
            .map(|backend| backend.servers.len())
            .collect();
        counts
            .into_iter()
            .enumerate()
            .flat_map(|(backend, count)| (0..count).map(move |server| At { backend, server }))
    }

    pub(super) fn lookup(&self, backend: &str, server: &str) -> Option<At> {
        let at = self
            .backends
            .iter()
            .position(|known| known.name == backend)?;
        let servers = &self.backends.get(at)?.servers;
        Some(At {
            backend: at,
            server: servers.iter().position(|known| known.name == server)?,
        })
    }

    pub(super) fn by_serial(&self, serial: u64) -> Option<At> {
        self.all().find(|at| {
            self.server(*at)
                .is_some_and(|server| server.serial == serial)
        })
    }

    pub(super) fn is_static(&self, at: At) -> bool {
        self.backends
            .get(at.backend)
            .is_some_and(|backend| backend.balance == Balance::Static)
    }

    /// The server that `backend/server` names.
    pub(super) fn find(&self, name: &str) -> Result<At, Answer> {
        let Some((backend, server)) = name.split_once('/') else {
            return Err(error("Require 'backend/server'."));
        };
        if !self.backends.iter().any(|known| known.name == backend) {
            return Err(error("No such backend."));
        }
        self.lookup(backend, server)
            .ok_or_else(|| error("No such server."))
    }

    /// Lets time pass: addresses take effect, checks are made, kept client connections end.
    /// Tells whether a server changed by that.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        upstreams: &BTreeMap<SocketAddr, Upstream>,
        agents: &BTreeMap<SocketAddr, AgentWord>,
    ) -> bool {
        self.now = now;
        let mut changed = false;
        let due: Vec<PendingAddress> = self
            .pending
            .extract_if(.., |pending| pending.at <= now)
            .collect();
        for change in due {
            let Some(at) = self.by_serial(change.serial) else {
                continue;
            };
            changed = true;
            if let Some(server) = self.server_mut(at) {
                server.check.vouched = false;
                server.address = Some(change.address);
                server.port = change.port;
                server.maps_ports = change.maps_ports;
            }
            self.purge(at);
        }
        for backend in 0..self.backends.len() {
            let count = self
                .backends
                .get(backend)
                .map_or(0, |known| known.servers.len());
            for server in 0..count {
                changed |= self.check(At { backend, server }, upstreams);
                changed |= self.ask_agent(At { backend, server }, agents);
            }
        }
        self.traffic.expire(now);
        changed
    }

    fn check(&mut self, at: At, upstreams: &BTreeMap<SocketAddr, Upstream>) -> bool {
        let now = self.now;
        let Some(server) = self.server_mut(at) else {
            return false;
        };
        if !server.check.configured || server.check.next_at > now {
            return false;
        }
        // Each check has a beat of its own, which it keeps while it pauses.
        let inter = server.check.inter.max(Duration::from_millis(1));
        if server.check.next_at.is_zero() {
            let phase = u32::try_from(server.serial * 7919 % 1000).unwrap_or_default();
            server.check.next_at = now + inter * (phase + 1) / 1000;
            return false;
        }
        let missed = (now - server.check.next_at).as_nanos() / inter.as_nanos();
        let beats = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        server.check.next_at += inter * beats;
        if !server.check.runs() || server.is_maint() {
            return false;
        }
        let own = server.check.address.filter(|ip| !ip.is_unspecified());
        let Some(address) = own.or(server.address) else {
            return false;
        };
        let port = match server.check.port {
            0 => server.port,
            port => port,
        };
        let passed = upstreams
            .get(&SocketAddr::new(address, port))
            .is_some_and(|upstream| upstream.healthy);
        let before = (server.op, server.check.vouched);
        match server.check.heard(passed) {
            Some(true) if server.op != Op::Running => server.turn(Op::Running, now),
            Some(false) => server.turn(Op::Stopped, now),
            _ => {}
        }
        let changed = before != (server.op, server.check.vouched);
        self.inherit(at);
        changed
    }

    /// The next moment at which something happens by itself, if anything will.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.pending.iter().map(|pending| pending.at).min()
    }
}
