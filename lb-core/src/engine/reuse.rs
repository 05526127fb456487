//! Addresses that are used again while the guard holds the endpoints that had them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
};

use super::Engine;
use crate::{guard::Outcome, merge::SourceId, model::Name, time::Time};

/// An address, and a service that has it.
type Claim = (SocketAddr, Name);

/// The addresses that came into effect.
pub(super) fn addresses(outcome: &Outcome) -> Vec<Claim> {
    outcome
        .changes
        .iter()
        .filter_map(|change| {
            let endpoint = change.record.as_ref()?.endpoint.as_ref()?;
            Some((endpoint.address, change.key.service.clone()))
        })
        .collect()
}

impl Engine {
    /// Lets go of what is held at an address that is another service's now, by what source `id` just said: `said` is
    /// what of that came into effect.
    ///
    /// What a source drops at an address that it gives to another service is given up whenever it said either. Of two
    /// sources that disagree, only a claim newer than the hold counts: the older one may be the one that is wrong.
    pub(super) fn give_up_reused(
        &mut self,
        now: Time,
        id: SourceId,
        said: Vec<Claim>,
        holds_changed: bool,
    ) {
        let held: HashSet<SocketAddr> = self
            .sources
            .values()
            .flat_map(|entry| entry.records.held_addresses())
            .collect();
        if held.is_empty() {
            return;
        }
        let mut claims: HashMap<SocketAddr, BTreeSet<Name>> = HashMap::new();
        for (address, service) in said {
            if held.contains(&address) {
                claims.entry(address).or_default().insert(service);
            }
        }
        // What comes first and shares nothing with the one that claims keeps its address.
        let others = self.sources.keys().copied();
        let yields: Vec<SourceId> = others.filter(|other| self.yields_to(id, *other)).collect();
        self.give_up(now, &claims, |other| !yields.contains(&other));
        if !holds_changed {
            return;
        }
        // It may be held since then only, or what claims its address was held before and is said again.
        if let Some(entry) = self.sources.get(&id) {
            for (address, service) in entry.records.claims(&held) {
                claims.entry(address).or_default().insert(service.clone());
            }
        }
        self.give_up(now, &claims, |other| other == id);
    }

    fn give_up(
        &mut self,
        now: Time,
        claims: &HashMap<SocketAddr, BTreeSet<Name>>,
        of: impl Fn(SourceId) -> bool,
    ) {
        if claims.is_empty() {
            return;
        }
        let ids: Vec<SourceId> = self.sources.keys().copied().filter(|id| of(*id)).collect();
        for id in ids {
            if let Some(entry) = self.sources.get_mut(&id) {
                let outcome = entry.records.give_up(claims);
                let name = entry.descriptor.name.clone();
                self.apply(now, id, &name, outcome);
            }
        }
    }
}
