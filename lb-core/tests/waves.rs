//! Changes that go to a few targets first.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeSet, time::Duration};

use lb_core::{
    Time,
    backoff::Jitter,
    reconciler::{Outcome, Pass, Reconciler, ReconcilerConfig, TargetId, Waves},
};

const DEADLINE: Duration = Duration::from_secs(30);
const DONE: Outcome = Outcome::Done {
    converged: true,
    again: None,
};

struct World {
    reconciler: Reconciler,
    targets: Vec<TargetId>,
    now: Time,
}

impl World {
    fn new(targets: usize, waves: Waves) -> Self {
        let mut config = ReconcilerConfig::default();
        config.waves = waves;
        config.resync = Duration::from_secs(3600);
        let mut reconciler = Reconciler::new(config);
        let targets = (0..targets)
            .map(|_| reconciler.add_target(Time::ZERO))
            .collect();
        Self {
            reconciler,
            targets,
            now: Time::ZERO,
        }
    }

    /// The passes that can begin now, by the place of their target.
    fn begin(&mut self) -> Vec<(usize, Pass)> {
        let mut begun = Vec::new();
        while let Some(pass) = self.reconciler.poll(self.now) {
            let place = self
                .targets
                .iter()
                .position(|id| *id == pass.target)
                .unwrap();
            begun.push((place, pass));
        }
        begun
    }

    fn end(&mut self, passes: &[(usize, Pass)], outcome: Outcome) {
        for (_, pass) in passes {
            assert!(
                self.reconciler
                    .outcome(self.now, pass.target, pass.ticket, outcome)
            );
        }
    }

    fn places(passes: &[(usize, Pass)]) -> Vec<usize> {
        passes.iter().map(|(place, _)| *place).collect()
    }
}

#[test]
fn targets_are_in_waves_by_their_order() {
    let waves = |first, then| {
        let mut waves = Waves::of(then, DEADLINE);
        waves.first = first;
        (0..6).map(|place| waves.wave_of(place)).collect::<Vec<_>>()
    };
    assert_eq!(waves(0, 0), [0, 0, 0, 0, 0, 0]);
    assert_eq!(waves(0, 2), [0, 0, 0, 0, 0, 0], "no first wave is no waves");
    assert_eq!(waves(1, 0), [0, 1, 1, 1, 1, 1]);
    assert_eq!(waves(1, 2), [0, 1, 1, 2, 2, 3]);
    assert_eq!(waves(2, 2), [0, 0, 1, 1, 2, 2]);
}

#[test]
fn the_rest_follows_when_the_first_has_verified() {
    let mut world = World::new(4, Waves::canary(1, DEADLINE));
    world.reconciler.publish(world.now, 1, false);
    let first = world.begin();
    assert_eq!(World::places(&first), [0]);
    world.end(&first, DONE);
    let rest = world.begin();
    assert_eq!(World::places(&rest), [1, 2, 3]);
    world.end(&rest, DONE);
    assert!(world.begin().is_empty());
}

#[test]
fn a_first_target_that_is_dead_or_slow_holds_nobody_back_for_longer_than_the_deadline() {
    for dead in [true, false] {
        let mut world = World::new(3, Waves::canary(1, DEADLINE));
        world.reconciler.publish(world.now, 1, false);
        let first = world.begin();
        if dead {
            world.end(&first, Outcome::Failed);
        }
        world.now = Time::ZERO + DEADLINE / 2;
        let retried = world.begin();
        assert!(retried.iter().all(|(place, _)| *place == 0), "{retried:?}");
        world.end(&retried, Outcome::Failed);
        let mut others = Vec::new();
        while others.len() < 2 {
            let at = world.reconciler.poll_timeout().unwrap();
            assert!(at <= Time::ZERO + DEADLINE, "held until {at}");
            world.now = at;
            let begun = world.begin();
            let of_first: Vec<_> = begun
                .iter()
                .filter(|(place, _)| *place == 0)
                .copied()
                .collect();
            world.end(&of_first, Outcome::Failed);
            others.extend(begun.into_iter().filter(|(place, _)| *place != 0));
        }
        assert_eq!(world.now, Time::ZERO + DEADLINE);
    }
}

#[test]
fn i8_what_takes_traffic_away_goes_everywhere_at_once() {
    let mut world = World::new(3, Waves::of(1, DEADLINE));
    // The first generation has waves, whoever cannot wait for it.
    world.reconciler.publish(world.now, 1, true);
    for place in 0..3 {
        let one = world.begin();
        assert_eq!(World::places(&one), [place]);
        world.end(&one, DONE);
    }
    world.reconciler.publish(world.now, 2, true);
    assert_eq!(World::places(&world.begin()), [0, 1, 2]);
}

#[test]
fn a_target_that_asks_is_heard_before_its_turn() {
    let mut world = World::new(2, Waves::canary(1, DEADLINE));
    world.reconciler.publish(world.now, 1, false);
    assert_eq!(World::places(&world.begin()), [0]);
    world.reconciler.attention(world.now, world.targets[1]);
    assert_eq!(World::places(&world.begin()), [1]);
}

/// Whatever ends how and when: of no wave more is under way than the waves before it allow, all get everything, and
/// nobody waits longer than the deadlines before it.
#[test]
fn i3_under_storms_waves_keep_their_order_and_all_arrive() {
    for seed in 0..300 {
        let mut random = Jitter::new(seed);
        let mut below = |most: u64| {
            random
                .between(Duration::ZERO, Duration::from_micros(most))
                .as_micros() as u64
        };
        let (first, then) = (1 + below(3) as u32, below(3) as u32);
        let mut waves = Waves::of(then, DEADLINE);
        waves.first = first;
        let mut world = World::new(7, waves);
        let mut running: Vec<(usize, Pass)> = Vec::new();
        let mut published = 0;
        let mut published_at = Time::ZERO;
        let mut verified = [0_u64; 7];
        for step in 0..400 {
            if step < 200 && below(10) == 0 {
                published += 1;
                published_at = world.now;
                world.reconciler.publish(world.now, published, false);
            }
            for (place, pass) in world.begin() {
                let held = world.now.since(published_at);
                let wave = waves.wave_of(place);
                let early = (0..place)
                    .filter(|before| waves.wave_of(*before) < wave)
                    .any(|before| verified[before] < pass.generation);
                // A target may have waited since before the newest generation.
                assert!(
                    !early || step > 0,
                    "seed {seed}: {place} began after {held:?}"
                );
                running.push((place, pass));
            }
            world.now = world.now + Duration::from_millis(500 + below(1000));
            if !running.is_empty() && (below(2) == 0 || step > 200) {
                let (place, pass) = running.remove(below(running.len() as u64 - 1) as usize);
                let fails = step < 200 && below(3) == 0;
                let outcome = if fails { Outcome::Failed } else { DONE };
                world.end(&[(place, pass)], outcome);
                if !fails {
                    verified[place] = pass.generation;
                }
            }
        }
        let end: BTreeSet<u64> = verified.iter().copied().collect();
        assert_eq!(end, BTreeSet::from([published]), "seed {seed}");
    }
}
