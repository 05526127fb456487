//! The process and what it may take.

use std::time::Duration;

use lb_haproxy::{
    config::lint::{Code, LintOptions},
    process::Executable,
};
use tokio::time::{sleep, timeout};

use crate::{
    endpoint::Endpoint,
    support::executables,
    user::User,
    world::{
        Bare, LIMIT, RESTORED, World, always, found, found_with, shows, starts, until,
        with_backend, with_lines,
    },
};

/// Up to 2.4 two processes start and each has servers of its own, later HAProxy refuses; either way nothing is driven.
#[tokio::test]
async fn several_processes_cannot_be_driven() {
    let line = |words: &str| {
        with_lines("").replace("  stats maxconn", &format!("  {words}\n  stats maxconn"))
    };
    shows(
        Code::Nbproc,
        &line("nbproc 2"),
        &line("nbthread 2"),
        always,
        async |executable, text| !starts(executable, text).await,
    )
    .await;
}

#[tokio::test]
async fn without_hard_stop_after_a_long_request_keeps_its_worker() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let good = with_lines("").replace("hard-stop-after 60s", "hard-stop-after 1s");
        let bad = good.replace("  hard-stop-after 1s\n", "");
        assert_eq!(found(&bad, &version), [Code::NoHardStop]);
        assert_eq!(found(&good, &version), []);
        for (text, ends) in [(bad, false), (good, true)] {
            let mut world = World::start(&executable, &text).await;
            let endpoint = Endpoint::start("a").await;
            world.fill("slot1", endpoint.address).await;
            let mut user = User::connect(world.frontend).await;
            // Answered, so that the worker has the connection, and then busy.
            assert_eq!(user.ask("/", "").await.body, "a");
            user.send("/never", "").await;
            until("the request", async || {
                let stat = world.ask("show stat b 4 -1").await;
                stat.lines().any(|line| line.split(',').nth(4) == Some("1"))
            })
            .await;
            world.reload().await;
            let gone = async || {
                world
                    .haproxy
                    .processes()
                    .await
                    .unwrap()
                    .old_workers
                    .is_empty()
            };
            if !ends {
                sleep(Duration::from_secs(4)).await;
                assert!(!gone().await, "{version}");
                drop(user);
            }
            until("the old worker's end", gone).await;
        }
    }
}

/// HAProxy in the limits that a shell sets: whether it serves within this time, and what it printed.
async fn limited(
    executable: &Executable,
    text: &str,
    limit: &str,
    time: Duration,
) -> (bool, String) {
    let mut bare = Bare::start(executable, text, limit);
    let started = timeout(time, bare.serves()).await.unwrap_or(false);
    (started, bare.printed())
}

#[tokio::test]
async fn checks_of_slots_need_open_files() {
    let slots = |count: u32, words: &str| {
        with_backend(&format!(
            "  server-template slot 1-{count} {RESTORED} {words}\n"
        ))
    };
    let maxconn = |text: String| text.replace("  stats maxconn", "  maxconn 400\n  stats maxconn");
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        options.open_files = Some(1000);
        for (bad, good) in [
            (slots(900, "check"), slots(100, "check")),
            (maxconn(slots(300, "check")), maxconn(slots(100, "check"))),
        ] {
            assert_eq!(found_with(&bad, &options), [Code::OpenFiles]);
            assert_eq!(found_with(&good, &options), []);
            let says = "Cannot raise FD limit";
            let (started, printed) = limited(&executable, &bad, "ulimit -n 1000", LIMIT).await;
            // 2.2 starts, and says that it will not for long.
            assert_eq!(started, !version.at_least(2, 3), "{version}: {printed}");
            assert!(printed.contains(says), "{version}: {printed}");
            let (started, printed) = limited(&executable, &good, "ulimit -n 1000", LIMIT).await;
            assert!(started && !printed.contains(says), "{version}: {printed}");
        }
    }
}

/// Without the memory some versions end, and others stand still before they serve.
#[tokio::test]
async fn slots_need_memory() {
    let slots = |count: u32| {
        with_backend(&format!(
            "  server-template slot 1-{count} {RESTORED} check\n"
        ))
    };
    const MEMORY: u64 = 120_000 << 10;
    const TOO_LONG: Duration = Duration::from_secs(20);
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        options.memory = Some(MEMORY);
        let (bad, good) = (slots(26_000), slots(100));
        assert_eq!(found_with(&bad, &options), [Code::Memory]);
        assert_eq!(found_with(&good, &options), []);
        let limit = format!("ulimit -v {}", MEMORY >> 10);
        let (started, printed) = limited(&executable, &bad, &limit, TOO_LONG).await;
        assert!(!started, "{version}: {printed}");
        let (started, printed) = limited(&executable, &good, &limit, LIMIT).await;
        assert!(started, "{version}: {printed}");
        // With memory it is the same configuration that serves; older ones take minutes for so many slots.
        if version.at_least(3, 2) {
            let (started, printed) = limited(&executable, &bad, "true", LIMIT * 2).await;
            assert!(started, "{version}: {printed}");
        }
    }
}
