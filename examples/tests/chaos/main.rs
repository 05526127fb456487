//! Everything that can go wrong, at random, to a real HAProxy of every version under load: `make chaos MINUTES=30`.
//!
//! No request may be answered by an endpoint of another service, and none may be lost but those that a killed HAProxy
//! or a killed endpoint was at. `LB_CHAOS_MINUTES` is how long it takes over all versions together; without it the test
//! says so and does nothing.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    dead_code,
    unused_imports,
    reason = "the helpers are shared with other tests"
)]

mod faults;
#[path = "../support/users.rs"]
mod users;
#[path = "../traffic/world.rs"]
mod world;

use std::time::Duration;

use faults::{Fault, Tally};
use lb_examples::traffic::now;
use lb_haproxy::process::Executable;
use world::World;

/// How many users ask all the time.
const USERS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_loses_and_misroutes_nothing() {
    let minutes = std::env::var("LB_CHAOS_MINUTES").ok();
    let Some(minutes) = minutes.and_then(|text| text.parse::<f64>().ok()) else {
        println!("chaos: LB_CHAOS_MINUTES is not set: nothing to do");
        return;
    };
    let seed = std::env::var("LB_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let executables = users::executables();
    let share = Duration::from_secs_f64(minutes * 60.0 / executables.len() as f64);
    println!("chaos: LB_SEED={seed}, {share:?} for each version");
    println!("{}", Tally::HEADER);
    let mut bad = Vec::new();
    for executable in executables {
        let version = executable.version().await.unwrap().to_string();
        let (tally, faults) = one(executable, seed, share).await;
        println!("{}", tally.line(&version));
        bad.extend(faults.map(|faults| format!("HAProxy {version}: {faults}")));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// One version, for its share of the time.
async fn one(executable: Executable, seed: u64, share: Duration) -> (Tally, Option<String>) {
    let mut world = World::new(executable, seed).await;
    let mut load = world.bed.load(USERS, 0);
    load.at_least = share * 10 + world::LIMIT;
    load.deadline = load.at_least;
    load.request_limit = world::LIMIT;
    let running = load.start(world.bed.oracle.clone());
    let mut tally = Tally::default();
    let began = now();
    while began.elapsed() < share {
        let fault = Fault::pick(&mut world.random);
        tally.count(fault);
        let excused = fault.costs_requests();
        if excused {
            running.excuse_failures(true);
        }
        fault.strike(&mut world).await;
        let since = now();
        world.settle().await;
        tally.converged.push(since.elapsed());
        if excused {
            running.excuse_failures(false);
        }
        world::answers(&running, 100).await;
    }
    running.stop();
    let outcome = running.finish().await;
    let followed = world.bed.wishes.followed();
    tally.requests = outcome.requests;
    tally.lost = outcome.lost;
    tally.excused = outcome.excused;
    tally.misrouted = outcome.misrouted;
    tally.changes = followed.changes;
    (tally, outcome.faults())
}
