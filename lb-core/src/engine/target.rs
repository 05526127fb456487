//! What the engine knows of one target, and what it makes of the end of a pass.

use std::collections::BTreeMap;

use super::{DuplicateName, Engine, conditions::Held, view::millis};
use crate::{
    condition::ConditionKind,
    driver::{PassFailure, Report},
    event::{Cause, Event},
    model::Name,
    reconciler::{Outcome, Pass, TargetId, TargetState},
    text,
    time::Time,
};

#[derive(Debug)]
pub(super) struct TargetEntry {
    pub(super) name: Name,
    pub(super) report: Report,
    pub(super) last_error: Option<String>,
    /// The kind of the last failure, until a pass succeeds.
    pub(super) failure: Option<ConditionKind>,
    pub(super) conditions: Held,
    /// The last generation of which it was told that all of it is in effect.
    in_effect: Option<u64>,
    pub(super) passes: u64,
    pub(super) last_latency_micros: Option<u64>,
    /// Since when it is behind the newest snapshot.
    pub(super) behind_since: Option<Time>,
    began: Time,
    /// The last pass that ended, in the reconciler's order of passes.
    pub(super) last_pass: Option<u64>,
}

impl TargetEntry {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            report: Report::default(),
            last_error: None,
            failure: None,
            conditions: Held::default(),
            in_effect: None,
            passes: 0,
            last_latency_micros: None,
            behind_since: None,
            began: Time::ZERO,
            last_pass: None,
        }
    }

    /// Nothing that the last pass was given is left out.
    fn is_whole(&self) -> bool {
        let mut found = self.report.conditions.iter();
        self.report.unmet.is_empty() && !found.any(|found| found.kind.keeps_from_effect())
    }

    pub(super) fn begin(&mut self, now: Time) {
        self.began = now;
        self.passes += 1;
    }
}

impl TargetEntry {
    /// Returns `true` if a generation is in effect by a pass that ended converged, and by the last one still is: what only
    /// then could be done may be on its way.
    pub(super) fn has_verified(&self, verified: Option<u64>, generation: u64) -> bool {
        self.report.converged && verified >= Some(generation)
    }
}

impl Engine {
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

    /// A pass ended. `result` is the driver's report, or why it failed. Ignored when it is not the pass that runs.
    pub fn pass_ended(
        &mut self,
        now: Time,
        pass: Pass,
        result: Result<Report, impl Into<PassFailure>>,
    ) {
        let result = result.map_err(Into::into);
        let verified_before = self.reconciler.verified(pass.target);
        let outcome = match &result {
            Ok(report) => Outcome::Done {
                converged: report.converged,
                again: report.again,
            },
            Err(_) => Outcome::Failed,
        };
        if !self
            .reconciler
            .outcome(now, pass.target, pass.ticket, outcome)
        {
            return;
        }
        let Some(entry) = self.targets.get_mut(&pass.target) else {
            return;
        };
        entry.last_pass = Some(pass.ticket);
        let target = entry.name.clone();
        let told = target.clone();
        let generation = pass.generation;
        let pass_micros = now.since(entry.began).as_micros() as u64;
        let mut notices = Vec::new();
        let mut changed;
        let event = match result {
            Err(PassFailure { kind, error }) => {
                let error = text::cleaned(error, text::MESSAGE);
                changed = entry.last_error.as_ref() != Some(&error) || entry.failure != Some(kind);
                entry.failure = Some(kind);
                entry.last_error = Some(error.clone());
                let retry_in_ms = match self.reconciler.state(pass.target) {
                    Some(TargetState::Waiting { until }) => millis(until.since(now)),
                    _ => 0,
                };
                Some(Event::TargetFailed {
                    target,
                    generation,
                    error,
                    retry_in_ms,
                })
            }
            Ok(mut report) => {
                entry.failure = None;
                changed = entry.last_error.take().is_some();
                notices = std::mem::take(&mut report.notices);
                // Another order is nothing new.
                report.unmet.sort();
                report.conditions.sort();
                let unmet = report.unmet != entry.report.unmet;
                changed |= unmet || report.conditions != entry.report.conditions;
                entry.report = report;
                self.judge(now, pass, verified_before, unmet, pass_micros)
            }
        };
        if changed {
            self.refresh_target(now, pass.target);
        }
        self.tickets_due = true;
        if let Some(event) = event {
            self.tell(now, event);
        }
        for notice in notices {
            let target = told.clone();
            self.tell(now, Event::TargetNotice { target, notice });
        }
    }

    /// Marks a target whose driver is gone for good: a pass that runs has failed, and so will every later one.
    pub fn target_lost(&mut self, now: Time, id: TargetId) {
        let why = "its driver panicked and is gone; remove the target and add it again".to_owned();
        if let Some(pass) = self.reconciler.running(id) {
            self.pass_ended(now, pass, Err(why));
        } else if let Some(entry) = self.targets.get_mut(&id) {
            entry.last_error = Some(why);
            entry.failure = Some(ConditionKind::TargetDown);
            self.refresh_target(now, id);
        }
    }

    /// The events of a pass that reached its target.
    fn judge(
        &mut self,
        now: Time,
        pass: Pass,
        before: Option<u64>,
        unmet_changed: bool,
        pass_micros: u64,
    ) -> Option<Event> {
        let entry = self.targets.get(&pass.target)?;
        let target = entry.name.clone();
        let (applied, unmet) = (entry.report.applied, entry.report.unmet.len());
        let converged = entry.report.converged;
        let generation = pass.generation;
        let first = converged && before.is_none_or(|before| before < generation);
        let whole = converged && entry.is_whole();
        let news = whole && entry.in_effect.is_none_or(|before| before < generation);
        let since = if news { entry.in_effect } else { before };
        let causes = match first || news {
            true => self.causes_between(since, generation),
            false => Vec::new(),
        };
        let received = causes.iter().map(|cause| cause.received_micros).min();
        let latency_micros = received.map(|received| now.as_micros().saturating_sub(received));
        let newest = self.snapshot.generation();
        let entry = self.targets.get_mut(&pass.target)?;
        if first {
            entry.last_latency_micros = latency_micros.or(entry.last_latency_micros);
            // What was published while the pass ran has waited since no earlier than the pass began.
            entry.behind_since = (newest > generation).then_some(entry.began);
        }
        if news {
            entry.in_effect = Some(generation);
            return Some(Event::Verified {
                target,
                generation,
                applied,
                causes,
                pass_micros,
                latency_micros,
            });
        }
        (first || applied > 0 || unmet_changed).then_some(Event::Pass {
            target,
            generation,
            applied,
            unmet,
            converged,
            causes,
            latency_micros,
            pass_micros,
        })
    }

    /// The causes of all generations after `before` up to `last`: one for each source, with its last cursor and its
    /// first receipt.
    fn causes_between(&self, before: Option<u64>, last: u64) -> Vec<Cause> {
        let mut all: BTreeMap<&Name, Cause> = BTreeMap::new();
        let range = self.causes.iter().filter(|(generation, _)| {
            before.is_none_or(|before| *generation > before) && *generation <= last
        });
        for cause in range.flat_map(|(_, causes)| causes) {
            all.entry(&cause.source)
                .and_modify(|known| known.cursor = cause.cursor.clone())
                .or_insert_with(|| cause.clone());
        }
        all.into_values().collect()
    }
}
