//! Fixed servers of one service at addresses of another: lb changes none of them, so the endpoint of the other service gets
//! requests that are not its own. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use lb_core::{Condition, ConditionKind, Name};

use super::super::backend::{Backend, Role};
use crate::proto::ServerRef;

/// The most such servers of which one backend tells.
const MOST_SHOWN: usize = 16;

/// The fixed servers that serve addresses which no endpoint of their own service has.
#[derive(Debug, Clone, Default)]
pub(super) struct FixedElsewhere {
    servers: HashMap<SocketAddr, BTreeSet<ServerRef>>,
    by_backend: BTreeMap<Name, Vec<(SocketAddr, ServerRef)>>,
}

impl FixedElsewhere {
    /// Takes in how the servers of a backend are now.
    pub(super) fn note(&mut self, backend: &Backend, roles: &[Role]) {
        for (address, server) in self.by_backend.remove(&backend.name).unwrap_or_default() {
            if let Some(servers) = self.servers.get_mut(&address) {
                servers.remove(&server);
                if servers.is_empty() {
                    self.servers.remove(&address);
                }
            }
        }
        if backend.service.is_none() {
            return;
        }
        let found = backend.fixed(roles);
        let others = found
            .into_iter()
            .filter(|(address, _)| backend.wants.get(address).is_none());
        let all: Vec<(SocketAddr, ServerRef)> = others
            .map(|(address, slot)| {
                let server = ServerRef::new(backend.name.clone(), slot.server.name.clone());
                (address, server)
            })
            .collect();
        for (address, server) in &all {
            let servers = self.servers.entry(*address).or_default();
            servers.insert(server.clone());
        }
        if !all.is_empty() {
            self.by_backend.insert(backend.name.clone(), all);
        }
    }

    /// The conditions of a backend whose endpoints get requests of another service.
    pub(super) fn conflicts(&self, backend: &Backend, roles: &[Role]) -> Vec<Condition> {
        if self.servers.is_empty() {
            return Vec::new();
        }
        let tenants = roles.iter().filter_map(|role| match role {
            Role::Tenant(address, want) if want.state.is_ready() => Some(*address),
            _ => None,
        });
        let found = tenants.flat_map(|address| {
            let servers = self.servers.get(&address).into_iter().flatten();
            let others = servers.filter(|server| server.backend != backend.name);
            others.map(move |server| (address, server))
        });
        let mut conditions: Vec<Condition> = found
            .map(|(address, server)| {
                let detail = format!(
                    "server {server} is no slot and never changed by lb, and it serves {address} too: the endpoint gets \
                     requests of another service"
                );
                let mut condition = Condition::new(ConditionKind::Conflict, detail)
                    .of_object(server.to_string())
                    .with_help("remove the server from haproxy.cfg, or set it to maint");
                condition.service = backend.service.clone();
                condition.endpoint = backend.wants.decides(&address).cloned();
                condition
            })
            .collect();
        conditions.sort_unstable_by(|a, b| a.object.cmp(&b.object));
        conditions.truncate(MOST_SHOWN);
        conditions
    }
}
