//! Weights of the servers of a service that several objects serve: beyond 256, they count in proportion to each other.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Diagnostic, Name, Record};
use lb_schemes::{Diagnostics, Proportion, ServiceSpec, WrittenWeight};

/// The weights that each object writes beyond those that there are here.
pub(crate) type Written = BTreeMap<Name, WrittenWeight>;

/// The written weights of all objects.
#[derive(Debug, Default)]
pub(crate) struct Proportions {
    services: BTreeMap<Name, Service>,
    by_object: BTreeMap<String, BTreeSet<Name>>,
}

#[derive(Debug, Default)]
struct Service {
    written: BTreeMap<String, u64>,
    /// The number of these that are beyond the range.
    beyond: usize,
    proportion: Proportion,
}

/// The weights beyond the range that the services of an object write.
pub(crate) fn written<'a>(specs: impl IntoIterator<Item = &'a ServiceSpec>) -> Written {
    let specs = specs.into_iter();
    specs
        .filter_map(|spec| Some((spec.service.clone(), spec.written_weight.clone()?)))
        .collect()
}

/// The weight of a record as it is written; `None` where it has no endpoint.
pub(crate) fn weight_of(record: &Record, written: &Written) -> Option<u64> {
    let endpoint = record.endpoint.as_ref()?;
    let beyond = written.get(&record.key.service);
    Some(beyond.map_or_else(
        || u64::from(endpoint.weight.get()),
        |written| written.weight,
    ))
}

/// The record with its weight among the others of its service.
pub(crate) fn apply(mut record: Record, written: &Written, proportion: Proportion) -> Record {
    if let Some(weight) = weight_of(&record, written)
        && proportion != Proportion::default()
    {
        let weight = proportion.weight(weight);
        record.endpoint = record.endpoint.map(|endpoint| endpoint.with_weight(weight));
    }
    record
}

/// Says which of an object's services have weights whose proportion cannot be kept.
pub(crate) fn inexact(
    object: &str,
    written: &Written,
    proportion: impl Fn(&Name) -> Proportion,
) -> Vec<Diagnostic> {
    let mut diagnostics = Diagnostics::new(object);
    for (service, written) in written {
        if let Some(message) = proportion(service).inexact() {
            diagnostics.warn(&written.key, &written.weight.to_string(), message);
        }
    }
    diagnostics.into_inner()
}

impl Proportions {
    /// Takes in the weights of all records of one object. Answers with the other objects for which that changes
    /// something.
    pub(crate) fn set<'a>(
        &mut self,
        object: &str,
        records: impl Iterator<Item = &'a Record>,
        written: &Written,
    ) -> BTreeSet<String> {
        let now: BTreeMap<&Name, u64> = records
            .filter_map(|record| Some((&record.key.service, weight_of(record, written)?)))
            .collect();
        let mut names = self.by_object.remove(object).unwrap_or_default();
        names.extend(now.keys().map(|name| (*name).clone()));
        let mut others = BTreeSet::new();
        for name in names {
            let service = self.services.entry(name.clone()).or_default();
            let before = match now.get(&name) {
                Some(weight) => service.written.insert(object.to_owned(), *weight),
                None => service.written.remove(object),
            };
            let is_beyond = |weight: Option<&u64>| weight.is_some_and(|weight| *weight > 256);
            service.beyond += usize::from(is_beyond(now.get(&name)));
            service.beyond -= usize::from(is_beyond(before.as_ref()));
            let proportion = match service.beyond {
                0 => Proportion::default(),
                _ => Proportion::of(service.written.values().copied()),
            };
            if proportion != service.proportion {
                service.proportion = proportion;
                let known = service.written.keys();
                others.extend(known.filter(|other| *other != object).cloned());
            }
            if service.written.is_empty() {
                self.services.remove(&name);
            }
        }
        if !now.is_empty() {
            let names = now.into_keys().cloned().collect();
            self.by_object.insert(object.to_owned(), names);
        }
        others
    }

    /// The proportion of the weights of a service.
    pub(crate) fn of(&self, service: &Name) -> Proportion {
        let service = self.services.get(service);
        service.map_or_else(Proportion::default, |service| service.proportion)
    }
}
