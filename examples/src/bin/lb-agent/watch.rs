//! Follows the control plane's events: logs what was applied, and measures how long changes take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use lb_core::{
    Event, Events, Handle, Name, Unmet,
    event::Cause,
    model::{Changes, Snapshot},
};

/// The most endpoints of one verification that are logged one by one; of the others, the number is.
const MOST_LOGGED: usize = 100;

/// The upper bounds of the buckets of latency, in microseconds.
pub(crate) const BOUNDS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
    60_000_000,
];

/// The times from the receipt of changes to their verification, by target.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Mutex<BTreeMap<Name, Histogram>>);

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// The number of those that took at most the bound of the same place in [`BOUNDS`].
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

/// The log state of one target's endpoints.
#[derive(Debug, Default)]
struct Said {
    /// The generation up to which endpoints were logged.
    upto: u64,
    /// Endpoints that were left out then, by service.
    waiting: ByService,
}

/// Endpoints by service.
type ByService = BTreeMap<Name, BTreeSet<Name>>;

impl Said {
    /// Takes in which endpoints changed and what is left out; returns the endpoints that are in effect now. Those that
    /// wait with the whole of their service cost nothing while it is left out, however many they are.
    fn take(
        &mut self,
        mut changed: ByService,
        unmet: &[Unmet],
        is_there: impl Fn(&Name, &Name) -> bool,
    ) -> BTreeSet<(Name, Name)> {
        let (mut wholes, mut ones) = (BTreeSet::new(), BTreeSet::new());
        for unmet in unmet {
            match &unmet.endpoint {
                Some(endpoint) => ones.insert((&unmet.service, endpoint)),
                None => wholes.insert(&unmet.service),
            };
        }
        let waiting = std::mem::take(&mut self.waiting);
        for (service, mut ids) in waiting {
            if wholes.contains(&service) {
                self.waiting.insert(service, ids);
            } else {
                changed.entry(service).or_default().append(&mut ids);
            }
        }
        let mut in_effect = BTreeSet::new();
        for (service, ids) in changed {
            let whole = wholes.contains(&service);
            for id in ids {
                if !whole && !ones.contains(&(&service, &id)) {
                    in_effect.insert((service.clone(), id));
                    continue;
                }
                let waiting = self.waiting.entry(service.clone()).or_default();
                // No event tells of an endpoint that is gone before it was in effect.
                let is_over = waiting.remove(&id) && !is_there(&service, &id);
                if !is_over {
                    waiting.insert(id);
                }
            }
        }
        self.waiting.retain(|_, ids| !ids.is_empty());
        in_effect
    }
}

/// The fields that every endpoint of one verification is logged with.
struct Evidence {
    cursors: String,
    latency_micros: Option<u64>,
}

/// Follows until the control plane has ended.
pub(crate) async fn follow(handle: Handle, mut events: Events, latencies: Arc<Latencies>) {
    let mut said: BTreeMap<Name, Said> = BTreeMap::new();
    while let Some(stamped) = events.next().await {
        match &stamped.event {
            Event::Verified {
                target,
                generation,
                applied,
                causes,
                pass_micros,
                latency_micros,
                ..
            } => {
                if let Some(micros) = latency_micros {
                    latencies.record(target, *micros);
                }
                if *applied > 0 {
                    tracing::info!(
                        target_name = %target,
                        generation,
                        steps = applied,
                        cursors = cursors(causes),
                        latency_us = latency_micros,
                        pass_us = pass_micros,
                        "verified"
                    );
                }
                let evidence = Evidence {
                    cursors: cursors(causes),
                    latency_micros: *latency_micros,
                };
                let said = said.entry(target.clone()).or_default();
                log_endpoints(&handle, target, *generation, said, &evidence);
            }
            Event::Pass {
                target,
                generation,
                applied,
                unmet,
                converged,
                causes,
                latency_micros,
                pass_micros,
            } => {
                if let Some(micros) = latency_micros {
                    latencies.record(target, *micros);
                }
                if *applied > 0 || !causes.is_empty() {
                    tracing::info!(
                        target_name = %target,
                        generation,
                        steps = applied,
                        unmet,
                        cursors = cursors(causes),
                        latency_us = latency_micros,
                        pass_us = pass_micros,
                        "applied"
                    );
                }
                if *converged {
                    let evidence = Evidence {
                        cursors: cursors(causes),
                        latency_micros: *latency_micros,
                    };
                    let said = said.entry(target.clone()).or_default();
                    log_endpoints(&handle, target, *generation, said, &evidence);
                }
            }
            Event::TargetRemoved { target } => {
                latencies.forget(target);
                said.remove(target);
            }
            _ => {}
        }
    }
}

/// Says of each endpoint that changed what is in effect now (I10), and of one that was left out when that ends. Which
/// server has it, the driver says, under the same generation and address.
fn log_endpoints(
    handle: &Handle,
    target: &Name,
    generation: u64,
    said: &mut Said,
    evidence: &Evidence,
) {
    let snapshot = handle.snapshot();
    // A target that is behind already is verified again soon, and the rest is logged then.
    if snapshot.generation() != generation {
        return;
    }
    let changed = changed(&snapshot, said.upto);
    said.upto = generation;
    if changed.is_empty() && said.waiting.is_empty() {
        return;
    }
    let in_effect = said.take(changed, &handle.unmet(target), |service, endpoint| {
        let found = snapshot.service(service);
        found.is_some_and(|found| found.endpoint(endpoint).is_some())
    });
    for (service, endpoint) in in_effect.iter().take(MOST_LOGGED) {
        let found = snapshot.service(service);
        let now = found.and_then(|found| found.endpoint(endpoint));
        let state = now.map_or_else(|| "gone".to_owned(), |now| format!("{:?}", now.state));
        tracing::info!(
            target_name = %target,
            generation,
            %service,
            %endpoint,
            address = now.map(|now| tracing::field::display(now.address)),
            state = state.to_lowercase(),
            cursors = evidence.cursors,
            latency_us = evidence.latency_micros,
            "endpoint in effect"
        );
    }
    if in_effect.len() > MOST_LOGGED {
        let more = in_effect.len() - MOST_LOGGED;
        tracing::info!(target_name = %target, generation, more, "and more endpoints in effect");
    }
}

/// The endpoints that changed since a generation; all, if that is too long ago to tell.
fn changed(snapshot: &Snapshot, before: u64) -> ByService {
    match snapshot.changes_since(before) {
        Changes::Only { endpoints, .. } => {
            let all = endpoints.into_iter();
            all.filter(|(_, ids)| !ids.is_empty()).collect()
        }
        Changes::Everything => snapshot
            .services()
            .map(|(service, found)| {
                let ids = found.endpoints().map(|(id, _)| id.clone());
                (service.clone(), ids.collect())
            })
            .collect(),
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

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn unmet(service: &str, endpoint: Option<&str>) -> Unmet {
        let reason = lb_core::UnmetReason::NoCapacity;
        Unmet::new(name(service), endpoint.map(name), reason, String::new())
    }

    fn changed(service: &str, ids: &[&str]) -> ByService {
        let ids = ids.iter().map(|id| name(id)).collect();
        ByService::from([(name(service), ids)])
    }

    fn take(said: &mut Said, changed: ByService, unmet: &[Unmet], gone: &[&str]) -> Vec<String> {
        let gone: Vec<Name> = gone.iter().map(|id| name(id)).collect();
        let in_effect = said.take(changed, unmet, |_, id| !gone.contains(id));
        let in_effect = in_effect.into_iter();
        in_effect.map(|(_, id)| id.to_string()).collect()
    }

    #[test]
    fn case_p03_an_endpoint_is_left_out_on_its_own_or_with_its_service() {
        let mut said = Said::default();
        let one = [unmet("web", Some("a"))];
        assert_eq!(
            take(&mut said, changed("web", &["a", "b"]), &one, &[]),
            ["b"]
        );
        let whole = [unmet("web", None)];
        assert!(take(&mut said, changed("web", &["c"]), &whole, &[]).is_empty());
        assert!(take(&mut said, ByService::new(), &whole, &[]).is_empty());
        assert_eq!(take(&mut said, changed("db", &["b"]), &whole, &[]), ["b"]);
        assert_eq!(take(&mut said, ByService::new(), &one, &[]), ["c"]);
        assert_eq!(take(&mut said, ByService::new(), &[], &[]), ["a"]);
        assert!(said.waiting.is_empty());
    }

    #[test]
    fn an_endpoint_that_waits_with_its_service_and_goes_is_forgotten() {
        let mut said = Said::default();
        let whole = [unmet("web", None)];
        for turn in 0..1000 {
            let id = format!("e{turn}");
            take(&mut said, changed("web", &[&id]), &whole, &[]);
            take(&mut said, changed("web", &[&id]), &whole, &[&id]);
        }
        assert!(said.waiting.is_empty(), "{:?}", said.waiting);
    }

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
