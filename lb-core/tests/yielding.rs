//! What a source gets before the earlier ones that it shares nothing with were heard.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, time::Duration};

use lb_core::{
    ConditionKind, Cursor, Descriptor, Endpoint, Name, Record, RecordKey, Time, Update,
    engine::{Engine, EngineConfig},
    merge::SourceId,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(service: &str, number: u8) -> Record {
    let address = SocketAddr::from(([10, 0, 0, number], 80));
    let key = RecordKey::new(name(service), name("e1"));
    Record::new(key, Endpoint::new(address))
}

struct World {
    engine: Engine,
    first: SourceId,
    tenant: SourceId,
    now: Time,
}

impl World {
    /// A tenant after another source, which is not heard for longer than the first snapshot waits.
    fn new(tenant: Descriptor) -> Self {
        let config = EngineConfig::default();
        let late = config.initial_limit + Duration::from_secs(1);
        let mut engine = Engine::new(config, Time::ZERO);
        let first = Descriptor::new(name("first"), "test");
        let first = engine.add_source(Time::ZERO, first).unwrap();
        let tenant = engine.add_source(Time::ZERO, tenant).unwrap();
        let mut world = Self {
            engine,
            first,
            tenant,
            now: Time::ZERO + late,
        };
        let records = vec![record("shop", 66), record("own", 67)];
        world.reset(world.tenant, records);
        world
    }

    fn reset(&mut self, id: SourceId, records: Vec<Record>) {
        let at = Cursor::new("epoch", 1);
        self.engine
            .source_update(self.now, id, Update::Reset { at, records }, self.now);
        self.engine.flush(self.now);
    }

    fn there(&self) -> Vec<String> {
        let services = self.engine.snapshot().services();
        services
            .flat_map(|(service, known)| {
                known
                    .endpoints()
                    .map(move |(_, endpoint)| format!("{service}={}", endpoint.address.ip()))
            })
            .collect()
    }

    fn waits(&self) -> bool {
        let conditions = self.engine.status(self.now).conditions;
        conditions.iter().any(|condition| {
            condition.kind == ConditionKind::Pending
                && condition.source == Some(name("tenant"))
                && condition.detail.contains("source first")
        })
    }
}

fn tenant() -> Descriptor {
    Descriptor::new(name("tenant"), "test").with_trust(name("tenant"))
}

#[test]
fn case_h06_a_source_that_yields_gets_nothing_before_the_earlier_one_was_heard() {
    let mut world = World::new(tenant().yielding());
    assert_eq!(world.there(), Vec::<String>::new());
    assert!(world.engine.snapshot().is_partial() && world.waits());
    // What it says meanwhile counts as well.
    let batch = Update::Batch {
        at: Cursor::new("epoch", 2),
        set: vec![record("own", 68)],
        remove: Vec::new(),
    };
    world
        .engine
        .source_update(world.now, world.tenant, batch, world.now);
    world.reset(world.first, vec![record("shop", 1)]);
    assert_eq!(world.there(), ["own=10.0.0.68", "shop=10.0.0.1"]);
    assert!(!world.engine.snapshot().is_partial() && !world.waits());
}

#[test]
fn case_h06_the_earlier_one_may_be_removed_instead() {
    let mut world = World::new(tenant().yielding());
    world.engine.remove_source(world.now, &name("first"));
    world.engine.flush(world.now);
    assert_eq!(world.there(), ["own=10.0.0.67", "shop=10.0.0.66"]);
    assert!(!world.waits());
}

#[test]
fn a_source_that_does_not_yield_or_shares_services_is_not_held_up() {
    let shares = Descriptor::new(name("tenant"), "test").yielding();
    for tenant in [tenant(), shares] {
        let world = World::new(tenant);
        assert_eq!(world.there(), ["own=10.0.0.67", "shop=10.0.0.66"]);
        assert!(!world.waits());
    }
}
