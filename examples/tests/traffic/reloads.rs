//! HAProxy reloads, by `lb` or by others, while users go on.

use std::time::Duration;

use lb_examples::{testbed::Options, traffic::Connections};
use lb_haproxy::{growth::GrowthConfig, policy::DynamicServers, process::Executable};

use crate::world::{LIMIT, REQUESTS, World, answers, judge, over_versions, until};

/// From one forced reload to the next.
const EVERY: Duration = Duration::from_millis(200);

/// The connections of users whom a reload must not disturb. Before 2.6 HAProxy closes kept connections when it
/// reloads, under a request that is on its way as well.
async fn undisturbed(executable: &Executable) -> Connections {
    match executable.version().await.unwrap().at_least(2, 6) {
        true => Connections::Mixed,
        false => Connections::PerRequest,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_no_request_is_lost_by_seamless_reloads_one_after_the_other() {
    over_versions("forced reloads", async |executable, seed| {
        let connections = undisturbed(&executable).await;
        let mut world = World::with(executable, seed, |options| options.restored = true).await;
        on_disk(&world).await;
        let users = world.users_with(200, connections);
        let mut reloads = 0;
        while users.progress().begun < REQUESTS && !users.is_over() {
            world.bed.haproxy.reload().await.unwrap();
            reloads += 1;
            tokio::time::sleep(EVERY).await;
        }
        println!("  {reloads} reloads");
        assert!(reloads > 0);
        judge(users, REQUESTS).await;
        // Each new worker was noticed, and found as it is to be.
        world.settle().await;
        assert_eq!(world.reloads(), 0, "lb made none of them");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_growth_past_all_slots_under_load_is_one_reload_and_loses_nothing() {
    over_versions("growth", async |executable, seed| {
        let connections = undisturbed(&executable).await;
        let mut world = World::with(executable, seed, grows_from_16).await;
        world.changes(40, Duration::from_millis(2)).await;
        world.settle().await;
        assert_eq!(
            world.reloads(),
            0,
            "there was room: {:?}",
            world.bed.plane().unwrap().status().targets
        );
        let users = world.users_with(100, connections);
        answers(&users, 500).await;
        // Twice as many as there are slots, for one service, one after the other.
        let service = world.services[0].clone();
        for _ in 0..32 {
            let address = world.bed.add_server().await.unwrap();
            let endpoint = lb_examples::testbed::endpoint_at(&service, address);
            world.bed.desired.change([endpoint], []).unwrap();
        }
        world.settle().await;
        // HAProxy shows it before the pass that brought it is told.
        until("every desired state to be met", || unmet(&world) == 0).await;
        answers(&users, 2_000).await;
        judge(users, REQUESTS).await;
        assert_eq!(world.reloads(), 1);
        // Changes go on without another one.
        world.changes(40, Duration::from_millis(2)).await;
        world.settle().await;
        assert_eq!(world.reloads(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_whoever_is_killed_around_a_reload_all_is_in_step_after() {
    over_versions("killed around a reload", async |executable, seed| {
        let mut world = World::with(executable, seed, grows_from_16).await;
        let users = world.users(50);
        for round in 0..4_u32 {
            let service = world.services[round as usize % 2].clone();
            for _ in 0..12 {
                let address = world.bed.add_server().await.unwrap();
                let endpoint = lb_examples::testbed::endpoint_at(&service, address);
                world.bed.desired.change([endpoint], []).unwrap();
            }
            // About when the reload is made, however long the pass before it takes.
            let micros = world.random.number() % 600_000;
            tokio::time::sleep(Duration::from_micros(micros)).await;
            users.excuse_failures(true);
            match world.random.below(3) {
                0 => world.bed.haproxy.kill(),
                1 => world.bed.kill_plane().await,
                _ => {
                    world.bed.kill_plane().await;
                    world.bed.haproxy.kill();
                }
            }
            world.bed.haproxy.restart().await.unwrap();
            if world.bed.plane().is_none() {
                world.bed.start_plane().await.unwrap();
            }
            world.settle().await;
            users.excuse_failures(false);
            answers(&users, 200).await;
        }
        judge(users, 1_000).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_haproxy_restarted_while_lb_is_dead_serves_the_last_known_endpoints() {
    over_versions("HAProxy alone", async |executable, seed| {
        let mut world = World::with(executable, seed, |options| options.restored = true).await;
        world.changes(20, Duration::from_millis(2)).await;
        world.settle().await;
        world.bed.at_rest(LIMIT).await.unwrap();
        on_disk(&world).await;
        world.bed.kill_plane().await;
        world.bed.haproxy.restart().await.unwrap();
        world.bed.in_step(LIMIT).await.unwrap();
        let users = world.users(20);
        judge(users, 500).await;
    })
    .await;
}

/// Slots that run out, without servers made at run time, and leave to reload for more.
fn grows_from_16(options: &mut Options) {
    options.slots = 16;
    options.restored = true;
    options.policy.dynamic_servers = DynamicServers::Never;
    let mut growth = GrowthConfig::new("");
    growth.wait = Duration::from_millis(300);
    growth.jitter = Duration::from_millis(50);
    growth.pause = Duration::from_millis(300);
    growth.burst = 100;
    growth.limit = LIMIT;
    growth.grow_by = 200;
    options.growth = Some(growth);
}

/// Waits until the file that HAProxy restores its slots from has every address that serves.
async fn on_disk(world: &World) {
    let state = world.bed.haproxy.state();
    until("the state file", || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        world.bed.desired.ready().iter().all(|(address, service)| {
            let has = |line: &str| {
                let words: Vec<&str> = line.split(' ').collect();
                words.get(1) == Some(&service.as_str())
                    && words.get(4) == Some(&address.ip().to_string().as_str())
                    && words.get(6) == Some(&"4")
            };
            text.lines().any(has)
        })
    })
    .await;
}

fn unmet(world: &World) -> usize {
    let status = world.bed.plane().unwrap().status();
    status.targets.iter().map(|target| target.unmet_count).sum()
}
