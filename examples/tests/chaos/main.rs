//! Everything that can go wrong, at random, to a real HAProxy of every version under load: `make chaos MINUTES=30`.
//!
//! The desired state comes from this program, from a file that the agent follows as a process of its own, from a real etcd and
//! from a real Docker engine, each for a part of a version's time. No request may be answered by an endpoint of another
//! service, and none may be lost but those that were on their way when a HAProxy or an endpoint was killed.
//!
//! `LB_CHAOS_MINUTES` is how long it takes over all versions together; without it the test says so and does nothing.
//! `LB_CHAOS_SOURCES` names the sources, separated by spaces, where not all are wanted. `LB_SEED` repeats a run, and with
//! `LB_CHAOS_TELL` it tells each fault.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

mod agent;
mod containers;
#[path = "../support/crowd.rs"]
mod crowd;
mod disk;
mod engine;
mod etcd;
#[path = "../etcd/support.rs"]
mod etcd_support;
mod faults;
mod flood;
#[path = "../docker/network.rs"]
mod network;
mod source;
#[path = "../docker/support.rs"]
mod support;
mod table;
#[path = "../support/users.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod users;
mod world;

use std::{sync::Arc, time::Duration};

use engine::Host;
use faults::Deck;
use lb_examples::traffic::{Seed, now};
use lb_haproxy::process::Executable;
use source::Kind;
use table::{HEADER, Row};
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
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
    let kinds = Kind::wanted();
    let host = kinds
        .contains(&Kind::Docker)
        .then(|| Arc::new(Host::start()));
    let executables = users::executables();
    let parts = executables.len() * kinds.len();
    let share = Duration::from_secs_f64(minutes * 60.0 / parts as f64);
    println!("chaos: LB_SEED={seed}, {share:?} for each version and source");
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    // Each part has a seed of its own, so that short parts do not all begin with the same faults.
    let mut seeds = Seed::new(seed);
    for executable in executables {
        let version = executable.version().await.unwrap().to_string();
        for kind in &kinds {
            let (began, random) = (now(), Seed::new(seeds.number()));
            let part = part(executable.clone(), *kind, host.clone(), random, share);
            // A part that panics must not hide what the others found.
            let outcome = tokio::spawn(part).await;
            let name = format!("HAProxy {version}, {kind}");
            match outcome {
                Ok((row, wrong)) => {
                    println!("{name}: {} requests in {:?}", row.requests, began.elapsed());
                    for (how, count) in &row.excuses {
                        println!("  {count} in flight ended by: {how}");
                    }
                    rows.push(format!("{version:<16} {kind:<8}{row}"));
                    bad.extend(wrong.into_iter().map(|wrong| format!("{name}: {wrong}")));
                }
                Err(_) => bad.push(format!("{name}: a panic, see above")),
            }
        }
    }
    println!("\nchaos: LB_SEED={seed}\n{HEADER}");
    for row in rows {
        println!("{row}");
    }
    assert!(bad.is_empty(), "LB_SEED={seed}\n{}", bad.join("\n"));
}

/// One version with one source, for its share of the time: what happened, and what was wrong.
async fn part(
    executable: Executable,
    kind: Kind,
    host: Option<Arc<Host>>,
    random: Seed,
    share: Duration,
) -> (Row, Vec<String>) {
    let mut world = World::start(executable, kind, host, random).await;
    let mut deck = Deck::of(&world);
    let mut row = Row::default();
    let told = std::env::var_os("LB_CHAOS_TELL").is_some();
    let began = now();
    while began.elapsed() < share {
        let fault = deck.draw(&mut world.random);
        row.count(fault);
        let struck = now();
        fault.strike(&mut world).await;
        let since = now();
        world.settle().await;
        row.converged.push(since.elapsed());
        world.answers(100).await;
        if told {
            let (from, took, settled) = (struck - began, since - struck, since.elapsed());
            println!("  at {from:?} {fault:?} for {took:?}, settled and served after {settled:?}");
        }
        if world.progress().lost > 0 {
            world.suspects.push(fault);
        }
    }
    world.end(&mut row).await;
    (row, world.wrong)
}
