//! The process and what it may take.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

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
        LIMIT, RESTORED, World, always, ask, found, found_with, prepare, shows, starts, until,
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

/// HAProxy in the limits that a shell sets, and what it printed when it has started or ended.
async fn limited(executable: &Executable, text: &str, limit: &str) -> (bool, String) {
    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _gone = self.0.kill();
            let _gone = self.0.wait();
        }
    }
    let (place, _) = prepare(text);
    let printed = place.dir.path().join("printed");
    let file = std::fs::File::create(&printed).unwrap();
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("{limit}; exec \"$0\" \"$@\""))
        .arg(executable.path())
        .args(["-db", "-f"])
        .arg(&place.config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let socket = place.dir.path().join("admin.sock");
    let wait = async {
        loop {
            if child.0.try_wait().unwrap().is_some() {
                return false;
            }
            if ask(&socket, "show info").await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let started = timeout(LIMIT, wait).await.unwrap();
    (started, std::fs::read_to_string(printed).unwrap())
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
            let (started, printed) = limited(&executable, &bad, "ulimit -n 1000").await;
            // 2.2 starts, and says that it will not for long.
            assert_eq!(started, !version.at_least(2, 3), "{version}: {printed}");
            assert!(printed.contains(says), "{version}: {printed}");
            let (started, printed) = limited(&executable, &good, "ulimit -n 1000").await;
            assert!(started && !printed.contains(says), "{version}: {printed}");
        }
    }
}

#[tokio::test]
async fn slots_need_memory() {
    let slots = |count: u32| {
        with_backend(&format!(
            "  server-template slot 1-{count} {RESTORED} check\n"
        ))
    };
    const MEMORY: u64 = 128 << 20;
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut options = LintOptions::default();
        options.version = Some(version.clone());
        options.memory = Some(MEMORY);
        let (bad, good) = (slots(40_000), slots(100));
        assert_eq!(found_with(&bad, &options), [Code::Memory]);
        assert_eq!(found_with(&good, &options), []);
        let limit = format!("ulimit -v {}", MEMORY / 1024);
        let (started, printed) = limited(&executable, &bad, &limit).await;
        assert!(!started, "{version}: {printed}");
        let (started, printed) = limited(&executable, &good, &limit).await;
        assert!(started, "{version}: {printed}");
    }
}
