//! The records of all sources become one snapshot.
//!
//! Pure. A change costs the size of the change: one record is a few look-ups.
//!
//! Precedence is the order in which sources were added; the earlier wins. Between sources that share services (those of
//! one [trust](crate::source::Descriptor::with_trust)):
//! - the same record key from two sources: the earlier source's record counts while it has one, the later's
//!   comes back when the earlier's goes. Where the key means another endpoint in each source (containers of two
//!   engines), both are in effect, the later's under a name with its source in it;
//! - a service whose records disagree about its mode: the earlier source's word counts (within one source,
//!   HTTP before TCP);
//! - records that disagree about an option of their service: the earliest source that states it counts (within one
//!   source, what narrows: exclusive before not, sessions shut down before kept);
//! - one host, path and priority asked for by two services: the earlier source's service gets it (within one
//!   source, the first by name).
//!
//! Between sources that do not share services, precedence comes before all numbers:
//! - a service belongs to the earliest source that has a record of it: no record of another one is in effect, and no
//!   route of a later one leads there;
//! - an address belongs to the earliest source that has an endpoint there;
//! - a route of the same host and path as an earlier source's is not in effect, whatever its priority; for a single host,
//!   nor is one of a path below it;
//! - a route goes before no route of an earlier source by its priority: it counts at most as much as the lowest of them
//!   for the hosts that it takes.
//!
//! Each such conflict is reported by [`Merge::conflicts`]. A service lives while any record declares it, with or
//! without an endpoint; a route lives while any counting record asks for it.

mod addresses;
mod claims;
mod conflicts;
mod effect;
mod floors;
mod options;
mod routes;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use self::{
    addresses::Addresses,
    claims::{Claim, Claimed, Claims, Shown},
    conflicts::{Conflict, Conflicts},
    routes::Routes,
    sources::Sources,
};
use crate::{
    model::{EndpointState, Name, SnapshotEdit},
    source::{Descriptor, Record, RecordKey, Trust},
};

/// A source's place in the order of precedence: the lower wins. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u32);

/// One record that a source set (`Some`) or removed (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// The record.
    pub key: RecordKey,
    /// The record as it is now.
    pub record: Option<Arc<Record>>,
}

/// Merges the records of several sources. See the [module](self) for the rules.
#[derive(Debug, Default)]
pub struct Merge {
    sources: Sources,
    services: HashMap<Name, Claimed>,
    options: options::Options,
    routes: Routes,
    addresses: Addresses,
    /// Addresses are noted, since not all sources share services.
    noting: bool,
    /// Records whose effect is to be decided.
    dirty: BTreeSet<RecordKey>,
    conflicts: Conflicts,
}

impl Merge {
    /// Returns `true` if the record of `source` under `key` is in effect, under whichever name.
    #[must_use]
    pub fn counts(&self, source: SourceId, key: &RecordKey) -> bool {
        let claimed = self.services.get(&key.service);
        let claims = claimed.and_then(|claimed| claimed.ids.get(&key.id));
        claims.is_some_and(|claims| {
            let mut shown = claims.shown.iter(&key.id);
            shown.any(|(_, (own, _))| *own == source)
        })
    }

    /// Returns `true` if two sources may add to each other's services.
    pub(crate) fn share_services(&self, one: SourceId, other: SourceId) -> bool {
        self.sources.share(one, other)
    }

    /// Adds a source with the lowest precedence so far. All sources added by their name share services.
    pub fn add_source(&mut self, name: Name) -> SourceId {
        let id = self.sources.add(name, Trust::default(), false);
        self.note_addresses();
        id
    }

    /// Adds a source with the lowest precedence so far. It shares services with those of its trust.
    pub fn add_described(&mut self, descriptor: &Descriptor) -> SourceId {
        let id = self.sources.add_described(descriptor);
        self.note_addresses();
        id
    }

    /// Another source takes the place of one, maybe with another trust.
    pub fn replace_source(&mut self, id: SourceId, descriptor: &Descriptor) {
        self.sources.set_described(id, descriptor);
        self.note_addresses();
        let services: Vec<Name> = self.services.keys().cloned().collect();
        for service in services {
            let Some(claimed) = self.services.get(&service) else {
                continue;
            };
            for id in claimed.ids.keys() {
                self.dirty
                    .insert(RecordKey::new(service.clone(), id.clone()));
            }
            let sources: Vec<SourceId> = claimed.sources.keys().copied().collect();
            for source in sources {
                self.mark_service(&service, source);
            }
            self.routes.service_changed(&service);
        }
        self.routes.sources_changed();
        self.addresses.touch_all();
    }

    /// Forgets a source. Its records must have been removed by changes before.
    pub fn forget_source(&mut self, id: SourceId) {
        self.sources.remove(id);
    }

    /// Applies one change of one source to the snapshot being edited.
    ///
    /// Returns whether it takes traffic away from an endpoint (removed, draining or down), which targets
    /// should learn without delay.
    pub fn apply(
        &mut self,
        source: SourceId,
        change: RecordChange,
        edit: &mut SnapshotEdit,
    ) -> bool {
        self.stage(source, change);
        self.finish(edit)
    }

    /// Takes one change of one source; it is applied by [`finish`](Self::finish) with all others.
    pub fn stage(&mut self, source: SourceId, change: RecordChange) {
        let RecordChange { key, record } = change;
        let claimed = match self.services.get_mut(&key.service) {
            Some(claimed) => claimed,
            None => self.services.entry(key.service.clone()).or_default(),
        };
        let before = claimed.owner();
        claimed.set(source, &key.id, record);
        let after = claimed.owner();
        if before != after
            && !before
                .zip(after)
                .is_some_and(|(a, b)| self.sources.share(a, b))
        {
            for id in claimed.ids.keys() {
                self.dirty
                    .insert(RecordKey::new(key.service.clone(), id.clone()));
            }
            let sources = claimed.sources.keys().copied().chain([source]);
            let sources: Vec<SourceId> = sources.collect();
            for other in sources {
                self.mark_service(&key.service, other);
            }
            self.routes.service_changed(&key.service);
        } else {
            self.mark_service(&key.service, source);
        }
        self.dirty.insert(key);
    }

    /// Applies what was staged to the snapshot being edited. Returns as [`apply`](Self::apply) does.
    pub fn finish(&mut self, edit: &mut SnapshotEdit) -> bool {
        let dirty = std::mem::take(&mut self.dirty);
        let mut urgent = false;
        let mut services: BTreeSet<&Name> = BTreeSet::new();
        for key in &dirty {
            urgent |= self.decide(key, edit);
            services.insert(&key.service);
        }
        for service in services {
            self.set_service(service, edit);
        }
        urgent |= self.share_addresses(edit);
        let services = &self.services;
        let owner = |service: &Name| services.get(service).and_then(Claimed::owner);
        self.routes
            .finish(&self.sources, owner, &mut self.conflicts, edit);
        urgent
    }

    fn mark_service(&mut self, service: &Name, source: SourceId) {
        let conflict = Conflict::Service(service.clone(), source);
        let there = self.services.get(service).is_some_and(|claimed| {
            claimed.sources.contains_key(&source)
                && claimed
                    .owner()
                    .is_some_and(|owner| !self.sources.share(owner, source))
        });
        self.conflicts.mark(conflict, there);
    }

    /// Decides which records with one key are in effect.
    fn decide(&mut self, key: &RecordKey, edit: &mut SnapshotEdit) -> bool {
        let Some(claimed) = self.services.get_mut(&key.service) else {
            return false;
        };
        let owner = claimed.owner();
        let Some(claims) = claimed.ids.get_mut(&key.id) else {
            return false;
        };
        let (after, waits) = winners(key, claims, owner, &self.sources);
        let before = std::mem::replace(&mut claims.shown, after.clone());
        if claims.all.is_empty() {
            claimed.ids.remove(&key.id);
        }
        self.conflicts.mark(Conflict::Record(key.clone()), waits);
        if before == after {
            return false;
        }
        let gone: Vec<(&Name, &Claim)> = before
            .iter(&key.id)
            .filter(|old| after.iter(&key.id).all(|new| new != *old))
            .collect();
        let new = after
            .iter(&key.id)
            .filter(|new| before.iter(&key.id).all(|old| old != *new));
        // Asserting before retracting keeps a service or route that both records ask for in place throughout.
        for (id, claim) in new {
            self.count(id, claim, true);
            match &claim.1.endpoint {
                Some(endpoint) => edit.set_endpoint(&key.service, id, endpoint.clone()),
                None => edit.remove_endpoint(&key.service, id),
            }
        }
        for (id, claim) in gone {
            self.count(id, claim, false);
            if after.iter(&key.id).all(|(kept, _)| kept != id) {
                edit.remove_endpoint(&key.service, id);
            }
        }
        let state = |shown: &Shown| {
            let (_, record) = shown.first.as_ref()?;
            record.endpoint.as_ref().map(|endpoint| endpoint.state)
        };
        takes_traffic_away(state(&before), state(&after))
            || before.others.len() > after.others.len()
    }

    fn count(&mut self, id: &Name, (source, record): &Claim, add: bool) {
        let service = &record.key.service;
        if let Some(claimed) = self.services.get_mut(service) {
            count(&mut claimed.modes, (*source, record.mode), add);
        }
        if !record.options.is_empty() {
            self.options.count(*source, record, add);
            let differ = !self.options.disagreements(service).is_empty();
            self.conflicts
                .mark(Conflict::Options(service.clone()), differ);
        }
        if !record.routes.is_empty() {
            self.routes.count(*source, record, add);
        }
        if self.noting {
            self.addresses.count(*source, id, record, add);
        }
    }

    /// Sets a service's mode and options, or removes it with its last record.
    fn set_service(&mut self, service: &Name, edit: &mut SnapshotEdit) {
        let Some(claimed) = self.services.get(service) else {
            return;
        };
        let mut modes = claimed.modes.keys().map(|(_, mode)| mode);
        let first = modes.next();
        let differ = modes.any(|mode| Some(mode) != first);
        self.conflicts.mark(Conflict::Mode(service.clone()), differ);
        self.routes.set_mode(service, claimed.mode());
        match claimed.mode() {
            Some(mode) => {
                edit.set_service(service, mode);
                edit.set_exclusive(service, self.options.exclusive(service).0);
                edit.set_on_down(service, self.options.on_down(service).0);
            }
            None => edit.remove_service(service),
        }
        if claimed.ids.is_empty() {
            self.services.remove(service);
        }
    }

    /// Takes out endpoints at addresses that are those of earlier sources, and lets them in where they are no more.
    fn share_addresses(&mut self, edit: &mut SnapshotEdit) -> bool {
        let mut urgent = false;
        for address in self.addresses.take_touched() {
            let ended: Vec<Conflict> = self.conflicts.of_address(address);
            for conflict in ended {
                self.conflicts.mark(conflict, false);
            }
            for ((source, key), record, serves) in self.addresses.at(address, &self.sources) {
                match &record.endpoint {
                    Some(endpoint) if serves => {
                        edit.set_endpoint(&key.service, &key.id, endpoint.clone());
                    }
                    _ => {
                        edit.remove_endpoint(&key.service, &key.id);
                        let conflict = Conflict::Address(address, *source, key.clone());
                        self.conflicts.mark(conflict, true);
                        urgent = true;
                    }
                }
            }
        }
        urgent
    }

    /// Begins to note addresses when not all sources share services any more.
    fn note_addresses(&mut self) {
        if self.noting || !self.sources.differ() {
            return;
        }
        self.noting = true;
        for claimed in self.services.values() {
            for (id, claims) in &claimed.ids {
                for (id, (source, record)) in claims.shown.iter(id) {
                    self.addresses.count(*source, id, record, true);
                }
            }
        }
    }
}

/// The records with one key that are in effect, and whether another one waits.
fn winners(
    key: &RecordKey,
    claims: &Claims,
    owner: Option<SourceId>,
    sources: &Sources,
) -> (Shown, bool) {
    let mut shown = Shown::default();
    let mut waits = false;
    let Some(owner) = owner else {
        return (shown, waits);
    };
    let address = |record: &Record| record.endpoint.as_ref().map(|endpoint| endpoint.address);
    for claim in claims
        .all
        .iter()
        .filter(|(id, _)| sources.share(owner, *id))
    {
        let Some((first, record)) = &shown.first else {
            shown.first = Some(claim.clone());
            continue;
        };
        let local = sources.has_local_ids(*first) && sources.has_local_ids(claim.0);
        let others = shown.others.iter().map(|(_, (_, record))| record);
        let known = [record]
            .into_iter()
            .chain(others)
            .any(|record| address(record) == address(&claim.1));
        if !local {
            waits = true;
        } else if !known {
            let name = sources.local_name(claim.0, &key.id);
            shown.others.push((name, claim.clone()));
        }
    }
    (shown, waits)
}

/// Counts one more or one less. Returns how many there are.
fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K, add: bool) -> usize {
    if add {
        let count = counts.entry(key).or_default();
        *count += 1;
        return *count;
    }
    let Some(left) = counts.get_mut(&key) else {
        return 0;
    };
    *left = left.saturating_sub(1);
    let left = *left;
    if left == 0 {
        counts.remove(&key);
    }
    left
}

fn takes_traffic_away(before: Option<EndpointState>, after: Option<EndpointState>) -> bool {
    before.is_some()
        && before != after
        && !matches!(after, Some(EndpointState::Ready | EndpointState::Pending))
}
