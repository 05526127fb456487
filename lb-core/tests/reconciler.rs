//! The reconciler, by example; and it and the whole engine under seeded storms of inputs.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lb_core::{
    Cursor, Descriptor, Endpoint, EndpointState, Event, Name, Record, RecordKey, Report, Snapshot,
    Time, Update,
    backoff::{BackoffConfig, Jitter},
    engine::{AttemptEnd, EndKind, Engine, EngineConfig},
    merge::SourceId,
    reconciler::{Outcome, Pass, Reconciler, ReconcilerConfig, TargetId, TargetState},
    testkit::SimClock,
};

const DONE: Outcome = Outcome::Done {
    converged: true,
    again: None,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A reconciler with one target, on a clock of its own.
struct World {
    reconciler: Reconciler,
    target: TargetId,
    clock: SimClock,
}

impl World {
    fn new(config: ReconcilerConfig) -> Self {
        let mut reconciler = Reconciler::new(config);
        let target = reconciler.add_target(Time::ZERO);
        Self {
            reconciler,
            target,
            clock: SimClock::default(),
        }
    }

    fn publish(&mut self, generation: u64, urgent: bool) {
        self.reconciler
            .publish(self.clock.now(), generation, urgent);
    }

    fn pass(&mut self) -> Option<Pass> {
        self.reconciler.poll(self.clock.now())
    }

    fn end(&mut self, pass: Pass, outcome: Outcome) -> bool {
        self.reconciler
            .outcome(self.clock.now(), self.target, pass.ticket, outcome)
    }

    /// Waits for the next pass; returns how long that took.
    fn next_pass(&mut self) -> (Pass, Duration) {
        let before = self.clock.now();
        let now = self.clock.advance_to(self.reconciler.poll_timeout());
        (self.reconciler.poll(now).unwrap(), now.since(before))
    }
}

#[test]
fn a_target_passes_once_per_change_and_looks_now_and_then() {
    let mut world = World::new(ReconcilerConfig::default());
    assert_eq!(
        (world.pass(), world.reconciler.poll_timeout()),
        (None, None),
        "nothing is known"
    );
    world.publish(1, false);
    let pass = world.pass().unwrap();
    assert_eq!(world.pass(), None, "one pass at a time");
    world.publish(2, false);
    world.publish(3, false);
    assert!(world.end(pass, DONE));
    assert!(!world.end(pass, DONE), "a pass ends once");
    let pass = world.pass().unwrap();
    assert_eq!(pass.generation, 3, "what came meanwhile is coalesced");
    world.end(pass, DONE);
    assert_eq!(world.pass(), None);
    let (pass, waited) = world.next_pass();
    assert!(waited >= Duration::from_secs(27) && waited <= Duration::from_secs(30));
    world.end(pass, DONE);
    world.publish(2, true);
    assert_eq!(
        world.pass(),
        None,
        "I11: an older generation changes nothing"
    );
}

#[test]
fn changes_settle_but_what_takes_traffic_away_does_not_wait() {
    let mut config = ReconcilerConfig::default();
    config.settle = millis(20);
    let mut world = World::new(config);
    world.publish(1, true);
    let pass = world.pass().unwrap();
    world.end(pass, DONE);
    world.publish(2, false);
    assert_eq!(world.pass(), None);
    world.clock.advance(millis(10));
    world.publish(3, false);
    let (pass, waited) = world.next_pass();
    assert_eq!(
        (pass.generation, waited),
        (3, millis(10)),
        "the window does not move"
    );
    world.end(pass, DONE);
    world.publish(4, false);
    assert_eq!(world.pass(), None);
    world.publish(5, true);
    assert_eq!(world.pass().unwrap().generation, 5);
}

#[test]
fn failures_back_off_and_attention_or_a_request_end_the_pause() {
    let mut world = World::new(ReconcilerConfig::default());
    world.publish(1, false);
    let mut pass = world.pass().unwrap();
    for most in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
        world.end(pass, Outcome::Failed);
        world.publish(pass.generation + 1, true);
        assert_eq!(world.pass(), None, "a change does not end the pause");
        let (next, waited) = world.next_pass();
        assert!(
            waited >= millis(most / 2) && waited <= millis(most),
            "{waited:?} of {most}"
        );
        pass = next;
    }
    world.end(pass, Outcome::Failed);
    assert_eq!(world.reconciler.failures(world.target), 10);
    world.clock.advance(millis(100));
    let now = world.clock.now();
    world.reconciler.attention(now, world.target);
    let pass = world.pass().unwrap();
    // A target that asks all the time keeps no core busy.
    world.end(pass, Outcome::Failed);
    world.reconciler.attention(now, world.target);
    assert_eq!(world.pass(), None);
    let (pass, waited) = world.next_pass();
    assert_eq!(waited, millis(100));
    world.end(pass, Outcome::Failed);
    world.reconciler.request(now);
    let pass = world.pass().unwrap();
    world.end(pass, DONE);
    assert_eq!(world.reconciler.failures(world.target), 0);
    assert_eq!(
        world.reconciler.state(world.target),
        Some(TargetState::Idle)
    );
}

#[test]
fn a_driver_may_ask_for_another_pass_and_one_that_did_not_converge_gets_one() {
    let mut world = World::new(ReconcilerConfig::default());
    world.publish(1, false);
    let pass = world.pass().unwrap();
    let again = |after| Outcome::Done {
        converged: true,
        again: Some(after),
    };
    world.end(pass, again(millis(250)));
    let (pass, waited) = world.next_pass();
    assert_eq!(waited, millis(250));
    world.end(pass, again(Duration::ZERO));
    let (pass, waited) = world.next_pass();
    assert_eq!(waited, millis(1), "never at once for ever");
    let half = Outcome::Done {
        converged: false,
        again: None,
    };
    world.end(pass, half);
    assert_eq!(world.reconciler.verified(world.target), Some(1));
    let (_, waited) = world.next_pass();
    assert!(waited <= millis(100));
}

#[test]
fn the_longest_times_do_not_overflow() {
    let mut config = ReconcilerConfig::default();
    config.resync = Duration::MAX;
    config.backoff = BackoffConfig::new(millis(1), Duration::MAX, Duration::MAX);
    let mut world = World::new(config);
    world.publish(1, false);
    for _ in 0..100 {
        let (pass, _) = world.next_pass();
        world.end(pass, Outcome::Failed);
    }
}

/// A target of the storm: what it was given, and what it has applied.
#[derive(Default)]
struct Fake {
    running: Option<(Pass, Arc<Snapshot>)>,
    given: Vec<u64>,
    applied: Option<Arc<Snapshot>>,
    reachable: bool,
}

/// A source of the storm: what it has, and how far it told that.
struct Teller {
    id: SourceId,
    has: BTreeMap<RecordKey, Record>,
    revision: u64,
}

struct Storm {
    engine: Engine,
    clock: SimClock,
    random: Jitter,
    tellers: Vec<Teller>,
    targets: BTreeMap<TargetId, Fake>,
    events: Vec<Event>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut config = EngineConfig::default();
        config.reconciler.seed = seed;
        config.reconciler.settle = millis(seed % 3 * 5);
        let clock = SimClock::default();
        let mut engine = Engine::new(config, clock.now());
        let tellers = (0..3)
            .map(|number| {
                let descriptor = Descriptor::new(name(&format!("s{number}")), "storm");
                Teller {
                    id: engine.add_source(clock.now(), descriptor).unwrap(),
                    has: BTreeMap::new(),
                    revision: 0,
                }
            })
            .collect();
        let targets = (0..3)
            .map(|number| {
                let id = engine
                    .add_target(clock.now(), name(&format!("t{number}")))
                    .unwrap();
                (id, Fake::default())
            })
            .collect();
        Self {
            engine,
            clock,
            random: Jitter::new(seed),
            tellers,
            targets,
            events: Vec::new(),
        }
    }

    fn below(&mut self, most: usize) -> usize {
        let most = Duration::from_micros(u64::try_from(most).unwrap() - 1);
        usize::try_from(self.random.between(Duration::ZERO, most).as_micros()).unwrap()
    }

    fn any_record(&mut self) -> Record {
        let service = ["a", "b"][self.below(2)];
        let id = format!("e{}", self.below(6));
        let port = u16::try_from(1 + self.below(3)).unwrap();
        let state = match self.below(4) {
            0 => EndpointState::Down,
            1 => EndpointState::Draining { grace: None },
            _ => EndpointState::Ready,
        };
        let endpoint = Endpoint::new(([127, 0, 0, 1], port).into()).with_state(state);
        Record::new(RecordKey::new(name(service), name(&id)), endpoint)
    }

    /// One thing happens.
    fn step(&mut self) {
        let now = self.clock.now();
        let teller = self.below(self.tellers.len());
        match self.below(12) {
            0 => self.reset(teller),
            1..5 if self.tellers[teller].revision > 0 => {
                let (record, gone) = (self.any_record(), self.any_record().key);
                let teller = &mut self.tellers[teller];
                teller.revision += 1;
                teller.has.remove(&gone);
                teller.has.insert(record.key.clone(), record.clone());
                let at = Cursor::new("e", teller.revision);
                let remove = if gone == record.key {
                    vec![]
                } else {
                    vec![gone]
                };
                let set = vec![record];
                self.engine
                    .source_update(now, teller.id, Update::Batch { at, set, remove }, now);
            }
            5 => {
                let end = AttemptEnd {
                    why: "lost".to_owned(),
                    kind: EndKind::Passing,
                    retry_at: None,
                };
                self.engine.source_ended(now, self.tellers[teller].id, end);
            }
            6 => {
                let ids: Vec<TargetId> = self.targets.keys().copied().collect();
                let id = ids[self.below(ids.len())];
                if let Some(target) = self.targets.get_mut(&id) {
                    target.reachable = !target.reachable;
                }
                self.engine.attention(now, id);
            }
            7 => {
                let jump = [0, 1, 50, 5_000, 100_000][self.below(5)];
                self.clock.advance(millis(jump));
            }
            8 => {
                self.clock.advance_to(self.engine.poll_timeout());
            }
            _ => self.end_a_pass(),
        }
        self.begin_passes();
    }

    fn reset(&mut self, teller: usize) {
        if self.below(3) == 0 {
            let kept = self.below(4);
            let has = &mut self.tellers[teller].has;
            *has = std::mem::take(has).into_iter().take(kept).collect();
        }
        let now = self.clock.now();
        let teller = &mut self.tellers[teller];
        teller.revision += 1;
        let at = Cursor::new("e", teller.revision);
        let records = teller.has.values().cloned().collect();
        self.engine
            .source_update(now, teller.id, Update::Reset { at, records }, now);
    }

    fn begin_passes(&mut self) {
        let now = self.clock.now();
        while let Some((pass, desired)) = self.engine.poll(now) {
            let target = self.targets.get_mut(&pass.target).unwrap();
            assert!(target.running.is_none(), "one pass at a time");
            assert_eq!(pass.generation, desired.generation());
            let newest = target.given.last().copied().unwrap_or(0);
            assert!(
                pass.generation >= newest,
                "I11: {} after {newest}",
                pass.generation
            );
            target.given.push(pass.generation);
            target.running = Some((pass, desired));
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event.event);
        }
    }

    fn end_a_pass(&mut self) {
        let busy: Vec<TargetId> = self
            .targets
            .iter()
            .filter(|(_, target)| target.running.is_some())
            .map(|(id, _)| *id)
            .collect();
        if busy.is_empty() {
            return;
        }
        let id = busy[self.below(busy.len())];
        let half = self.below(4) == 0;
        let target = self.targets.get_mut(&id).unwrap();
        let (pass, desired) = target.running.take().unwrap();
        let result = if target.reachable {
            target.applied = Some(desired);
            let mut report = Report::default();
            report.generation = pass.generation;
            report.converged = !half;
            report.applied = 1;
            Ok(report)
        } else {
            Err("unreachable".to_owned())
        };
        self.engine.pass_ended(self.clock.now(), pass, result);
    }

    /// Inputs have stopped: sources tell everything once more, targets can be reached, time passes.
    fn calm(&mut self) {
        for target in self.targets.values_mut() {
            target.reachable = true;
        }
        for teller in 0..self.tellers.len() {
            self.reset(teller);
        }
        for _ in 0..400 {
            self.begin_passes();
            self.end_a_pass();
            let wait = self.engine.poll_timeout();
            if self.targets.values().all(|target| target.running.is_none()) {
                self.clock.advance_to(wait);
            }
        }
        while self.targets.values().any(|target| target.running.is_some()) {
            self.end_a_pass();
        }
    }

    /// The desired state of all sources together, by the rule of precedence.
    fn desired(&self) -> BTreeMap<RecordKey, Endpoint> {
        let mut desired = BTreeMap::new();
        for teller in self.tellers.iter().rev() {
            for (key, record) in &teller.has {
                desired.insert(key.clone(), record.endpoint.clone().unwrap());
            }
        }
        desired
    }
}

fn endpoints(snapshot: &Snapshot) -> BTreeMap<RecordKey, Endpoint> {
    snapshot
        .services()
        .flat_map(|(service, all)| {
            all.endpoints().map(|(id, endpoint)| {
                (
                    RecordKey::new(service.clone(), id.clone()),
                    endpoint.clone(),
                )
            })
        })
        .collect()
}

/// After any seeded sequence of updates, source failures, target failures and clock jumps, once inputs stop, every
/// reachable target was last converged on the final generation, and never on an older one after a newer one; and the
/// final generation is what all sources said last.
#[test]
fn i3_i11_once_inputs_stop_every_target_is_converged_on_what_was_said_last() {
    for seed in 0..400 {
        let mut storm = Storm::new(seed);
        for _ in 0..200 {
            storm.step();
        }
        storm.calm();
        let newest = storm.engine.snapshot().clone();
        assert_eq!(endpoints(&newest), storm.desired(), "seed {seed}");
        let status = storm.engine.status(storm.clock.now());
        for (target, told) in storm.targets.values().zip(&status.targets) {
            let applied = target.applied.as_ref().map(|applied| applied.generation());
            assert_eq!(applied, Some(newest.generation()), "seed {seed}");
            assert_eq!(
                (told.verified, told.behind, told.lag_ms),
                (applied, 0, None),
                "seed {seed}"
            );
        }
        assert!(status.holds.is_empty(), "seed {seed}");
    }
}

/// I10: every generation was published with its causes, and every verification names those it covers.
#[test]
fn i10_every_published_cause_is_verified_by_every_target() {
    for seed in 0..50 {
        let mut storm = Storm::new(seed);
        for _ in 0..150 {
            storm.step();
        }
        storm.calm();
        let mut published: BTreeMap<Name, u64> = BTreeMap::new();
        let mut verified: BTreeMap<(Name, Name), u64> = BTreeMap::new();
        let mut generation = 0;
        for event in &storm.events {
            match event {
                Event::Published {
                    generation: next,
                    causes,
                    ..
                } => {
                    assert_eq!(
                        *next,
                        generation + 1,
                        "seed {seed}: no generation is left out"
                    );
                    generation = *next;
                    for cause in causes {
                        published.insert(cause.source.clone(), cause.cursor.revision);
                    }
                }
                Event::Verified {
                    target,
                    causes,
                    latency_micros,
                    ..
                } => {
                    assert_eq!(latency_micros.is_some(), !causes.is_empty());
                    for cause in causes {
                        let told = (target.clone(), cause.source.clone());
                        verified.insert(told, cause.cursor.revision);
                    }
                }
                _ => {}
            }
        }
        assert!(!published.is_empty());
        for (source, revision) in published {
            for target in ["t0", "t1", "t2"] {
                let last = verified.get(&(name(target), source.clone()));
                assert_eq!(last, Some(&revision), "seed {seed}: {source} at {target}");
            }
        }
    }
}
