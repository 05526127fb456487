//! The whole control plane as one value: sources' words in, passes and events out.
//!
//! Pure: no clock, no task, no channel. [`plane`](crate::plane) runs it on real time; a test or a simulation can
//! run it on time of its own. After every input, call [`Engine::poll`] until it returns `None`, take the events
//! with [`Engine::poll_event`], and poll again at [`Engine::poll_timeout`].

mod border;
mod conditions;
mod pace;
mod reuse;
mod source;
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

use self::{
    conditions::Held, pace::in_effect, source::SourceEntry, target::TargetEntry, tickets::About,
};
use crate::{
    condition::Condition,
    event::{Cause, Event, Stamped},
    guard::{self, Confirm, GuardConfig, GuardNote},
    limits::{Admitted, Limiter},
    merge::{Merge, RecordChange, SourceId},
    model::{Name, Snapshot, SnapshotEdit},
    reconciler::{Pass, Reconciler, ReconcilerConfig, TargetId},
    source::{Descriptor, Update},
    text,
    time::Time,
};

/// How many generations' causes are kept for targets that are behind. Of older ones the first receipt is kept.
const CAUSES: usize = 256;

/// How an engine behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineConfig {
    /// What mass removals are held back.
    pub guard: GuardConfig,
    /// When targets make passes.
    pub reconciler: ReconcilerConfig,
    /// How long the first snapshot waits for a source that has not told everything once. It never waits less for
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

/// Why a source's attempt ended or makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// What happened, for people.
    pub why: String,
    /// What it means for the source.
    pub kind: EndKind,
    /// When the next attempt is made.
    pub retry_at: Option<Time>,
}

/// What the end of an attempt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// It may pass.
    Passing,
    /// Something must change outside.
    Failed,
    /// The source has nothing more to say.
    Ended,
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
    /// What led to each of the last generations.
    causes: VecDeque<(u64, Vec<Cause>)>,
    /// Where records disagree.
    conflicts: Held,
    /// What the program around says.
    own: Held,
    /// Something happened by which writes may have come into effect.
    tickets_due: bool,
    events: VecDeque<Stamped>,
    next_event: u64,
}

/// What was received since the newest snapshot.
#[derive(Debug, Default)]
struct PendingCauses {
    by_source: BTreeMap<SourceId, Cause>,
    changes: usize,
    urgent: bool,
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

    /// Adds a source, with the lowest precedence so far.
    ///
    /// # Errors
    /// [`DuplicateName`] when a source of that name is there.
    pub fn add_source(
        &mut self,
        now: Time,
        descriptor: Descriptor,
    ) -> Result<SourceId, DuplicateName> {
        if self.source_id(&descriptor.name).is_some() {
            return Err(DuplicateName {
                what: "source",
                name: descriptor.name,
            });
        }
        let name = descriptor.name.clone();
        let id = self.merge.add_described(&descriptor);
        self.sources
            .insert(id, SourceEntry::new(descriptor, now, !self.published));
        self.tell(now, Event::SourceAdded { source: name });
        self.refresh_source(now, id);
        Ok(id)
    }

    /// Takes a source away with everything it said: an act of whoever runs this, so no guard holds it.
    ///
    /// Returns its number, or `None` when there is no such source.
    pub fn remove_source(&mut self, now: Time, name: &Name) -> Option<SourceId> {
        let id = self.source_id(name)?;
        let mut entry = self.sources.remove(&id)?;
        let mut outcome = entry.records.retire();
        // What it removed before is in effect until it is published.
        let mut changes = entry.pace.release();
        changes.append(&mut outcome.changes);
        outcome.changes = changes;
        self.apply(now, id, name, outcome);
        self.merge.forget_source(id);
        self.apply_deferred(now);
        self.end_all(now, entry.conditions);
        self.tell(
            now,
            Event::SourceRemoved {
                source: name.clone(),
            },
        );
        Some(id)
    }

    /// Another source takes the place of the one of its name. What was said stays in effect until the new one has
    /// told everything.
    ///
    /// Returns its number, or `None` when there is no such source.
    pub fn replace_source(&mut self, now: Time, descriptor: Descriptor) -> Option<SourceId> {
        let id = self.source_id(&descriptor.name)?;
        let entry = self.sources.get_mut(&id)?;
        self.merge.replace_source(id, &descriptor);
        self.edit.get_or_insert_with(|| self.snapshot.edit());
        entry.limiter = Limiter::new(descriptor.limits.clone());
        entry.descriptor = descriptor;
        // Tickets of the one before mean nothing to this one.
        entry.tickets = tickets::Tickets::default();
        let end = AttemptEnd {
            why: "another source has taken its place and has not told anything yet".to_owned(),
            kind: EndKind::Passing,
            retry_at: None,
        };
        self.source_ended(now, id, end);
        self.apply_deferred(now);
        Some(id)
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

    /// The number of a source.
    #[must_use]
    pub fn source_id(&self, name: &Name) -> Option<SourceId> {
        let mut all = self.sources.iter();
        all.find(|(_, entry)| entry.descriptor.name == *name)
            .map(|(id, _)| *id)
    }

    /// An attempt to follow a source begins.
    pub fn source_attempt(&mut self, _now: Time, id: SourceId) {
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.attempts += 1;
            entry.retry_at = None;
            entry.silent = false;
        }
    }

    /// A source said something that its [`Protocol`](crate::source::Protocol) admitted.
    pub fn source_update(&mut self, now: Time, id: SourceId, update: Update, received: Time) {
        let Some(entry) = self.sources.get_mut(&id) else {
            return;
        };
        entry.heard = Some(received);
        let mut told = false;
        if !matches!(update, Update::Diagnostic(_) | Update::Resolved { .. }) {
            told = entry.said(matches!(update, Update::Reset { .. }));
        }
        let name = entry.descriptor.name.clone();
        let first = !entry.synced;
        let guard = &self.config.guard;
        let beyond = entry.limiter.refused() > 0;
        let (at, about, outcome) = match update {
            Update::Reset { at, records } => {
                entry.synced = true;
                let records = entry.limiter.reset(records);
                let records = entry.border.reset(records, &entry.records);
                (at, About::All, entry.records.reset(now, records, guard))
            }
            Update::Batch { at, set, remove } => {
                let about = match entry.descriptor.written {
                    Some(_) => About::keys(set.iter().map(|record| &record.key).chain(&remove)),
                    None => About::All,
                };
                let Admitted { set, remove } = entry.limiter.batch(set, remove);
                let (set, remove) = entry.border.batch(set, remove, &entry.records);
                (at, about, entry.records.batch(now, set, remove, guard))
            }
            Update::Resumed { at } | Update::Progress { at } => {
                (at, About::keys([].into_iter()), guard::Outcome::default())
            }
            Update::Diagnostic(diagnostic) => {
                let diagnostic = diagnostic.bounded();
                if entry.diagnose(diagnostic.clone()) {
                    let source = name;
                    self.tell(now, Event::SourceDiagnostic { source, diagnostic });
                    self.refresh_soon(now, id);
                }
                return;
            }
            Update::Resolved { object } => {
                if entry.resolve(&text::shown(&object, text::OBJECT)) {
                    self.refresh_soon(now, id);
                }
                return;
            }
        };
        entry.updates += 1;
        entry.cursor = Some(at.clone());
        if entry.descriptor.written.is_some() {
            entry.tickets.take(at.revision, about);
        }
        told |= entry.border.changed || beyond || entry.limiter.refused() > 0;
        if !outcome.changes.is_empty() {
            match &mut entry.cause {
                Some(cause) => cause.cursor = at,
                None => entry.cause = Some(Cause::new(name.clone(), at, received.as_micros())),
            }
            let in_effect = in_effect(&self.targets, &self.reconciler);
            entry.pace.changes(now, in_effect);
        }
        let said = reuse::addresses(&outcome);
        let holds_changed = !outcome.notes.is_empty();
        self.apply(now, id, &name, outcome);
        if !said.is_empty() {
            self.give_up_kept(now, id, &said);
        }
        self.give_up_reused(now, id, said, holds_changed);
        if first {
            self.apply_deferred(now);
        }
        self.set_live(now, id);
        if told {
            self.refresh_source(now, id);
        }
        // Something held for long enough may only have waited for the source to be live again.
        self.let_go(now, id);
    }

    /// A source proved that it is alive without saying anything that counts.
    pub fn source_alive(&mut self, now: Time, id: SourceId, received: Time) {
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.heard = Some(received);
            entry.said(false);
            if entry.silent {
                self.set_live(now, id);
            }
        }
    }

    /// An update of a source was left out because it is older than what was applied.
    pub fn source_outdated(
        &mut self,
        now: Time,
        id: SourceId,
        at: crate::source::Cursor,
        applied: crate::source::Cursor,
    ) {
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.outdated += 1;
            entry.heard = Some(now);
            let source = entry.descriptor.name.clone();
            self.tell(
                now,
                Event::SourceOutdated {
                    source,
                    at,
                    applied,
                },
            );
        }
    }

    /// An attempt to follow a source ended. Everything it said stays in effect.
    pub fn source_ended(&mut self, now: Time, id: SourceId, mut end: AttemptEnd) {
        end.why = text::cleaned(end.why, text::MESSAGE);
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.silent = false;
        }
        self.set_broken(now, id, end);
    }

    fn set_broken(&mut self, now: Time, id: SourceId, end: AttemptEnd) {
        if let Some(entry) = self.sources.get_mut(&id)
            && let Some(health) = entry.ended(now, end)
        {
            let source = entry.descriptor.name.clone();
            self.tell(now, Event::SourceHealth { source, health });
            self.refresh_source(now, id);
        }
    }

    /// Adds a target.
    ///
    /// # Errors
    /// [`DuplicateName`] when a target of that name is there.
    pub fn add_target(&mut self, now: Time, name: Name) -> Result<TargetId, DuplicateName> {
        if self.target_id(&name).is_some() {
            return Err(DuplicateName {
                what: "target",
                name,
            });
        }
        let id = self.reconciler.add_target(now);
        self.targets.insert(id, TargetEntry::new(name.clone()));
        self.tell(now, Event::TargetAdded { target: name });
        Ok(id)
    }

    /// Takes a target away. Nothing is changed in it.
    ///
    /// Returns its number, or `None` when there is no such target.
    pub fn remove_target(&mut self, now: Time, name: &Name) -> Option<TargetId> {
        let id = self.target_id(name)?;
        if let Some(entry) = self.targets.remove(&id) {
            self.end_all(now, entry.conditions);
        }
        self.tickets_due = true;
        self.reconciler.remove_target(id);
        self.tell(
            now,
            Event::TargetRemoved {
                target: name.clone(),
            },
        );
        Some(id)
    }

    /// The number of a target.
    #[must_use]
    pub fn target_id(&self, name: &Name) -> Option<TargetId> {
        let mut all = self.targets.iter();
        all.find(|(_, entry)| entry.name == *name)
            .map(|(id, _)| *id)
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

    /// When to poll again if there is no input before.
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

    /// Takes sources for stale that have said nothing for too long. This is judged here, and not only where the source is
    /// followed: what follows it may be busy.
    fn hear_silence(&mut self, now: Time) {
        let silent: Vec<(SourceId, Duration)> = self
            .sources
            .iter()
            .filter(|(_, entry)| entry.silent_at().is_some_and(|at| at <= now))
            .filter_map(|(id, entry)| Some((*id, entry.descriptor.liveness?)))
            .collect();
        for (id, bound) in silent {
            let end = AttemptEnd {
                why: silence(bound),
                kind: EndKind::Passing,
                retry_at: None,
            };
            self.set_broken(now, id, end);
            if let Some(entry) = self.sources.get_mut(&id) {
                entry.silent = true;
            }
        }
    }

    fn let_go(&mut self, now: Time, id: SourceId) {
        if let Some(entry) = self.sources.get_mut(&id) {
            let live = entry.is_live();
            let outcome = entry.records.tick(now, live);
            let name = entry.descriptor.name.clone();
            self.apply(now, id, &name, outcome);
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

    fn stage(&mut self, id: SourceId, changes: Vec<RecordChange>) {
        if changes.is_empty() {
            return;
        }
        let entry = self.sources.get_mut(&id);
        if let Some(cause) = entry.and_then(|entry| entry.cause.take()) {
            let pending = self.pending.by_source.entry(id);
            pending
                .and_modify(|known| known.cursor = cause.cursor.clone())
                .or_insert(cause);
        }
        self.pending.changes += changes.len();
        self.edit.get_or_insert_with(|| self.snapshot.edit());
        for change in changes {
            self.merge.stage(id, change);
        }
    }

    fn publish(&mut self, now: Time) {
        if !self.published && !self.barrier_is_open(now) {
            return;
        }
        let partial = self
            .sources
            .values()
            .any(|entry| !entry.synced && entry.initial);
        if self.published && self.edit.is_none() && self.snapshot.is_partial() == partial {
            return;
        }
        let mut edit = self.edit.take().unwrap_or_else(|| self.snapshot.edit());
        self.pending.urgent |= self.merge.finish(&mut edit);
        self.refresh_conflicts(now);
        edit.set_partial(partial);
        let pending = std::mem::take(&mut self.pending);
        let first = !std::mem::replace(&mut self.published, true);
        // The first snapshot is a generation of its own even when it is empty: known to be empty.
        let Some(next) = (if first {
            Some(edit.commit_known())
        } else {
            edit.commit()
        }) else {
            return;
        };
        let generation = next.generation();
        self.snapshot = Arc::new(next);
        self.paced(now, generation, pending.by_source.keys());
        let causes: Vec<Cause> = pending.by_source.into_values().collect();
        self.causes.push_back((generation, causes.clone()));
        if self.causes.len() > CAUSES {
            self.causes.pop_front();
        }
        self.tell(
            now,
            Event::Published {
                generation,
                changes: pending.changes,
                causes,
            },
        );
        if first {
            // Sources that were waited for are not waited for any longer.
            let late: Vec<SourceId> = self
                .sources
                .iter()
                .filter(|(_, entry)| !entry.synced)
                .map(|(id, _)| *id)
                .collect();
            for id in late {
                self.refresh_source(now, id);
            }
        }
        for entry in self.sources.values_mut() {
            entry.tickets.published(generation);
        }
        self.reconciler
            .publish(now, generation, pending.urgent || first);
        for entry in self.targets.values_mut() {
            entry.behind_since.get_or_insert(now);
        }
    }

    fn barrier_is_open(&self, now: Time) -> bool {
        self.sources.values().any(|entry| entry.synced)
            && self
                .sources
                .values()
                .all(|entry| entry.synced || entry.added + self.config.initial_limit <= now)
    }

    fn barrier_until(&self) -> Option<Time> {
        if self.published || !self.sources.values().any(|entry| entry.synced) {
            return None;
        }
        let waiting = self.sources.values().filter(|entry| !entry.synced);
        waiting
            .map(|entry| entry.added + self.config.initial_limit)
            .max()
    }

    fn set_live(&mut self, now: Time, id: SourceId) {
        if let Some(entry) = self.sources.get_mut(&id)
            && let Some(health) = entry.became_live(now)
        {
            entry.silent = false;
            let source = entry.descriptor.name.clone();
            self.tell(now, Event::SourceHealth { source, health });
            self.refresh_source(now, id);
        }
    }

    fn tell(&mut self, now: Time, event: Event) {
        self.events
            .push_back(Stamped::new(self.next_event, now.as_micros(), event));
        self.next_event += 1;
    }
}

/// Says that a source was silent for too long.
pub(crate) fn silence(bound: Duration) -> String {
    format!("silent for more than {bound:?}")
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
