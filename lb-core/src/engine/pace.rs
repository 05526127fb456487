//! How often the changes of one source become a generation of their own.
//!
//! Pure.

use std::{collections::BTreeMap, time::Duration};

use super::{Engine, target::TargetEntry};
use crate::{
    merge::{RecordChange, SourceId},
    reconciler::{Reconciler, TargetId},
    source::RecordKey,
    time::Time,
};

/// The number of generations that a source that does not wait for its changes may make one after the other.
const BURST: u32 = 20;

/// The least time between its generations from then on.
const INTERVAL: Duration = Duration::from_millis(50);

/// The pace of one source.
///
/// A source that changes something when all that it changed before is in effect is published at once, however often that
/// is. One that goes on before that makes passes for whose end it does not wait, and everything else waits behind them.
/// After a burst its changes are therefore kept for a moment and published together, in their order. What other sources
/// report does not wait with them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The time at which the burst is whole again.
    whole_at: Time,
    /// The time at which its changes were published last, and their generation.
    published: Option<(Time, u64)>,
    /// Something changed before all that was published is in effect, and is not published yet.
    hasty: bool,
    /// The time at which what waits is published.
    due: Option<Time>,
    /// The changes that wait: the newest of each record.
    waiting: BTreeMap<RecordKey, RecordChange>,
}

impl Pace {
    /// Takes in that the source changed something. `in_effect` is the generation that is in effect on every target.
    pub(super) fn changes(&mut self, now: Time, in_effect: Option<u64>) {
        let Some((last, generation)) = self.published else {
            return;
        };
        self.hasty |= in_effect < Some(generation);
        let is_left = self.whole_at.since(now) <= INTERVAL * (BURST - 1);
        if self.hasty && !is_left && self.due.is_none() {
            self.due = Some(last + INTERVAL).filter(|due| *due > now);
        }
    }

    /// The time at which what waits is to be published.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Keeps changes that wait with others; returns those that are to be published now.
    pub(super) fn keep(&mut self, changes: Vec<RecordChange>) -> Vec<RecordChange> {
        if self.due.is_none() {
            return changes;
        }
        let changes = changes.into_iter();
        let changes = changes.map(|change| (change.key.clone(), change));
        self.waiting.extend(changes);
        Vec::new()
    }

    /// Returns what waits: it is published now.
    pub(super) fn release(&mut self) -> Vec<RecordChange> {
        self.due = None;
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// Takes in that all that the source changed is in a new generation.
    pub(super) fn published(&mut self, now: Time, generation: u64) {
        self.published = Some((now, generation));
        if std::mem::take(&mut self.hasty) {
            let most = now + INTERVAL * BURST;
            self.whole_at = most.min(self.whole_at.max(now) + INTERVAL);
        }
    }
}

/// The generation that every target has verified; the last of all where there is no target.
pub(super) fn in_effect(
    targets: &BTreeMap<TargetId, TargetEntry>,
    reconciler: &Reconciler,
) -> Option<u64> {
    let verified = targets.keys().map(|id| reconciler.verified(*id));
    verified.min().unwrap_or(Some(u64::MAX))
}

impl Engine {
    /// Takes changes of a source into the next generation, or keeps them until it is their turn.
    pub(super) fn pace(&mut self, id: SourceId, changes: Vec<RecordChange>) {
        let changes = match self.sources.get_mut(&id) {
            Some(entry) => entry.pace.keep(changes),
            None => changes,
        };
        self.stage(id, changes);
    }

    /// Takes what waited for long enough into the next generation, and with it what would follow in a moment: one pass
    /// is enough for all of it.
    pub(super) fn release_paced(&mut self, now: Time) {
        let mut waiting = self.sources.values().filter_map(|entry| entry.pace.due());
        if waiting.any(|due| due <= now) {
            self.release_all();
        }
    }

    /// Takes all that waits into the next generation.
    pub(super) fn release_all(&mut self) {
        let ids: Vec<SourceId> = self.sources.keys().copied().collect();
        for id in ids {
            if let Some(entry) = self.sources.get_mut(&id) {
                let changes = entry.pace.release();
                self.stage(id, changes);
            }
        }
    }

    /// Takes in that the changes of these sources are in a new generation.
    pub(super) fn paced<'a>(
        &mut self,
        now: Time,
        generation: u64,
        ids: impl Iterator<Item = &'a SourceId>,
    ) {
        for id in ids {
            if let Some(entry) = self.sources.get_mut(id) {
                entry.pace.published(now, generation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One source and the generations it makes, with targets that are `lag` generations behind.
    struct World {
        pace: Pace,
        now: Time,
        lag: u64,
        published: Vec<Time>,
    }

    impl World {
        fn behind(lag: u64) -> Self {
            Self {
                pace: Pace::default(),
                now: Time::ZERO,
                lag,
                published: Vec::new(),
            }
        }

        /// Changes something every `every` until `end`.
        fn change(&mut self, every: Duration, end: Duration) {
            let end = Time::ZERO + end;
            while self.now < end {
                let newest = self.published.len() as u64;
                self.pace.changes(self.now, newest.checked_sub(self.lag));
                let due = self.pace.due().unwrap_or(self.now);
                assert!(due <= self.now + INTERVAL, "{due} at {}", self.now);
                let next = self.now + every;
                if due < next {
                    self.pace.release();
                    self.published.push(due);
                    self.pace.published(due, newest + 1);
                }
                self.now = next;
            }
        }

        fn since(&self, from: Duration) -> usize {
            let from = Time::ZERO + from;
            self.published.iter().filter(|at| **at >= from).count()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const OFTEN: Duration = Duration::from_micros(200);

    #[test]
    fn a_source_that_waits_for_its_changes_is_published_at_once() {
        let mut world = World::behind(0);
        world.change(OFTEN, SECOND);
        assert_eq!(world.published.len(), 5000);
    }

    #[test]
    fn a_source_that_never_pauses_is_published_at_intervals_after_a_burst() {
        let mut world = World::behind(1);
        world.change(OFTEN, 10 * SECOND);
        let burst = BURST as usize;
        assert_eq!(world.published[burst], Time::ZERO + OFTEN * BURST);
        let rest = 10 * 20;
        assert!(
            (rest..=rest + burst + 2).contains(&world.published.len()),
            "{}",
            world.published.len()
        );
        let apart = world.published.windows(2).skip(burst + 2);
        for pair in apart {
            assert!(pair[1].since(pair[0]) >= INTERVAL, "{pair:?}");
        }
    }

    #[test]
    fn a_burst_is_whole_again_after_a_pause() {
        let mut world = World::behind(1);
        world.change(OFTEN, SECOND);
        world.now = world.now + SECOND + INTERVAL;
        let before = world.published.len();
        let from = world.now.since(Time::ZERO);
        world.change(OFTEN, from + OFTEN * BURST);
        assert_eq!(world.published.len() - before, BURST as usize);
    }

    #[test]
    fn a_source_that_is_slow_is_published_at_once_though_targets_never_follow() {
        let mut world = World::behind(u64::MAX);
        world.change(INTERVAL, 10 * SECOND);
        assert_eq!(world.published.len(), 200);
        assert_eq!(world.since(9 * SECOND), 20);
    }
}
