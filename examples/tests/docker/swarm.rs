//! Services of a Swarm change under load.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_docker::LabelScheme;
use lb_examples::traffic::now;

use crate::{
    http::{until, until_served},
    support::engine::available,
    swarm_world::{BY_PATH, SwarmWorld, Users, timed},
    users::LIMIT,
};

const USERS: usize = 10;

async fn answers(users: &[Users], more: u64) {
    for users in users {
        users.answers(more).await;
    }
}

/// Replaces all tasks of `a`, one after the other.
async fn roll(world: &SwarmWorld, order: &str, replicas: usize) {
    let old: BTreeSet<_> = world.addresses("a").into_iter().collect();
    assert_eq!(old.len(), replicas);
    let change = format!("ORDER={order}");
    let update = ["service", "update", "--detach", "--update-order", order];
    world
        .engine
        .docker(&[update.as_slice(), &["--env-add", &change, "a"]].concat());
    world
        .ready("a", replicas, |address| !old.contains(address))
        .await;
    timed("until what left is gone", || {
        world.containers("a", replicas)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i8_a_swarm_service_that_scales_and_rolls_loses_no_request() {
    if !available() {
        return;
    }
    let world = SwarmWorld::new(0, LabelScheme::Lb).await;
    world.service("a", &["--replicas", "2"]);
    world.service("b", &["--replicas", "1"]);
    world.ready("a", 2, |_| true).await;
    world.ready("b", 1, |_| true).await;
    let users = [world.users("a", USERS), world.users("b", USERS)];
    answers(&users, 20).await;

    for replicas in [6, 2] {
        let scale = format!("a={replicas}");
        world
            .engine
            .docker(&["service", "scale", "--detach", &scale]);
        world.ready("a", replicas, |_| true).await;
        timed("scaled", || world.containers("a", replicas));
        answers(&users, 20).await;
    }
    for order in ["stop-first", "start-first"] {
        roll(&world, order, 2).await;
        answers(&users, 20).await;
    }
    for users in users {
        assert_eq!(users.judge().await, (Vec::new(), 0));
    }
    assert_eq!(world.misrouted(), 0);
    assert_eq!(world.reloads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i8_a_killed_task_loses_what_it_was_asked_and_a_removed_service_nothing_before() {
    if !available() {
        return;
    }
    let world = SwarmWorld::new(4, LabelScheme::Lb).await;
    world.service("a", &["--replicas", "3"]);
    world.service("b", &["--replicas", "1"]);
    world.ready("a", 3, |_| true).await;
    world.ready("b", 1, |_| true).await;
    let (a, b) = (world.users("a", USERS), world.users("b", USERS));
    a.answers(20).await;

    let running = timed("running", || world.containers("a", 3));
    let before: BTreeSet<_> = world.addresses("a").into_iter().collect();
    a.excuse_failures(true);
    world
        .engine
        .docker(&["kill", "--signal", "KILL", running.first().unwrap()]);
    world
        .ready("a", 2, |address| before.contains(address))
        .await;
    a.excuse_failures(false);
    a.answers(20).await;
    world.ready("a", 3, |_| true).await;
    let (excuses, most) = a.judge().await;
    println!("killed: {excuses:?}");
    assert!(most <= 1, "{most} requests of one connection failed");
    for (excuse, _) in excuses {
        // What HAProxy gives where a server that was asked breaks off; 503 would be one that was not even asked.
        let broken_off = ["status 502", "the conversation broke"];
        assert!(
            broken_off.iter().any(|start| excuse.starts_with(start)),
            "{excuse}"
        );
    }

    // Removed and made again: refused while there is none, and served before and after.
    let a = world.users("a", USERS);
    a.answers(20).await;
    a.excuse_failures(true);
    world.engine.docker(&["service", "rm", "a"]);
    world.ready("a", 0, |_| true).await;
    timed("removed", || world.containers("a", 0));
    world.service("a", &["--replicas", "2"]);
    world.ready("a", 2, |_| true).await;
    a.excuse_failures(false);
    a.answers(20).await;
    let (excuses, _) = a.judge().await;
    println!("removed: {excuses:?}");
    for (excuse, _) in excuses {
        assert_eq!(excuse, "status 503 Service Unavailable");
    }
    b.answers(20).await;
    assert_eq!(b.judge().await, (Vec::new(), 0), "others notice nothing");
    assert_eq!(world.misrouted(), 0);
    assert_eq!(world.reloads(), 0);
}

/// The two services with which docker-flow-proxy is usually shown, as they are there, answer by path.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn docker_flow_labels_lead_to_services_by_path() {
    if !available() {
        return;
    }
    let world = SwarmWorld::new(2, LabelScheme::DockerFlow).await;
    let engine = &world.engine;
    engine.docker(&["network", "create", "-d", "overlay", "go-demo"]);
    for (service, path, port) in [("go-demo", "/demo", 8080), ("hello-svc", "/jmkhael", 5000)] {
        engine.service(
            service,
            &[
                "--network",
                "go-demo",
                "--network",
                "mesh",
                "--label",
                "com.df.notify=true",
                "--label",
                "com.df.distribute=true",
                "--label",
                &format!("com.df.servicePath={path}"),
                "--label",
                &format!("com.df.port={port}"),
                "--env",
                &format!("SERVICE={service}"),
                "--env",
                "ADDRESS=10.0.1.",
                "--entrypoint",
                &format!("/server {port}"),
            ],
        );
    }
    let front = SocketAddr::new(world.front.into(), BY_PATH);
    tokio::task::block_in_place(|| {
        for (path, service, port) in [
            ("/demo/hello", "go-demo", 8080),
            ("/jmkhael", "hello-svc", 5000),
        ] {
            let answer = until_served(front, "stratus-clay", path, service);
            let endpoint: SocketAddr = answer.endpoint.unwrap().parse().unwrap();
            assert_eq!(endpoint.port(), port);
        }
        until(front, "stratus-clay", "/other", |answer| {
            answer.status == 404
        });
        engine.docker(&["service", "scale", "--detach", "go-demo=3"]);
        let mut endpoints = BTreeSet::new();
        let began = now();
        while endpoints.len() < 3 {
            let answer = until_served(front, "stratus-clay", "/demo/hello", "go-demo");
            endpoints.insert(answer.endpoint.unwrap());
            assert!(began.elapsed() < LIMIT, "only {endpoints:?} answer");
        }
        engine.docker(&["service", "rm", "hello-svc"]);
        until(front, "stratus-clay", "/jmkhael", |answer| {
            answer.status == 404
        });
        until_served(front, "stratus-clay", "/demo/hello", "go-demo");
    });
    assert_eq!(world.reloads(), 0);
}
