//! What conflicts keep back of a single record.

use super::{Merge, SourceId, conflicts::Conflict, routes::Place};
use crate::source::{Diagnostic, Record};

impl Merge {
    /// Returns the conflicts in which something else counts than what `source` reports by `record`.
    #[must_use]
    pub fn keeps_back(&self, source: SourceId, record: &Record) -> Vec<Diagnostic> {
        let lost = self.lost_by(source, record);
        lost.iter()
            .filter_map(|conflict| self.describe(conflict))
            .collect()
    }

    fn lost_by(&self, source: SourceId, record: &Record) -> Vec<Conflict> {
        let service = &record.key.service;
        let is_known = |conflict: &Conflict| self.conflicts.all.contains(conflict);
        if !self.counts(source, &record.key) {
            let of_service = Conflict::Service(service.clone(), source);
            return vec![match is_known(&of_service) {
                true => of_service,
                false => Conflict::Record(record.key.clone()),
            }];
        }
        let mut lost = Vec::new();
        let mode = self.services.get(service).and_then(|own| own.mode());
        let of_mode = Conflict::Mode(service.clone());
        if mode != Some(record.mode) && is_known(&of_mode) {
            lost.push(of_mode);
        }
        let of_options = Conflict::Options(service.clone());
        let (exclusive, _) = self.options.exclusive(service);
        let (on_down, _) = self.options.on_down(service);
        let stated = &record.options;
        let differs = stated.exclusive.is_some_and(|own| own != exclusive)
            || stated.on_down.is_some_and(|own| own != on_down);
        if differs && is_known(&of_options) {
            lost.push(of_options);
        }
        if let Some(endpoint) = &record.endpoint {
            let local = self.sources.local_name(source, &record.key.id);
            let names = [&record.key.id, &local];
            let all = self.conflicts.of_address(endpoint.address).into_iter();
            lost.extend(all.filter(|conflict| {
                matches!(conflict, Conflict::Address(_, id, key)
                    if *id == source && key.service == *service && names.contains(&&key.id))
            }));
        }
        for route in record.routes.iter() {
            let place = Place {
                mode: record.mode,
                priority: route.priority,
                host: route.host.clone(),
                path: route.path.clone(),
                rank: route.rank.clone(),
            };
            let is_winner = self.routes.leads(&place, route);
            let of_priority = Conflict::Priority(place.clone());
            if !is_winner {
                lost.push(Conflict::Route(place));
            } else if is_known(&of_priority) {
                lost.push(of_priority);
            }
        }
        lost
    }
}
