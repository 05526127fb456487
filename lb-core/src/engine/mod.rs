//! The whole control plane as one value: sources' words in, passes and events out.
//!
//! Pure: no clock, no task, no channel. [`plane`](crate::plane) runs it on real time; a test or a simulation can
//! run it on time of its own. After every input, call [`Engine::poll`] until it returns `None`, take the events
//! with [`Engine::poll_event`], and poll again at [`Engine::poll_timeout`].

mod border;
mod conditions;
mod pace;
mod publish;
mod reuse;
mod source;
mod sources;
mod target;
mod tickets;
mod unlisted;
mod view;
mod yielding;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::sources::silence;
pub use self::sources::{AttemptEnd, EndKind};
use self::{conditions::Held, publish::PendingCauses, source::SourceEntry, target::TargetEntry};
use crate::{
    condition::Condition,
    event::{Cause, Event, Stamped},
    guard::{self, Confirm, GuardConfig, GuardNote},
    merge::{Merge, SourceId},
    model::{Name, Snapshot, SnapshotEdit},
    reconciler::{Pass, Reconciler, ReconcilerConfig, TargetId},
    time::Time,
};

/// The settings of an engine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineConfig {
    /// The mass removals that are held back.
    pub guard: GuardConfig,
    /// The timing of targets' passes.
    pub reconciler: ReconcilerConfig,
    /// The time the first snapshot waits for a source whose initial sync has not completed. It never waits less for
    /// the first source: as long as no source was heard, nothing is known and no target is touched.
    pub initial_limit: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            guard: GuardConfig::default(),
            reconciler: ReconcilerConfig::default(),
            initial_limit: Duration::from_secs(10),
        }
    }
}

/// The control plane without its edge.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    began: Time,
    sources: BTreeMap<SourceId, SourceEntry>,
    targets: BTreeMap<TargetId, TargetEntry>,
    merge: Merge,
    reconciler: Reconciler,
    snapshot: Arc<Snapshot>,
    /// Changes since the newest snapshot.
    edit: Option<SnapshotEdit>,
    pending: PendingCauses,
    published: bool,
    /// The causes of each of the last generations.
    causes: VecDeque<(u64, Vec<Cause>)>,
    /// The disagreements of records.
    conflicts: Held,
    /// The conditions that the program around reports.
    own: Held,
    /// Something happened by which writes may have come into effect.
    tickets_due: bool,
    events: VecDeque<Stamped>,
    next_event: u64,
}

/// A name that is in use already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name} is there already, expected a name of its own")]
pub struct DuplicateName {
    /// `source` or `target`.
    pub what: &'static str,
    /// The name.
    pub name: Name,
}

impl Engine {
    /// An engine without sources and targets.
    #[must_use]
    pub fn new(config: EngineConfig, now: Time) -> Self {
        Self {
            reconciler: Reconciler::new(config.reconciler),
            config,
            began: now,
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            merge: Merge::default(),
            snapshot: Arc::default(),
            edit: None,
            pending: PendingCauses::default(),
            published: false,
            causes: VecDeque::new(),
            conflicts: Held::default(),
            own: Held::default(),
            tickets_due: false,
            events: VecDeque::new(),
            next_event: 0,
        }
    }

    /// The newest snapshot: generation 0 and empty before the first.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Changes what mass removals are held back, from the next update on.
    pub fn set_guard(&mut self, guard: GuardConfig) {
        self.config.guard = guard;
    }

    /// Says what the program around knows that an operator should know of: all of it. What is not listed has ended.
    pub fn set_conditions(&mut self, now: Time, conditions: Vec<Condition>) {
        let since = view::millis(now.since(self.began));
        let turn = self.own.replace(since, conditions, BTreeMap::new());
        self.tell_turn(now, turn);
    }

    /// Changes how long a change waits for others, and how often targets are looked at, from the next time on.
    pub fn set_timing(&mut self, settle: Duration, resync: Duration) {
        self.reconciler.set_timing(settle, resync);
    }

    /// A target itself gives a reason for a pass.
    pub fn attention(&mut self, now: Time, id: TargetId) {
        self.reconciler.attention(now, id);
    }

    /// Asks every target for a pass now. Returns a mark by which [`unverified`](Self::unverified) tells passes that begin
    /// after this from those before.
    pub fn request_pass(&mut self, now: Time) -> u64 {
        self.reconciler.request(now);
        self.reconciler.next_ticket()
    }

    /// Lets through what the guard holds. Returns how many records that were.
    pub fn confirm(&mut self, now: Time, what: &Confirm) -> usize {
        let ids: Vec<SourceId> = self.sources.keys().copied().collect();
        let mut count = 0;
        for id in ids {
            let Some(entry) = self.sources.get_mut(&id) else {
                continue;
            };
            let outcome = entry.records.confirm(what);
            let name = entry.descriptor.name.clone();
            count += outcome.notes.iter().map(GuardNote::records).sum::<usize>();
            self.apply(now, id, &name, outcome);
        }
        count
    }

    /// Makes a generation of what changed so far, unless the first snapshot still waits for sources.
    pub fn flush(&mut self, now: Time) {
        self.release_all();
        self.publish(now);
    }

    /// The next pass to make, if one is due. What changed before becomes a generation first.
    #[must_use]
    pub fn poll(&mut self, now: Time) -> Option<(Pass, Arc<Snapshot>)> {
        self.hear_silence(now);
        self.refresh_due(now);
        self.pass_time(now);
        self.release_paced(now);
        self.publish(now);
        self.number_tickets();
        self.settle_tickets(now);
        let pass = self.reconciler.poll(now)?;
        if let Some(entry) = self.targets.get_mut(&pass.target) {
            entry.begin(now);
        }
        Some((pass, self.snapshot.clone()))
    }

    /// The next event to tell.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Stamped> {
        self.events.pop_front()
    }

    /// The time to poll again if there is no input before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let holds = self
            .sources
            .values()
            .filter(|entry| entry.is_live())
            .filter_map(|entry| entry.records.deadline());
        let barrier = self.barrier_until();
        let silences = self.sources.values().filter_map(SourceEntry::silent_at);
        let refreshes = self.sources.values().filter_map(|entry| entry.refresh_at);
        let paced = self.sources.values().filter_map(|entry| entry.pace.due());
        holds
            .chain(silences)
            .chain(refreshes)
            .chain(paced)
            .chain(barrier)
            .chain(self.reconciler.poll_timeout())
            .min()
    }

    /// Says that the end is near.
    pub fn close(&mut self, now: Time) {
        self.tell(now, Event::Closing);
    }

    fn pass_time(&mut self, now: Time) {
        let due: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, entry)| entry.records.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.let_go(now, id);
        }
    }

    fn apply(&mut self, now: Time, id: SourceId, name: &Name, outcome: guard::Outcome) {
        let changes = self.defer(id, outcome.changes);
        self.pace(id, changes);
        let held = !outcome.notes.is_empty();
        for note in outcome.notes {
            self.tell(now, note_event(name.clone(), now, note));
        }
        if held {
            self.refresh_source(now, id);
        }
    }

    fn tell(&mut self, now: Time, event: Event) {
        self.events
            .push_back(Stamped::new(self.next_event, now.as_micros(), event));
        self.next_event += 1;
    }
}

fn note_event(source: Name, now: Time, note: GuardNote) -> Event {
    match note {
        GuardNote::Held {
            service,
            records,
            until,
        } => Event::GuardHeld {
            source,
            service,
            records,
            hold_ms: view::millis(until.since(now)),
        },
        GuardNote::Released {
            service,
            records,
            reason,
        } => Event::GuardReleased {
            source,
            service,
            records,
            reason,
        },
    }
}
