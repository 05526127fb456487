//! Sources come, report and go.

use std::time::Duration;

use super::{
    DuplicateName, Engine,
    pace::in_effect,
    reuse,
    source::SourceEntry,
    tickets::{About, Tickets},
};
use crate::{
    event::{Cause, Event},
    guard,
    limits::{Admitted, Limiter},
    merge::SourceId,
    model::Name,
    source::{Cursor, Descriptor, Update},
    text,
    time::Time,
};

/// Why a source's attempt ended or makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// The problem, for people.
    pub why: String,
    /// The meaning for the source.
    pub kind: EndKind,
    /// The time of the next attempt.
    pub retry_at: Option<Time>,
}

/// The meaning of the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// It may pass.
    Passing,
    /// Something must change outside.
    Failed,
    /// The source has nothing more to say.
    Ended,
}

impl Engine {
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

    /// Takes a source away with everything it said: an act of the operator, so no guard holds it.
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
        entry.tickets = Tickets::default();
        let end = AttemptEnd {
            why: "another source has taken its place and has not told anything yet".to_owned(),
            kind: EndKind::Passing,
            retry_at: None,
        };
        self.source_ended(now, id, end);
        self.apply_deferred(now);
        Some(id)
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
    pub fn source_outdated(&mut self, now: Time, id: SourceId, at: Cursor, applied: Cursor) {
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

    /// Takes sources for stale that have said nothing for too long. This is judged here, and not only where the source is
    /// followed: what follows it may be busy.
    pub(super) fn hear_silence(&mut self, now: Time) {
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

    pub(super) fn let_go(&mut self, now: Time, id: SourceId) {
        if let Some(entry) = self.sources.get_mut(&id) {
            let live = entry.is_live();
            let outcome = entry.records.tick(now, live);
            let name = entry.descriptor.name.clone();
            self.apply(now, id, &name, outcome);
        }
    }

    pub(super) fn set_live(&mut self, now: Time, id: SourceId) {
        if let Some(entry) = self.sources.get_mut(&id)
            && let Some(health) = entry.became_live(now)
        {
            entry.silent = false;
            let source = entry.descriptor.name.clone();
            self.tell(now, Event::SourceHealth { source, health });
            self.refresh_source(now, id);
        }
    }
}

/// Says that a source was silent for too long.
pub(crate) fn silence(bound: Duration) -> String {
    format!("silent for more than {bound:?}")
}
