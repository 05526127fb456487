//! Endpoints change while users go on: 100 and 200 of them, on kept connections and on new ones, each load of at least
//! 10,000 requests.

use std::time::Duration;

use lb_examples::traffic::Connections;

use crate::world::{REQUESTS, World, judge, over_versions};

/// The number of users, and whether they keep their connections.
const LOADS: [(usize, Connections); 4] = [
    (100, Connections::Kept),
    (100, Connections::PerRequest),
    (200, Connections::Kept),
    (200, Connections::PerRequest),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_no_request_is_lost_or_misrouted_while_endpoints_change_now_and_then() {
    over_versions("now and then", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        for (count, connections) in LOADS {
            let users = world.users_with(count, connections);
            world.changes(5, Duration::from_millis(200)).await;
            while users.progress().begun < REQUESTS && !users.is_over() {
                world.changes(2, Duration::from_millis(200)).await;
            }
            world.settle().await;
            judge(users, REQUESTS).await;
        }
        assert_eq!(world.reloads(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_no_request_is_lost_or_misrouted_at_500_changes_a_second() {
    over_versions("500 a second", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        for (count, connections) in LOADS {
            let users = world.users_with(count, connections);
            while users.progress().begun < REQUESTS && !users.is_over() {
                world.changes(250, Duration::from_millis(2)).await;
                world.settle().await;
            }
            judge(users, REQUESTS).await;
        }
        assert_eq!(world.reloads(), 0);
    })
    .await;
}
