//! When one target makes its next pass. Pure.

use std::time::Duration;

use super::{Outcome, ReconcilerConfig};
use crate::{
    backoff::{Backoff, Jitter},
    time::Time,
};

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing, or waiting for its next pass without a failure behind it.
    Idle,
    /// A pass runs.
    Running {
        /// The generation it was given.
        generation: u64,
    },
    /// The last pass failed: the next is made no earlier than this.
    Waiting {
        /// The end of the pause.
        until: Time,
    },
}

/// The schedule of one target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) state: TargetState,
    pub(super) backoff: Backoff,
    /// The last generation on which a pass ended converged.
    pub(super) verified: Option<u64>,
    /// The greatest generation a pass was begun with.
    pub(super) given: Option<u64>,
    /// The time of the next pass for a reason that a pause after failures holds back.
    due: Option<Time>,
    /// The time of the next pass for a reason that it does not hold back.
    asked: Option<Time>,
    /// The time at which the target is looked at although nothing asks for it.
    resync: Time,
    last_end: Option<Time>,
    /// Since when there is a generation that the target was not given.
    held_from: Option<Time>,
}

impl Target {
    pub(super) fn new(config: &ReconcilerConfig, now: Time) -> Self {
        Self {
            state: TargetState::Idle,
            backoff: Backoff::new(config.backoff),
            verified: None,
            given: None,
            due: None,
            asked: None,
            resync: now + config.resync,
            last_end: None,
            held_from: None,
        }
    }

    /// There is something to do, no later than `at`; a pause after failures comes first.
    pub(super) fn want(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Somebody asks for a pass now, whatever failed before.
    pub(super) fn request(&mut self, now: Time) {
        self.asked = Some(now);
    }

    /// The target itself asks for a pass. One that asks all the time is heard once per shortest pause.
    pub(super) fn attention(&mut self, now: Time) {
        let earliest = self
            .last_end
            .map_or(now, |end| now.max(end + self.backoff.first()));
        self.asked = Some(self.asked.map_or(earliest, |asked| asked.min(earliest)));
    }

    /// There is a generation that the target is to be given.
    pub(super) fn hold_from(&mut self, now: Time) {
        self.held_from.get_or_insert(now);
    }

    /// Since when there is a generation that the target was not given.
    pub(super) fn held_from(&self) -> Time {
        self.held_from.unwrap_or(Time::ZERO)
    }

    /// The time of the next pass, if none runs. `opens` is when the newest generation may go there; a target that
    /// asks for a pass itself gets it before.
    pub(super) fn next(&self, opens: Time) -> Option<Time> {
        let held_back = self.due.map_or(self.resync, |due| due.min(self.resync));
        let scheduled = match self.state {
            TargetState::Running { .. } => return None,
            TargetState::Idle => held_back,
            TargetState::Waiting { until } => held_back.max(until),
        };
        let scheduled = scheduled.max(opens);
        Some(self.asked.map_or(scheduled, |asked| asked.min(scheduled)))
    }

    pub(super) fn begin(&mut self, generation: u64) {
        self.state = TargetState::Running { generation };
        self.given = Some(generation);
        self.held_from = None;
        self.due = None;
        self.asked = None;
    }

    pub(super) fn end(
        &mut self,
        config: &ReconcilerConfig,
        jitter: &mut Jitter,
        now: Time,
        outcome: Outcome,
    ) {
        let TargetState::Running { generation } = self.state else {
            return;
        };
        self.last_end = Some(now);
        // Spread, so that many targets do not fall into step.
        self.resync = now + jitter.between(config.resync / 10 * 9, config.resync);
        match outcome {
            Outcome::Done { converged, again } => {
                if converged {
                    self.verified = Some(generation);
                    self.backoff.reset();
                }
                self.state = TargetState::Idle;
                match again {
                    Some(after) => self.want(now + after.max(SHORTEST_AGAIN)),
                    None if converged => {}
                    None => {
                        let pause = self.backoff.pause(jitter);
                        self.want(now + pause);
                    }
                }
            }
            Outcome::Failed => {
                let pause = self.backoff.pause(jitter);
                self.state = TargetState::Waiting { until: now + pause };
                self.want(now);
            }
        }
    }
}

/// A target that asks for another pass at once must not keep a core busy.
const SHORTEST_AGAIN: Duration = Duration::from_millis(1);
