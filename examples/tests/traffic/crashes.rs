//! What drives HAProxy dies, HAProxy dies, or both, while users go on and endpoints change.

use std::time::Duration;

use crate::world::{World, answers, judge, over_versions};

/// Requests of a run, at least: fewer than under changes alone, for there are more runs.
const REQUESTS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_control_plane_killed_at_any_moment_is_followed_by_one_that_adopts() {
    over_versions("killed control plane", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(100);
        for _ in 0..12 {
            some_changes(&mut world).await;
            // The pass that these changes began is cut wherever it is.
            pause(&mut world, 8).await;
            world.bed.kill_plane().await;
            some_changes(&mut world).await;
            world.bed.start_plane().await.unwrap();
        }
        world.settle().await;
        judge(users, REQUESTS).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_haproxy_that_was_restarted_is_in_step_again_without_help() {
    over_versions("restarted HAProxy", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(100);
        for _ in 0..3 {
            some_changes(&mut world).await;
            users.excuse_failures(true);
            world.bed.haproxy.kill();
            some_changes(&mut world).await;
            world.bed.haproxy.restart().await.unwrap();
            world.settle().await;
            users.excuse_failures(false);
            answers(&users, 500).await;
        }
        judge(users, REQUESTS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_control_plane_and_haproxy_restarted_in_any_order_end_in_step() {
    over_versions("both restarted", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(100);
        for _ in 0..3 {
            some_changes(&mut world).await;
            pause(&mut world, 8).await;
            users.excuse_failures(true);
            let haproxy_first = world.random.below(2) == 0;
            if haproxy_first {
                world.bed.haproxy.kill();
                world.bed.kill_plane().await;
            } else {
                world.bed.kill_plane().await;
                world.bed.haproxy.kill();
            }
            some_changes(&mut world).await;
            if world.random.below(2) == 0 {
                world.bed.start_plane().await.unwrap();
                pause(&mut world, 50).await;
                world.bed.haproxy.restart().await.unwrap();
            } else {
                world.bed.haproxy.restart().await.unwrap();
                world.bed.start_plane().await.unwrap();
            }
            world.settle().await;
            users.excuse_failures(false);
            answers(&users, 500).await;
        }
        judge(users, REQUESTS).await;
    })
    .await;
}

async fn some_changes(world: &mut World) {
    let count = 1 + world.random.below(20);
    world.changes(count, Duration::from_millis(2)).await;
}

/// Up to so many milliseconds.
async fn pause(world: &mut World, most: u64) {
    let micros = world.random.number() % (most * 1000);
    tokio::time::sleep(Duration::from_micros(micros)).await;
}
