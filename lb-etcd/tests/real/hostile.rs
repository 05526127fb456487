//! The source against what others write: floods of keys, deletions of everything, values of any size.

use std::time::Duration;

use crate::support::{
    PATIENCE,
    api::Api,
    server::{Member, Options, binaries},
    supervisor::{Seen, Supervisor},
};
use lb_core::{Sink, Source, Update};
use lb_etcd::{EtcdConfig, EtcdSource};
use tokio::sync::mpsc::Receiver;

/// A source that can be stopped and go on.
struct Stoppable {
    source: EtcdSource,
    sink: Sink,
    updates: Receiver<Update>,
    seen: Seen,
}

impl Stoppable {
    fn new(config: EtcdConfig) -> Self {
        let (sink, updates) = Sink::channel(16);
        Self {
            source: EtcdSource::new("etcd".parse().unwrap(), config).unwrap(),
            sink,
            updates,
            seen: Seen::default(),
        }
    }

    /// Runs the source until what was seen fulfils a condition, and stops it there.
    async fn until(&mut self, expected: &str, condition: impl Fn(&Seen) -> bool) {
        let deadline = tokio::time::sleep(PATIENCE);
        tokio::pin!(deadline);
        let mut resume = self.seen.cursor.clone();
        loop {
            self.seen.begin(resume.clone());
            let attempt = self.source.watch(resume, &self.sink);
            tokio::pin!(attempt);
            let error = loop {
                if condition(&self.seen) {
                    return;
                }
                tokio::select! {
                    biased;
                    Some(update) = self.updates.recv() => self.seen.take(update),
                    ended = &mut attempt => break ended.unwrap_err(),
                    () = &mut deadline => panic!("never: {expected}; {:?}", self.seen.errors),
                }
            };
            while let Ok(update) = self.updates.try_recv() {
                self.seen.take(update);
            }
            let gone = matches!(error, lb_core::SourceError::CursorGone { .. });
            self.seen.errors.push(error.to_string());
            resume = self.seen.cursor.clone().filter(|_| !gone);
        }
    }
}

fn config(member: &Member) -> EtcdConfig {
    let mut config = EtcdConfig::new([member.endpoint()]);
    config.liveness = Duration::from_secs(2);
    config
}

const HONEST: &str = "/lb/endpoints/honest/1";

/// Does something with each version of etcd, side by side.
async fn on_each(run: impl AsyncFn(Member, Api) + Copy + Send + 'static) {
    on_each_with(Options::default(), run).await;
}

async fn on_each_with(options: Options, run: impl AsyncFn(Member, Api) + Copy + Send + 'static) {
    let members = binaries()
        .into_iter()
        .map(|binary| Member::single_with(&binary, options.clone()));
    let each: Vec<_> = members
        .map(|member| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async move {
                    let api = member.api();
                    api.put(HONEST, "192.0.2.1:80");
                    run(member, api).await;
                });
            })
        })
        .collect();
    for one in each {
        one.join().unwrap();
    }
}

/// 60,000 puts while stopped, all of them deleted at once while followed, and a compaction in between: progress.
#[tokio::test(flavor = "multi_thread")]
async fn case_h02_a_flood_of_keys_is_got_through() {
    on_each(async |member, api| {
        let mut source = Stoppable::new(config(&member));
        source
            .until("the honest key", |seen| seen.records.len() == 1)
            .await;

        for txn in 0..150 {
            let puts: Vec<_> = (0..400)
                .map(|n| {
                    let key = format!("/lb/endpoints/junk/{:06}", txn * 400 + n);
                    (key, Some("192.0.2.2:80".to_owned()))
                })
                .collect();
            api.txn(&puts);
        }
        source
            .until("the flood", |seen| seen.records.len() == 60_001)
            .await;

        api.delete_range("/lb/endpoints/junk/", "/lb/endpoints/junk0");
        source
            .until("the deletion", |seen| seen.records.len() == 1)
            .await;
        assert_eq!(
            source.seen.resets, 1,
            "no listing was needed: {:?}",
            source.seen.errors
        );

        let mut last = 0;
        for n in 0..20 {
            last = api.put(HONEST, &format!("192.0.2.1:{}", 9000 + n));
        }
        api.compact(last);
        source
            .until("what was compacted", |seen| {
                seen.address("honest/1").as_deref() == Some("192.0.2.1:9019")
            })
            .await;
    })
    .await;
}

/// 1,000 transactions of 100 puts while the source is stopped, and once more with what it saw last compacted away:
/// progress, whether it goes on where it was or lists.
#[tokio::test(flavor = "multi_thread")]
async fn case_h02_many_transactions_while_stopped_are_got_through() {
    on_each(async |member, api| {
        let mut source = Stoppable::new(config(&member));
        source
            .until("the honest key", |seen| seen.records.len() == 1)
            .await;
        for (turn, port) in [80, 81].into_iter().enumerate() {
            let mut last = 0;
            for txn in 0..1000 {
                let puts: Vec<_> = (0..100)
                    .map(|n| {
                        let key = format!("/lb/endpoints/junk/{:06}", txn * 100 + n);
                        (key, Some(format!("192.0.2.2:{port}")))
                    })
                    .collect();
                last = api.txn(&puts);
            }
            let compacted = turn == 1;
            if compacted {
                api.compact(last);
            }
            api.put(HONEST, &format!("192.0.2.1:{port}"));
            let expected = format!("192.0.2.2:{port}");
            source
                .until("all transactions", |seen| {
                    seen.records.len() == 100_001
                        && seen.address("junk/099999").as_ref() == Some(&expected)
                })
                .await;
            let honest = source.seen.address("honest/1");
            assert_eq!(honest, Some(format!("192.0.2.1:{port}")));
            assert_eq!(
                source.seen.resets,
                1 + usize::from(compacted),
                "a listing is needed where the history is gone: {:?}",
                source.seen.errors
            );
        }
    })
    .await;
}

/// A change that is larger in a watch than any message that is taken is listed.
#[tokio::test(flavor = "multi_thread")]
async fn case_h02_changes_that_are_too_large_are_listed() {
    on_each(async |member, api| {
        let mut config = config(&member);
        config.connection.max_message_bytes = 1_000_000;
        let mut source = Stoppable::new(config);
        source
            .until("the honest key", |seen| seen.records.len() == 1)
            .await;
        let long = format!(
            r#"{{"address": "192.0.2.2:80", "metadata": "{}"}}"#,
            "x".repeat(50_000)
        );
        for n in 0..40 {
            api.put(&format!("/lb/endpoints/long/{n}"), &long);
        }
        source
            .until("the long values", |seen| seen.records.len() == 41)
            .await;
        let seen = &source.seen;
        assert_eq!(seen.resets, 2, "{:?}", seen.errors);
        assert!(
            seen.error_has("larger than max_message_bytes"),
            "{:?}",
            seen.errors
        );
        let status = source.source.status().read();
        assert!(status.last_listing.unwrap().contains("larger than"));
    })
    .await;
}

/// Values of 1.2 MB and one beyond any limit: each is a diagnostic of its key, the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn case_h03_huge_values_are_diagnostics_of_their_keys() {
    let options = Options {
        extra: vec!["--max-request-bytes=20000000".to_owned()],
        ..Options::default()
    };
    on_each_with(options, async |member, api| {
        let junk = "x".repeat(1_200_000);
        for n in 0..60 {
            api.put(&format!("/lb/endpoints/a-junk/{n:02}"), &junk);
        }
        api.put("/lb/endpoints/huge/1", &"x".repeat(5_000_000));
        let mut config = config(&member);
        config.connection.max_message_bytes = 4_000_000;
        let supervisor =
            Supervisor::start(EtcdSource::new("etcd".parse().unwrap(), config).unwrap());
        let seen = supervisor
            .until("the listing", |seen| seen.resets == 1)
            .await;
        assert_eq!(supervisor.address("honest/1").unwrap(), "192.0.2.1:80");
        assert_eq!(seen.records.len(), 1);
        assert_eq!(seen.errors, Vec::<String>::new());
        let of = |key: &str| {
            let told: Vec<_> = seen
                .diagnostics
                .iter()
                .filter(|d| d.object == key)
                .collect();
            assert_eq!(told.len(), 1, "{key}: {told:?}");
            told[0].to_string()
        };
        assert!(of("/lb/endpoints/a-junk/59").contains("at most 65536 bytes"));
        assert!(of("/lb/endpoints/huge/1").contains("at most 4000000 bytes"));

        // It is fixed, and another one comes while followed.
        api.put("/lb/endpoints/huge/1", "192.0.2.3:80");
        let seen = supervisor
            .until("the repair", |seen| seen.records.len() == 2)
            .await;
        assert!(
            seen.diagnostics
                .iter()
                .all(|d| d.object != "/lb/endpoints/huge/1")
        );
        api.put("/lb/endpoints/huge/1", &"x".repeat(5_000_000));
        let seen = supervisor
            .until("the listing", |seen| seen.resets == 2)
            .await;
        let kept = seen
            .diagnostics
            .iter()
            .find(|d| d.object == "/lb/endpoints/huge/1");
        assert!(kept.unwrap().message.contains("kept"), "{kept:?}");
        assert_eq!(seen.records.len(), 2, "it keeps what it last meant");
    })
    .await;
}

/// More keys than are taken: those that were known stay, the diagnostic says so, and room is used again.
#[tokio::test(flavor = "multi_thread")]
async fn case_h03_more_keys_than_are_taken_displace_none() {
    on_each(async |member, api| {
        let mut config = config(&member);
        config.max_keys = 50;
        let supervisor =
            Supervisor::start(EtcdSource::new("etcd".parse().unwrap(), config).unwrap());
        supervisor
            .until("the listing", |seen| seen.resets == 1)
            .await;
        // All of these come before the honest key in order.
        let keys: Vec<String> = (0..200)
            .map(|n| format!("/lb/endpoints/a-junk/{n}"))
            .collect();
        let puts: Vec<_> = keys
            .iter()
            .map(|key| (key.clone(), Some("192.0.2.2:80".to_owned())))
            .collect();
        api.txn(&puts);
        let seen = supervisor
            .until("as many as are taken", |seen| seen.records.len() == 50)
            .await;
        let full = |seen: &Seen| {
            seen.diagnostics
                .iter()
                .any(|d| d.field.as_deref() == Some("max_keys"))
        };
        supervisor.until("the diagnostic", full).await;
        assert!(
            supervisor.address("honest/1").is_some(),
            "{:?}",
            seen.errors
        );

        api.put("/lb/endpoints/z-honest/1", "192.0.2.3:80");
        for key in keys.iter().take(190) {
            api.delete(key);
        }
        let seen = supervisor
            .until("the room is used", |seen| {
                seen.address("z-honest/1").is_some()
            })
            .await;
        assert!(seen.address("honest/1").is_some());
        supervisor
            .until("the diagnostic ends", |seen| !full(seen))
            .await;
    })
    .await;
}
