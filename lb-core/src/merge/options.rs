//! The options of services, out of what records state.

use std::collections::{BTreeMap, HashMap};

use super::{SourceId, count};
use crate::{
    model::{Name, OnDown},
    source::Record,
};

/// The options of services that counting records state, by source. A record that states nothing is not in it.
#[derive(Debug, Default)]
pub(super) struct Options {
    exclusive: HashMap<Name, BTreeMap<(SourceId, bool), usize>>,
    on_down: HashMap<Name, BTreeMap<(SourceId, OnDown), usize>>,
}

impl Options {
    /// Counts what one record states, or no longer.
    pub(super) fn count(&mut self, id: SourceId, record: &Record, add: bool) {
        let service = &record.key.service;
        if let Some(exclusive) = record.options.exclusive {
            stated(&mut self.exclusive, service, (id, exclusive), add);
        }
        if let Some(on_down) = record.options.on_down {
            stated(&mut self.on_down, service, (id, on_down), add);
        }
    }

    /// Returns `true` if the earliest source that states it has a record that says exclusive: of two records of one
    /// source, the one that narrows.
    pub(super) fn exclusive(&self, service: &Name) -> (bool, Option<SourceId>) {
        strictest(self.exclusive.get(service))
    }

    /// The fate of sessions to an endpoint that is down, by the earliest source that states it.
    pub(super) fn on_down(&self, service: &Name) -> (OnDown, Option<SourceId>) {
        strictest(self.on_down.get(service))
    }

    /// The options of which records disagree.
    pub(super) fn disagreements(&self, service: &Name) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if differ(self.exclusive.get(service)) {
            fields.push("exclusive");
        }
        if differ(self.on_down.get(service)) {
            fields.push("on_down");
        }
        fields
    }
}

fn stated<T: Ord>(
    all: &mut HashMap<Name, BTreeMap<(SourceId, T), usize>>,
    service: &Name,
    statement: (SourceId, T),
    add: bool,
) {
    let counts = all.entry(service.clone()).or_default();
    count(counts, statement, add);
    if counts.is_empty() {
        all.remove(service);
    }
}

/// The last of the first source's: values are in the order of how much they narrow.
fn strictest<T: Ord + Copy + Default>(
    counts: Option<&BTreeMap<(SourceId, T), usize>>,
) -> (T, Option<SourceId>) {
    let Some(((first, _), _)) = counts.and_then(BTreeMap::first_key_value) else {
        return (T::default(), None);
    };
    let of_first = counts
        .into_iter()
        .flat_map(BTreeMap::keys)
        .filter(|(id, _)| id == first);
    let value = of_first.map(|(_, value)| *value).max().unwrap_or_default();
    (value, Some(*first))
}

fn differ<T: Ord>(counts: Option<&BTreeMap<(SourceId, T), usize>>) -> bool {
    let mut values = counts
        .into_iter()
        .flat_map(BTreeMap::keys)
        .map(|(_, value)| value);
    let first = values.next();
    values.any(|value| Some(value) != first)
}
