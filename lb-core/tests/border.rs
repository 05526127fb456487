//! What no target can serve stays outside, and disturbs nothing (P1).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use lb_core::{
    Condition, ConditionKind, Cursor, Descriptor, Endpoint, Event, Name, Record, RecordKey, Time,
    Update, WriteError,
    engine::{Engine, EngineConfig},
    feed,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(service: &str, id: &str, address: &str) -> Record {
    let key = RecordKey::new(name(service), name(id));
    Record::new(key, Endpoint::new(address.parse().unwrap()))
}

/// An engine with one source, and what was said to it.
struct World {
    engine: Engine,
    source: lb_core::merge::SourceId,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new(EngineConfig::default(), Time::ZERO);
        let source = engine
            .add_source(Time::ZERO, Descriptor::new(name("s"), "fake"))
            .unwrap();
        Self {
            engine,
            source,
            revision: 0,
        }
    }

    fn say(&mut self, update: impl FnOnce(Cursor) -> Update) {
        self.revision += 1;
        let update = update(Cursor::new("e", self.revision));
        let (now, source) = (Time::from_micros(self.revision), self.source);
        self.engine.source_update(now, source, update, now);
        assert!(self.engine.poll(now).is_none(), "no target");
    }

    fn reset(&mut self, records: Vec<Record>) {
        self.say(|at| Update::Reset { at, records });
    }

    fn set(&mut self, set: Vec<Record>) {
        self.say(|at| Update::Batch {
            at,
            set,
            remove: Vec::new(),
        });
    }

    fn remove(&mut self, service: &str, id: &str) {
        let key = RecordKey::new(name(service), name(id));
        self.say(|at| Update::Batch {
            at,
            set: Vec::new(),
            remove: vec![key],
        });
    }

    /// The desired endpoints, as `service/id address`.
    fn desired(&self) -> Vec<String> {
        let services = self.engine.snapshot().services();
        services
            .flat_map(|(service, found)| {
                let all = found.endpoints();
                all.map(move |(id, endpoint)| format!("{service}/{id} {}", endpoint.address))
            })
            .collect()
    }

    fn refused(&self) -> Vec<Condition> {
        let status = self.engine.status(Time::from_micros(self.revision));
        let all = status.conditions.into_iter();
        all.filter(|condition| condition.kind == ConditionKind::InvalidAddress)
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event())
            .map(|stamped| stamped.event)
            .collect()
    }
}

#[test]
fn case_p01_what_no_target_can_serve_is_left_out_and_said_with_everything_that_helps() {
    for wrong in ["0.0.0.0:80", "[::]:80", "10.0.0.1:0", "255.255.255.255:80"] {
        let mut world = World::new();
        world.reset(vec![
            record("web", "a", "10.0.0.1:80"),
            record("web", "b", wrong),
        ]);
        assert_eq!(world.desired(), ["web/a 10.0.0.1:80"]);
        let [condition] = world.refused().try_into().unwrap();
        assert_eq!(condition.source, Some(name("s")));
        assert_eq!(condition.service, Some(name("web")));
        assert_eq!(condition.endpoint, Some(name("b")));
        assert!(condition.detail.contains(wrong), "{condition}");
        assert!(!condition.transient && condition.kind.needs_operator());
        let began = world.events();
        let began = began
            .iter()
            .filter(|event| matches!(event, Event::ConditionBegan { condition } if condition.kind == ConditionKind::InvalidAddress));
        assert_eq!(began.count(), 1);
        world.set(vec![record("web", "c", "10.0.0.3:80")]);
        assert_eq!(world.desired(), ["web/a 10.0.0.1:80", "web/c 10.0.0.3:80"]);
        assert_eq!(world.refused().len(), 1, "it lasts");
        world.set(vec![record("web", "b", "10.0.0.2:80")]);
        assert_eq!(world.desired().len(), 3);
        assert!(world.refused().is_empty(), "it ends when it is fixed");
        let ended = world.events();
        assert!(ended.iter().any(|event| matches!(event, Event::ConditionEnded { condition } if condition.endpoint == Some(name("b")))));
    }
}

#[test]
fn case_p01_the_last_good_form_is_kept_until_it_is_removed_or_its_address_is_used_again() {
    let mut world = World::new();
    world.reset(vec![record("web", "a", "10.0.0.1:80")]);
    world.set(vec![record("web", "a", "0.0.0.0:80")]);
    assert_eq!(world.desired(), ["web/a 10.0.0.1:80"]);
    assert!(
        world.refused()[0]
            .detail
            .contains("its last good form, 10.0.0.1:80, stays")
    );
    world.reset(vec![record("web", "a", "0.0.0.0:80")]);
    assert_eq!(world.desired(), ["web/a 10.0.0.1:80"], "a listing as well");
    assert_eq!(world.refused().len(), 1);
    world.set(vec![record("db", "x", "10.0.0.1:80")]);
    assert_eq!(world.desired(), ["db/x 10.0.0.1:80"], "I1");
    assert!(world.refused()[0].detail.ends_with("it is left out"));
    world.remove("web", "a");
    assert!(world.refused().is_empty(), "it ends when it is removed");

    let mut world = World::new();
    world.reset(vec![record("web", "a", "10.0.0.1:80")]);
    world.set(vec![
        record("web", "a", "10.0.0.1:0"),
        record("db", "x", "10.0.0.1:80"),
    ]);
    assert_eq!(world.desired(), ["db/x 10.0.0.1:80"], "in one batch");
    world.reset(vec![record("db", "x", "10.0.0.1:80")]);
    assert!(
        world.refused().is_empty(),
        "it ends with a listing without it"
    );
}

#[test]
fn case_p01_a_publisher_refuses_it_and_the_write_changes_nothing() {
    let (publisher, _feed) = feed(name("f"));
    publisher
        .reset([record("web", "a", "10.0.0.1:80")])
        .unwrap();
    let refused = |result: Result<_, WriteError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, WriteError::Invalid { service, endpoint, .. }
                if service.as_str() == "web" && endpoint.as_str() == "b"),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.starts_with("endpoint b of service web: address is 0.0.0.0:80, expected"),
            "{text}"
        );
    };
    let wrong = || record("web", "b", "0.0.0.0:80");
    refused(publisher.set(wrong()));
    refused(publisher.reset([wrong()]));
    refused(publisher.batch([record("web", "c", "10.0.0.3:80"), wrong()], []));
    let next = publisher
        .remove(&RecordKey::new(name("web"), name("c")))
        .unwrap();
    let first = publisher
        .remove(&RecordKey::new(name("web"), name("c")))
        .unwrap();
    assert_eq!(
        first.revision - next.revision,
        2,
        "refused writes have no tickets"
    );
}
