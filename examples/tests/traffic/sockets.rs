//! What is said on the socket, and what happens when it is not there.

use std::time::Duration;

use crate::world::{LIMIT, World, answers, judge, over_versions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_second_pass_changes_nothing_and_a_new_control_plane_adopts_without_a_write() {
    over_versions("second pass", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let heard = |world: &mut World| world.bed.tap_heard().unwrap();
        world.bed.tap().unwrap();
        world.bed.start_plane().await.unwrap();
        world.changes(50, Duration::from_millis(2)).await;
        world.settle().await;
        world.bed.at_rest(LIMIT).await.unwrap();
        let first = heard(&mut world);
        assert!(first.changes > 0, "the tap hears nothing: {first:?}");

        for _ in 0..3 {
            let handle = world.bed.plane().unwrap();
            let done = handle.reconcile_now(LIMIT).await.unwrap();
            assert!(done.is_complete(), "{done:?}");
        }
        let second = heard(&mut world);
        assert_eq!(second.changes, first.changes, "{:?}", second.last);

        world.bed.start_plane().await.unwrap();
        world.bed.desired.change([], []).unwrap();
        world.settle().await;
        let handle = world.bed.plane().unwrap();
        assert!(handle.reconcile_now(LIMIT).await.unwrap().is_complete());
        let third = heard(&mut world);
        assert!(third.reads > second.reads, "the new one looked at nothing");
        assert_eq!(third.changes, first.changes, "{:?}", third.last);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_endpoints_stay_while_haproxy_hangs_and_all_is_in_step_after() {
    over_versions("hung HAProxy", async |executable, seed| {
        let adjust = |options: &mut lb_examples::testbed::Options| {
            options.timeout = Duration::from_millis(200);
        };
        let mut world = World::with(executable, seed, adjust).await;
        let users = world.users(50);
        for _ in 0..2 {
            answers(&users, 300).await;
            world.bed.haproxy.freeze().unwrap();
            world.changes(100, Duration::from_millis(8)).await;
            world.bed.haproxy.thaw().unwrap();
            world.settle().await;
        }
        // The users only waited: nobody was refused.
        judge(users, 1_000).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_endpoints_stay_while_the_socket_is_gone_and_all_is_in_step_after() {
    over_versions("lost socket", async |executable, seed| {
        let mut world = World::new(executable, seed).await;
        let users = world.users(50);
        let socket = world.bed.haproxy.socket();
        let aside = socket.with_extension("aside");
        std::fs::rename(&socket, &aside).unwrap();
        world.bed.start_plane().await.unwrap();
        world.changes(100, Duration::from_millis(4)).await;
        answers(&users, 500).await;
        std::fs::rename(&aside, &socket).unwrap();
        world.settle().await;
        judge(users, 1_000).await;
        assert_eq!(world.reloads(), 0);
    })
    .await;
}
