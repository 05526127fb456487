//! The control plane on a paused clock: supervision, publication, passes and the handle.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::time::Duration;

use lb_core::{
    BuildError, Confirm, ControlPlane, Cursor, Descriptor, Endpoint, Event, GuardConfig,
    GuardPolicy, Name, PlaneError, Record, RecordKey, SourceError, Update,
    status::Health,
    testkit::{FakeDriver, FakeSource, FakeTarget, Script},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(name("web"), name(id))
}

fn record(id: &str, port: u16) -> Record {
    Record::new(key(id), Endpoint::new(([127, 0, 0, 1], port).into()))
}

fn at(revision: u64) -> Cursor {
    Cursor::new("e", revision)
}

fn reset(revision: u64, records: Vec<Record>) -> Update {
    Update::Reset {
        at: at(revision),
        records,
    }
}

fn set(revision: u64, record: Record) -> Update {
    Update::Batch {
        at: at(revision),
        set: vec![record],
        remove: Vec::new(),
    }
}

fn source(text: &str) -> (FakeSource, Script) {
    FakeSource::new(Descriptor::new(name(text), "fake").with_liveness(Duration::from_secs(5)))
}

fn target(text: &str) -> (FakeDriver, FakeTarget) {
    FakeDriver::new(name(text))
}

/// Waits for a condition; on the paused clock this costs no real time.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..200_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

fn applied_ids(target: &FakeTarget) -> Vec<String> {
    target.applied().map_or_else(Vec::new, |snapshot| {
        snapshot
            .service(&name("web"))
            .into_iter()
            .flat_map(|service| service.endpoints().map(|(id, _)| id.to_string()))
            .collect()
    })
}

#[tokio::test(start_paused = true)]
async fn i10_a_change_is_followed_from_the_cursor_to_the_verification() {
    let (source, script) = source("s");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    let mut events = handle.subscribe();
    script.say(reset(7, vec![record("a", 1)]));
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
    script.say(set(8, record("b", 2)));
    eventually("applied", || applied_ids(&fake) == ["a", "b"]).await;
    let mut verified = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Verified {
            generation,
            causes,
            latency_micros,
            ..
        } = &event.event
        {
            assert!(latency_micros.is_some());
            let cursor = causes.first().map(|cause| cause.cursor.revision);
            verified.push((*generation, cursor));
        }
    }
    assert_eq!(verified, [(1, Some(7)), (2, Some(8))]);
    let status = handle.status();
    assert_eq!(status.targets[0].verified, Some(2));
    assert_eq!(status.targets[0].lag_ms, None);
    assert!(status.sources[0].health.is_live());
    serde_json::to_string(&status).unwrap();
    assert!(!fake.is_closed());
    running.shutdown().await;
    assert!(
        fake.is_closed(),
        "a driver writes what is still to be written"
    );
    assert!(script.is_dropped(), "no source outlives its control plane");
    assert!(matches!(
        handle.reconcile_now(Duration::from_secs(1)).await,
        Err(PlaneError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_close_is_not_waited_for_for_ever() {
    let (source, script) = source("only");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder().source(source).target(driver);
    let running = plane.build().unwrap().spawn();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
    fake.set_hanging(true);
    let ended = tokio::time::timeout(Duration::from_secs(5), running.shutdown()).await;
    assert!(ended.is_ok() && fake.is_closed());
}

#[tokio::test(start_paused = true)]
async fn i2_nothing_is_published_while_no_source_was_heard_and_partial_after_the_limit() {
    let (first, first_script) = source("first");
    let (second, second_script) = source("second");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder()
        .source(first)
        .source(second)
        .target(driver);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.given(), Vec::<u64>::new(), "nothing is known");
    first_script.say(reset(1, vec![record("a", 1)]));
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
    assert!(handle.snapshot().is_partial(), "the second was never heard");
    assert!(matches!(
        handle.status().sources[1].health,
        Health::NeverSynced { .. }
    ));
    second_script.say(reset(1, vec![]));
    eventually("whole", || !handle.snapshot().is_partial()).await;
    eventually("told", || fake.given().last() == Some(&2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshot_waits_for_every_source() {
    let (first, first_script) = source("first");
    let (second, second_script) = source("second");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder()
        .source(first)
        .source(second)
        .target(driver);
    let _running = plane.build().unwrap().spawn();
    first_script.say(reset(1, vec![record("a", 1)]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(fake.given().is_empty());
    second_script.say(reset(1, vec![record("b", 2)]));
    eventually("both", || applied_ids(&fake) == ["a", "b"]).await;
    assert_eq!(fake.given(), [1]);
}

#[tokio::test(start_paused = true)]
async fn i2_a_lost_source_removes_nothing_and_comes_back() {
    let (source, script) = source("s");
    let (driver, fake) = target("t");
    let running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    let handle = running.handle();
    let health = || handle.status().sources[0].health.clone();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
    // Silence beyond the bound.
    eventually("stale", || matches!(health(), Health::Stale { .. })).await;
    assert_eq!(applied_ids(&fake), ["a"]);
    script.say(reset(2, vec![record("a", 1)]));
    eventually("live", || health().is_live()).await;
    // An error.
    script.end(Err(SourceError::transient("connection lost")));
    eventually(
        "stale",
        || matches!(health(), Health::Stale { why, .. } if why == "connection lost"),
    )
    .await;
    // A broken contract.
    let attempts = script.attempts().len();
    script.say(set(3, record("b", 2)));
    eventually("failed", || matches!(health(), Health::Failed { .. })).await;
    assert_eq!(applied_ids(&fake), ["a"]);
    eventually("again", || script.attempts().len() > attempts + 1).await;
    script.say(reset(4, vec![record("a", 1), record("b", 2)]));
    eventually("both", || applied_ids(&fake) == ["a", "b"]).await;
    assert!(health().is_live());
}

#[tokio::test(start_paused = true)]
async fn i11_what_is_older_than_what_was_applied_is_left_out() {
    let (source, script) = source("s");
    let (driver, fake) = target("t");
    let running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    let handle = running.handle();
    script.say(reset(5, vec![record("a", 1)]));
    script.say(set(4, record("a", 9)));
    script.say(set(6, record("b", 2)));
    eventually("both", || applied_ids(&fake) == ["a", "b"]).await;
    let snapshot = handle.snapshot();
    let kept = snapshot
        .service(&name("web"))
        .unwrap()
        .endpoint(&name("a"))
        .unwrap();
    assert_eq!(kept.address.port(), 1);
    assert_eq!(handle.status().sources[0].outdated, 1);
    // A whole listing of the past cannot be the base of what follows.
    script.say(reset(3, vec![]));
    eventually("failed", || {
        matches!(handle.status().sources[0].health, Health::Failed { .. })
    })
    .await;
    assert_eq!(applied_ids(&fake), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_resumable_source_resumes_where_it_was_and_lists_again_when_the_cursor_is_gone() {
    let descriptor = Descriptor::new(name("s"), "fake").with_resume();
    let (source, script) = FakeSource::new(descriptor);
    let (driver, fake) = target("t");
    let _running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    script.say(reset(5, vec![record("a", 1)]));
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
    script.end(Ok(()));
    eventually("resumed", || script.attempts() == [None, Some(at(5))]).await;
    script.say(Update::Resumed { at: at(5) });
    script.say(set(6, record("b", 2)));
    eventually("both", || applied_ids(&fake) == ["a", "b"]).await;
    script.end(Err(SourceError::CursorGone {
        what: "compacted".into(),
    }));
    eventually("listed", || script.attempts() == [None, Some(at(5)), None]).await;
}

#[tokio::test(start_paused = true)]
async fn i2_an_emptying_reset_is_held_confirmed_or_persists() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let (driver, fake) = target("t");
    let running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    let handle = running.handle();
    let two = || vec![record("a", 1), record("b", 2)];
    script.say(reset(1, two()));
    eventually("applied", || applied_ids(&fake) == ["a", "b"]).await;
    script.say(reset(2, vec![]));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(applied_ids(&fake), ["a", "b"]);
    assert_eq!(handle.status().holds[0].records, 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(applied_ids(&fake), Vec::<String>::new(), "it persisted");
    script.say(reset(3, two()));
    eventually("back", || applied_ids(&fake) == ["a", "b"]).await;
    script.say(reset(4, vec![]));
    eventually("held", || handle.status().holds.len() == 1).await;
    assert_eq!(handle.confirm(&Confirm::Service(name("other"))), 0);
    assert_eq!(handle.confirm(&Confirm::Service(name("web"))), 2);
    eventually("gone", || applied_ids(&fake).is_empty()).await;
    assert!(handle.status().holds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_guard_and_the_timing_can_be_changed_at_run_time() {
    let (source, script) = source("s");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder().source(source).target(driver);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    script.say(reset(1, vec![record("a", 1), record("b", 2)]));
    eventually("applied", || applied_ids(&fake) == ["a", "b"]).await;

    let nonsense = GuardConfig::new(GuardPolicy::default().with_max_share(2.0));
    assert!(matches!(
        handle.set_guard(nonsense),
        Err(BuildError::Guard(_))
    ));
    let refused = handle.set_timing(Duration::ZERO, Duration::ZERO);
    assert!(matches!(
        refused,
        Err(BuildError::Setting {
            setting: "resync",
            ..
        })
    ));
    handle
        .set_guard(GuardConfig::new(GuardPolicy::disabled()))
        .unwrap();
    handle
        .set_timing(Duration::from_secs(2), Duration::from_secs(60))
        .unwrap();

    let began = handle.status().uptime_ms;
    let elapsed_ms = || handle.status().uptime_ms - began;
    script.say(set(2, record("c", 3)));
    eventually("it settled", || applied_ids(&fake) == ["a", "b", "c"]).await;
    assert!(elapsed_ms() >= 2000);
    script.say(reset(3, vec![]));
    eventually("nothing is held", || applied_ids(&fake).is_empty()).await;
    assert!(elapsed_ms() < 6000, "the hold would be 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_dead_target_never_slows_others_and_catches_up() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let (good, good_target) = target("good");
    let (dead, dead_target) = target("dead");
    let (stuck, stuck_target) = target("stuck");
    dead_target.set_reachable(false);
    stuck_target.set_hanging(true);
    let plane = ControlPlane::builder()
        .source(source)
        .target(good)
        .target(dead)
        .target(stuck);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("good", || applied_ids(&good_target) == ["a"]).await;
    for port in 2..50 {
        script.say(set(u64::from(port), record("a", port)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eventually("good", || handle.status().targets[0].behind == 0).await;
    let result = handle.reconcile_now(Duration::from_secs(2)).await.unwrap();
    let lagging: Vec<&str> = result.lagging.iter().map(|l| l.target.as_str()).collect();
    assert_eq!(lagging, ["dead", "stuck"]);
    assert!(result.lagging[0].why.contains("connection refused"));
    dead_target.set_reachable(true);
    stuck_target.set_hanging(false);
    let result = handle.reconcile_now(Duration::from_secs(2)).await.unwrap();
    assert!(result.is_complete(), "{result:?}");
    for target in [good_target, dead_target, stuck_target] {
        assert!(
            target.given().is_sorted(),
            "I11: no older generation after a newer"
        );
        assert_eq!(target.applied().unwrap(), handle.snapshot());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_never_ends_is_cut_at_the_limit() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let (stuck, fake) = target("stuck");
    fake.set_hanging(true);
    let plane = ControlPlane::builder().source(source).target(stuck);
    let plane = plane.pass_limit(Duration::from_secs(1)).build().unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("cut", || {
        let error = handle.status().targets[0].last_error.clone();
        error.is_some_and(|error| error.contains("did not end within 1s"))
    })
    .await;
    fake.set_hanging(false);
    eventually("applied", || applied_ids(&fake) == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn attention_and_again_lead_to_passes_without_a_change() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let (driver, fake) = target("t");
    let _running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    fake.ask_again(Duration::from_secs(3));
    script.say(reset(1, vec![record("a", 1)]));
    eventually("first", || fake.given() == [1]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fake.given(), [1]);
    eventually("again", || fake.given() == [1, 1]).await;
    fake.call_attention();
    eventually("attention", || fake.given() == [1, 1, 1]).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(fake.given(), [1, 1, 1, 1], "a look now and then");
}

#[tokio::test(start_paused = true)]
async fn members_come_and_go_at_run_time() {
    let plane = ControlPlane::builder().build().unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    let (driver, fake) = target("t");
    handle.add_target(Box::new(driver)).await.unwrap();
    let (first, first_script) = source("first");
    let (second, second_script) = source("second");
    handle.add_source(Box::new(first)).await.unwrap();
    handle.add_source(Box::new(second)).await.unwrap();
    let (again, _) = source("first");
    assert!(matches!(
        handle.add_source(Box::new(again)).await,
        Err(PlaneError::Duplicate(_))
    ));
    first_script.say(reset(1, vec![record("a", 1)]));
    second_script.say(reset(1, vec![record("a", 2), record("b", 2)]));
    eventually("both", || applied_ids(&fake) == ["a", "b"]).await;
    let port = || {
        let snapshot = handle.snapshot();
        let service = snapshot.service(&name("web")).cloned();
        service.and_then(|s| s.endpoint(&name("a")).map(|e| e.address.port()))
    };
    assert_eq!(port(), Some(1), "the earlier source wins");
    assert_eq!(handle.status().conflict_count, 1);
    handle.remove_source(&name("first")).await.unwrap();
    assert!(first_script.is_dropped(), "removed means gone");
    assert_eq!(port(), Some(2), "the later source's record comes back");
    handle.remove_source(&name("second")).await.unwrap();
    eventually("none", || applied_ids(&fake).is_empty()).await;
    assert!(matches!(
        handle.remove_source(&name("second")).await,
        Err(PlaneError::Unknown { .. })
    ));
    let preview = handle.preview(&name("t")).await.unwrap();
    assert_eq!(preview.steps, 0);
    fake.set_reachable(false);
    assert!(matches!(
        handle.preview(&name("t")).await,
        Err(PlaneError::Preview { .. })
    ));
    handle.remove_target(&name("t")).await.unwrap();
    assert!(matches!(
        handle.preview(&name("t")).await,
        Err(PlaneError::Unknown { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn i2_a_replaced_source_removes_nothing_before_the_new_one_has_told_everything() {
    let (first, first_script) = source("s");
    let (second, second_script) = source("s");
    let (third, third_script) = source("s");
    let (driver, fake) = target("t");
    let plane = ControlPlane::builder()
        .source(first)
        .target(driver)
        .build()
        .unwrap();
    let running = plane.spawn();
    let handle = running.handle();
    first_script.say(reset(7, vec![record("a", 1), record("b", 2)]));
    eventually("applied", || applied_ids(&fake) == ["a", "b"]).await;

    // Two at once: only the last may run on.
    let (one, two) = tokio::join!(
        handle.replace_source(Box::new(second)),
        handle.replace_source(Box::new(third)),
    );
    one.unwrap();
    two.unwrap();
    eventually("the others are gone", || {
        first_script.is_dropped() && second_script.is_dropped()
    })
    .await;
    assert!(matches!(
        handle.status().sources[0].health,
        Health::Stale { .. }
    ));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(applied_ids(&fake), ["a", "b"]);

    // A history of its own: its revisions compare with nothing said before.
    third_script.say(reset(1, vec![record("b", 2), record("c", 3)]));
    eventually("applied", || applied_ids(&fake) == ["b", "c"]).await;
    assert!(handle.status().sources[0].health.is_live());
    assert_eq!(third_script.attempts(), [None]);

    let (stranger, _) = source("x");
    let error = handle.replace_source(Box::new(stranger)).await;
    assert!(matches!(error, Err(PlaneError::Unknown { .. })));
    handle.remove_source(&name("s")).await.unwrap();
    eventually("gone", || applied_ids(&fake).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_driver_is_reported_and_disturbs_no_other() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let (bad, bad_target) = target("bad");
    let (good, good_target) = target("good");
    bad_target.panic_next();
    let plane = ControlPlane::builder()
        .source(source)
        .target(bad)
        .target(good);
    let running = plane.build().unwrap().spawn();
    let handle = running.handle();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("good", || applied_ids(&good_target) == ["a"]).await;
    eventually("reported", || {
        let error = handle.status().targets[0].last_error.clone();
        error.is_some_and(|error| error.contains("panicked") || error.contains("not running"))
    })
    .await;
    script.say(set(2, record("b", 2)));
    eventually("good", || applied_ids(&good_target) == ["a", "b"]).await;
    // It can be replaced.
    handle.remove_target(&name("bad")).await.unwrap();
    let (driver, fresh) = target("bad");
    handle.add_target(Box::new(driver)).await.unwrap();
    eventually("fresh", || applied_ids(&fresh) == ["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
    let (source, script) = FakeSource::new(Descriptor::new(name("s"), "fake"));
    let plane = ControlPlane::builder()
        .source(source)
        .event_capacity(16)
        .build()
        .unwrap();
    let running = plane.spawn();
    let mut events = running.handle().subscribe();
    script.say(reset(1, vec![record("a", 1)]));
    for port in 2..102 {
        script.say(set(u64::from(port), record("a", port)));
    }
    eventually("all", || running.handle().snapshot().generation() == 101).await;
    let first = events.try_next().unwrap();
    let Event::Lost { count } = first.event else {
        panic!("expected to be told of the loss, got {first:?}");
    };
    assert!(count > 80);
    let rest = std::iter::from_fn(|| events.try_next()).count();
    assert_eq!(rest, 16);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_control_plane_ends_everything() {
    let (source, script) = source("s");
    let (driver, _) = target("t");
    let running = ControlPlane::builder()
        .source(source)
        .target(driver)
        .build()
        .unwrap()
        .spawn();
    let handle = running.handle();
    script.say(reset(1, vec![record("a", 1)]));
    eventually("published", || handle.snapshot().generation() == 1).await;
    drop(running);
    eventually("gone", || script.is_dropped()).await;
    assert_eq!(
        handle.snapshot().generation(),
        1,
        "the last state can still be seen"
    );
}
