//! Endpoints that leave: drained ones end what they do, dead ones get nothing more.

use std::time::Duration;

use lb_core::EndpointState;
use lb_examples::{
    testbed::endpoint_at,
    traffic::{Ask, Client, Protocol},
};
use tokio::sync::oneshot;

use crate::world::{LIMIT, World, answers, judge, over_versions, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_drained_endpoint_ends_its_download_and_gets_nothing_new() {
    over_versions("drain", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(20);
        let service = world.services[0].clone();
        let frontend = world.bed.frontends()[0].1;
        let mut client = Client::new(service.clone(), frontend, Protocol::Http1);
        let (tell, told) = oneshot::channel();
        let ask = Ask::Download(Duration::from_secs(5));
        let download = tokio::spawn(async move {
            let begun = |address| tell.send(address).unwrap();
            client.get_telling(ask, LIMIT, begun).await
        });
        let address = told.await.unwrap();

        let (key, endpoint) = endpoint_at(&service, address);
        let state = EndpointState::Draining { grace: None };
        let desired = (key.clone(), endpoint.with_state(state));
        world.bed.desired.change([desired], []).unwrap();
        world.settle().await;
        assert!(
            !download.is_finished(),
            "a drain must not wait for what runs"
        );
        nothing_new_at(&world, address, &users).await;

        let whole = download.await.unwrap().unwrap();
        assert_eq!(whole.endpoint, address);
        world.bed.desired.change([], [key]).unwrap();
        world.settle().await;
        world.bed.gone(&service, address, LIMIT).await.unwrap();
        // It has left, so it can be stopped like a container at the end of its grace.
        world.bed.servers.remove(&address).unwrap().kill().await;
        answers(&users, 200).await;
        judge(users, 500).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_removed_endpoint_ends_its_download() {
    over_versions("removal", async |executable, seed| {
        let world = World::new(executable, seed).await;
        let service = world.services[1].clone();
        let frontend = world.bed.frontends()[1].1;
        let mut client = Client::new(service.clone(), frontend, Protocol::Http1);
        let (tell, told) = oneshot::channel();
        let ask = Ask::Download(Duration::from_secs(2));
        let download = tokio::spawn(async move {
            let begun = |address| tell.send(address).unwrap();
            client.get_telling(ask, LIMIT, begun).await
        });
        let address = told.await.unwrap();
        let (key, _) = endpoint_at(&service, address);
        world.bed.desired.change([], [key]).unwrap();
        // Another service gets the address: it has to wait until the download is over.
        let other = &world.services[0];
        world
            .bed
            .desired
            .change([endpoint_at(other, address)], [])
            .unwrap();
        assert_eq!(download.await.unwrap().unwrap().endpoint, address);
        world.settle().await;
        assert_eq!(world.bed.oracle.misrouted(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_dead_endpoint_is_out_at_once_and_in_again_when_it_returns() {
    over_versions("death", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let service = world.services[0].clone();
        let address = world.bed.add_server().await.unwrap();
        let (key, endpoint) = endpoint_at(&service, address);
        world
            .bed
            .desired
            .change([(key.clone(), endpoint.clone())], [])
            .unwrap();
        world.settle().await;
        let users = world.users(50);
        let reached = |world: &World| world.bed.servers.get(&address).unwrap().requests();
        until("traffic", || reached(&world) > 20).await;

        let down = endpoint.clone().with_state(EndpointState::Down);
        world.bed.desired.change([(key.clone(), down)], []).unwrap();
        world.settle().await;
        nothing_new_at(&world, address, &users).await;
        // Nothing is lost by its death now, however sudden.
        world.bed.servers.get_mut(&address).unwrap().kill().await;
        answers(&users, 500).await;

        world
            .bed
            .servers
            .get_mut(&address)
            .unwrap()
            .restart()
            .await
            .unwrap();
        let before = reached(&world);
        world.bed.desired.change([(key, endpoint)], []).unwrap();
        world.settle().await;
        until("traffic", || reached(&world) > before + 20).await;
        judge(users, 500).await;
    })
    .await;
}

/// No request that begins from now on reaches an endpoint.
async fn nothing_new_at(
    world: &World,
    address: std::net::SocketAddr,
    users: &lb_examples::traffic::Running,
) {
    // Those that began before may still arrive; every user has begun another when this is over.
    answers(users, 200).await;
    let before = world.bed.servers.get(&address).unwrap().requests();
    answers(users, 500).await;
    let after = world.bed.servers.get(&address).unwrap().requests();
    assert_eq!(after, before, "{address} was asked again");
    assert_eq!(world.bed.oracle.misrouted(), 0);
}
