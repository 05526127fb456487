//! Endpoints change while users go on.

use std::time::Duration;

use crate::world::{REQUESTS, World, judge, over_versions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_no_request_is_lost_or_misrouted_while_endpoints_change_now_and_then() {
    over_versions("now and then", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(100);
        world.changes(5, Duration::from_millis(200)).await;
        while users.progress().begun < REQUESTS && !users.is_over() {
            world.changes(2, Duration::from_millis(200)).await;
        }
        world.settle().await;
        judge(users, REQUESTS).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_no_request_is_lost_or_misrouted_at_500_changes_a_second() {
    over_versions("500 a second", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(200);
        while users.progress().begun < REQUESTS && !users.is_over() {
            world.changes(250, Duration::from_millis(2)).await;
            world.settle().await;
        }
        judge(users, REQUESTS).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}
