//! Users of a testbed, and what became of their requests.

use std::{path::Path, time::Duration};

use lb_core::Name;
use lb_examples::{
    testbed::Testbed,
    traffic::{Outcome, Running, now},
};
use lb_haproxy::process::Executable;

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The executables of HAProxy to test, oldest first.
pub(crate) fn executables() -> Vec<Executable> {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let mut paths: Vec<Option<&Path>> = listed
        .split_whitespace()
        .map(|path| Some(path.as_ref()))
        .collect();
    if paths.is_empty() {
        paths.push(None);
    }
    paths
        .into_iter()
        .map(|path| Executable::find(path).unwrap())
        .collect()
}

/// Users of all services until they are stopped.
pub(crate) fn start(bed: &Testbed, users: usize) -> Running {
    let mut load = bed.load(users, 0);
    load.at_least = LIMIT * 2;
    load.deadline = LIMIT * 2;
    load.request_limit = LIMIT;
    load.start(bed.oracle.clone())
}

/// The number of times that HAProxy was reloaded.
pub(crate) fn reloads(bed: &Testbed) -> u64 {
    let status = bed.plane().unwrap().status();
    let reloads = status
        .targets
        .iter()
        .map(|target| target.counters.get("reloads").copied().unwrap());
    reloads.sum()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let began = now();
    while !so() {
        assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the users have got this many more right answers.
pub(crate) async fn answers(running: &Running, more: u64) {
    let wanted = running.progress().answered + more;
    until("answers", || running.progress().answered >= wanted).await;
}

/// Lets the users go on until they have made this many requests, and judges all of them.
pub(crate) async fn judge(running: Running, least: u64) -> Outcome {
    until("requests", || running.progress().begun >= least).await;
    running.stop();
    let outcome = running.finish().await;
    if let Some(faults) = outcome.faults() {
        panic!("{faults}");
    }
    assert!(outcome.requests >= least);
    println!(
        "  {} requests in {:?}, median {:?}, p99 {:?}, {} endpoints, {} excused",
        outcome.requests,
        outcome.took,
        outcome.latencies.quantile(0.5),
        outcome.latencies.quantile(0.99),
        outcome.by_endpoint.len(),
        outcome.excused,
    );
    outcome
}
