//! A service grows and shrinks.

use std::{net::SocketAddr, thread, time::Duration};

use lb_examples::traffic::Latencies;

use crate::{
    support::engine::available,
    users::{self, answers, judge},
    world::World,
};

/// From the engine's event of this kind to HAProxy's verification that the endpoints are ready, or are not.
fn latencies(world: &World, action: &str, containers: &[(String, SocketAddr)]) -> Latencies {
    let filter = format!("event={action}");
    let now = world.engine.docker(&["info", "-f", "{{.SystemTime}}"]);
    let listed = world.engine.docker(&[
        "events",
        "--since",
        "0",
        "--until",
        &now,
        "--filter",
        "type=container",
        "--filter",
        &filter,
        "--format",
        "{{.TimeNano}} {{.Actor.Attributes.name}}",
    ]);
    let mut all = Latencies::default();
    for (container, address) in containers {
        let told = listed.lines().find_map(|line| {
            let (at, name) = line.split_once(' ')?;
            (name == container).then(|| at.parse::<u128>().unwrap())
        });
        let told = told.unwrap();
        let verified = world.verified.first(told, *address, action == "start");
        let took = verified.unwrap() - told;
        all.add(Duration::from_nanos(u64::try_from(took).unwrap()));
    }
    all
}

/// Runs containers of one service, as many at once as compose would.
fn start(world: &World, names: impl Iterator<Item = String>) -> Vec<(String, SocketAddr)> {
    let names: Vec<String> = names.collect();
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let starts: Vec<_> = names
                .into_iter()
                .map(|name| {
                    scope.spawn(move || {
                        let address = world.start("a", &name);
                        (name, address)
                    })
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i8_a_service_scaled_from_1_to_10_to_3_loses_no_request() {
    if !available() {
        return;
    }
    let world = World::new().await;
    let users = users::start(&world.bed, 20);
    answers(&users, 100).await;

    let mut containers = start(&world, (2..=10).map(|number| format!("a-{number}")));
    for (_, address) in &containers {
        world.ready(*address, true).await;
    }
    let started = latencies(&world, "start", &containers);
    answers(&users, 500).await;
    let leaving = containers.split_off(2);
    let stop = ["stop"].into_iter();
    let names = leaving.iter().map(|(container, _)| container.as_str());
    let stop: Vec<&str> = stop.chain(names).collect();
    tokio::task::block_in_place(|| world.engine.docker(&stop));
    for (_, address) in &leaving {
        world.ready(*address, false).await;
    }
    answers(&users, 200).await;

    let outcome = judge(users, 1000).await;
    assert!(
        outcome.by_endpoint.len() >= 11,
        "new containers take traffic"
    );
    assert_eq!(world.misrouted(), 0);
    assert_eq!(users::reloads(&world.bed), 0);
    let more = start(&world, (0..4).map(|number| format!("dies-{number}")));
    containers.extend(more);
    for (_, address) in &containers {
        world.ready(*address, true).await;
    }
    for (container, address) in &containers {
        world
            .engine
            .docker(&["kill", "--signal", "KILL", container]);
        world.ready(*address, false).await;
    }
    let died = latencies(&world, "die", &containers);
    for (event, latencies) in [("start", started), ("die", died)] {
        println!(
            "from the event {event} to HAProxy verified: median {:?}, p99 {:?} of {}",
            latencies.quantile(0.5),
            latencies.quantile(0.99),
            latencies.count(),
        );
    }
}
