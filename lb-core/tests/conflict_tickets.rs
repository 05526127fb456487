//! The tickets of writes that lose a conflict with another source: of an address, a service, or the name of an endpoint.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use lb_core::{
    ConditionKind, ControlPlane, Endpoint, Event, Events, Handle, Name, Publisher, Record,
    RecordKey, Running, Ticket, feed,
    source::Restricted,
    testkit::{FakeDriver, FakeTarget},
};

const LIMIT: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(service: &str, id: &str) -> RecordKey {
    RecordKey::new(name(service), name(id))
}

fn record(service: &str, id: &str, port: u16) -> Record {
    let endpoint = Endpoint::new(([127, 0, 0, 1], port).into());
    Record::new(key(service, id), endpoint)
}

/// Two programs that share no services; what the first one wrote first counts.
struct World {
    first: Publisher,
    second: Publisher,
    target: FakeTarget,
    running: Running,
    handle: Handle,
    events: Events,
}

impl World {
    fn new() -> Self {
        let [(first, one), (second, two)] = ["first", "second"].map(|source| feed(name(source)));
        let (driver, target) = FakeDriver::new(name("t"));
        let plane = ControlPlane::builder()
            .source(one)
            .source(Restricted::new(Box::new(two)).with_trust(name("tenant")))
            .target(driver)
            .build()
            .unwrap();
        let running = plane.spawn();
        let handle = running.handle();
        let events = handle.subscribe();
        Self {
            first,
            second,
            target,
            running,
            handle,
            events,
        }
    }

    /// The endpoints that the target has.
    fn served(&self) -> Vec<String> {
        let applied = self.target.applied().unwrap();
        let endpoints = applied.services().flat_map(|(service, known)| {
            let all = known.endpoints();
            all.map(move |(id, own)| format!("{service}/{id} {}", own.address.port()))
        });
        endpoints.collect()
    }

    async fn is_in_effect(&self, ticket: &Ticket) -> bool {
        self.handle.wait(ticket, LIMIT).await.unwrap().in_effect
    }

    /// The one condition that keeps a write back, once the wait has ended for it and it was said.
    async fn kept_back_by(&mut self, ticket: &Ticket) -> String {
        let state = self.handle.wait(ticket, LIMIT).await.unwrap();
        assert!(!state.in_effect && state.is_settled(), "{state:?}");
        assert!(state.lagging.is_empty(), "{state:?}");
        let [found] = &state.conditions[..] else {
            panic!("{state:?}");
        };
        assert_eq!(found.kind, ConditionKind::Conflict);
        assert!(!found.transient);
        assert_eq!(found.source, Some(name("second")));
        let said = async {
            loop {
                if let Event::KeptBack {
                    ticket: kept,
                    conditions,
                    ..
                } = &self.events.next().await.unwrap().event
                    && kept == ticket
                {
                    return conditions.clone();
                }
            }
        };
        let said = tokio::time::timeout(LIMIT, said).await.unwrap();
        assert_eq!(said[..], state.conditions[..]);
        let service = found.service.as_ref().unwrap();
        let endpoint = found.endpoint.as_ref().unwrap();
        format!("{service}/{endpoint}: {}", found.detail)
    }

    async fn until_said(&mut self, ticket: &Ticket) {
        let said = async {
            while !self
                .events
                .next()
                .await
                .unwrap()
                .event
                .puts_in_effect(ticket)
            {}
        };
        tokio::time::timeout(LIMIT, said).await.unwrap();
    }
}

/// The endpoint is not in effect, and its ticket says whose the address is; other writes are not concerned, and it is in
/// effect when the address is given up.
#[tokio::test(start_paused = true)]
async fn case_p02_a_write_of_an_address_that_is_anothers_is_not_in_effect_until_it_is_given_up() {
    for ends in ["remove", "move", "give in"] {
        let mut world = World::new();
        world.first.reset([record("pay", "1", 1)]).unwrap();
        world.second.reset([]).unwrap();
        let before = world.second.set(record("shop", "a", 2)).unwrap();
        assert!(world.is_in_effect(&before).await);
        let lost = world.second.set(record("shop", "b", 1)).unwrap();
        let said = world.kept_back_by(&lost).await;
        assert!(
            said.starts_with("shop/b: address is that of pay/1 of source first"),
            "{said}"
        );
        assert_eq!(world.served(), ["pay/1 1", "shop/a 2"]);
        let done = world.handle.reconcile_now(LIMIT).await.unwrap();
        assert!(!done.is_complete(), "{done:?}");
        let other = world.second.set(record("shop", "c", 3)).unwrap();
        assert!(world.is_in_effect(&other).await);
        assert!(!world.is_in_effect(&lost).await);
        let end = match ends {
            "remove" => world.first.remove(&key("pay", "1")),
            "move" => world.first.set(record("pay", "1", 4)),
            _ => world.second.set(record("shop", "b", 5)),
        };
        assert!(world.is_in_effect(&end.unwrap()).await);
        world.until_said(&lost).await;
        assert!(world.is_in_effect(&lost).await);
        assert!(
            world
                .served()
                .iter()
                .any(|served| served.starts_with("shop/b "))
        );
        assert_eq!(world.handle.status().condition_count, 0);
        let done = world.handle.reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
        world.running.shutdown().await;
    }
}

/// The address of an endpoint that serves is taken by a source with precedence: the next write of it says so.
#[tokio::test(start_paused = true)]
async fn case_p02_an_address_that_is_lost_later_keeps_the_next_write_back() {
    let mut world = World::new();
    world.first.reset([]).unwrap();
    world.second.reset([record("shop", "a", 1)]).unwrap();
    let held = world.second.set(record("shop", "a", 1)).unwrap();
    assert!(world.is_in_effect(&held).await);
    let taken = world.first.set(record("pay", "1", 1)).unwrap();
    assert!(world.is_in_effect(&taken).await);
    assert_eq!(world.served(), ["pay/1 1"]);
    let again = world.second.set(record("shop", "a", 1)).unwrap();
    let said = world.kept_back_by(&again).await;
    assert!(
        said.starts_with("shop/a: address is that of pay/1"),
        "{said}"
    );
    world.running.shutdown().await;
}

/// The service is another's, or the endpoint's name in it.
#[tokio::test(start_paused = true)]
async fn case_p02_a_write_of_a_service_that_is_anothers_is_not_in_effect_until_it_is_given_up() {
    let world = World::new();
    world.first.reset([record("pay", "1", 1)]).unwrap();
    world.second.reset([]).unwrap();
    let kept = [record("pay", "1", 2), record("pay", "2", 3)];
    let tickets: Vec<Ticket> = kept
        .into_iter()
        .map(|record| world.second.set(record).unwrap())
        .collect();
    for ticket in &tickets {
        let state = world.handle.wait(ticket, LIMIT).await.unwrap();
        assert!(!state.in_effect && state.is_settled(), "{state:?}");
        for found in &state.conditions {
            assert_eq!(found.kind, ConditionKind::Conflict);
            assert!(
                found.detail.contains("service is that of source first"),
                "{found}"
            );
        }
    }
    assert_eq!(world.served(), ["pay/1 1"]);
    let end = world.first.remove(&key("pay", "1")).unwrap();
    assert!(world.is_in_effect(&end).await);
    for ticket in &tickets {
        assert!(world.is_in_effect(ticket).await);
    }
    assert_eq!(world.served(), ["pay/1 2", "pay/2 3"]);
    world.running.shutdown().await;
}
