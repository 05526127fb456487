//! Whole sets of routes replaced under load.

use lb_core::Route;
use lb_haproxy::{
    capability::Capabilities,
    driver::converge_map,
    routes::{MapStage, compile_http},
};

use crate::{bed::*, load::*, support::executables};

/// I1: with 10,000 routes replaced under load, every answer is the old or the new one, and those that are the same
/// before and after never differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_routes_are_replaced_without_a_wrong_answer() {
    const COUNT: usize = 10_000;
    let maps = ["s1", "s2"].map(|odd| fleet(COUNT, odd));
    for executable in executables() {
        let bed = Bed::start(&executable, &maps[0], &["s0", "s1", "s2"]).await;
        let mut client = bed.client().await;
        let load = Load::start(
            bed.http,
            4,
            |n| {
                (
                    format!("h{}.example", n % COUNT),
                    format!("/p{}/x", n % COUNT % 7),
                )
            },
            |n, answer| match n % COUNT % 2 {
                0 => answer == "s0",
                _ => answer == "s1" || answer == "s2",
            },
        );
        // Without transactions each of the 5,000 edits is a command of its own.
        let rounds = match bed.capabilities.map_transactions {
            true => 6,
            false => 2,
        };
        let mut browser = Browser::connect(bed.http).await;
        for round in 0..rounds {
            load.go_on(200).await;
            let odd = if round % 2 == 0 { "s2" } else { "s1" };
            let change = bed.converge(&mut client, &maps[(round + 1) % 2]).await;
            assert_eq!(
                matches!(change.stages.as_slice(), [MapStage::Transaction(_)]),
                bed.capabilities.map_transactions,
                "{change}"
            );
            for n in [1, 4_999, 9_999] {
                let answer = browser
                    .ask(&format!("h{n}.example"), &format!("/p{}", n % 7))
                    .await;
                assert_eq!(answer, odd, "after the change");
            }
        }
        load.go_on(200).await;
        let (asked, wrong) = load.end().await;
        assert!(wrong.is_empty(), "{wrong:?}");
        println!(
            "{:?}: {rounds} replacements, {asked} requests",
            bed.capabilities.version
        );
        bed.haproxy.stop().await.unwrap();
    }
}

/// I1, I12: routes that say the same in other words may be exchanged under load, edit by edit or at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_other_words_are_exchanged_without_a_wrong_answer() {
    const HOSTS: usize = 40;
    let by_host: Vec<Route> = (0..HOSTS)
        .map(|n| route(&format!("h{n}.w.example"), "/", "s0", 0))
        .chain((0..HOSTS).map(|n| route(&format!("h{n}.w.example"), "/a", "s1", 0)))
        .chain([route("*.example", "/", "s2", 0)])
        .collect();
    let by_path = [
        route("*.w.example", "/", "s0", 0),
        route("*.example", "/a", "s1", 5),
        route("*", "/", "s2", 0),
    ];
    for executable in executables() {
        let maps = [
            compile_http(&by_host, own_name).map,
            compile_http(&by_path, own_name).map,
        ];
        let bed = Bed::start(&executable, &maps[0], &["s0", "s1", "s2"]).await;
        let load = Load::start(
            bed.http,
            4,
            |n| {
                let path = if n % 3 == 0 { "/a/x" } else { "/b" };
                (format!("h{}.w.example", n % HOSTS), path.to_owned())
            },
            |n, answer| answer == if n % 3 == 0 { "s1" } else { "s0" },
        );
        let mut client = bed.client().await;
        let without = Capabilities::of(2, 2);
        for round in 0..24_usize {
            load.go_on(50).await;
            let wanted = &maps[(round + 1) % 2];
            // Both ways on every version that has both.
            let way = if round % 4 < 2 {
                &without
            } else {
                &bed.capabilities
            };
            converge_map(&mut client, &bed.routes, wanted, way)
                .await
                .unwrap();
        }
        let (asked, wrong) = load.end().await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(asked >= 1_200);
        bed.haproxy.stop().await.unwrap();
    }
}
