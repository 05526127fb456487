//! A HAProxy in a few lines: what the planner's commands do, and what they must never do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::Name;
use lb_haproxy::{
    observed::{Gauges, Server},
    plan::{Plan, Planner, Read, Step, Why},
    proto::{AdminState, Command, Health},
};

use crate::name;

/// A HAProxy without a socket: states, weights and sessions of its servers.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) backends: BTreeMap<Name, Vec<Server>>,
    pub(crate) sessions: BTreeMap<(Name, u32), u64>,
    pub(crate) now: Duration,
}

impl Model {
    pub(crate) fn new(backends: &[&str], slots: u32, checked: bool) -> Self {
        let backends = backends
            .iter()
            .map(|backend| {
                let servers = (1..=slots)
                    .map(|id| {
                        let mut server = Server::slot(name(&format!("slot{id}")), id);
                        server.checked = checked;
                        server
                    })
                    .collect();
                (name(backend), servers)
            })
            .collect();
        Self {
            backends,
            sessions: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    /// Applies a step, as a driver does.
    pub(crate) fn carry_out(&mut self, planner: &mut Planner, step: &Step) {
        planner.step_sent(step, self.now);
        self.apply(&step.command);
    }

    pub(crate) fn apply(&mut self, command: &Command) {
        match command {
            Command::SetAddr(at, address) => {
                let server = self.server(&at.backend, &at.server);
                assert_eq!(
                    server.admin,
                    AdminState::Maint,
                    "only a server in maintenance is re-pointed"
                );
                server.address = Some(*address);
                let id = server.id;
                let sessions = self.sessions.get(&(at.backend.clone(), id)).copied();
                assert_eq!(
                    sessions.unwrap_or(0),
                    0,
                    "a server with traffic was re-pointed"
                );
            }
            Command::SetState(at, admin) => {
                let server = self.server(&at.backend, &at.server);
                if server.admin == AdminState::Maint && *admin != AdminState::Maint {
                    server.running = true;
                    server.check_paused &= !server.check_enabled;
                }
                server.admin = *admin;
                if *admin == AdminState::Maint {
                    server.running = false;
                    server.check_paused = true;
                }
            }
            Command::SetHealth(at, health) => {
                let server = self.server(&at.backend, &at.server);
                if server.admin != AdminState::Maint {
                    server.running = *health == Health::Up;
                }
            }
            Command::SetWeight(at, weight) => {
                self.server(&at.backend, &at.server).weight = weight.get();
            }
            Command::SetCheckPort(at, port) => {
                self.server(&at.backend, &at.server).check_port = *port;
            }
            Command::ShutdownSessions(at) => {
                let id = self.server(&at.backend, &at.server).id;
                self.sessions.remove(&(at.backend.clone(), id));
            }
            Command::AddServer {
                server: at,
                address,
                options,
            } => {
                let servers = self.backends.get_mut(&at.backend).unwrap();
                assert!(
                    servers.iter().all(|known| known.name != at.server),
                    "no second server of a name {at}: {servers:?}"
                );
                let id = servers.iter().map(|known| known.id).max().unwrap_or(0) + 1;
                let mut server = Server::slot(at.server.clone(), id);
                server.address = Some(*address);
                server.declared_disabled = false;
                server.checked = options.check;
                server.check_enabled = false;
                servers.push(server);
            }
            Command::DelServer(at) => {
                let server = self.server(&at.backend, &at.server).clone();
                assert_eq!(server.admin, AdminState::Maint);
                let sessions = self.sessions.get(&(at.backend.clone(), server.id)).copied();
                assert_eq!(
                    sessions.unwrap_or(0),
                    0,
                    "a server with traffic was removed"
                );
                self.backends
                    .get_mut(&at.backend)
                    .unwrap()
                    .retain(|known| known.name != at.server);
            }
            Command::EnableAgent(at) => {
                self.server(&at.backend, &at.server).agent_enabled = true;
            }
            Command::DisableAgent(at) => {
                self.server(&at.backend, &at.server).agent_enabled = false;
            }
            Command::SetSsl(at, on) => {
                self.server(&at.backend, &at.server).ssl = Some(*on);
            }
            Command::SetCheckAddr {
                server: at,
                address,
                port: None,
            } => {
                let address = Some(*address).filter(|address| !address.is_unspecified());
                self.server(&at.backend, &at.server).check_address = address;
            }
            Command::EnableHealth(at) => {
                self.server(&at.backend, &at.server).check_enabled = true;
            }
            other => panic!("no plan holds {other:?}"),
        }
    }

    pub(crate) fn server(&mut self, backend: &Name, server: &Name) -> &mut Server {
        self.backends
            .get_mut(backend)
            .unwrap()
            .iter_mut()
            .find(|known| known.name == *server)
            .unwrap()
    }

    /// Every check passes; time goes on.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        for server in self.backends.values_mut().flatten() {
            if server.admin == AdminState::Ready {
                server.running = true;
            }
        }
    }

    pub(crate) fn serving(&self, backend: &Name) -> BTreeSet<SocketAddr> {
        self.backends[backend]
            .iter()
            .filter(|server| {
                server.admin == AdminState::Ready && server.running && server.weight > 0
            })
            .filter_map(|server| server.address)
            .collect()
    }

    pub(crate) fn observe(&self, planner: &mut Planner) {
        for (backend, servers) in &self.backends {
            planner.observe(backend, servers.clone(), self.now);
        }
    }

    pub(crate) fn read(&self, planner: &mut Planner, plan: &Plan) {
        for read in &plan.reads {
            match read {
                Read::Gauges(backend, ids) => {
                    for id in ids {
                        let sessions = self
                            .sessions
                            .get(&(backend.clone(), *id))
                            .copied()
                            .unwrap_or(0);
                        let gauges = Gauges {
                            sessions,
                            ..Gauges::default()
                        };
                        planner.observe_gauges(backend, *id, gauges, self.now);
                    }
                }
                Read::Backups(backend) => planner.observe_backups(backend, &BTreeSet::new()),
                Read::ReloadIsSafe(backend) => planner.reload_is_safe(backend, self.now),
                Read::States(backend) => {
                    planner.observe(backend, self.backends[backend].clone(), self.now);
                }
            }
        }
    }

    /// Plans and applies until there is nothing left to do now or later; `each` sees every single command applied.
    pub(crate) fn converge(
        &mut self,
        planner: &mut Planner,
        mut each: impl FnMut(&Self, &Command, Why),
    ) -> Plan {
        for _ in 0..2000 {
            let plan = planner.plan(self.now);
            for step in plan.steps() {
                self.carry_out(planner, step);
                each(self, &step.command, step.why);
            }
            self.read(planner, &plan);
            if !plan.is_empty() {
                self.observe(planner);
                continue;
            }
            if !plan.reads.is_empty() {
                continue;
            }
            match plan.again_at {
                Some(at) if at > self.now => self.advance(at - self.now),
                Some(_) => {}
                None => return plan,
            }
        }
        panic!("no end: {}", planner.plan(self.now));
    }
}
