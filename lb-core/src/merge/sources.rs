//! The sources, and which of them share services.

use std::collections::{BTreeMap, BTreeSet};

use super::SourceId;
use crate::{
    model::{Name, Rank},
    source::{Descriptor, Trust},
};

#[derive(Debug, Default)]
pub(super) struct Sources {
    all: BTreeMap<SourceId, Known>,
    next: u32,
}

#[derive(Debug)]
struct Known {
    name: Name,
    trust: Trust,
    /// If `true`, the same name of an endpoint in another source means another endpoint.
    local_ids: bool,
}

impl Sources {
    pub(super) fn add(&mut self, name: Name, trust: Trust, local_ids: bool) -> SourceId {
        let id = SourceId(self.next);
        self.next += 1;
        self.set(id, name, trust, local_ids);
        id
    }

    pub(super) fn add_described(&mut self, descriptor: &Descriptor) -> SourceId {
        let name = descriptor.name.clone();
        self.add(name, descriptor.trust(), descriptor.local_ids)
    }

    pub(super) fn set_described(&mut self, id: SourceId, descriptor: &Descriptor) {
        let name = descriptor.name.clone();
        self.set(id, name, descriptor.trust(), descriptor.local_ids);
    }

    fn set(&mut self, id: SourceId, name: Name, trust: Trust, local_ids: bool) {
        let known = Known {
            name,
            trust,
            local_ids,
        };
        self.all.insert(id, known);
    }

    pub(super) fn remove(&mut self, id: SourceId) {
        self.all.remove(&id);
    }

    /// The name of an endpoint of a source in which its own name means another endpoint than elsewhere.
    pub(super) fn local_name(&self, id: SourceId, endpoint: &Name) -> Name {
        Name::from_text(&format!("{}:{endpoint}", self.name(id)))
    }

    pub(super) fn name(&self, id: SourceId) -> &str {
        self.all
            .get(&id)
            .map_or("a removed source", |known| known.name.as_str())
    }

    /// Returns `true` if two sources may add to each other's services.
    pub(super) fn share(&self, one: SourceId, other: SourceId) -> bool {
        one == other
            || match (self.all.get(&one), self.all.get(&other)) {
                (Some(one), Some(other)) => one.trust == other.trust,
                _ => false,
            }
    }

    /// The rank of a route of a source: it is compared with those of sources of the same trust only.
    pub(super) fn ranked(&self, id: SourceId, rank: Rank) -> Rank {
        let known = self.all.get(&id);
        match known.and_then(|known| known.trust.label()) {
            Some(label) => {
                let scheme = Name::from_text(&format!("{}:{label}", rank.scheme));
                rank.with_scheme(scheme)
            }
            None => rank,
        }
    }

    pub(super) fn has_local_ids(&self, id: SourceId) -> bool {
        self.all.get(&id).is_some_and(|known| known.local_ids)
    }

    /// Returns `true` if some source shares nothing with another.
    pub(super) fn differ(&self) -> bool {
        let trusts: BTreeSet<&Trust> = self.all.values().map(|known| &known.trust).collect();
        trusts.len() > 1
    }
}
