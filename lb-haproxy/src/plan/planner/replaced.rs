//! Addresses that a replaced worker may still send requests to.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};

use lb_core::Name;

use super::{Backend, Planner, Waiting};
use crate::{observed::is_parked, proto::AdminState};

/// The addresses that an old worker serves, for as long as it may.
#[derive(Debug, Clone, Default)]
pub(super) struct Replaced {
    serving: HashMap<SocketAddr, BTreeSet<Name>>,
    until: Duration,
}

impl Replaced {
    /// Returns `true` if the old worker may send requests to an address, and none of those for what this backend
    /// serves.
    pub(super) fn serves_another(&self, backend: &Backend, address: SocketAddr) -> bool {
        self.serving
            .get(&address)
            .is_some_and(|services| !services.contains(serves(backend)))
    }
}

impl Planner {
    /// Addresses other than `holder` to which a replaced worker, or a backend that had the service before, may still send
    /// what is meant for this exclusive backend.
    pub(super) fn served_elsewhere(
        &self,
        backend: &Backend,
        holder: Option<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let service = serves(backend);
        let replaced = self.replaced.serving.iter();
        let replaced = replaced
            .filter(|(_, services)| services.contains(service))
            .map(|(address, _)| *address);
        let former = backend.formerly.iter();
        let former = former
            .filter_map(|name| self.blocking.get(name))
            .flatten()
            .copied();
        replaced
            .chain(former)
            .filter(|address| Some(*address) != holder)
            .collect()
    }
}

/// The service of a backend: after a reload the same one may have another backend.
fn serves(backend: &Backend) -> &Name {
    backend.service.as_ref().unwrap_or(&backend.name)
}

impl Planner {
    /// The addresses that servers outside maintenance were observed to have, with their services (or backends, where
    /// no service is known).
    #[must_use]
    pub fn serving(&self) -> Vec<(SocketAddr, Name)> {
        let mut serving = Vec::new();
        for backend in self.backends.values() {
            let addresses = backend
                .slots
                .iter()
                .filter(|slot| {
                    // What was taken out may have sessions left, which matters to an exclusive service.
                    let may_be_busy = backend.exclusive && !slot.quiet_since(slot.since);
                    slot.server.admin != AdminState::Maint || may_be_busy
                })
                .filter_map(|slot| slot.server.address)
                .filter(|address| !is_parked(*address));
            serving.extend(addresses.map(|address| (address, serves(backend).clone())));
        }
        serving
    }

    /// Takes in what a replaced worker serves, which no command reaches any more: until it is
    /// [gone](Self::replaced_is_gone), and no longer than until `until`, none of these addresses enters another
    /// service. More may be added.
    pub fn replaced_serves(
        &mut self,
        serving: impl IntoIterator<Item = (SocketAddr, Name)>,
        until: Duration,
    ) {
        self.replaced.until = until;
        for (address, service) in serving {
            let services = self.replaced.serving.entry(address).or_default();
            services.insert(service);
        }
    }

    /// The addresses that an old worker still serves, as far as it is waited for at `now`.
    pub fn served_by_replaced(&self, now: Duration) -> impl Iterator<Item = (SocketAddr, Name)> {
        let waits = now < self.replaced.until;
        let all = self.replaced.serving.iter().filter(move |_| waits);
        all.flat_map(|(address, services)| {
            services.iter().map(move |name| (*address, name.clone()))
        })
    }

    /// Takes in that no replaced worker is left. Tells whether somebody waited for that.
    pub fn replaced_is_gone(&mut self) -> bool {
        let served = std::mem::take(&mut self.replaced.serving);
        let waits = |waiting: &Waiting| {
            let mut addresses = waiting.waits_for.iter();
            addresses.any(|address| served.contains_key(address))
        };
        let waiting: Vec<Name> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waits(waiting))
            .map(|(name, _)| name.clone())
            .collect();
        let anybody = !waiting.is_empty();
        self.dirty.extend(waiting);
        anybody
    }

    /// Ends the wait for a replaced worker that lives on.
    pub(super) fn end_wait_for_replaced(&mut self, now: Duration) {
        if now >= self.replaced.until && !self.replaced.serving.is_empty() {
            self.replaced_is_gone();
        }
    }

    /// The time at which a backend that waits for these addresses is looked at again because of an old worker.
    pub(super) fn replaced_until(&self, waits_for: &BTreeSet<SocketAddr>) -> Option<Duration> {
        waits_for
            .iter()
            .any(|address| self.replaced.serving.contains_key(address))
            .then_some(self.replaced.until)
    }
}
