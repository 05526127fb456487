//! What HAProxy does by itself, by commands and by another client's.

use std::time::Duration;

use lb_haproxy::{
    observed::{PARKED, Server, is_parked},
    proto::{AdminState, Command, Health, ServerRef},
};

use super::{SERVICES, World, address, name};
use crate::bytes::Bytes;

impl World {
    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.settle();
        for server in self.backends.values_mut().flatten() {
            if server.admin == AdminState::Ready {
                server.running = !server.checked || self.checks_pass;
            }
        }
        self.observe();
    }

    /// Makes what was sent take effect.
    pub(super) fn settle(&mut self) {
        for (server, address) in std::mem::take(&mut self.late) {
            if self.find(&server).is_some() {
                self.apply(&Command::SetAddr(server, address));
            }
        }
    }

    /// Servers that may get requests have some.
    pub(super) fn begin_sessions(&mut self, mask: u8) {
        for (backend, servers) in &self.backends {
            for server in servers {
                let refuses = server.address.is_none_or(is_parked);
                let serves = server.admin == AdminState::Ready && server.running && !refuses;
                if serves && server.weight > 0 && mask >> (server.id % 8) & 1 == 1 {
                    self.sessions.insert((backend.clone(), server.name.clone()));
                }
            }
        }
    }

    pub(super) fn end_sessions(&mut self, mask: u8) {
        let mut count = 0;
        self.sessions.retain(|_| {
            count += 1;
            mask >> (count % 8) & 1 == 0
        });
    }

    /// Changes a server as another client does.
    pub(super) fn edit(&mut self, bytes: &mut Bytes<'_>) {
        self.settle();
        let (service, place, what) = (bytes.pick(&SERVICES), bytes.next(), bytes.next());
        let new = match bytes.next() {
            parked if parked & 8 == 0 => PARKED,
            number => address(number),
        };
        let Some(servers) = self.backends.get_mut(service) else {
            return;
        };
        let count = servers.len().max(1);
        let Some(server) = servers.get_mut(usize::from(place) % count) else {
            return;
        };
        match what % 7 {
            0 => set_state(server, AdminState::Ready),
            1 => set_state(server, AdminState::Drain),
            2 => set_state(server, AdminState::Maint),
            3 => {
                // Another client that does that waits until the server has no session any more.
                let at = (name(service), server.name.clone());
                if !self.sessions.contains(&at) {
                    server.address = Some(new);
                }
            }
            4 => server.weight = u16::from(what),
            5 => server.running = false,
            _ => server.check_enabled = false,
        }
        self.observe();
    }

    pub(super) fn find(&mut self, at: &ServerRef) -> Option<&mut Server> {
        let servers = self.backends.get_mut(&at.backend)?;
        servers.iter_mut().find(|server| server.name == at.server)
    }

    pub(super) fn server(&mut self, at: &ServerRef) -> &mut Server {
        assert!(self.manage.owns(&at.backend), "{at} is not managed");
        match self.find(at) {
            Some(server) => server,
            None => panic!("there is no server {at}"),
        }
    }

    fn is_quiet(&self, at: &ServerRef) -> bool {
        let at = (at.backend.clone(), at.server.clone());
        !self.sessions.contains(&at)
    }

    pub(super) fn apply(&mut self, command: &Command) {
        match command {
            Command::SetAddr(at, new) => {
                assert!(self.is_quiet(at), "{at} has traffic and goes to {new}");
                let server = self.server(at);
                assert_eq!(server.admin, AdminState::Maint, "{at} goes to {new}");
                let free = server.address.is_none_or(is_parked) || is_parked(*new);
                assert!(free, "{at} goes from {:?} to {new}", server.address);
                server.address = Some(*new);
            }
            Command::SetState(at, admin) => {
                set_state(self.server(at), *admin);
                if *admin == AdminState::Ready {
                    self.check_admission(at);
                }
            }
            Command::SetHealth(at, health) => {
                let server = self.server(at);
                if server.admin != AdminState::Maint {
                    server.running = *health == Health::Up;
                }
            }
            Command::SetWeight(at, weight) => self.server(at).weight = weight.get(),
            Command::SetCheckPort(at, port) => self.server(at).check_port = *port,
            Command::EnableHealth(at) => self.server(at).check_enabled = true,
            Command::ShutdownSessions(at) => {
                self.sessions
                    .remove(&(at.backend.clone(), at.server.clone()));
                self.planner.cut(at, self.now);
            }
            Command::AddServer {
                server: at,
                address,
                options,
            } => {
                assert!(self.find(at).is_none(), "there is a server {at}");
                let Some(servers) = self.backends.get_mut(&at.backend) else {
                    panic!("there is no backend for {at}");
                };
                let id = servers.iter().map(|known| known.id).max().unwrap_or(0) + 1;
                let mut server = Server::slot(at.server.clone(), id);
                server.address = Some(*address);
                server.declared_disabled = false;
                server.checked = options.check;
                server.check_enabled = false;
                servers.push(server);
            }
            Command::DelServer(at) => {
                assert!(self.is_quiet(at), "{at} has traffic and is removed");
                assert_eq!(self.server(at).admin, AdminState::Maint, "{at} is removed");
                if let Some(servers) = self.backends.get_mut(&at.backend) {
                    servers.retain(|known| known.name != at.server);
                }
            }
            other => panic!("no plan holds {other:?}"),
        }
    }
}

fn set_state(server: &mut Server, admin: AdminState) {
    if admin == AdminState::Maint {
        server.running = false;
        server.check_paused = true;
    } else if server.admin == AdminState::Maint {
        server.running = true;
        server.check_paused &= !server.check_enabled;
    }
    server.admin = admin;
}
