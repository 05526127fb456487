//! etcd is away for some seconds.

use std::time::Duration;

use crate::{
    users::{self, answers, judge, until},
    world::{World, over_etcds},
};

fn is_live(world: &World) -> bool {
    let status = world.bed.plane().unwrap().status();
    status.sources.iter().all(|source| source.health.is_live())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_while_etcd_is_killed_or_frozen_all_stays_and_nothing_is_lost() {
    over_etcds("etcd is away", async |mut world| {
        let [service, other] = world.services.clone();
        let mut addresses = Vec::new();
        for number in 0..6 {
            let address = world.bed.add_server().await.unwrap();
            let service = if number % 2 == 0 { &service } else { &other };
            world.put(service, &format!("web{number}"), address);
            addresses.push(address);
        }
        world.settle().await;
        let users = users::start(&world.bed, 20);
        let generation = world.bed.plane().unwrap().snapshot().generation();

        for killed in [true, false] {
            if killed {
                world.etcd.kill();
            } else {
                world.etcd.freeze();
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            until("the silence to be noticed", || !is_live(&world)).await;
            answers(&users, 500).await;
            let snapshot = world.bed.plane().unwrap().snapshot();
            assert_eq!(
                (snapshot.endpoint_count(), snapshot.is_partial()),
                (8, false)
            );
            world.bed.in_step(Duration::ZERO).await.unwrap();
            if killed {
                assert_eq!(snapshot.generation(), generation);
                world.etcd.start().unwrap();
            } else {
                world.etcd.thaw();
            }
            // What is written now finds its way, and an address changes hands.
            world.txn(&[
                (&service, "web0", None),
                (&other, "office0", Some(addresses[0])),
            ]);
            world.settle().await;
            world.txn(&[
                (&service, "web0", Some(addresses[0])),
                (&other, "office0", None),
            ]);
            world.settle().await;
            until("etcd to be followed again", || is_live(&world)).await;
        }
        judge(users, 1000).await;
        assert_eq!(users::reloads(&world.bed), 0);
    })
    .await;
}
