//! Many keys: the first listing, memory, and what one further change costs.

use std::time::{Duration, Instant};

use lb_etcd::{
    EtcdConfig, EtcdSource,
    layout::{Change, Layout, LayoutConfig, View},
};

use crate::support::{
    server::{Member, binaries},
    supervisor::Supervisor,
};

fn key(n: usize) -> String {
    format!("/lb/endpoints/svc{:04}/endpoint-{n:06}", n % 1000)
}

fn value(n: usize) -> String {
    format!("10.{}.{}.{}:8080", n >> 16, n >> 8 & 255, n & 255)
}

/// Memory in use by this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * 4096
}

/// 100,000 keys are listed, and one more change is told as one record.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "prints how long it took")]
async fn i4_one_change_among_many_keys_is_one_record() {
    const KEYS: usize = 100_000;
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        for chunk in (1..=KEYS).collect::<Vec<_>>().chunks(2000) {
            let changes: Vec<_> = chunk.iter().map(|n| (key(*n), Some(value(*n)))).collect();
            api.txn(&changes);
        }
        let source = EtcdSource::new(
            "etcd".parse().unwrap(),
            EtcdConfig::new([member.endpoint()]),
        )
        .unwrap();
        let begun = Instant::now();
        let supervisor = Supervisor::start(source);
        let status = supervisor.status.clone();
        crate::support::eventually("the listing", || (status.read().keys == KEYS).then_some(()))
            .await;
        let listed = begun.elapsed();
        api.put(&key(777), "192.0.2.1:80");
        let seen = supervisor
            .until("the change", |seen| !seen.batches.is_empty())
            .await;
        assert_eq!(seen.batches, [(1, 0)]);
        assert_eq!((seen.resets, seen.records.len()), (1, KEYS));
        println!("{}: {KEYS} keys listed in {listed:?}", member.version());
    }
}

/// The cost of one change does not follow the number of keys, and a key costs less than the budget of an endpoint.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "compares how long two things take"
)]
fn i4_cost_follows_the_change() {
    let fill = |count: usize| {
        let before = resident();
        let mut view = View::new(Layout::new(&[LayoutConfig::default()]).unwrap());
        for n in 1..=count {
            view.apply([Change::put(key(n), value(n))]);
        }
        (view, resident().saturating_sub(before) / count)
    };
    let cost = |view: &mut View, count: usize| {
        let mut best = Duration::MAX;
        for round in 0..20 {
            let begun = Instant::now();
            for n in 0..200 {
                let at = 1 + n * (count / 200);
                let step =
                    view.apply([Change::put(key(at), format!("192.0.2.1:{}", 1000 + round))]);
                assert_eq!((step.set.len(), step.remove.len()), (1, 0));
            }
            best = best.min(begun.elapsed());
        }
        best
    };
    let (mut many, bytes) = fill(100_000);
    let (mut few, _) = fill(1000);
    let (many, few) = (cost(&mut many, 100_000), cost(&mut few, 1000));
    println!("{bytes} bytes a key; 200 changes: {many:?} among 100,000, {few:?} among 1,000");
    // A hundred times the keys: caches make it dearer, walking over all of them would make it a hundredfold.
    assert!(many < 10 * few, "{many:?} among many, {few:?} among few");
    assert!(bytes < 2048, "{bytes} bytes a key");
}
