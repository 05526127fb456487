//! Decides when which target makes its next pass.
//!
//! Pure: the time is passed in, and what to do comes out of [`Reconciler::poll`]; poll again after every input
//! and at [`Reconciler::poll_timeout`]. Level-triggered: a pass is given the newest generation, so whatever was
//! published while a pass ran or failed is covered by the next one. A target makes one pass at a time, which is
//! why it never gets an older generation after a newer one (I11). Targets share nothing, so a dead one slows no
//! other.

mod target;
mod waves;

use std::{collections::BTreeMap, time::Duration};

pub use target::TargetState;
pub use waves::Waves;

use crate::{
    backoff::{BackoffConfig, Jitter},
    time::Time,
};
use target::Target;

/// The timing of targets' passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconcilerConfig {
    /// The debounce interval of changes. Changes that take traffic away from an endpoint do not
    /// wait. Default: none; what comes while a pass runs is coalesced anyway.
    pub settle: Duration,
    /// The time after its last pass at which a target is looked at although nothing changed. Default: 30 s.
    pub resync: Duration,
    /// In which order targets get a change. Default: all at once.
    pub waves: Waves,
    /// Pauses after failed passes.
    pub backoff: BackoffConfig,
    /// The seed of the jitter.
    pub seed: u64,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            settle: Duration::ZERO,
            resync: Duration::from_secs(30),
            waves: Waves::default(),
            backoff: BackoffConfig::TARGET,
            seed: 0,
        }
    }
}

/// A target's number in one control plane. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(u32);

/// A pass to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// By which target.
    pub target: TargetId,
    /// On which generation: the newest.
    pub generation: u64,
    /// Identifies the pass when it ends.
    pub ticket: u64,
}

/// The outcome of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The driver answered.
    Done {
        /// If `true`, the whole desired state is in effect.
        converged: bool,
        /// The time until the driver wants another pass.
        again: Option<Duration>,
    },
    /// The target could not be driven.
    Failed,
}

/// The schedules of all targets.
#[derive(Debug)]
pub struct Reconciler {
    config: ReconcilerConfig,
    jitter: Jitter,
    /// The newest generation; nothing is done before the first.
    generation: Option<u64>,
    /// The newest generation that must not wait.
    urgent: Option<u64>,
    targets: BTreeMap<TargetId, (u64, Target)>,
    next_target: u32,
    next_ticket: u64,
}

impl Reconciler {
    /// Without targets and without a generation.
    #[must_use]
    pub fn new(config: ReconcilerConfig) -> Self {
        Self {
            config,
            jitter: Jitter::new(config.seed),
            generation: None,
            urgent: None,
            targets: BTreeMap::new(),
            next_target: 0,
            next_ticket: 1,
        }
    }

    /// Changes how long a change waits for others, and how often targets are looked at, from the next time on.
    pub fn set_timing(&mut self, settle: Duration, resync: Duration) {
        self.config.settle = settle;
        self.config.resync = resync;
    }

    /// Adds a target. Its first pass is due as soon as there is a generation.
    pub fn add_target(&mut self, now: Time) -> TargetId {
        let id = TargetId(self.next_target);
        self.next_target += 1;
        let mut target = Target::new(&self.config, now);
        target.want(now);
        self.targets.insert(id, (0, target));
        id
    }

    /// Forgets a target; a pass it may be making counts no more.
    pub fn remove_target(&mut self, id: TargetId) {
        self.targets.remove(&id);
    }

    /// A new generation is there. `urgent` skips the settle time. An older one than before is ignored.
    pub fn publish(&mut self, now: Time, generation: u64, urgent: bool) {
        if self.generation.is_some_and(|newest| newest >= generation) {
            return;
        }
        // The first generation does not settle, but it takes nothing away that a later one would not.
        if urgent && self.generation.is_some() {
            self.urgent = Some(generation);
        }
        self.generation = Some(generation);
        let at = if urgent {
            now
        } else {
            now + self.config.settle
        };
        for (_, target) in self.targets.values_mut() {
            target.hold_from(now);
            target.want(at);
        }
    }

    /// The target itself gives a reason for another pass.
    pub fn attention(&mut self, now: Time, id: TargetId) {
        if let Some((_, target)) = self.targets.get_mut(&id) {
            target.attention(now);
        }
    }

    /// Asks every target for a pass now, whatever failed before.
    pub fn request(&mut self, now: Time) {
        for (_, target) in self.targets.values_mut() {
            target.request(now);
        }
    }

    /// The ticket of the next pass that begins.
    #[must_use]
    pub fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// A pass ended. Ignored when it is not the one that runs.
    ///
    /// Returns whether it counted.
    pub fn outcome(&mut self, now: Time, id: TargetId, ticket: u64, outcome: Outcome) -> bool {
        let newest = self.generation;
        match self.targets.get_mut(&id) {
            Some((running, target))
                if *running == ticket && matches!(target.state, TargetState::Running { .. }) =>
            {
                target.end(&self.config, &mut self.jitter, now, outcome);
                if newest > target.given {
                    target.want(now);
                }
                true
            }
            _ => false,
        }
    }

    /// The next pass to make now. Call until it returns `None`.
    #[must_use]
    pub fn poll(&mut self, now: Time) -> Option<Pass> {
        let generation = self.generation?;
        let due = self
            .opened()
            .find(|(_, target, opens)| target.next(*opens).is_some_and(|due| due <= now))
            .map(|(id, ..)| id)?;
        let (id, (running, target)) = self.targets.iter_mut().find(|(id, _)| **id == due)?;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        *running = ticket;
        target.begin(generation);
        Some(Pass {
            target: *id,
            generation,
            ticket,
        })
    }

    /// The time to poll again if there is no input before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.generation?;
        self.opened()
            .filter_map(|(_, target, opens)| target.next(opens))
            .min()
    }

    /// Each target with the time at which the newest generation may go there.
    fn opened(&self) -> impl Iterator<Item = (TargetId, &Target, Time)> {
        let waves = self.config.waves;
        // The first wave of which a target has not verified the newest generation.
        let behind = self
            .targets
            .values()
            .position(|(_, target)| target.verified < self.generation)
            .map_or(u32::MAX, |place| waves.wave_of(place));
        self.targets
            .iter()
            .enumerate()
            .map(move |(place, (id, (_, target)))| {
                let wave = waves.wave_of(place);
                let new = target.given < self.generation;
                let urgent = self.urgent.is_some() && target.given < self.urgent;
                let opens = match new && !urgent && wave > behind {
                    true => target.held_from() + waves.deadline.saturating_mul(wave),
                    false => Time::ZERO,
                };
                (*id, target, opens)
            })
    }

    /// The state of a target.
    #[must_use]
    pub fn state(&self, id: TargetId) -> Option<TargetState> {
        self.targets.get(&id).map(|(_, target)| target.state)
    }

    /// The pass that a target makes now.
    #[must_use]
    pub fn running(&self, id: TargetId) -> Option<Pass> {
        let (ticket, target) = self.targets.get(&id)?;
        match target.state {
            TargetState::Running { generation } => Some(Pass {
                target: id,
                generation,
                ticket: *ticket,
            }),
            _ => None,
        }
    }

    /// The last generation on which a pass of this target ended converged.
    #[must_use]
    pub fn verified(&self, id: TargetId) -> Option<u64> {
        self.targets
            .get(&id)
            .and_then(|(_, target)| target.verified)
    }

    /// The number of passes of this target in a row that did not converge.
    #[must_use]
    pub fn failures(&self, id: TargetId) -> u32 {
        self.targets
            .get(&id)
            .map_or(0, |(_, target)| target.backoff.failures())
    }
}
