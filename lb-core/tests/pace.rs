//! A source that never pauses keeps nothing of another one waiting (H3).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lb_core::{
    Cursor, Descriptor, Endpoint, Event, Name, Record, RecordKey, Report, Snapshot, Time, Update,
    Written,
    engine::{Engine, EngineConfig},
    merge::SourceId,
    reconciler::Pass,
};

const MILLISECOND: Duration = Duration::from_millis(1);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(service: &str, id: &str, port: u16) -> Record {
    let key = RecordKey::new(name(service), name(id));
    Record::new(key, Endpoint::new(([10, 0, 0, 1], port).into()))
}

/// Two sources, and one target whose passes take a while.
struct World {
    engine: Engine,
    now: Time,
    honest: SourceId,
    flood: SourceId,
    revisions: BTreeMap<SourceId, u64>,
    running: Option<(Pass, Arc<Snapshot>, Time)>,
    lasts: Duration,
    /// The snapshot that each pass was given, and the time at which it began.
    passes: Vec<(Time, Arc<Snapshot>)>,
    /// The snapshot that the last pass that ended was given.
    verified: Option<Arc<Snapshot>>,
    events: Vec<Event>,
}

impl World {
    fn new(lasts: Duration) -> Self {
        let now = Time::ZERO;
        let mut engine = Engine::new(EngineConfig::default(), now);
        let honest = Descriptor::new(name("honest"), "fake");
        let honest = engine.add_source(now, honest).unwrap();
        let flood = Descriptor::new(name("flood"), "fake");
        let flood = engine.add_source(now, flood).unwrap();
        engine.add_target(now, name("t")).unwrap();
        let mut world = Self {
            engine,
            now,
            honest,
            flood,
            revisions: BTreeMap::new(),
            running: None,
            lasts,
            passes: Vec::new(),
            verified: None,
            events: Vec::new(),
        };
        for source in [honest, flood] {
            let at = world.next(source);
            let records = Vec::new();
            world.say(source, Update::Reset { at, records });
        }
        world.pass_time(Duration::from_secs(1));
        world
    }

    fn next(&mut self, source: SourceId) -> Cursor {
        let revision = self.revisions.entry(source).or_default();
        *revision += 1;
        Cursor::new("e", *revision)
    }

    fn say(&mut self, source: SourceId, update: Update) {
        self.engine
            .source_update(self.now, source, update, self.now);
        self.poll();
    }

    fn set(&mut self, source: SourceId, record: Record) {
        let at = self.next(source);
        let (set, remove) = (vec![record], Vec::new());
        self.say(source, Update::Batch { at, set, remove });
    }

    fn remove(&mut self, source: SourceId, service: &str, id: &str) {
        let at = self.next(source);
        let (set, remove) = (Vec::new(), vec![RecordKey::new(name(service), name(id))]);
        self.say(source, Update::Batch { at, set, remove });
    }

    fn poll(&mut self) {
        while let Some((pass, desired)) = self.engine.poll(self.now) {
            self.passes.push((self.now, Arc::clone(&desired)));
            self.running = Some((pass, desired, self.now + self.lasts));
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event.event);
        }
    }

    fn pass_time(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let ends = self.running.as_ref().map(|(.., ends)| *ends);
            let next = self.engine.poll_timeout().into_iter().chain(ends).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if let Some((pass, desired, _)) = self.running.take_if(|(.., ends)| *ends <= next) {
                let mut report = Report::default();
                report.generation = desired.generation();
                report.converged = true;
                self.engine.pass_ended(next, pass, Ok::<_, String>(report));
                self.verified = Some(desired);
            }
            self.poll();
        }
        self.now = end;
    }

    /// Changes something of the source that floods each millisecond: the port of its endpoint is the revision.
    fn flood(&mut self, milliseconds: u16) {
        for _ in 0..milliseconds {
            let revision = self.revisions.get(&self.flood).copied().unwrap_or_default() + 1;
            let port = revision.try_into().unwrap();
            self.set(self.flood, record("flood", "a", port));
            self.pass_time(MILLISECOND);
        }
    }

    /// The revision of the source that floods that a snapshot has.
    fn has(snapshot: &Snapshot) -> u64 {
        let service = snapshot.service(&name("flood")).unwrap();
        let (_, endpoint) = service.endpoints().next().unwrap();
        endpoint.address.port().into()
    }

    fn passes_since(&self, from: Time) -> usize {
        self.passes.iter().filter(|(at, _)| *at >= from).count()
    }

    fn published(&self, service: &str) -> usize {
        let service = self.engine.snapshot().service(&name(service)).cloned();
        service.map_or(0, |service| service.len())
    }
}

#[test]
fn a_source_that_never_pauses_makes_twenty_passes_a_second() {
    let mut world = World::new(2 * MILLISECOND);
    world.flood(500);
    let from = world.now;
    world.flood(5000);
    let passes = world.passes_since(from);
    assert!((95..=101).contains(&passes), "{passes}");
    world.pass_time(50 * MILLISECOND);
    let newest = world.revisions[&world.flood];
    assert_eq!(World::has(world.engine.snapshot()), newest, "the last word");
}

#[test]
fn i8_what_another_source_removes_is_out_at_once_beside_one_that_never_pauses() {
    let mut world = World::new(2 * MILLISECOND);
    world.set(world.honest, record("honest", "a", 1));
    world.flood(500);
    for turn in 0..20 {
        // A pass of the flood may be on its way, no more.
        world.flood(37);
        let honest = world.honest;
        match turn % 2 {
            0 => world.remove(honest, "honest", "a"),
            _ => world.set(honest, record("honest", "a", 1)),
        }
        assert_eq!(world.published("honest"), turn % 2, "at once");
        let from = world.now;
        world.pass_time(2 * MILLISECOND);
        let given = |(at, desired): &(Time, Arc<Snapshot>)| {
            let service = desired.service(&name("honest"));
            *at + 2 * MILLISECOND >= from && service.map_or(0, |found| found.len()) == turn % 2
        };
        assert!(world.passes.iter().any(given), "{turn}");
    }
}

#[test]
fn i8_what_a_source_removes_within_its_burst_is_out_at_once() {
    let mut world = World::new(100 * MILLISECOND);
    for at in 0..10_u16 {
        world.set(world.flood, record("flood", &at.to_string(), 1000 + at));
        assert_eq!(world.published("flood"), usize::from(at) + 1);
    }
    for at in 0..10_u16 {
        world.remove(world.flood, "flood", &at.to_string());
        assert_eq!(world.published("flood"), 9 - usize::from(at), "at once");
    }
}

#[test]
fn a_write_that_waits_for_its_generation_is_not_in_effect() {
    let now = Time::ZERO;
    let mut world = World::new(2 * MILLISECOND);
    let written = Written::new();
    let mut descriptor = Descriptor::new(name("written"), "fake");
    descriptor.written = Some(written);
    world.flood = world.engine.add_source(now, descriptor).unwrap();
    let at = world.next(world.flood);
    let records = Vec::new();
    world.say(world.flood, Update::Reset { at, records });
    world.flood(500);
    let told = |event: &Event| match event {
        Event::InEffect { ticket, .. } => Some(ticket.revision),
        _ => None,
    };
    for _ in 0..100 {
        world.flood(1);
        let in_effect = world.events.iter().filter_map(told).max().unwrap();
        let verified = world.verified.as_ref().unwrap();
        assert!(in_effect <= World::has(verified), "#{in_effect}");
    }
    world.pass_time(100 * MILLISECOND);
    let in_effect = world.events.iter().filter_map(told).max();
    assert_eq!(in_effect, world.revisions.get(&world.flood).copied());
}
