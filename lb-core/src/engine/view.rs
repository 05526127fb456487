//! What the engine says of itself when asked.

use std::{collections::BTreeMap, time::Duration};

use super::{Engine, source::SourceEntry, target::TargetEntry, tickets};
use crate::{
    condition::Condition,
    driver::Unmet,
    model::Name,
    reconciler::{TargetId, TargetState},
    status::{Activity, HoldStatus, Lagging, MOST_LISTED, SourceStatus, Status, TargetStatus},
    time::Time,
};

impl Engine {
    /// The state of everything at `now`.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        Status {
            generation: self.snapshot.generation(),
            published: self.published,
            partial: self.snapshot.is_partial(),
            services: self.snapshot.services().count(),
            endpoints: self.snapshot.endpoint_count(),
            routes: self.snapshot.route_count(),
            uptime_ms: millis(now.since(self.began)),
            sources: self
                .sources
                .values()
                .map(|entry| source(entry, now))
                .collect(),
            targets: self
                .targets
                .iter()
                .map(|(id, entry)| self.target(*id, entry, now))
                .collect(),
            holds: self.holds(now),
            conflicts: self.merge.conflicts(MOST_LISTED),
            conflict_count: self.merge.conflict_count(),
            condition_count: self.condition_counts().values().sum(),
            condition_counts: self.condition_counts(),
            conditions: self.listed_conditions(),
        }
    }

    /// The requests of sources beyond their [limits](crate::Limits), the first of each source.
    #[must_use]
    pub fn not_allowed(&self) -> Vec<Condition> {
        let all = self.sources.values();
        all.flat_map(|entry| entry.limiter.conditions(&entry.descriptor.name))
            .collect()
    }

    /// The targets that have not made a converged pass on `generation` or a later one since the mark `since`, with what
    /// is known of the reason.
    #[must_use]
    pub fn unverified(&self, generation: u64, since: u64) -> Vec<Lagging> {
        self.lagging(|verified, entry| {
            let fresh = entry.last_pass.is_some_and(|ticket| ticket >= since);
            fresh && entry.has_verified(verified, generation) && entry.last_error.is_none()
        })
    }

    /// The conditions that keep something desired from being in effect, the first [`MOST_LISTED`], transient ones
    /// first.
    #[must_use]
    pub fn not_in_effect(&self) -> Vec<Condition> {
        let mut all: Vec<&Condition> = self
            .conditions()
            .filter(|condition| condition.kind.keeps_from_effect())
            .collect();
        all.sort_by_key(|condition| !condition.transient);
        all.into_iter().take(MOST_LISTED).cloned().collect()
    }

    /// The unmet conditions of a target, all of them.
    #[must_use]
    pub fn unmet(&self, target: &Name) -> Vec<Unmet> {
        let id = self.target_id(target);
        let entry = id.and_then(|id| self.targets.get(&id));
        entry.map_or_else(Vec::new, |entry| entry.report.unmet.clone())
    }

    /// The targets that are not `done`, by their last verified generation, with what is known of the reason.
    pub(super) fn lagging(&self, done: impl Fn(Option<u64>, &TargetEntry) -> bool) -> Vec<Lagging> {
        self.targets
            .iter()
            .filter_map(|(id, entry)| {
                if done(self.reconciler.verified(*id), entry) {
                    return None;
                }
                let why = match (&entry.last_error, self.reconciler.state(*id)) {
                    (Some(error), _) => error.clone(),
                    (None, Some(TargetState::Running { .. })) => {
                        "its pass has not ended".to_owned()
                    }
                    (None, _) if !self.published => "no source has told everything yet".to_owned(),
                    (None, _) => "its last pass did not converge".to_owned(),
                };
                let target = entry.name.clone();
                Some(Lagging { target, why })
            })
            .collect()
    }

    fn target(&self, id: TargetId, entry: &TargetEntry, now: Time) -> TargetStatus {
        let verified = self.reconciler.verified(id);
        let state = self.reconciler.state(id);
        let newest = self.snapshot.generation();
        TargetStatus {
            name: entry.name.clone(),
            activity: match state {
                Some(TargetState::Running { .. }) => Activity::Running,
                Some(TargetState::Waiting { .. }) => Activity::Waiting,
                _ => Activity::Idle,
            },
            verified,
            behind: newest.saturating_sub(verified.unwrap_or(0)),
            lag_ms: entry.behind_since.map(|since| millis(now.since(since))),
            passes: entry.passes,
            failures: self.reconciler.failures(id),
            last_error: entry.last_error.clone(),
            failure: entry.failure,
            about: entry.report.about.clone(),
            retry_in_ms: match state {
                Some(TargetState::Waiting { until }) => Some(millis(until.since(now))),
                _ => None,
            },
            last_latency_micros: entry.last_latency_micros,
            unmet: entry
                .report
                .unmet
                .iter()
                .take(MOST_LISTED)
                .cloned()
                .collect(),
            unmet_count: entry.report.unmet.len(),
            counters: entry.report.counters.clone(),
            gauges: entry.report.gauges.clone(),
        }
    }

    fn holds(&self, now: Time) -> Vec<HoldStatus> {
        let mut all = Vec::new();
        for entry in self.sources.values() {
            let mut services: BTreeMap<&Name, (usize, Time)> = BTreeMap::new();
            for (key, until) in entry.records.held() {
                let (records, last) = services.entry(&key.service).or_insert((0, until));
                *records += 1;
                *last = (*last).max(until);
            }
            all.extend(
                services
                    .into_iter()
                    .map(|(service, (records, last))| HoldStatus {
                        source: entry.descriptor.name.clone(),
                        service: service.clone(),
                        records,
                        release_in_ms: millis(last.since(now)),
                    }),
            );
        }
        all.truncate(MOST_LISTED);
        all
    }
}

fn source(entry: &SourceEntry, now: Time) -> SourceStatus {
    SourceStatus {
        name: entry.descriptor.name.clone(),
        kind: entry.descriptor.kind,
        health: entry.health(now),
        cursor: entry.cursor.clone(),
        records: entry.records.len(),
        held: entry.records.held().count(),
        refused: entry.limiter.refused(),
        updates: entry.updates,
        outdated: entry.outdated,
        attempts: entry.attempts,
        silent_ms: entry.heard.map(|heard| millis(now.since(heard))),
        retry_in_ms: entry.retry_at.map(|at| millis(at.since(now))),
        diagnostics: entry
            .diagnostics
            .iter()
            .map(|(found, _)| found.clone())
            .collect(),
        diagnostics_dropped: entry.unlisted.len() as u64,
        tickets: tickets::status(entry),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
