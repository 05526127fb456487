//! A HAProxy that goes away, stands still, and comes back.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and measures real time"
)]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::time::{Duration, Instant};

use lb_core::{
    ConditionKind, ControlPlane, Endpoint, Handle, Name, Record, RecordKey, Running, feed,
    status::TargetStatus,
};
use lb_haproxy::{
    HaproxyDriver, SocketAddress, TargetConfig,
    process::{Executable, Haproxy},
};
use rustix::process::{Pid, Signal, kill_process};
use side_by_side::side_by_side;
use support::{Place, executables};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats socket ipv4@127.0.0.1:PORT level admin
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
backend web
  server-template slot 1-4 127.0.0.1:1 disabled
";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A control plane with one endpoint and one HAProxy.
fn plane(socket: &SocketAddress) -> Running {
    let (publisher, source) = feed(name("feed"));
    let endpoint = Endpoint::new("127.0.0.1:9001".parse().unwrap());
    let record = Record::new(RecordKey::new(name("web"), name("web-1")), endpoint);
    publisher.reset([record]).unwrap();
    // Kept open: a feed that ends is another matter.
    std::mem::forget(publisher);
    let target = TargetConfig::new(name("edge"), socket.clone());
    ControlPlane::builder()
        .source(source)
        .target(HaproxyDriver::new(target))
        .build()
        .unwrap()
        .spawn()
}

/// Waits for a state of the target; returns how long that took.
async fn until(handle: &Handle, what: &str, is: impl Fn(&TargetStatus) -> bool) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if handle.status().targets.first().is_some_and(&is) {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {what}: {:?}", handle.status().targets);
}

fn works(target: &TargetStatus) -> bool {
    target.verified.is_some() && target.last_error.is_none() && target.failures == 0
}

async fn stop(haproxy: &Haproxy, signal: Signal) {
    for worker in haproxy.processes().await.unwrap().workers {
        let pid = Pid::from_raw(i32::try_from(worker.pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

/// Back within about a second, however long it was away: the pauses between failed passes do not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p16_haproxy_that_comes_back_is_connected_within_a_second() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let plane = plane(&place.admin);
        let handle = plane.handle();
        // Never there, then there, then away for long enough that the next pass is seconds away.
        let long_away = |target: &TargetStatus| target.retry_in_ms.is_some_and(|ms| ms > 3_000);
        until(&handle, "long away", long_away).await;
        let haproxy = place.start(&executable).await;
        let back = until(&handle, "connected", works).await;
        assert!(back < Duration::from_millis(1_500), "{back:?}");
        let about = handle.status().targets[0].about.clone().unwrap();
        let version = executable.version().await.unwrap();
        assert_eq!(
            (about.program.as_str(), about.version),
            ("HAProxy", version.to_string())
        );

        haproxy.stop().await.unwrap();
        until(&handle, "long away again", long_away).await;
        let failures = handle.status().targets[0].failures;
        let passes = handle.status().targets[0].passes;
        // No storm: no pass is made while nothing answers, but those after growing pauses.
        assert!(failures < 12 && passes < 40, "{failures} {passes}");
        let _haproxy = place.start(&executable).await;
        let back = until(&handle, "connected again", works).await;
        assert!(back < Duration::from_millis(1_500), "{back:?}");
        plane.shutdown().await;
    })
    .await;
}

/// Over TCP within about two seconds, however long it was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p16_haproxy_that_comes_back_over_tcp_is_connected_within_two_seconds() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let text = std::fs::read_to_string(&place.config).unwrap();
        let (_, rest) = text.split_once("ipv4@").unwrap();
        let socket = rest.split(' ').next().unwrap();
        let plane = plane(&socket.parse().unwrap());
        let handle = plane.handle();
        let long_away = |target: &TargetStatus| target.retry_in_ms.is_some_and(|ms| ms > 4_000);
        until(&handle, "long away", long_away).await;
        let _haproxy = place.start(&executable).await;
        let back = until(&handle, "connected", works).await;
        assert!(back < Duration::from_millis(3_000), "{back:?}");
        plane.shutdown().await;
    })
    .await;
}

/// A stopped process accepts connections for ever, so only an answer is a sign of life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p17_a_stopped_haproxy_is_seen_within_five_seconds_while_nothing_changes() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let haproxy = place.start(&executable).await;
        let plane = plane(&place.admin);
        let handle = plane.handle();
        until(&handle, "converged", works).await;
        stop(&haproxy, Signal::STOP).await;
        let down = |target: &TargetStatus| target.failure == Some(ConditionKind::TargetDown);
        let seen = until(&handle, "seen", down).await;
        assert!(seen < Duration::from_secs(5), "{seen:?}");
        let why = handle.status().targets[0].last_error.clone().unwrap();
        assert!(why.contains("HAProxy does not answer"), "{why}");
        // Also when it is deep in its pauses.
        let deep = |target: &TargetStatus| target.failures >= 3;
        until(&handle, "tried again", deep).await;
        stop(&haproxy, Signal::CONT).await;
        let back = until(&handle, "recovered", works).await;
        assert!(back < Duration::from_millis(1_500), "{back:?}");
        plane.shutdown().await;
    })
    .await;
}
