//! What must hold after each command that lets a server in, and at the end.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_core::{Endpoint, Name};
use lb_haproxy::{
    observed::is_parked,
    plan::Plan,
    proto::{AdminState, ServerRef},
};

use super::{SERVICES, World, name};

impl World {
    /// A server was made ready: its service desires that, and no other has still to leave the address.
    pub(super) fn check_admission(&mut self, at: &ServerRef) {
        let Some(address) = self.server(at).address else {
            panic!("{at} is made ready and has no address");
        };
        let desired = self
            .desired(&at.backend, address)
            .any(|(_, endpoint)| endpoint.state.is_ready());
        assert!(
            desired,
            "{at} is made ready at {address}, which is not desired"
        );
        let own = self.replaced.contains(&(address, at.backend.clone()));
        let another = self.replaced.iter().any(|(served, _)| *served == address);
        assert!(
            own || !another || self.now >= self.replaced_until,
            "{at} is made ready at {address}, which a replaced worker serves for another"
        );
        if self.is_exclusive(&at.backend) {
            self.check_exclusive(at, address);
        }
        for (backend, servers) in &self.backends {
            if !self.manage.owns(backend) {
                // Nothing that its owner does there is known.
                continue;
            }
            let shares = *backend == at.backend || self.desired(backend, address).next().is_some();
            let mut there = servers
                .iter()
                .filter(|server| server.address == Some(address));
            let taken = there.any(|server| server.admin == AdminState::Ready);
            assert!(
                shares || !taken,
                "{at} is made ready at {address}, where {backend} is"
            );
        }
    }

    /// A server of an exclusive service was made ready: every other one is out and has no session, also with a worker that
    /// was replaced.
    fn check_exclusive(&self, at: &ServerRef, address: SocketAddr) {
        let servers = self.backends.get(&at.backend).into_iter().flatten();
        for other in servers.filter(|other| other.address != Some(address)) {
            let place = (at.backend.clone(), other.name.clone());
            let parked = other.address.is_none_or(is_parked);
            let open = other.admin != AdminState::Maint && !parked;
            assert!(
                !open && !self.sessions.contains(&place),
                "{at} is made ready at {address} beside {}",
                other.name
            );
        }
        let mut replaced = self.replaced.iter();
        let beside = replaced.any(|(served, service)| *service == at.backend && *served != address);
        assert!(
            !beside || self.now >= self.replaced_until,
            "{at} is made ready at {address} beside a replaced worker"
        );
    }

    /// The endpoints that a service has at an address, in any state.
    fn desired(
        &self,
        service: &Name,
        address: SocketAddr,
    ) -> impl Iterator<Item = (&Name, &Endpoint)> {
        let known = self.desired.service(service);
        let endpoints = known.into_iter().flat_map(|known| known.endpoints());
        endpoints.filter(move |(_, endpoint)| endpoint.address == address)
    }

    pub(super) fn check_end(&self, plan: &Plan) {
        assert!(plan.settled, "{plan}");
        for service in SERVICES {
            let service = name(service);
            let servers = self.backends.get(&service).into_iter().flatten();
            let ready: BTreeMap<SocketAddr, u16> = servers
                .filter(|server| server.admin == AdminState::Ready)
                .filter_map(|server| Some((server.address?, server.weight)))
                .collect();
            let known = self.desired.service(&service);
            let endpoints = || known.into_iter().flat_map(|known| known.endpoints());
            for (id, endpoint) in endpoints().filter(|(_, desired)| desired.state.is_ready()) {
                let mut weights = self
                    .desired(&service, endpoint.address)
                    .filter(|(_, desired)| desired.state.is_ready())
                    .map(|(_, desired)| desired.weight.get());
                let served = ready.get(&endpoint.address);
                let served = served.is_some_and(|weight| weights.any(|desired| desired == *weight));
                let same = |other: &Name| {
                    let mut here = self.desired(&service, endpoint.address);
                    here.any(|(known, _)| known == other)
                };
                let mut unmet = plan.unmet.iter().filter(|unmet| unmet.service == service);
                // One of weight 0 asks for nothing beside another.
                let weightless = endpoint.weight.get() == 0 && !ready.is_empty();
                if weightless && self.is_exclusive(&service) {
                    continue;
                }
                let told = unmet.any(|unmet| unmet.endpoint.as_ref().is_none_or(same));
                assert!(served || told, "{service}/{id} is forgotten: {plan}");
            }
            if !self.manage.owns(&service) {
                continue;
            }
            let most = if self.is_exclusive(&service) {
                1
            } else {
                usize::MAX
            };
            assert!(ready.len() <= most, "{service} serves at {ready:?}: {plan}");
            for address in ready.keys() {
                let desired = endpoints()
                    .any(|(_, desired)| desired.address == *address && desired.state.is_ready());
                assert!(desired, "{service} still serves at {address}: {plan}");
            }
        }
    }
}
