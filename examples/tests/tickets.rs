//! The programs of `README.md` and of `lb_core`'s page, again and again on real HAProxies: what is complete is served
//! (P2), and an endpoint is in effect when it is said to be (P1, P3).

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{net::SocketAddr, path::Path, time::Duration};

use lb_core::{ConditionKind, ControlPlane, Endpoint, Event, Name, Record, RecordKey, feed};
use lb_examples::testbed::{Options, Testbed};
use lb_haproxy::{HaproxyDriver, TargetConfig, process::Executable};

const LIMIT: Duration = Duration::from_secs(20);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(id: &str, address: SocketAddr) -> Record {
    Record::new(
        RecordKey::new(name("web"), name(id)),
        Endpoint::new(address),
    )
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// The executables of HAProxy to test.
fn executables() -> Vec<Executable> {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let mut paths: Vec<Option<&Path>> = listed
        .split_whitespace()
        .map(|path| Some(Path::new(path)))
        .collect();
    if paths.is_empty() {
        paths.push(None);
    }
    let all = paths.into_iter();
    all.map(|path| Executable::find(path).unwrap()).collect()
}

async fn bed(executable: Executable, slots: u32) -> (Testbed, TargetConfig) {
    let options = Options::new(vec![name("web")], slots);
    let bed = Testbed::start(executable, options).await.unwrap();
    let socket = bed.haproxy.socket().display().to_string();
    let target = TargetConfig::new(name("edge"), socket.parse().unwrap());
    (bed, target)
}

/// The addresses of the backend's servers that are not in maintenance.
async fn admitted(bed: &Testbed) -> Vec<SocketAddr> {
    let slots = bed.haproxy.slots().await.unwrap();
    let admitted = slots.iter().filter(|slot| slot.admin & !0x04 == 0);
    let mut all: Vec<SocketAddr> = admitted.filter_map(|slot| slot.address).collect();
    all.sort();
    all
}

async fn on_all<F: Future<Output = ()>>(test: impl Fn(Executable) -> F) {
    let all = executables().into_iter().map(&test);
    futures_join(all.collect()).await;
}

/// Side by side: each waits for its own HAProxy most of the time.
async fn futures_join<F: Future<Output = ()>>(all: Vec<F>) {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        match all.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p02_what_is_complete_is_served() {
    on_all(async |executable| {
        let (bed, target) = bed(executable, 4).await;
        let (publisher, source) = feed(name("program"));
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .build()
            .unwrap()
            .spawn();
        let handle = plane.handle();
        for round in 0..60 {
            let serving = address(20_000 + round);
            let web = record("web-1", serving);
            if round % 2 == 0 {
                publisher.reset([web]).unwrap();
                let done = handle.reconcile_now(LIMIT).await.unwrap();
                assert!(done.is_complete(), "{done:?}");
            } else {
                let ticket = publisher.set(web).unwrap();
                let state = handle.wait(&ticket, LIMIT).await.unwrap();
                assert!(state.in_effect, "{state:?}");
            }
            let admitted = admitted(&bed).await;
            assert!(admitted.contains(&serving), "round {round}: {admitted:?}");
            assert_eq!(admitted.len(), 1, "round {round}: {admitted:?}");
        }
        plane.shutdown().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p01_what_no_haproxy_can_serve_disturbs_nothing() {
    on_all(async |executable| {
        let (bed, target) = bed(executable, 4).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services.toml");
        let write = |list: &str| {
            let text = format!("[services.web]\nendpoints = [{list}]\n");
            std::fs::write(&file, text).unwrap();
        };
        write("\"127.0.0.1:20001\", \"0.0.0.0:80\", \"[::]:80\", \"10.0.0.1:0\"");
        let source =
            lb_core::FileSource::new(name("file"), &file).with_poll(Duration::from_millis(50));
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .build()
            .unwrap()
            .spawn();
        let handle = plane.handle();
        let mut events = handle.subscribe();
        let mut until = async |expected: Vec<SocketAddr>, refused: usize| {
            let there = async {
                loop {
                    let status = handle.status();
                    let counts = &status.condition_counts;
                    let found = counts.get(&ConditionKind::InvalidAddress).copied();
                    if found.unwrap_or(0) == refused && admitted(&bed).await == expected {
                        return;
                    }
                    let _ = tokio::time::timeout(LIMIT, events.next()).await;
                }
            };
            tokio::time::timeout(LIMIT, there).await.unwrap();
        };
        until(vec![address(20_001)], 3).await;
        write("\"127.0.0.1:20001\", \"127.0.0.1:20002\", \"0.0.0.0:80\"");
        until(vec![address(20_001), address(20_002)], 1).await;
        write("\"127.0.0.1:20001\", \"127.0.0.1:20002\", \"127.0.0.1:20003\"");
        until(vec![address(20_001), address(20_002), address(20_003)], 0).await;
        plane.shutdown().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p03_of_fifty_endpoints_for_two_slots_only_two_are_said_to_be_in_effect() {
    on_all(async |executable| {
        let (bed, mut target) = bed(executable, 2).await;
        target.policy.dynamic_servers = lb_haproxy::policy::DynamicServers::Never;
        let (publisher, source) = feed(name("program"));
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .build()
            .unwrap()
            .spawn();
        let handle = plane.handle();
        let mut events = handle.subscribe();
        let all = (0..50).map(|number| record(&format!("e{number:02}"), address(20_000 + number)));
        let all: Vec<Record> = all.collect();
        let ticket = publisher.reset(all.clone()).unwrap();
        let state = handle.wait(&ticket, LIMIT).await.unwrap();
        assert!(!state.in_effect && state.is_settled(), "{state:?}");
        let done = handle.reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_verified() && !done.is_complete());
        assert_eq!(done.conditions.len(), 48);
        assert_eq!(admitted(&bed).await.len(), 2);
        assert_eq!(handle.unmet(&name("edge")).len(), 48);
        while let Some(event) = events.try_next() {
            let whole = matches!(event.event, Event::Verified { .. } | Event::InEffect { .. });
            assert!(!whole, "{event:?}");
        }
        // What is gone makes the rest whole, and then it is said.
        let gone: Vec<RecordKey> = all.into_iter().skip(2).map(|record| record.key).collect();
        let unmet = handle.unmet(&name("edge"));
        let held: Vec<RecordKey> = gone
            .into_iter()
            .filter(|key| {
                unmet
                    .iter()
                    .any(|own| own.endpoint.as_ref() == Some(&key.id))
            })
            .collect();
        publisher.batch([], held).unwrap();
        let state = handle.wait(&ticket, LIMIT).await.unwrap();
        assert!(state.in_effect || !state.conditions.is_empty(), "{state:?}");
        let next = async { while !events.next().await.unwrap().event.puts_in_effect(&ticket) {} };
        let unmet = handle.unmet(&name("edge"));
        if unmet.is_empty() {
            tokio::time::timeout(LIMIT, next).await.unwrap();
        }
        plane.shutdown().await;
    })
    .await;
}
