//! Addresses that are used again while the guard holds the endpoints that had them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use lb_core::{
    Cursor, Descriptor, Endpoint, Event, Name, Record, RecordKey, Time, Update,
    engine::{Engine, EngineConfig},
    guard::ReleaseReason,
    merge::SourceId,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// `service/id@number`: an endpoint at the address of that number.
fn record(text: &str) -> Record {
    let (key, number) = text.split_once('@').unwrap();
    let (service, id) = key.split_once('/').unwrap();
    let address = SocketAddr::from(([10, 0, 0, number.parse().unwrap()], 80));
    Record::new(
        RecordKey::new(name(service), name(id)),
        Endpoint::new(address),
    )
}

struct World {
    engine: Engine,
    sources: Vec<SourceId>,
    revision: u64,
}

impl World {
    /// So many sources, of which the first says that there are these.
    fn new(sources: usize, all: &[&str]) -> Self {
        let descriptor = |number: usize| Descriptor::new(name(&format!("source{number}")), "test");
        Self::of((0..sources).map(descriptor), all)
    }

    fn of(sources: impl IntoIterator<Item = Descriptor>, all: &[&str]) -> Self {
        let mut engine = Engine::new(EngineConfig::default(), Time::ZERO);
        let sources = sources
            .into_iter()
            .map(|descriptor| engine.add_source(Time::ZERO, descriptor).unwrap())
            .collect();
        let mut world = Self {
            engine,
            sources,
            revision: 0,
        };
        for other in 1..world.sources.len() {
            world.reset(other, &[]);
        }
        world.reset(0, all);
        world
    }

    fn at(&mut self) -> Cursor {
        self.revision += 1;
        Cursor::new("epoch", self.revision)
    }

    fn reset(&mut self, source: usize, all: &[&str]) {
        let (id, at) = (*self.sources.get(source).unwrap(), self.at());
        let records = all.iter().map(|text| record(text)).collect();
        self.engine
            .source_update(Time::ZERO, id, Update::Reset { at, records }, Time::ZERO);
        self.engine.flush(Time::ZERO);
    }

    fn set(&mut self, source: usize, text: &str) {
        let (id, at) = (*self.sources.get(source).unwrap(), self.at());
        let batch = Update::Batch {
            at,
            set: vec![record(text)],
            remove: Vec::new(),
        };
        self.engine.source_update(Time::ZERO, id, batch, Time::ZERO);
        self.engine.flush(Time::ZERO);
    }

    /// The records in effect, as they are written.
    fn there(&self) -> Vec<String> {
        let services = self.engine.snapshot().services();
        let mut all: Vec<String> = services
            .flat_map(|(service, known)| {
                known.endpoints().map(move |(id, endpoint)| {
                    let SocketAddr::V4(address) = endpoint.address else {
                        return String::new();
                    };
                    format!("{service}/{id}@{}", address.ip().octets().last().unwrap())
                })
            })
            .collect();
        all.sort();
        all
    }

    fn reused(&mut self) -> usize {
        let mut count = 0;
        while let Some(stamped) = self.engine.poll_event() {
            if let Event::GuardReleased {
                reason: ReleaseReason::Reused,
                records,
                ..
            } = stamped.event
            {
                count += records;
            }
        }
        count
    }
}

#[test]
fn i1_an_address_that_another_service_has_now_is_not_held_for_the_one_that_lost_it() {
    let mut world = World::new(1, &["a/1@1", "a/2@2", "b/1@3"]);
    // In one listing service a is gone, and one of its addresses is of service b.
    world.reset(0, &["b/1@3", "b/2@1"]);
    assert_eq!(world.there(), ["a/2@2", "b/1@3", "b/2@1"]);
    assert_eq!(world.reused(), 1);
    // The other one follows while it is held.
    world.set(0, "b/3@2");
    assert_eq!(world.there(), ["b/1@3", "b/2@1", "b/3@2"]);
    assert_eq!(world.reused(), 1);
}

#[test]
fn i1_the_other_service_may_be_of_another_source() {
    let mut world = World::new(2, &["a/1@1", "a/2@2"]);
    world.reset(0, &[]);
    assert_eq!(world.there(), ["a/1@1", "a/2@2"]);
    world.set(1, "b/1@1");
    assert_eq!(world.there(), ["a/2@2", "b/1@1"]);
    assert_eq!(world.reused(), 1);
}

#[test]
fn i2_an_older_claim_of_another_source_takes_nothing_from_what_is_held() {
    let mut world = World::new(2, &["a/1@1", "a/2@2"]);
    world.set(1, "b/1@1");
    world.reset(0, &[]);
    assert_eq!(world.there(), ["a/1@1", "a/2@2", "b/1@1"]);
    assert_eq!(world.reused(), 0);
}

#[test]
fn i1_the_other_service_may_be_held_itself_for_a_while() {
    let mut world = World::new(1, &["a/1@1", "a/2@2", "b/1@1"]);
    // Nobody else has anything, which does not persist.
    world.reset(0, &[]);
    assert_eq!(world.there(), ["a/1@1", "a/2@2", "b/1@1"]);
    world.reset(0, &["b/1@1"]);
    assert_eq!(world.there(), ["a/2@2", "b/1@1"]);
    assert_eq!(world.reused(), 1);
}

#[test]
fn i2_an_address_that_stays_with_its_service_is_held() {
    let mut world = World::new(1, &["a/1@1", "a/2@2", "a/3@3", "b/1@4"]);
    // Another endpoint of the same service has it.
    world.reset(0, &["a/9@1", "b/1@4"]);
    assert_eq!(world.there(), ["a/1@1", "a/2@2", "a/3@3", "a/9@1", "b/1@4"]);
    assert_eq!(world.reused(), 0);
}

#[test]
fn case_h06_a_later_source_that_shares_nothing_takes_nothing_from_what_is_held() {
    let tenant = Descriptor::new(name("tenant"), "test").with_trust(name("tenant"));
    let first = Descriptor::new(name("first"), "test");
    let mut world = World::of([first, tenant], &["a/1@1", "a/2@2"]);
    world.reset(0, &[]);
    world.set(1, "b/1@1");
    assert_eq!(world.there(), ["a/1@1", "a/2@2"]);
    assert_eq!(world.reused(), 0);
}
