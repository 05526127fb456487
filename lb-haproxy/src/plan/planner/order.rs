//! The order across backends: an address leaves one before it enters another.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::Name;

use super::{super::backend::Role, Planner};

impl Planner {
    /// Notes which addresses a backend waits for. Whoever still holds a newly contested one is to look again: it may
    /// have kept it for its own sake.
    pub(super) fn contest(&mut self, name: &Name, waits_for: &BTreeSet<SocketAddr>) {
        let before = self
            .waiting
            .get(name)
            .map(|waiting| waiting.waits_for.clone())
            .unwrap_or_default();
        for address in before.difference(waits_for) {
            if let Some(claimants) = self.contested.get_mut(address) {
                claimants.remove(name);
                if claimants.is_empty() {
                    self.contested.remove(address);
                }
            }
        }
        for address in waits_for.difference(&before) {
            self.contested
                .entry(*address)
                .or_default()
                .insert(name.clone());
            if let Some(holders) = self.blocked.get(address) {
                self.dirty
                    .extend(holders.iter().filter(|holder| *holder != name).cloned());
            }
        }
    }

    /// Returns `true` if a backend that waited for an address wants it still: its desired state may have changed since
    /// it was looked at.
    pub(super) fn claims(&self, claimant: &Name, address: SocketAddr) -> bool {
        self.backends
            .get(claimant)
            .and_then(|backend| backend.wants.get(&address))
            .is_some_and(|want| want.state.is_ready())
    }

    /// The backends to look at now.
    pub(super) fn due(&mut self, now: Duration) -> BTreeSet<Name> {
        let mut due = std::mem::take(&mut self.dirty);
        due.extend(
            self.waiting
                .iter()
                .filter(|(_, waiting)| waiting.again_at.is_some_and(|at| at <= now))
                .map(|(name, _)| name.clone()),
        );
        due
    }

    /// Looks at the due backends: each server's part, and which addresses have still to leave. Backends that waited for
    /// an address which is free now become due as well.
    pub(super) fn look(
        &mut self,
        due: &BTreeSet<Name>,
        now: Duration,
    ) -> BTreeMap<Name, Vec<Role>> {
        let mut roles = BTreeMap::new();
        let mut freed = false;
        for name in due {
            let Some(backend) = self.backends.get_mut(name) else {
                continue;
            };
            let mut parts = backend.roles(&self.policy);
            if backend.lapse(&parts, now) {
                parts = backend.roles(&self.policy);
            }
            backend.note(&parts, now);
            self.fixed_elsewhere.note(backend, &parts);
            let blocks = backend.blocked_addresses(&parts);
            freed |= self.block(name, blocks);
            roles.insert(name.clone(), parts);
        }
        if freed {
            let waiting: Vec<Name> = self
                .waiting
                .iter()
                .filter(|(name, waiting)| {
                    !waiting.waits_for.is_empty() && !roles.contains_key(*name)
                })
                .map(|(name, _)| name.clone())
                .collect();
            for name in waiting {
                if let Some(backend) = self.backends.get(&name) {
                    roles.insert(name, backend.roles(&self.policy));
                }
            }
        }
        roles
    }

    /// Notes which addresses have still to leave a backend; tells whether any became free.
    fn block(&mut self, name: &Name, blocks: BTreeSet<SocketAddr>) -> bool {
        let before = self.blocking.remove(name).unwrap_or_default();
        let mut freed = false;
        for address in before.difference(&blocks) {
            freed = true;
            if let Some(holders) = self.blocked.get_mut(address) {
                holders.remove(name);
                if holders.is_empty() {
                    self.blocked.remove(address);
                }
            }
        }
        for address in blocks.difference(&before) {
            self.blocked
                .entry(*address)
                .or_default()
                .insert(name.clone());
        }
        if !blocks.is_empty() {
            self.blocking.insert(name.clone(), blocks);
        }
        freed
    }
}
