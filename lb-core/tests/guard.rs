//! The guard against mass removal: I2 by example and by property.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lb_core::{
    Confirm, Endpoint, EndpointState, GuardConfig, GuardPolicy, Name, Record, RecordKey, Time,
    guard::{GuardNote, Guarded, Outcome, ReleaseReason},
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(text: &str) -> RecordKey {
    let (service, id) = text.split_once('/').unwrap();
    RecordKey::new(name(service), name(id))
}

fn record(text: &str) -> Record {
    Record::new(key(text), Endpoint::new(([127, 0, 0, 1], 1).into()))
}

fn records(texts: &[&str]) -> Vec<Record> {
    texts.iter().map(|text| record(text)).collect()
}

fn in_state(text: &str, state: EndpointState) -> Record {
    Record::new(
        key(text),
        Endpoint::new(([127, 0, 0, 1], 1).into()).with_state(state),
    )
}

fn seconds(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A guarded source and what is in effect because of it.
#[derive(Default)]
struct World {
    guarded: Guarded,
    config: GuardConfig,
    effect: BTreeMap<RecordKey, Arc<Record>>,
    notes: Vec<GuardNote>,
}

impl World {
    fn new(policy: GuardPolicy, all: &[&str]) -> Self {
        let mut world = Self {
            config: GuardConfig::new(policy),
            ..Self::default()
        };
        world.reset(0, all);
        world.notes.clear();
        world
    }

    fn take(&mut self, outcome: Outcome) -> usize {
        for change in &outcome.changes {
            let before = match &change.record {
                Some(record) => self.effect.insert(change.key.clone(), record.clone()),
                None => self.effect.remove(&change.key),
            };
            assert_ne!(before, change.record, "a change that changes nothing");
        }
        self.notes.extend(outcome.notes);
        outcome.changes.len()
    }

    fn reset(&mut self, at: u64, all: &[&str]) -> usize {
        let outcome = self.guarded.reset(seconds(at), records(all), &self.config);
        self.take(outcome)
    }

    fn batch(&mut self, at: u64, set: &[&str], remove: &[&str]) -> usize {
        let remove = remove.iter().map(|text| key(text)).collect();
        let outcome = self
            .guarded
            .batch(seconds(at), records(set), remove, &self.config);
        self.take(outcome)
    }

    fn tick(&mut self, at: u64, live: bool) -> usize {
        let outcome = self.guarded.tick(seconds(at), live);
        self.take(outcome)
    }

    fn there(&self) -> Vec<String> {
        self.effect.keys().map(ToString::to_string).collect()
    }

    fn released(&mut self) -> Vec<(ReleaseReason, usize)> {
        std::mem::take(&mut self.notes)
            .into_iter()
            .filter_map(|note| match note {
                GuardNote::Released {
                    reason, records, ..
                } => Some((reason, records)),
                GuardNote::Held { .. } => None,
            })
            .collect()
    }
}

#[test]
fn i2_which_resets_are_held() {
    let ten = [
        "s/0", "s/1", "s/2", "s/3", "s/4", "s/5", "s/6", "s/7", "s/8", "s/9",
    ];
    for (before, after, held, why) in [
        (
            &["s/0"][..],
            &[][..],
            1,
            "it empties a service, be it of one endpoint",
        ),
        (&["s/0", "s/1"], &["s/0"], 0, "half is not more than half"),
        (
            &["s/0", "s/1", "s/2"],
            &["s/0"],
            2,
            "two of three are more than half",
        ),
        (&ten, &ten[..5], 0, "half is not more than half"),
        (&ten, &ten[..4], 6, "more than half"),
        (
            &["s/0", "s/1"],
            &["s/2", "s/3"],
            0,
            "replaced endpoints are no loss",
        ),
        (&["s/0", "s/1", "s/2"], &["s/3"], 3, "too few replacements"),
        (
            &["s/0", "t/0", "t/1", "t/2"],
            &["t/0", "t/1", "t/2"],
            1,
            "another service changes nothing",
        ),
        (
            &["s/0", "s/1", "t/0", "t/1"],
            &["s/0", "t/0"],
            0,
            "half of everything",
        ),
        (
            &["s/0", "s/1", "s/2", "t/0", "t/1", "t/2"],
            &["s/0", "t/0", "t/1"],
            2,
            "one service of two",
        ),
        (
            &["a/0", "a/1", "b/0", "b/1", "c/0"],
            &["a/0", "b/0"],
            3,
            "more than half of everything",
        ),
    ] {
        let mut world = World::new(GuardPolicy::default(), before);
        world.reset(1, after);
        assert_eq!(
            world.guarded.held().count(),
            held,
            "{before:?} to {after:?}: {why}"
        );
        let kept = world
            .guarded
            .held()
            .all(|(key, _)| world.effect.contains_key(key));
        assert!(kept);
        assert!(
            after
                .iter()
                .all(|text| world.effect.contains_key(&key(text)))
        );
    }
}

#[test]
fn i2_what_is_held_persists_is_confirmed_or_comes_back() {
    let mut world = World::new(GuardPolicy::default(), &["s/0", "s/1"]);
    // It persists.
    assert_eq!(world.reset(10, &[]), 0);
    assert_eq!(world.reset(15, &[]), 0);
    assert_eq!(
        world.guarded.deadline(),
        Some(seconds(20)),
        "saying it again starts nothing anew"
    );
    assert_eq!(world.tick(19, true), 0);
    assert_eq!(world.tick(30, false), 0, "silence is no persistence");
    assert_eq!(world.tick(31, true), 2);
    assert_eq!(world.released(), [(ReleaseReason::Persisted, 2)]);
    // It comes back, one by one or all at once.
    world.reset(40, &["s/0", "s/1"]);
    world.reset(41, &[]);
    assert_eq!(world.batch(42, &["s/0"], &[]), 0);
    assert_eq!(world.released(), [(ReleaseReason::Superseded, 1)]);
    world.reset(43, &["s/0", "s/1"]);
    assert_eq!((world.tick(60, true), world.guarded.held().count()), (0, 0));
    // It is confirmed.
    world.reset(70, &[]);
    let outcome = world.guarded.confirm(&Confirm::Service(name("t")));
    assert_eq!(world.take(outcome), 0);
    let outcome = world.guarded.confirm(&Confirm::All);
    assert_eq!(world.take(outcome), 2);
    // A smaller removal behind a larger one ends the hold.
    world.reset(80, &["s/0", "s/1", "s/2", "s/3"]);
    world.reset(81, &["s/0"]);
    assert_eq!(world.there().len(), 4);
    world.reset(82, &["s/0", "s/1", "s/2"]);
    assert_eq!(world.there(), ["s/0", "s/1", "s/2"]);
    assert_eq!(world.guarded.held().count(), 0);
}

#[test]
fn removals_by_name_and_reports_of_death_pass_unless_guarded() {
    let all = ["s/0", "s/1", "s/2"];
    let mut world = World::new(GuardPolicy::default(), &all);
    assert_eq!(world.batch(1, &[], &all), 3);
    let mut world = World::new(GuardPolicy::default().with_explicit_removals(true), &all);
    assert_eq!(world.batch(1, &[], &all), 0);
    assert_eq!(world.tick(11, true), 3);

    let down = |text: &&str| in_state(text, EndpointState::Down);
    let mut world = World::new(GuardPolicy::default(), &all);
    let dead: Vec<Record> = all.iter().map(down).collect();
    let outcome = world
        .guarded
        .batch(seconds(1), dead.clone(), vec![], &world.config);
    assert_eq!(world.take(outcome), 3);
    assert_eq!(world.reset(2, &[]), 3, "what is dead may vanish");
    let mut world = World::new(GuardPolicy::default().with_reported_down(true), &all);
    let outcome = world.guarded.batch(seconds(1), dead, vec![], &world.config);
    assert_eq!(world.take(outcome), 0);
    assert_eq!(world.tick(11, true), 3);
    assert!(
        world
            .effect
            .values()
            .all(|record| { record.endpoint.as_ref().unwrap().state == EndpointState::Down })
    );
    // Something held by absence may still be removed by name.
    let mut world = World::new(GuardPolicy::default(), &all);
    world.reset(1, &[]);
    assert_eq!(world.batch(2, &[], &["s/1"]), 1);
    assert_eq!(world.there(), ["s/0", "s/2"]);
}

#[test]
fn routes_of_a_held_service_are_held_with_it() {
    let mut world = World::new(GuardPolicy::default(), &["s/0"]);
    let declared = Record::declare(key("s/:declared"));
    let outcome = world
        .guarded
        .batch(seconds(0), vec![declared], vec![], &world.config);
    world.take(outcome);
    world.reset(1, &[]);
    assert_eq!(world.there(), ["s/0", "s/:declared"]);
    assert_eq!(world.tick(11, true), 2);
}

#[test]
fn policies_can_differ_by_service() {
    let mut world = World::new(GuardPolicy::default(), &[]);
    world.config = GuardConfig::new(GuardPolicy::default())
        .with_service(name("free"), GuardPolicy::disabled())
        .with_service(
            name("slow"),
            GuardPolicy::default().with_hold(Duration::from_secs(60)),
        );
    world.reset(0, &["free/0", "slow/0", "s/0"]);
    world.reset(1, &[]);
    assert_eq!(world.there(), ["s/0", "slow/0"]);
    world.tick(11, true);
    assert_eq!(world.there(), ["slow/0"]);
    assert_eq!(world.tick(61, true), 1);
    let wrong = GuardConfig::new(GuardPolicy::default().with_max_share(1.5));
    assert_eq!(
        wrong.check().unwrap_err().to_string(),
        "guard max_share is 1.5, expected 0 to 1"
    );
}

#[test]
fn policies_are_read_from_configuration() {
    let text = r#"{"overall": {"hold": 2.5, "explicit_removals": true}, "services": {"db": {"enabled": false}}}"#;
    let config: GuardConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.overall.hold, Duration::from_millis(2500));
    assert!(config.overall.explicit_removals && !config.policy(&name("db")).enabled);
    assert!(serde_json::from_str::<GuardConfig>(r#"{"overall": {"holt": 1}}"#).is_err());
    assert!(serde_json::from_str::<GuardConfig>(r#"{"overall": {"hold": -1}}"#).is_err());
}

#[derive(Debug, Clone)]
enum Word {
    Reset(Vec<(usize, u8)>),
    Batch(Vec<(usize, u8)>, Vec<usize>),
    Tick(u64, bool),
    Confirm,
}

fn any_word() -> impl Strategy<Value = Word> {
    let item = || (0..12_usize, 0..5_u8);
    prop_oneof![
        prop::collection::vec(item(), 0..12).prop_map(Word::Reset),
        (
            prop::collection::vec(item(), 0..4),
            prop::collection::vec(0..12_usize, 0..4)
        )
            .prop_map(|(set, remove)| Word::Batch(set, remove)),
        (0..8_u64, any::<bool>()).prop_map(|(step, live)| Word::Tick(step, live)),
        Just(Word::Confirm),
    ]
}

fn item_key(item: usize) -> RecordKey {
    key(&format!("{}/{}", ["a", "b", "c"][item % 3], item))
}

fn item_record(item: usize, state: u8) -> Record {
    let endpoint = Endpoint::new(([127, 0, 0, 1], u16::from(state)).into());
    match state {
        0 => Record::declare(item_key(item)),
        1 => Record::new(item_key(item), endpoint.with_state(EndpointState::Down)),
        2 => Record::new(
            item_key(item),
            endpoint.with_state(EndpointState::Draining { grace: None }),
        ),
        _ => Record::new(item_key(item), endpoint),
    }
}

proptest! {
    /// The state in effect is what was reported, but for what is held; nothing held is ever taken away; every change
    /// changes something; and once the source says nothing new, all of it comes into effect.
    #[test]
    fn i2_what_is_in_effect_is_what_was_said_or_is_held(
        words in prop::collection::vec(any_word(), 1..40),
        explicit in any::<bool>(),
        down in any::<bool>(),
    ) {
        let policy = GuardPolicy::default().with_explicit_removals(explicit).with_reported_down(down);
        let mut world = World::new(policy, &[]);
        let mut said: BTreeMap<RecordKey, Record> = BTreeMap::new();
        let mut now = 0;
        for word in words {
            let before = world.effect.clone();
            let outcome = match word {
                Word::Reset(all) => {
                    let all: Vec<Record> = all.into_iter().map(|(item, state)| item_record(item, state)).collect();
                    said = all.iter().map(|record| (record.key.clone(), record.clone())).collect();
                    world.guarded.reset(seconds(now), all, &world.config)
                }
                Word::Batch(set, remove) => {
                    let set: Vec<Record> = set.into_iter().map(|(item, state)| item_record(item, state)).collect();
                    let remove: Vec<RecordKey> = remove.into_iter().map(item_key).collect();
                    for key in &remove {
                        said.remove(key);
                    }
                    said.extend(set.iter().map(|record| (record.key.clone(), record.clone())));
                    world.guarded.batch(seconds(now), set, remove, &world.config)
                }
                Word::Tick(step, live) => {
                    now += step;
                    world.guarded.tick(seconds(now), live)
                }
                Word::Confirm => world.guarded.confirm(&Confirm::All),
            };
            world.take(outcome);
            let held: BTreeMap<RecordKey, Time> =
                world.guarded.held().map(|(key, until)| (key.clone(), until)).collect();
            for key in held.keys() {
                prop_assert_eq!(world.effect.get(key), before.get(key), "held, so as it was");
            }
            let unheld = |effect: &BTreeMap<RecordKey, Record>| -> BTreeMap<RecordKey, Record> {
                effect.iter().filter(|(key, _)| !held.contains_key(*key)).map(|(k, r)| (k.clone(), r.clone())).collect()
            };
            let effect = world.effect.iter().map(|(key, record)| (key.clone(), (**record).clone())).collect();
            prop_assert_eq!(unheld(&effect), unheld(&said));
            prop_assert_eq!(world.guarded.deadline().is_some(), !held.is_empty());
        }
        world.tick(now + 11, true);
        let effect: BTreeMap<RecordKey, Record> =
            world.effect.iter().map(|(key, record)| (key.clone(), (**record).clone())).collect();
        prop_assert_eq!(effect, said);
    }
}
