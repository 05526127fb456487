//! Addresses go from container to container, and from service to service.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use lb_examples::traffic::now;

use crate::{
    support::engine::available,
    users::{self, LIMIT, answers},
    world::{SERVICES, World},
};

/// The number of containers that are started and killed at the same time.
const AT_ONCE: usize = 4;
/// No container is started after this, and how many must have been by then: on a busy machine each takes seconds.
const ENOUGH: (Duration, usize) = (Duration::from_secs(300), 100);
/// Longer than any storm lasts.
const LONGEST: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_no_request_reaches_the_next_owner_of_an_address() {
    if !available() {
        return;
    }
    let containers = std::env::var("LB_STORM")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(500);
    let world = World::new().await;
    let mut load = world.bed.load(20, 0);
    load.at_least = LONGEST;
    load.deadline = LONGEST;
    load.request_limit = LIMIT;
    // The engine needs the processors too.
    load.pause = Duration::from_millis(5);
    let users = load.start(world.bed.oracle.clone());
    // A container that is killed takes with it what it is asked; whose that was is what counts here.
    users.excuse_failures(true);
    let began = now();
    let (next, started) = (AtomicUsize::new(0), AtomicUsize::new(0));
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let (long, many) = ENOUGH;
                        if number >= containers || number >= many && began.elapsed() > long {
                            return;
                        }
                        started.fetch_add(1, Ordering::Relaxed);
                        let service = number % SERVICES.len();
                        let container = format!("storm-{number}");
                        world.run(SERVICES.get(service).unwrap(), &container);
                        world.engine.docker(&["rm", "-f", &container]);
                    }
                });
            }
        });
    });
    let took = began.elapsed();
    users.excuse_failures(false);
    answers(&users, 200).await;
    users.stop();
    let outcome = users.finish().await;
    let owners = world.verified.owners();
    let moves: usize = owners.values().map(|owners| owners.len() - 1).sum();
    let containers = started.into_inner();
    println!(
        "{containers} containers in {took:?} at {} addresses, which changed services {moves} times; {} requests, {} excused",
        owners.len(),
        outcome.requests,
        outcome.excused,
    );
    assert!(moves > 0, "no address went from one service to the other");
    assert_eq!((world.misrouted(), outcome.misrouted), (0, 0));
    assert_eq!(users::reloads(&world.bed), 0);
}
