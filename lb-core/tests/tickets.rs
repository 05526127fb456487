//! Writes of the program and when they are in effect (P2, P3, P4).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use lb_core::{
    ConditionKind, Confirm, ControlPlane, Cursor, Descriptor, Endpoint, Event, Handle, Name,
    PlaneError, Publisher, Record, RecordKey, Running, Ticket, Unmet, UnmetReason, Update, feed,
    testkit::{FakeDriver, FakeSource, FakeTarget},
};

const LIMIT: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(name("web"), name(id))
}

fn record(id: &str, port: u16) -> Record {
    Record::new(key(id), Endpoint::new(([127, 0, 0, 1], port).into()))
}

fn no_room(id: &str) -> Unmet {
    let detail = "no free slot".to_owned();
    Unmet::new(name("web"), Some(name(id)), UnmetReason::NoCapacity, detail)
}

struct World {
    publisher: Publisher,
    target: FakeTarget,
    running: Running,
    handle: Handle,
}

impl World {
    fn new() -> Self {
        let (publisher, source) = feed(name("program"));
        let (driver, target) = FakeDriver::new(name("t"));
        let plane = ControlPlane::builder()
            .source(source)
            .target(driver)
            .build()
            .unwrap();
        let running = plane.spawn();
        let handle = running.handle();
        Self {
            publisher,
            target,
            running,
            handle,
        }
    }

    fn served(&self) -> Vec<String> {
        let Some(applied) = self.target.applied() else {
            return Vec::new();
        };
        let web = applied.service(&name("web"));
        web.into_iter()
            .flat_map(|web| {
                web.endpoints()
                    .map(|(id, own)| format!("{id} {}", own.address.port()))
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn case_p02_reconcile_covers_every_write_that_returned_before_it() {
    let world = World::new();
    for round in 1..=60 {
        world.publisher.reset([record("a", round)]).unwrap();
        let done = world.handle.reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
        assert_eq!(world.served(), [format!("a {round}")]);
        world.publisher.set(record("a", 1000 + round)).unwrap();
        let done = world.handle.reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
        assert_eq!(world.served(), [format!("a {}", 1000 + round)]);
    }
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_a_ticket_is_in_effect_when_its_write_is_and_at_once_if_that_changes_nothing() {
    let world = World::new();
    world.publisher.reset([record("a", 1)]).unwrap();
    let mut before = 0;
    for port in 2..40 {
        let ticket = world.publisher.set(record("a", port)).unwrap();
        assert!(ticket.revision > before, "tickets grow");
        before = ticket.revision;
        let state = world.handle.wait(&ticket, LIMIT).await.unwrap();
        assert!(state.in_effect, "{state:?}");
        assert_eq!(world.served(), [format!("a {port}")]);
        let passes = world.target.given().len();
        for same in [
            world.publisher.set(record("a", port)).unwrap(),
            world.publisher.remove(&key("none")).unwrap(),
            world.publisher.drain(&key("none"), None).unwrap(),
            world.publisher.reset([record("a", port)]).unwrap(),
        ] {
            let state = world.handle.wait(&same, LIMIT).await.unwrap();
            assert!(state.in_effect, "{state:?}");
        }
        assert_eq!(world.target.given().len(), passes, "nothing had to be done");
    }
    let tickets = world.handle.status().sources[0].tickets.unwrap();
    assert_eq!(tickets.written, tickets.in_effect);
    assert_eq!(tickets.written, tickets.taken);
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_an_event_names_every_ticket_once_it_is_in_effect() {
    let world = World::new();
    let mut events = world.handle.subscribe();
    let mut open: Vec<Ticket> = Vec::new();
    for port in 1..40 {
        open.push(world.publisher.set(record("a", port)).unwrap());
        open.push(world.publisher.set(record("a", port)).unwrap());
        if port % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while !open.is_empty() {
        let event = tokio::time::timeout(LIMIT, events.next())
            .await
            .unwrap()
            .unwrap();
        if let Event::InEffect { ticket, after } = &event.event {
            open.retain(|own| own.revision <= *after || own.revision > ticket.revision);
            assert!(world.handle.ticket_state(ticket).unwrap().in_effect);
        }
    }
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_a_dead_target_keeps_tickets_open_and_is_named() {
    let world = World::new();
    world.publisher.reset([record("a", 1)]).unwrap();
    assert!(
        world
            .handle
            .reconcile_now(LIMIT)
            .await
            .unwrap()
            .is_complete()
    );
    world.target.set_reachable(false);
    let ticket = world.publisher.set(record("a", 2)).unwrap();
    let state = world
        .handle
        .wait(&ticket, Duration::from_secs(2))
        .await
        .unwrap();
    assert!(!state.in_effect && !state.is_settled());
    assert_eq!(state.lagging[0].target, name("t"));
    let status = world.handle.status();
    let down = status
        .conditions
        .iter()
        .find(|found| found.kind == ConditionKind::TargetDown);
    assert_eq!(down.unwrap().target, Some(name("t")));
    world.target.set_reachable(true);
    assert!(world.handle.wait(&ticket, LIMIT).await.unwrap().in_effect);
    let status = world.handle.status();
    assert_eq!(status.conditions, [], "it ends with its cause");
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_of_two_writes_only_the_one_that_is_left_out_is_kept_back() {
    let world = World::new();
    world.publisher.reset([record("a", 1)]).unwrap();
    assert!(
        world
            .handle
            .reconcile_now(LIMIT)
            .await
            .unwrap()
            .is_complete()
    );
    world.target.set_unmet(vec![no_room("b")]);
    let mut events = world.handle.subscribe();
    let none = world.publisher.set(record("b", 2)).unwrap();
    let state = world.handle.wait(&none, LIMIT).await.unwrap();
    assert!(!state.in_effect && state.is_settled(), "{state:?}");
    assert_eq!(state.conditions[0].kind, ConditionKind::NoCapacity);
    assert_eq!(state.conditions[0].target, Some(name("t")));
    let other = world.publisher.set(record("a", 3)).unwrap();
    assert!(world.handle.wait(&other, LIMIT).await.unwrap().in_effect);
    // Written again as it is, it is in effect no more than before.
    let again = world.publisher.set(record("b", 2)).unwrap();
    assert!(!world.handle.wait(&again, LIMIT).await.unwrap().in_effect);
    let tickets = world.handle.status().sources[0].tickets.unwrap();
    assert!(tickets.in_effect < none.revision && again.revision == tickets.taken);
    world.target.set_unmet(Vec::new());
    world.target.call_attention();
    let mut told = Vec::new();
    while told.len() < 4 {
        let event = tokio::time::timeout(LIMIT, events.next())
            .await
            .unwrap()
            .unwrap();
        match &event.event {
            Event::InEffect { ticket, .. } => told.push((ticket.revision, true)),
            Event::KeptBack { ticket, .. } => told.push((ticket.revision, false)),
            _ => {}
        }
    }
    let (none, other, again) = (none.revision, other.revision, again.revision);
    assert_eq!(told[..2], [(none, false), (other, true)]);
    assert_eq!(told[2], (again, false));
    assert_eq!(told[3], (none, true), "when the rest follows it is said");
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_what_the_guard_holds_is_not_in_effect_and_says_so() {
    let world = World::new();
    world.publisher.reset([record("a", 1)]).unwrap();
    assert!(
        world
            .handle
            .reconcile_now(LIMIT)
            .await
            .unwrap()
            .is_complete()
    );
    let ticket = world.publisher.reset([]).unwrap();
    let state = world
        .handle
        .wait(&ticket, Duration::from_secs(1))
        .await
        .unwrap();
    assert!(!state.in_effect && state.is_settled(), "{state:?}");
    assert_eq!(state.conditions[0].kind, ConditionKind::Hold);
    let done = world
        .handle
        .reconcile_now(Duration::from_secs(1))
        .await
        .unwrap();
    assert!(!done.is_complete() && done.is_verified());
    world.target.set_hanging(true);
    assert_eq!(world.handle.confirm(&Confirm::All), 1);
    assert!(
        !world.handle.ticket_state(&ticket).unwrap().in_effect,
        "let go, and not yet applied"
    );
    world.target.set_hanging(false);
    assert!(world.handle.wait(&ticket, LIMIT).await.unwrap().in_effect);
    assert_eq!(world.served(), [""; 0]);
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p02_a_ticket_of_another_feed_is_unknown() {
    let world = World::new();
    let (stranger, other) = feed(name("program"));
    let ticket = stranger.reset([]).unwrap();
    assert!(matches!(
        world.handle.ticket_state(&ticket),
        Err(PlaneError::Unknown { .. })
    ));
    world.publisher.reset([record("a", 1)]).unwrap();
    assert!(
        world
            .handle
            .reconcile_now(LIMIT)
            .await
            .unwrap()
            .is_complete()
    );
    world.handle.replace_source(Box::new(other)).await.unwrap();
    assert!(
        world
            .handle
            .wait(&ticket, LIMIT)
            .await
            .unwrap()
            .is_settled()
    );
    assert!(world.publisher.set(record("a", 2)).is_err());
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p04_what_passes_by_itself_is_waited_for_and_what_does_not_ends_the_wait_last() {
    let world = World::new();
    world.publisher.reset([record("a", 1)]).unwrap();
    let passing = no_room("a").transient();
    world.target.set_unmet(vec![passing.clone()]);
    let (target, clone) = (world.target.clone(), world.target.clone());
    let fix = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        target.set_unmet(Vec::new());
        target.call_attention();
    });
    let done = world.handle.reconcile_now(LIMIT).await.unwrap();
    assert!(done.is_complete(), "{done:?}");
    fix.await.unwrap();

    world.target.set_unmet(vec![passing.clone(), no_room("b")]);
    let fix = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        clone.set_unmet(vec![no_room("b")]);
        clone.call_attention();
    });
    let began = world.handle.status().uptime_ms;
    let done = world.handle.reconcile_now(LIMIT).await.unwrap();
    let lasted = world.handle.status().uptime_ms - began;
    assert!((3000..5000).contains(&lasted), "{lasted} ms");
    assert!(done.is_verified() && !done.is_complete());
    assert_eq!(done.conditions.len(), 1);
    assert!(!done.conditions[0].transient);
    fix.await.unwrap();

    world.target.set_unmet(vec![passing]);
    let done = world
        .handle
        .reconcile_now(Duration::from_secs(2))
        .await
        .unwrap();
    assert!(
        done.is_verified() && done.conditions[0].transient,
        "it lasted"
    );
    world.running.shutdown().await;
}

/// A change that was refused for a moment is on its way when that is over, and in effect only when it has arrived.
#[tokio::test(start_paused = true)]
async fn case_p04_what_could_be_done_only_now_is_not_in_effect_until_it_is_verified() {
    const SHORT: Duration = Duration::from_secs(1);
    let world = World::new();
    world.target.set_unmet(vec![no_room("a").transient()]);
    let ticket = world.publisher.reset([record("a", 1)]).unwrap();
    let state = world.handle.wait(&ticket, SHORT).await.unwrap();
    assert!(!state.in_effect && state.lagging.is_empty(), "{state:?}");
    world.target.set_unmet(Vec::new());
    world.target.set_settled(false);
    world.target.call_attention();
    let state = world.handle.wait(&ticket, SHORT).await.unwrap();
    assert!(!state.in_effect && state.lagging.len() == 1, "{state:?}");
    let done = world.handle.reconcile_now(SHORT).await.unwrap();
    assert!(!done.is_verified(), "{done:?}");
    world.target.set_settled(true);
    world.target.call_attention();
    assert!(world.handle.wait(&ticket, SHORT).await.unwrap().in_effect);
    let done = world.handle.reconcile_now(SHORT).await.unwrap();
    assert!(done.is_complete(), "{done:?}");
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p03_verified_is_said_when_everything_is_in_effect_and_again_when_the_rest_follows() {
    let world = World::new();
    world.target.set_unmet(vec![no_room("a"), no_room("b")]);
    let mut events = world.handle.subscribe();
    world
        .publisher
        .reset([record("a", 1), record("b", 2), record("c", 3)])
        .unwrap();
    let done = world.handle.reconcile_now(LIMIT).await.unwrap();
    assert_eq!(done.conditions.len(), 2);
    let mut seen = Vec::new();
    let mut read = |seen: &mut Vec<String>| {
        while let Some(event) = events.try_next() {
            match &event.event {
                Event::Verified { causes, .. } => seen.push(format!("verified {}", causes.len())),
                Event::Pass { unmet, causes, .. } => {
                    seen.push(format!("pass {unmet} {}", causes.len()));
                }
                Event::ConditionBegan { condition } if condition.target.is_some() => {
                    seen.push(format!("began {}", condition.endpoint.as_ref().unwrap()));
                }
                Event::ConditionEnded { condition } if condition.target.is_some() => {
                    seen.push(format!("ended {}", condition.endpoint.as_ref().unwrap()));
                }
                _ => {}
            }
        }
    };
    read(&mut seen);
    assert_eq!(seen, ["began a", "began b", "pass 2 1"]);
    seen.clear();
    let since: Vec<u64> = conditions(&world.handle);
    world.target.set_unmet(vec![no_room("b")]);
    world.target.call_attention();
    tokio::time::sleep(Duration::from_secs(1)).await;
    read(&mut seen);
    assert_eq!(seen, ["ended a", "pass 1 0"]);
    assert_eq!(conditions(&world.handle), since[1..], "since when stays");
    seen.clear();
    world.target.set_unmet(Vec::new());
    world.target.call_attention();
    tokio::time::sleep(Duration::from_secs(1)).await;
    read(&mut seen);
    assert_eq!(seen, ["ended b", "verified 1"]);
    world.running.shutdown().await;
}

fn conditions(handle: &Handle) -> Vec<u64> {
    let all = handle.status().conditions;
    all.iter().map(|condition| condition.since_ms).collect()
}

#[tokio::test(start_paused = true)]
async fn case_p18_what_is_left_out_because_of_a_conflict_is_a_condition_until_it_ends() {
    let world = World::new();
    let (second, script) = FakeSource::new(Descriptor::new(name("second"), "fake"));
    world.handle.add_source(Box::new(second)).await.unwrap();
    world.publisher.reset([record("a", 1)]).unwrap();
    script.say(Update::Reset {
        at: Cursor::new("e", 1),
        records: vec![record("a", 2)],
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let status = world.handle.status();
    assert_eq!(status.condition_counts[&ConditionKind::Conflict], 1);
    let conflict = &status.conditions[0];
    assert!(conflict.kind.needs_operator() && !conflict.transient);
    assert!(
        !world
            .handle
            .reconcile_now(LIMIT)
            .await
            .unwrap()
            .is_complete()
    );
    let gone = world.publisher.remove(&key("a")).unwrap();
    assert!(world.handle.wait(&gone, LIMIT).await.unwrap().in_effect);
    assert_eq!(world.handle.status().condition_count, 0);
    assert_eq!(world.served(), ["a 2"]);
    world.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn case_p19_a_diagnostic_ends_with_its_cause() {
    use lb_core::{Diagnostic, Severity};
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let plane = ControlPlane::builder().source(source).build().unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    let diagnostic = |object: &str, severity| {
        Update::Diagnostic(Diagnostic {
            object: object.to_owned(),
            field: Some("lb.port".to_owned()),
            value: Some("http".to_owned()),
            message: "expected a port".to_owned(),
            severity,
        })
    };
    script.say(Update::Reset {
        at: Cursor::new("e", 1),
        records: vec![record("a", 1)],
    });
    script.say(diagnostic("container x", Severity::Error));
    script.say(diagnostic("container y", Severity::Withheld));
    script.say(diagnostic("file z", Severity::Failed));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let kinds = |handle: &Handle| -> Vec<ConditionKind> {
        handle.status().condition_counts.into_keys().collect()
    };
    use ConditionKind as Kind;
    assert_eq!(
        kinds(&handle),
        [Kind::Diagnostic, Kind::Withheld, Kind::Failed]
    );
    script.say(Update::Resolved {
        object: "container x".to_owned(),
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(kinds(&handle), [Kind::Withheld, Kind::Failed]);
    for revision in 2..4 {
        script.say(Update::Reset {
            at: Cursor::new("e", revision),
            records: vec![record("a", 1)],
        });
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(kinds(&handle), []);
    running.shutdown().await;
}

/// Of more diagnostics than are listed, each is counted, until it ends.
#[tokio::test(start_paused = true)]
async fn case_p19_diagnostics_that_are_not_listed_are_counted_and_end() {
    use lb_core::{Diagnostic, Severity};
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let plane = ControlPlane::builder().source(source).build().unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    let object = |number: usize| format!("container {number}");
    let tell = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            script.say(Update::Diagnostic(Diagnostic {
                object: object(number),
                field: Some("lb.auth".to_owned()),
                value: None,
                message: "cannot be honoured".to_owned(),
                severity: match number % 2 {
                    0 => Severity::Warning,
                    _ => Severity::Withheld,
                },
            }));
        }
    };
    let reset = |revision| {
        script.say(Update::Reset {
            at: Cursor::new("e", revision),
            records: vec![record("a", 1)],
        });
    };
    reset(1);
    // What is told again is counted once.
    for _ in 0..2 {
        tell(0..200);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = handle.status();
        let counts = &status.condition_counts;
        assert_eq!(counts.get(&ConditionKind::Diagnostic), Some(&100));
        assert_eq!(counts.get(&ConditionKind::Withheld), Some(&100));
        assert_eq!(status.sources[0].diagnostics_dropped, 136);
    }
    for number in 0..150 {
        script.say(Update::Resolved {
            object: object(number),
        });
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = handle.status();
    assert_eq!(status.condition_count, 50);
    assert_eq!(status.sources[0].diagnostics_dropped, 0);
    tell(200..400);
    reset(2);
    reset(3);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = handle.status();
    assert_eq!(status.condition_count, 0);
    assert_eq!(status.sources[0].diagnostics_dropped, 0);
    running.shutdown().await;
}

/// Whatever part of a record another source has taken: its route, the mode of its service, an option.
#[tokio::test(start_paused = true)]
async fn case_p02_a_write_of_which_a_conflict_keeps_a_part_back_is_not_in_effect() {
    use lb_core::{Mode, OnDown, Route};
    let route = |leads: &str| {
        let host = "shop.example".parse().unwrap();
        [Route::new(host, "/".parse().unwrap(), name(leads))]
    };
    let api = || {
        let key = RecordKey::new(name("api"), name("a"));
        Record::new(key, Endpoint::new(([127, 0, 0, 1], 1).into()))
    };
    let cases = [
        (record("a", 1), record("b", 2).with_mode(Mode::Tcp)),
        (
            record("a", 1).with_exclusive(false),
            record("b", 2).with_exclusive(true),
        ),
        (
            record("a", 1).with_on_down(OnDown::Keep),
            record("b", 2).with_on_down(OnDown::ShutdownSessions),
        ),
        (
            api().with_routes(route("api")),
            record("b", 2).with_routes(route("web")),
        ),
    ];
    for (earlier, later) in cases {
        let world = World::new();
        let (second, source) = feed(name("second"));
        world.handle.add_source(Box::new(source)).await.unwrap();
        world.publisher.reset([earlier.clone()]).unwrap();
        second.reset([]).unwrap();
        let done = world.handle.reconcile_now(LIMIT).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
        let mut events = world.handle.subscribe();
        let lost = second.set(later.clone()).unwrap();
        let state = world.handle.wait(&lost, LIMIT).await.unwrap();
        assert!(!state.in_effect && state.is_settled(), "{state:?}");
        let [conflict] = &state.conditions[..] else {
            panic!("{state:?}");
        };
        assert_eq!(conflict.kind, ConditionKind::Conflict);
        assert_eq!(conflict.endpoint, Some(name("b")));
        assert!(conflict.detail.contains("program"), "{conflict}");
        // Another write of the same source is not concerned.
        let other = RecordKey::new(name("other"), name("c"));
        let other = Record::new(other, Endpoint::new(([127, 0, 0, 1], 3).into()));
        let other = second.set(other).unwrap();
        assert!(world.handle.wait(&other, LIMIT).await.unwrap().in_effect);
        // Ended by the one that won, or by the one that gives in: said either way.
        let end = if earlier.key.service == name("api") {
            second.set(record("b", 2))
        } else {
            world.publisher.remove(&earlier.key)
        };
        let end = world.handle.wait(&end.unwrap(), LIMIT).await.unwrap();
        assert!(end.in_effect, "{end:?}");
        assert!(world.handle.wait(&lost, LIMIT).await.unwrap().in_effect);
        let said = async { while !events.next().await.unwrap().event.puts_in_effect(&lost) {} };
        tokio::time::timeout(LIMIT, said).await.unwrap();
        world.running.shutdown().await;
    }
}
