//! From a put in etcd to HAProxy, against a minimal program; and a hundred thousand keys.

use std::time::{Duration, Instant};

use lb_core::{ControlPlane, Event, Events};
use lb_etcd::{EtcdConfig, EtcdSource};
use lb_haproxy::{HaproxyDriver, Policy, TargetConfig};

use crate::{
    haproxy::Subject,
    memory::resident,
    minimal::{Minimal, Writer},
    planner::name,
    raw,
    report::{Report, quantile},
};

#[path = "../../../lb-etcd/tests/real/support/api.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "of the tests of lb-etcd, which need more"
)]
mod api;
#[path = "../../../lb-etcd/tests/real/support/server.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "of the tests of lb-etcd, which need more"
)]
mod server;

/// The longest that etcd may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of puts that are measured on each side.
const ROUNDS: usize = 200;
/// The number of those made before.
const WARM_UP: usize = 20;
const KEYS: usize = 100_000;

type Failure = Box<dyn std::error::Error>;

pub async fn measure(report: &mut Report) -> Result<(), Failure> {
    // Says so when there is none.
    let Some(binary) = server::binaries().pop() else {
        return Ok(());
    };
    // On a disk, waiting for it would hide what is measured.
    let memory = std::path::Path::new("/dev/shm");
    let data = match memory.is_dir() {
        true => tempfile::tempdir_in(memory)?,
        false => tempfile::tempdir()?,
    };
    let options = server::Options {
        extra: vec![
            "--data-dir".to_owned(),
            data.path().join("etcd").display().to_string(),
        ],
        ..server::Options::default()
    };
    let etcd = server::Member::single_with(&binary, options);
    let version = etcd.version();
    follow(report, &etcd, &version).await?;
    many(report, &etcd, &version).await
}

/// Puts by turns for the two, each with a backend of its own on the same HAProxy, from the same etcd.
async fn follow(report: &mut Report, etcd: &server::Member, version: &str) -> Result<(), Failure> {
    let subject = Subject::start(2, ROUNDS + WARM_UP + 20).await?;
    let admin = subject.haproxy.admin().clone();
    let socket = admin.path().ok_or("the socket has no path")?;
    let source = EtcdSource::new(name("etcd"), EtcdConfig::new([etcd.endpoint()]))?;
    let mut policy = Policy::default();
    // Its slots are those of its services' backends: the other's are not its to tidy up.
    policy.slot_prefix = "other".to_owned();
    let target = TargetConfig::new(name("bench"), admin.clone()).with_policy(policy);
    let plane = ControlPlane::builder()
        .source(source)
        .target(HaproxyDriver::new(target))
        .build()?;
    let handle = plane.handle();
    let mut events = handle.subscribe();
    let running = plane.spawn();
    let fail = |error: Box<dyn std::error::Error + Send + Sync>| -> Failure { error };
    let url = etcd.endpoint();
    let writer = Writer::connect(&url).await.map_err(fail)?;
    let mut minimal = Minimal::start(&url, "/minimal/", &socket.display().to_string(), "be1")
        .await
        .map_err(fail)?;

    let address = raw::address(0).to_string();
    let first = writer.put("/lb/endpoints/be0/first", &address).await;
    let first = first.map_err(fail)?;
    while verified(&mut events).await? < first {}

    for kind in [
        Kind {
            what: "new endpoint",
            note: "two-phase: address, then ready, each read back",
            slot: |round| format!("slot{round}"),
            ours: |round| raw::address(round).to_string(),
            floor: |round| raw::address(round).to_string(),
        },
        Kind {
            what: "weight",
            note: "one command, read back",
            slot: |_| "slot1".to_owned(),
            ours: |round| {
                let (address, weight) = (raw::address(1), 1 + round % 99);
                format!(r#"{{"address":"{address}","weight":{weight}}}"#)
            },
            floor: |round| (1 + round % 99).to_string(),
        },
    ] {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for round in 1..=WARM_UP + ROUNDS {
            let slot = (kind.slot)(round);
            let (key, value) = (format!("/lb/endpoints/be0/{slot}"), (kind.ours)(round));
            let began = Instant::now();
            let (put, verified) = tokio::join!(writer.put(&key, &value), verified(&mut events));
            let took = began.elapsed();
            assert_eq!(
                put.map_err(fail)?,
                verified?,
                "the put is what was verified"
            );

            let (key, value) = (format!("/minimal/{slot}"), (kind.floor)(round));
            let began = Instant::now();
            let (put, applied) = tokio::join!(writer.put(&key, &value), minimal.applied(&slot));
            let took_floor = began.elapsed();
            put.map_err(fail)?;
            applied.map_err(fail)?;
            if round > WARM_UP {
                ours.push(took.as_secs_f64() * 1e3);
                floor.push(took_floor.as_secs_f64() * 1e3);
            }
        }
        let what = kind.what;
        for (who, times, note) in [
            ("lb", &ours, kind.note),
            (
                "minimal program",
                &floor,
                "one watch, one write, one read-back",
            ),
        ] {
            for (share, called) in [(0.5, "median"), (0.99, "p99")] {
                report.add(
                    format!("etcd put to HAProxy, {what}, {who}, {called}"),
                    quantile(times, share),
                    "ms",
                    format!("{note}; {version}"),
                );
            }
        }
        report.add(
            format!("etcd put to HAProxy, {what}: lb against the minimal program"),
            quantile(&ours, 0.5) / quantile(&floor, 0.5),
            "ratio",
            "of the medians; budget ≤ 1.3",
        );
    }
    running.shutdown().await;
    subject.haproxy.stop().await?;
    Ok(())
}

/// A kind of put, in round after round.
struct Kind {
    what: &'static str,
    note: &'static str,
    slot: fn(usize) -> String,
    ours: fn(usize) -> String,
    floor: fn(usize) -> String,
}

/// The revision that is verified next.
async fn verified(events: &mut Events) -> Result<u64, Failure> {
    let next = async {
        while let Some(event) = events.next().await {
            let (causes, whole) = match &event.event {
                Event::Verified { causes, .. } => (causes, true),
                Event::Pass { causes, .. } => (causes, false),
                _ => continue,
            };
            if let Some(last) = causes.iter().map(|cause| cause.cursor.revision).max() {
                return match whole {
                    true => Ok(last),
                    false => Err("something is unmet".into()),
                };
            }
        }
        Err("the control plane ended".into())
    };
    tokio::time::timeout(Duration::from_secs(30), next).await?
}

/// The first snapshot of many keys, and what one further change costs then.
async fn many(report: &mut Report, etcd: &server::Member, version: &str) -> Result<(), Failure> {
    let api = etcd.api();
    let address = |number: usize| raw::address(number).to_string();
    let key = |number: usize| format!("/many/endpoints/svc{:04}/e{number}", number % 1000);
    for first in (0..KEYS).step_by(2000) {
        let changes: Vec<_> = (first..first + 2000)
            .map(|number| (key(number), Some(address(number))))
            .collect();
        api.txn(&changes);
    }
    let layout = lb_etcd::layout::LayoutConfig::Lb {
        prefix: "/many".to_owned(),
    };
    let config = EtcdConfig::new([etcd.endpoint()]).with_layouts([layout]);
    let before = resident();
    let began = Instant::now();
    let plane = ControlPlane::builder()
        .source(EtcdSource::new(name("etcd"), config)?)
        .build()?;
    let handle = plane.handle();
    let mut events = handle.subscribe();
    let running = plane.spawn();
    published(&mut events).await?;
    let took = began.elapsed();
    let endpoints = handle.snapshot().endpoint_count();
    assert_eq!(endpoints, KEYS, "all keys are in the first snapshot");
    report.add(
        "etcd, 100,000 keys, first snapshot",
        took.as_secs_f64() * 1e3,
        "ms",
        format!("listed, read and published; {version}"),
    );
    report.add(
        "etcd, 100,000 keys, memory per key",
        (resident() - before) / KEYS as f64,
        "bytes",
        "source and snapshot, grown within this process",
    );
    let fail = |error: Box<dyn std::error::Error + Send + Sync>| -> Failure { error };
    let writer = Writer::connect(&etcd.endpoint()).await.map_err(fail)?;
    let mut times = Vec::new();
    for round in 0..100 {
        let began = Instant::now();
        let (key, value) = (key(777 * round), address(KEYS + round));
        let (put, published) = tokio::join!(writer.put(&key, &value), published(&mut events));
        times.push(began.elapsed().as_secs_f64() * 1e3);
        put.map_err(fail)?;
        published?;
    }
    report.add(
        "etcd, one further change among 100,000 keys",
        quantile(&times, 0.5),
        "ms",
        "from the put to the next snapshot",
    );
    running.shutdown().await;
    Ok(())
}

/// Waits for the next snapshot.
async fn published(events: &mut Events) -> Result<(), Failure> {
    let next = async {
        while let Some(event) = events.next().await {
            if matches!(event.event, Event::Published { .. }) {
                return Ok(());
            }
        }
        Err("the control plane ended".into())
    };
    tokio::time::timeout(Duration::from_secs(60), next).await?
}
