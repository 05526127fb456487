//! The feed against the contract of sources, and in a control plane.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use async_trait::async_trait;
use lb_core::{
    ControlPlane, Endpoint, EndpointState, Feed, Mode, Name, Publisher, Record, RecordKey, Route,
    RouteHost, Sink, Source, SourceError, Weight, feed,
    source::{Cursor, Descriptor},
    status::Health,
    testkit::{
        FakeDriver,
        conformance::{self, Ability, Harness},
    },
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(item: u16) -> RecordKey {
    RecordKey::new(name("web"), name(&format!("e{item}")))
}

fn record(item: u16, version: u16) -> Record {
    let endpoint = Endpoint::new(([127, 0, 0, 1], 1000 + item).into());
    Record::new(
        key(item),
        endpoint.with_weight(Weight::new(version).unwrap()),
    )
}

/// A program with a feed of its own for each source, all fed alike.
#[derive(Default)]
struct Program {
    items: BTreeMap<u16, u16>,
    publishers: Mutex<Vec<Publisher>>,
}

impl Program {
    /// Writes to every feed, and forgets those that are closed: sources of finished properties.
    fn each(&self, write: impl Fn(&Publisher) -> bool) {
        self.publishers.lock().unwrap().retain(write);
    }
}

#[async_trait]
impl Harness for Program {
    async fn source(&mut self) -> Box<dyn Source> {
        let (publisher, source) = feed(name("app"));
        publisher
            .reset(
                self.items
                    .iter()
                    .map(|(item, version)| record(*item, *version)),
            )
            .unwrap();
        self.publishers.lock().unwrap().push(publisher);
        Box::new(source)
    }

    async fn put(&mut self, item: u16, version: u16) {
        self.items.insert(item, version);
        self.each(|publisher| publisher.set(record(item, version)).is_ok());
    }

    async fn remove(&mut self, item: u16) {
        self.items.remove(&item);
        self.each(|publisher| publisher.remove(&key(item)).is_ok());
    }

    fn key(&self, item: u16) -> RecordKey {
        key(item)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn put_both(&mut self, items: [u16; 2], version: u16) -> Ability {
        for item in items {
            self.items.insert(item, version);
        }
        let records = items.map(|item| record(item, version));
        self.each(|publisher| publisher.batch(records.clone(), []).is_ok());
        tokio::task::yield_now().await;
        Ability::Done
    }

    async fn drain_and_remove(&mut self, item: u16) -> Ability {
        self.each(|publisher| publisher.drain(&key(item), None).is_ok());
        // The reader must have had its turn: the latest word wins.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.remove(item).await;
        Ability::Done
    }

    async fn noise(&mut self) -> Ability {
        for (item, version) in self.items.clone() {
            self.put(item, version).await;
        }
        Ability::Done
    }
}

#[tokio::test]
async fn the_feed_keeps_the_contract_of_sources() {
    for seed in [1, 2, 3] {
        let report = conformance::run(Program::default(), seed).await;
        println!("{report}");
        assert!(report.passed(), "{report}");
        assert_eq!(report.skipped(), ["P16", "P8", "P11"], "{report}");
    }
}

/// A feed that forgets some updates: the kit must see that.
struct Lossy(Feed);

#[async_trait]
impl Source for Lossy {
    fn describe(&self) -> Descriptor {
        self.0.describe()
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let (inner, mut updates) = Sink::channel(1);
        let forward = async {
            let mut count = 0;
            while let Some(update) = updates.recv().await {
                count += 1;
                if count % 5 != 0 {
                    sink.send(update).await?;
                }
            }
            Ok(())
        };
        tokio::select! {
            result = self.0.watch(resume, &inner) => result,
            result = forward => result,
        }
    }
}

#[derive(Default)]
struct LossyProgram(Program);

#[async_trait]
impl Harness for LossyProgram {
    async fn source(&mut self) -> Box<dyn Source> {
        let (publisher, source) = feed(name("app"));
        let items = self.0.items.iter();
        publisher
            .reset(items.map(|(item, version)| record(*item, *version)))
            .unwrap();
        self.0.publishers.lock().unwrap().push(publisher);
        Box::new(Lossy(source))
    }

    async fn put(&mut self, item: u16, version: u16) {
        self.0.put(item, version).await;
        tokio::task::yield_now().await;
    }

    async fn remove(&mut self, item: u16) {
        self.0.remove(item).await;
        tokio::task::yield_now().await;
    }

    fn key(&self, item: u16) -> RecordKey {
        key(item)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(300)
    }
}

#[tokio::test]
async fn a_source_that_loses_updates_does_not_pass() {
    let report = conformance::run(LossyProgram::default(), 1).await;
    assert!(!report.passed(), "{report}");
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..200_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test(start_paused = true)]
async fn i2_endpoints_stay_when_all_publishers_are_gone_and_go_when_retired() {
    let (first, first_feed) = feed(name("first"));
    let (second, second_feed) = feed(name("second"));
    let (driver, fake) = FakeDriver::new(name("t"));
    let plane = ControlPlane::builder()
        .source(first_feed)
        .source(second_feed)
        .target(driver);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(
        fake.given().is_empty(),
        "nothing is told before the first write"
    );
    first.set(record(1, 1)).unwrap();
    let other = second.clone();
    second.set(record(2, 2)).unwrap();
    let route = Route::new(
        "a.example".parse::<RouteHost>().unwrap(),
        Default::default(),
        name("web"),
    );
    second.declare(name("empty"), Mode::Tcp, [route]).unwrap();
    let endpoints = || {
        fake.applied()
            .map_or(0, |snapshot| snapshot.endpoint_count())
    };
    eventually("both", || {
        endpoints() == 2 && handle.snapshot().route_count() == 1
    })
    .await;
    other.drain(&key(2), None).unwrap();
    eventually("draining", || {
        let snapshot = handle.snapshot();
        let endpoint = snapshot
            .service(&name("web"))
            .and_then(|s| s.endpoint(&name("e2")));
        endpoint.is_some_and(|e| e.state == EndpointState::Draining { grace: None })
    })
    .await;
    drop(first);
    let ended =
        |source: usize| matches!(handle.status().sources[source].health, Health::Ended { .. });
    eventually("ended", || ended(0)).await;
    second.close_and_retire();
    eventually("ended", || ended(1)).await;
    assert!(other.set(record(3, 3)).is_err());
    eventually("only the first", || endpoints() == 1).await;
    let snapshot = handle.snapshot();
    assert_eq!(
        (snapshot.services().count(), snapshot.route_count()),
        (1, 0)
    );
}
