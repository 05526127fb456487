//! The engine, shared by the tasks of one control plane.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::clock::Clock;
use crate::{
    condition::{Condition, ConditionKind},
    engine::{DuplicateName, Engine},
    event::{Event, Stamped},
    model::{Name, Snapshot},
    reconciler::{Pass, TargetId},
    status::Health,
    time::Time,
};

/// A pass for a target's task.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pass: Pass,
    pub(super) desired: Arc<Snapshot>,
}

/// The state that all tasks of a control plane share. The lock is held for the engine's own work only, never across a
/// wait.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Wakes the loop that waits for the engine's next deadline.
    pub(super) wake: Notify,
    /// Ticks when a pass has ended and when a source has said something.
    pub(super) progress: watch::Sender<u64>,
    events: broadcast::Sender<Arc<Stamped>>,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    mailboxes: BTreeMap<TargetId, mpsc::Sender<Job>>,
}

impl Shared {
    pub(super) fn new(clock: Clock, engine: Engine, event_capacity: usize) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                engine,
                mailboxes: BTreeMap::new(),
            }),
            wake: Notify::new(),
            progress: watch::Sender::new(0),
            events: broadcast::Sender::new(event_capacity),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Stamped>> {
        self.events.subscribe()
    }

    /// Lets those who wait for something look again.
    pub(super) fn progressed(&self) {
        self.progress
            .send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }

    /// Reads without changing anything.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Engine, Time) -> R) -> R {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        look(&state.engine, self.clock.now())
    }

    /// Gives the engine an input and carries out what follows.
    pub(super) fn with<R>(&self, input: impl FnOnce(&mut Engine, Time) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let before = state.engine.poll_timeout();
        let result = input(&mut state.engine, now);
        let after = self.carry_out(&mut state, now);
        drop(state);
        // Where the next deadline is later than before, the loop finds that when it wakes for the one before.
        let is_earlier = after.is_some_and(|after| before.is_none_or(|before| after < before));
        if is_earlier {
            self.wake.notify_one();
        }
        result
    }

    /// Lets time pass; returns when to call again.
    pub(super) fn turn(&self) -> Option<Time> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.carry_out(&mut state, self.clock.now())
    }

    pub(super) fn connect(&self, id: TargetId, mailbox: mpsc::Sender<Job>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.mailboxes.insert(id, mailbox);
        self.carry_out(&mut state, self.clock.now());
        drop(state);
        self.wake.notify_one();
    }

    /// Adds a target whose mailbox is there from the beginning.
    pub(super) fn add_target(
        &self,
        name: Name,
        mailbox: mpsc::Sender<Job>,
    ) -> Result<TargetId, DuplicateName> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.engine.add_target(self.clock.now(), name)?;
        drop(state);
        self.connect(id, mailbox);
        Ok(id)
    }

    pub(super) fn disconnect(&self, id: TargetId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.mailboxes.remove(&id);
    }

    fn carry_out(&self, state: &mut State, now: Time) -> Option<Time> {
        while let Some((pass, desired)) = state.engine.poll(now) {
            // A target has at most one pass at a time, so its mailbox of one always has room; it is missing or
            // closed only while the target's task is not there.
            let sent = state
                .mailboxes
                .get(&pass.target)
                .is_some_and(|mailbox| mailbox.try_send(Job { pass, desired }).is_ok());
            if !sent {
                let why = "the target's task is not running".to_owned();
                state.engine.pass_ended(now, pass, Err::<_, String>(why));
            }
        }
        while let Some(event) = state.engine.poll_event() {
            log(&event);
            // Nobody listening is no failure.
            let _ = self.events.send(Arc::new(event));
        }
        state.engine.poll_timeout()
    }
}

fn log(stamped: &Stamped) {
    let Stamped { seq, event, .. } = stamped;
    match event {
        Event::TargetFailed {
            target,
            error,
            retry_in_ms,
            ..
        } => tracing::warn!(seq, %target, retry_in_ms, "pass failed: {error}"),
        Event::SourceHealth { source, health } => log_health(*seq, source, health),
        Event::SourceDiagnostic { source, diagnostic } => {
            tracing::warn!(seq, %source, "{diagnostic}");
        }
        Event::GuardHeld {
            source,
            service,
            records,
            hold_ms,
        } => tracing::warn!(seq, %source, %service, records, hold_ms, "removal held back"),
        Event::Published { .. }
        | Event::Verified { .. }
        | Event::Pass { .. }
        | Event::InEffect { .. } => {
            tracing::debug!(seq, ?event);
        }
        Event::KeptBack {
            ticket, conditions, ..
        } => {
            let first = conditions.first().map(tracing::field::display);
            tracing::debug!(seq, %ticket, conditions = conditions.len(), first, "write is kept back");
        }
        Event::ConditionBegan { condition } => log_condition(*seq, condition, true),
        Event::ConditionEnded { condition } => log_condition(*seq, condition, false),
        Event::GuardReleased {
            source,
            service,
            records,
            reason,
        } => {
            tracing::info!(seq, %source, %service, records, ?reason, "removal no longer held back")
        }
        Event::SourceOutdated {
            source,
            at,
            applied,
        } => {
            tracing::warn!(seq, %source, %at, %applied, "an update is older than what was applied")
        }
        Event::SourceAdded { source } => tracing::info!(seq, %source, "source added"),
        Event::SourceRemoved { source } => tracing::info!(seq, %source, "source removed"),
        Event::TargetAdded { target } => tracing::info!(seq, target_name = %target, "target added"),
        Event::TargetRemoved { target } => {
            tracing::info!(seq, target_name = %target, "target removed");
        }
        Event::TargetNotice { target, notice } => {
            let (kind, detail) = (notice.kind, &notice.detail);
            if notice.warning {
                tracing::warn!(seq, target_name = %target, kind, "{detail}");
            } else {
                tracing::info!(seq, target_name = %target, kind, "{detail}");
            }
        }
        Event::Closing | Event::Lost { .. } => tracing::info!(seq, ?event),
    }
}

/// Says that a condition began or ended, unless another event has its line already.
fn log_condition(seq: u64, condition: &Condition, began: bool) {
    let kind = condition.kind;
    let target_name = condition.target.as_ref().map(tracing::field::display);
    let source = condition.source.as_ref().map(tracing::field::display);
    let service = condition.service.as_ref().map(tracing::field::display);
    let endpoint = condition.endpoint.as_ref().map(tracing::field::display);
    let object = condition.object.as_deref();
    let help = condition.help.as_deref();
    let detail = &condition.detail;
    let has_its_own = match kind {
        ConditionKind::NeverSynced | ConditionKind::Stale | ConditionKind::Hold => true,
        // No other event tells of a target's.
        ConditionKind::Diagnostic if condition.source.is_none() => false,
        // One with an object is a diagnostic.
        ConditionKind::Diagnostic | ConditionKind::Withheld | ConditionKind::Failed => {
            began || object.is_none()
        }
        ConditionKind::TargetDown => began,
        _ => false,
    };
    if has_its_own {
        tracing::debug!(seq, began, "{condition}");
    } else if !began {
        tracing::info!(
            seq, %kind, target_name, source, service, endpoint, object, "condition ended: {detail}"
        );
    } else if kind.needs_operator() || kind == ConditionKind::Diagnostic {
        tracing::warn!(
            seq, %kind, target_name, source, service, endpoint, object, help, "{detail}"
        );
    } else {
        tracing::info!(
            seq, %kind, target_name, source, service, endpoint, object, help, "{detail}"
        );
    }
}

fn log_health(seq: u64, source: &Name, health: &Health) {
    match health {
        Health::Live { .. } => tracing::info!(seq, %source, "source is live"),
        Health::NeverSynced { why, .. } => {
            let why = why.as_deref().unwrap_or("it has not told anything yet");
            tracing::warn!(seq, %source, "source was never heard: {why}");
        }
        Health::Stale { why, .. } => tracing::warn!(seq, %source, "source is stale: {why}"),
        Health::Failed { why, .. } => tracing::error!(seq, %source, "source failed: {why}"),
        Health::Ended { why, .. } => tracing::info!(seq, %source, "source ended: {why}"),
    }
}
