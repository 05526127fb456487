//! Follows the control plane's events: logs what was applied, and measures how long changes take.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use lb_core::{Event, Events, Name, event::Cause};

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
pub(crate) async fn follow(mut events: Events, latencies: Arc<Latencies>) {
    while let Some(stamped) = events.next().await {
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
            Event::TargetRemoved { target } => latencies.forget(target),
            _ => {}
        }
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
