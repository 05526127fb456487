//! The source against one real etcd: what is written there is seen, whole and in order.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    eventually,
    server::{Member, binaries},
    supervisor::Supervisor,
};
use lb_core::{Sink, Source};
use lb_etcd::{EtcdConfig, EtcdSource};

fn source(endpoint: &str) -> EtcdSource {
    let mut config = EtcdConfig::new([endpoint]);
    config.liveness = Duration::from_secs(2);
    EtcdSource::new("etcd".parse().unwrap(), config).unwrap()
}

fn endpoint(n: usize) -> String {
    format!("/lb/endpoints/web/e{n:05}")
}

/// Put, change, delete and the end of a lease are seen.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        api.put(&endpoint(1), "192.0.2.1:80");
        let supervisor = Supervisor::start(source(&member.endpoint()));
        supervisor
            .until("the first listing", |seen| seen.resets == 1)
            .await;
        assert_eq!(supervisor.address("web/e00001").unwrap(), "192.0.2.1:80");

        api.put(&endpoint(1), "192.0.2.9:80");
        api.put(&endpoint(2), r#"{"address": "192.0.2.2:80", "weight": 7}"#);
        supervisor
            .until("the second endpoint", |seen| seen.records.len() == 2)
            .await;
        assert_eq!(supervisor.address("web/e00001").unwrap(), "192.0.2.9:80");

        let lease = api.grant(2);
        api.put_leased(&endpoint(3), "192.0.2.3:80", lease);
        supervisor
            .until("the leased endpoint", |seen| seen.records.len() == 3)
            .await;
        supervisor
            .until("the end of the lease", |seen| seen.records.len() == 2)
            .await;

        api.delete(&endpoint(1));
        let seen = supervisor
            .until("the deletion", |seen| seen.records.len() == 1)
            .await;
        assert_eq!(
            (seen.resets, seen.errors.len()),
            (1, 0),
            "{:?}",
            seen.errors
        );
    }
}

/// Sets or deletes 500 endpoints at one revision.
fn transaction(round: usize, metadata: &str, there: bool) -> Vec<(String, Option<String>)> {
    let value = format!(
        r#"{{"address": "192.0.2.1:{}", "metadata": "{metadata}"}}"#,
        1000 + round
    );
    (0..500)
        .map(|n| (endpoint(n), there.then(|| value.clone())))
        .collect()
}

/// A transaction of 500 keys is one batch: nobody sees half of it.
#[tokio::test(flavor = "multi_thread")]
async fn i12_a_transaction_is_never_seen_half() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let supervisor = Supervisor::start(source(&member.endpoint()));
        supervisor
            .until("the first listing", |seen| seen.resets == 1)
            .await;
        for round in 0..4 {
            api.txn(&transaction(round, "", round < 3));
        }
        let seen = supervisor
            .until("four batches", |seen| seen.batches.len() == 4)
            .await;
        assert_eq!(seen.batches, [(500, 0), (500, 0), (500, 0), (0, 500)]);
    }
}

/// A change that was missed while away is told in whole revisions, although it comes in fragments.
#[tokio::test(flavor = "multi_thread")]
async fn i12_fragments_are_never_seen_half() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let mut source = source(&member.endpoint());
        let (sink, mut updates) = Sink::channel(1);
        let mut seen = crate::support::supervisor::Seen::default();
        for wanted in [0, 12] {
            // Far more than the 1.5 MB that the server puts into one answer.
            for round in 0..wanted {
                api.txn(&transaction(round, &"x".repeat(1000), true));
            }
            seen.begin(seen.cursor.clone());
            let attempt = source.watch(seen.cursor.clone(), &sink);
            tokio::pin!(attempt);
            let deadline = tokio::time::sleep(crate::support::PATIENCE);
            tokio::pin!(deadline);
            while seen.resets == 0 || seen.batches.len() < wanted {
                tokio::select! {
                    ended = &mut attempt => panic!("{ended:?}"),
                    Some(update) = updates.recv() => seen.take(update),
                    () = &mut deadline => panic!("never caught up: {:?}", seen.batches),
                }
            }
        }
        assert_eq!((seen.resets, seen.resumes), (1, 1));
        assert_eq!(seen.batches, [(500, 0); 12]);
    }
}

/// A write between listing and watching is seen, and so are writes while pages are listed.
#[tokio::test(flavor = "multi_thread")]
async fn listing_and_watching_leave_no_gap() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        for chunk in 0..6 {
            let changes: Vec<_> = (0..1000)
                .map(|n| (endpoint(chunk * 1000 + n), Some("192.0.2.1:80".to_owned())))
                .collect();
            api.txn(&changes);
        }
        // A writer that never rests while the source lists.
        let writer = tokio::task::spawn_blocking(move || {
            for n in 0..200 {
                api.put(&endpoint(n * 7), "192.0.2.2:80");
                api.put(&endpoint(6000 + n), "192.0.2.2:80");
            }
        });
        let supervisor = Supervisor::start(source(&member.endpoint()));
        writer.await.unwrap();
        let seen = supervisor
            .until("all writes", |seen| {
                let changed = seen.records.values().filter(|record| {
                    record.endpoint.as_ref().unwrap().address.to_string() == "192.0.2.2:80"
                });
                changed.count() == 400 && seen.records.len() == 6200
            })
            .await;
        assert_eq!(seen.resets, 1);
        let known: BTreeSet<String> = seen
            .records
            .keys()
            .map(|key| format!("/lb/endpoints/{key}"))
            .collect();
        let listed: BTreeSet<String> = api.keys("/lb/").into_iter().collect();
        assert_eq!(known, listed);
    }
}

/// With nothing to tell, progress is told within the liveness bound, and the lag is visible.
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_filled_with_progress() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let supervisor = Supervisor::start(source(&member.endpoint()));
        let seen = supervisor
            .until("progress", |seen| seen.progress >= 4)
            .await;
        assert_eq!(seen.errors, Vec::<String>::new());
        let revision = member.api().put("/elsewhere", "x");
        let status = eventually("the server's revision", || {
            Some(supervisor.status.read()).filter(|status| status.server_revision >= revision)
        })
        .await;
        assert_eq!(status.endpoint.as_deref(), Some(member.endpoint().as_str()));
        println!("{}: lag {}", status.version, status.lag());
        let trusted = !status.version.starts_with("3.4.");
        if trusted {
            eventually("no lag", || {
                (supervisor.status.read().lag() == 0).then_some(())
            })
            .await;
        }
    }
}

/// One bad value is told and disturbs no other; the endpoint it belongs to is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_is_told_and_takes_nothing_away() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let supervisor = Supervisor::start(source(&member.endpoint()));
        api.put(&endpoint(1), "192.0.2.1:80");
        supervisor
            .until("the endpoint", |seen| seen.records.len() == 1)
            .await;
        api.put(&endpoint(1), "192.0.2.1;80");
        api.put(&endpoint(2), "192.0.2.2:80");
        api.put("/lb/other", "x");
        let seen = supervisor
            .until("both diagnostics", |seen| seen.diagnostics.len() == 2)
            .await;
        assert_eq!(
            seen.diagnostics[0].to_string(),
            "/lb/endpoints/web/e00001: expected ip:port such as 10.0.0.7:8080 or \
             [2001:db8::7]:8080; names are not resolved; what the key last meant is kept"
        );
        assert_eq!(
            seen.diagnostics[1].to_string(),
            "/lb/other: no pattern of the layout matches the key, it is not used"
        );
        supervisor
            .until("the other endpoint", |seen| seen.records.len() == 2)
            .await;
        assert_eq!(supervisor.address("web/e00001").unwrap(), "192.0.2.1:80");
    }
}

/// Whatever is awaited when an attempt is dropped, the next one converges and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_can_be_cut_anywhere() {
    for binary in binaries() {
        let member = Member::single(&binary);
        let api = member.api();
        let mut source = source(&member.endpoint());
        let (sink, mut updates) = Sink::channel(1);
        let mut seen = crate::support::supervisor::Seen::default();
        for round in 0..60_u64 {
            api.put(
                &endpoint(usize::try_from(round % 7).unwrap()),
                &format!("192.0.2.1:{}", 1000 + round),
            );
            let cut = Duration::from_micros(round * 400);
            seen.begin(seen.cursor.clone());
            let attempt = tokio::time::timeout(cut, source.watch(seen.cursor.clone(), &sink));
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    _ = &mut attempt => break,
                    Some(update) = updates.recv() => seen.take(update),
                }
            }
            while let Ok(update) = updates.try_recv() {
                seen.take(update);
            }
        }
        seen.begin(seen.cursor.clone());
        let attempt = source.watch(seen.cursor.clone(), &sink);
        tokio::pin!(attempt);
        let converged = |seen: &crate::support::supervisor::Seen| {
            let mut ports: Vec<u16> = seen
                .records
                .values()
                .map(|record| record.endpoint.as_ref().unwrap().address.port())
                .collect();
            ports.sort_unstable();
            ports == (1053..1060).collect::<Vec<u16>>()
        };
        let deadline = tokio::time::sleep(crate::support::PATIENCE);
        tokio::pin!(deadline);
        while !converged(&seen) {
            tokio::select! {
                ended = &mut attempt => panic!("{ended:?}"),
                Some(update) = updates.recv() => {
                    seen.take(update);
                }
                () = &mut deadline => panic!("never converged: {seen:#?}"),
            }
        }
    }
}
