//! Follows the control plane's events: logs what was applied, and measures how long changes take.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use lb_core::{
    Endpoint, Event, Events, Handle, Name, Unmet,
    event::Cause,
    model::{Changes, Snapshot},
};

/// How many endpoints of one verification are logged one by one; of the others, the number.
const MOST_LOGGED: usize = 100;

/// The upper bounds of the buckets of latency, in microseconds.
pub(crate) const BOUNDS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
    60_000_000,
];

/// How long changes took from their receipt to their verification, by target.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Mutex<BTreeMap<Name, Histogram>>);

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// How many took at most the bound of the same place in [`BOUNDS`].
    pub(crate) at_most: [u64; BOUNDS.len()],
    pub(crate) count: u64,
    pub(crate) sum_micros: u64,
}

impl Latencies {
    fn record(&self, target: &Name, micros: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(target.clone()).or_default().record(micros);
    }

    fn forget(&self, target: &Name) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(target);
    }

    pub(crate) fn read(&self) -> BTreeMap<Name, Histogram> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

impl Histogram {
    fn record(&mut self, micros: u64) {
        for (count, bound) in self.at_most.iter_mut().zip(BOUNDS) {
            *count += u64::from(micros <= bound);
        }
        self.count += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }
}

/// Follows until the control plane has ended.
pub(crate) async fn follow(handle: Handle, mut events: Events, latencies: Arc<Latencies>) {
    // The generation up to which each target's endpoints were logged.
    let mut logged: BTreeMap<Name, u64> = BTreeMap::new();
    let mut unmet_before: BTreeMap<Name, Vec<Unmet>> = BTreeMap::new();
    while let Some(stamped) = events.next().await {
        if let Event::Verified { target, .. } | Event::Pass { target, .. } = &stamped.event {
            log_unmet(&handle, target, &mut unmet_before);
        }
        match &stamped.event {
            Event::Verified {
                target,
                generation,
                applied,
                unmet,
                causes,
                pass_micros,
                latency_micros,
                ..
            } => {
                if let Some(micros) = latency_micros {
                    latencies.record(target, *micros);
                }
                if *applied > 0 || *unmet > 0 {
                    tracing::info!(
                        target_name = %target,
                        generation,
                        steps = applied,
                        unmet,
                        cursors = cursors(causes),
                        latency_us = latency_micros,
                        pass_us = pass_micros,
                        "verified"
                    );
                }
                let snapshot = handle.snapshot();
                // A target that is behind already is verified again soon, and the rest is logged then.
                if snapshot.generation() == *generation {
                    let before = logged.insert(target.clone(), *generation).unwrap_or(0);
                    log_endpoints(target, &snapshot, before, &cursors(causes), *latency_micros);
                }
            }
            Event::Pass {
                target,
                generation,
                applied,
                unmet,
                pass_micros,
                ..
            } if *applied > 0 => tracing::info!(
                target_name = %target,
                generation,
                steps = applied,
                unmet,
                pass_us = pass_micros,
                "applied"
            ),
            Event::TargetRemoved { target } => {
                latencies.forget(target);
                logged.remove(target);
                unmet_before.remove(target);
            }
            _ => {}
        }
    }
}

/// Says which wishes could not be met, when that is something new.
fn log_unmet(handle: &Handle, target: &Name, before: &mut BTreeMap<Name, Vec<Unmet>>) {
    let status = handle.status();
    let Some(found) = status
        .targets
        .into_iter()
        .find(|found| found.name == *target)
    else {
        return;
    };
    let before = before.entry(target.clone()).or_default();
    if *before == found.unmet {
        return;
    }
    for unmet in found.unmet.iter().filter(|unmet| !before.contains(unmet)) {
        let endpoint = unmet.endpoint.as_ref().map(tracing::field::display);
        tracing::warn!(target_name = %target, service = %unmet.service, endpoint, "unmet: {}", unmet.detail);
    }
    if found.unmet.is_empty() {
        tracing::info!(target_name = %target, "every wish is met again");
    }
    *before = found.unmet;
}

/// Says of each endpoint that changed since a generation what is in effect now (I10). Which server has it, the driver
/// says, under the same generation and address.
fn log_endpoints(
    target: &Name,
    snapshot: &Snapshot,
    before: u64,
    cursors: &str,
    latency_micros: Option<u64>,
) {
    let changes = snapshot.changes_since(before);
    let changed: Vec<(&Name, &Name, Option<&Endpoint>)> = match &changes {
        Changes::Only { endpoints, .. } => endpoints
            .iter()
            .flat_map(|(service, ids)| ids.iter().map(move |id| (service, id)))
            .map(|(service, id)| {
                let found = snapshot.service(service);
                (service, id, found.and_then(|found| found.endpoint(id)))
            })
            .collect(),
        // Those that changed cannot be told from those that stayed.
        Changes::Everything => snapshot
            .services()
            .flat_map(|(service, found)| {
                found
                    .endpoints()
                    .map(move |(id, now)| (service, id, Some(now)))
            })
            .collect(),
    };
    let generation = snapshot.generation();
    for (service, endpoint, now) in changed.iter().take(MOST_LOGGED) {
        let state = now.map_or_else(|| "gone".to_owned(), |now| format!("{:?}", now.state));
        tracing::info!(
            target_name = %target,
            generation,
            %service,
            %endpoint,
            address = now.map(|now| tracing::field::display(now.address)),
            state = state.to_lowercase(),
            cursors,
            latency_us = latency_micros,
            "endpoint in effect"
        );
    }
    if changed.len() > MOST_LOGGED {
        let more = changed.len() - MOST_LOGGED;
        tracing::info!(target_name = %target, generation, more, "and more endpoints in effect");
    }
}

/// `docker=4f1c@17 etcd=9a0b@112`.
fn cursors(causes: &[Cause]) -> String {
    let each = causes
        .iter()
        .map(|cause| format!("{}={}", cause.source, cause.cursor));
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_in_every_bucket_that_is_not_below_it() {
        let latencies = Latencies::default();
        let edge: Name = "edge".parse().unwrap();
        for micros in [500, 501, 100_000_000] {
            latencies.record(&edge, micros);
        }
        let histogram = &latencies.read()[&edge];
        assert_eq!(histogram.at_most[0], 1);
        assert!(histogram.at_most[1..].iter().all(|count| *count == 2));
        assert_eq!((histogram.count, histogram.sum_micros), (3, 100_001_001));
        latencies.forget(&edge);
        assert!(latencies.read().is_empty());
    }
}
