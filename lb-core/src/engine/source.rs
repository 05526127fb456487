//! What the engine knows of one source.

use std::collections::VecDeque;

use super::{
    AttemptEnd, EndKind, border::Border, conditions::Held, pace::Pace, tickets::Tickets,
    unlisted::Unlisted, view::millis, yielding::Deferred,
};
use crate::{
    event::Cause,
    guard::Guarded,
    limits::Limiter,
    source::{Cursor, Descriptor, Diagnostic},
    status::{Health, MOST_LISTED},
    time::Time,
};

#[derive(Debug)]
pub(super) struct SourceEntry {
    pub(super) descriptor: Descriptor,
    pub(super) records: Guarded,
    /// The limits of its records, and those that are within them.
    pub(super) limiter: Limiter,
    pub(super) added: Time,
    /// It has told everything once.
    pub(super) synced: bool,
    /// It was there before the first snapshot.
    pub(super) initial: bool,
    pub(super) cursor: Option<Cursor>,
    pub(super) heard: Option<Time>,
    /// The attempt that is under way counts as stale, since nothing was heard of it for too long.
    pub(super) silent: bool,
    pub(super) retry_at: Option<Time>,
    /// The times at which its conditions were taken anew last, and are next.
    pub(super) refreshed: Option<Time>,
    pub(super) refresh_at: Option<Time>,
    pub(super) attempts: u64,
    pub(super) updates: u64,
    pub(super) outdated: u64,
    pub(super) diagnostics: VecDeque<(Diagnostic, u64)>,
    pub(super) unlisted: Unlisted,
    pub(super) border: Border,
    pub(super) conditions: Held,
    pub(super) tickets: Tickets,
    pub(super) deferred: Deferred,
    pub(super) pace: Pace,
    /// The cause of its changes that are in no generation yet.
    pub(super) cause: Option<Cause>,
    /// Counts what the source said other than diagnostics.
    run: u64,
    condition: Condition,
    since: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Live,
    Broken(EndKind, String),
    New,
}

impl SourceEntry {
    pub(super) fn new(descriptor: Descriptor, now: Time, initial: bool) -> Self {
        Self {
            limiter: Limiter::new(descriptor.limits.clone()),
            descriptor,
            records: Guarded::default(),
            added: now,
            synced: false,
            initial,
            cursor: None,
            heard: None,
            silent: false,
            retry_at: None,
            refreshed: None,
            refresh_at: None,
            attempts: 0,
            updates: 0,
            outdated: 0,
            diagnostics: VecDeque::new(),
            unlisted: Unlisted::default(),
            border: Border::default(),
            conditions: Held::default(),
            tickets: Tickets::default(),
            deferred: Deferred::default(),
            pace: Pace::default(),
            cause: None,
            run: 0,
            condition: Condition::New,
            since: now,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.condition == Condition::Live
    }

    /// It will say nothing more, unless something is changed outside.
    pub(super) fn is_over(&self) -> bool {
        matches!(
            self.condition,
            Condition::Broken(EndKind::Ended | EndKind::Failed, _)
        )
    }

    /// Returns the new health when it changed.
    pub(super) fn became_live(&mut self, now: Time) -> Option<Health> {
        if self.is_live() {
            return None;
        }
        self.condition = Condition::Live;
        self.since = now;
        Some(self.health(now))
    }

    /// Returns when the source is taken for stale unless it says something before.
    pub(super) fn silent_at(&self) -> Option<Time> {
        let bound = self.descriptor.liveness.filter(|_| self.is_live())?;
        Some(self.heard? + bound)
    }

    /// Returns the new health when it changed.
    pub(super) fn ended(&mut self, now: Time, end: AttemptEnd) -> Option<Health> {
        self.retry_at = end.retry_at;
        let next = Condition::Broken(end.kind, end.why);
        if self.condition == next {
            return None;
        }
        let same_kind = matches!(
            (&self.condition, &next),
            (Condition::Broken(before, _), Condition::Broken(now, _)) if before == now
        );
        if !same_kind {
            self.since = now;
        }
        self.condition = next;
        Some(self.health(now))
    }

    pub(super) fn health(&self, now: Time) -> Health {
        let for_ms = millis(now.since(self.since));
        match &self.condition {
            Condition::Live => Health::Live { for_ms },
            Condition::New => Health::NeverSynced { for_ms, why: None },
            Condition::Broken(kind, why) => {
                let why = why.clone();
                match kind {
                    EndKind::Ended => Health::Ended { for_ms, why },
                    EndKind::Failed => Health::Failed { for_ms, why },
                    EndKind::Passing if self.synced => Health::Stale { for_ms, why },
                    EndKind::Passing => Health::NeverSynced {
                        for_ms: millis(now.since(self.added)),
                        why: Some(why),
                    },
                }
            }
        }
    }

    /// Keeps a diagnostic; false when the same one is there already.
    pub(super) fn diagnose(&mut self, diagnostic: Diagnostic) -> bool {
        let known = self.diagnostics.iter().position(|(known, _)| {
            known.object == diagnostic.object && known.field == diagnostic.field
        });
        let before = known.and_then(|place| self.diagnostics.remove(place));
        let fresh = before.is_none_or(|(before, _)| before != diagnostic);
        self.unlisted.remove(&diagnostic);
        self.diagnostics.push_back((diagnostic, self.run));
        if self.diagnostics.len() > MOST_LISTED
            && let Some((first, run)) = self.diagnostics.pop_front()
        {
            self.unlisted.add(&first, run);
        }
        fresh
    }

    /// Drops every diagnostic of an object; false when there was none.
    pub(super) fn resolve(&mut self, object: &str) -> bool {
        let before = self.diagnostics.len();
        self.diagnostics.retain(|(known, _)| known.object != object);
        self.unlisted.resolve(object) || self.diagnostics.len() < before
    }

    /// The source said something other than a diagnostic. A reset drops all diagnostics but those told right
    /// before it; false when there was none.
    pub(super) fn said(&mut self, reset: bool) -> bool {
        let current = self.run;
        let before = self.diagnostics.len();
        let mut fewer = false;
        if reset {
            self.diagnostics.retain(|(_, run)| *run == current);
            fewer = self.unlisted.keep(current);
        }
        self.run += 1;
        fewer || self.diagnostics.len() < before
    }
}
