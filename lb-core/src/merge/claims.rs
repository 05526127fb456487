//! What all sources say of one service, and which of it is in effect.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{SourceId, count};
use crate::{
    model::{Mode, Name},
    source::Record,
};

/// A record of a source.
pub(super) type Claim = (SourceId, Arc<Record>);

/// The claims of all sources to one service.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) ids: HashMap<Name, Claims>,
    /// The number of records of the service each source has.
    pub(super) sources: BTreeMap<SourceId, usize>,
    /// The number of records in effect that state each mode, by source.
    pub(super) modes: BTreeMap<(SourceId, Mode), usize>,
}

/// All records with one key, and those of them that are in effect.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By precedence.
    pub(super) all: Vec<Claim>,
    pub(super) shown: Shown,
}

/// The records with one key that are in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// The one under its own name.
    pub(super) first: Option<Claim>,
    /// Those of other sources to which the name means another endpoint: each under a name that has its source's in it.
    pub(super) others: Vec<(Name, Claim)>,
}

impl Claimed {
    /// The earliest source that has a record of the service.
    pub(super) fn owner(&self) -> Option<SourceId> {
        self.sources.keys().next().copied()
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        self.modes.keys().next().map(|(_, mode)| *mode)
    }

    /// Sets or removes one source's record.
    pub(super) fn set(&mut self, source: SourceId, id: &Name, record: Option<Arc<Record>>) {
        let there = record.is_some();
        let was = match self.ids.get_mut(id) {
            Some(claims) => claims.set(source, record),
            None => {
                let all: Vec<Claim> = record.map(|record| (source, record)).into_iter().collect();
                if !all.is_empty() {
                    let shown = Shown::default();
                    self.ids.insert(id.clone(), Claims { all, shown });
                }
                false
            }
        };
        if was != there {
            count(&mut self.sources, source, there);
        }
    }
}

impl Claims {
    /// Sets or removes one source's record. Returns `true` if there was one.
    fn set(&mut self, source: SourceId, record: Option<Arc<Record>>) -> bool {
        let place = self.all.partition_point(|(id, _)| *id < source);
        let own = self.all.get_mut(place).filter(|(id, _)| *id == source);
        let was = own.is_some();
        match (own, record) {
            (Some(own), Some(record)) => own.1 = record,
            (None, Some(record)) => self.all.insert(place, (source, record)),
            (Some(_), None) => {
                self.all.remove(place);
            }
            (None, None) => {}
        }
        was
    }
}

impl Shown {
    /// Each record in effect, with its name.
    pub(super) fn iter<'a>(&'a self, id: &'a Name) -> impl Iterator<Item = (&'a Name, &'a Claim)> {
        let others = self.others.iter().map(|(id, claim)| (id, claim));
        let first = self.first.iter().map(move |claim| (id, claim));
        first.chain(others)
    }
}
