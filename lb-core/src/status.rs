//! What a control plane says of itself when asked.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    condition::{Condition, ConditionKind},
    driver::{About, Unmet},
    model::Name,
    source::{Cursor, Diagnostic, Ticket},
};

/// The most conditions, diagnostics, conflicts, holds and unmet conditions that a status lists; the counts are whole.
pub const MOST_LISTED: usize = 64;

/// The state of a control plane at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The number of the newest snapshot; 0 before the first.
    pub generation: u64,
    /// If `true`, there is a snapshot: every source was heard once, or waited for long enough.
    pub published: bool,
    /// If `true`, some source was never heard, so that targets take nothing away that they do not find.
    pub partial: bool,
    /// The number of services.
    pub services: usize,
    /// The number of endpoints.
    pub endpoints: usize,
    /// The number of routes.
    pub routes: usize,
    /// The time since the control plane began, in milliseconds.
    pub uptime_ms: u64,
    /// Each source, by precedence.
    pub sources: Vec<SourceStatus>,
    /// Each target, in the order in which they were added.
    pub targets: Vec<TargetStatus>,
    /// The removals that the guard holds back, by source and service.
    pub holds: Vec<HoldStatus>,
    /// Disagreements between records, the first [`MOST_LISTED`].
    pub conflicts: Vec<Diagnostic>,
    /// The number of disagreements.
    pub conflict_count: usize,
    /// Everything that keeps something from being in effect and everything that an operator should know of, with since
    /// when: [`MOST_LISTED`] of them, of each kind its share.
    pub conditions: Vec<Condition>,
    /// The number of conditions.
    pub condition_count: usize,
    /// The number of conditions of each kind that there is.
    pub condition_counts: BTreeMap<ConditionKind, usize>,
}

/// A target that has not verified a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lagging {
    /// The target.
    pub target: Name,
    /// The reason, as far as it is known.
    pub why: String,
}

/// The status of one write of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TicketStatus {
    /// The write.
    pub ticket: Ticket,
    /// If `true`, what it wrote is applied and verified on every target, or a later write took its place.
    pub in_effect: bool,
    /// The generation that has it; `None` while it was not taken in.
    pub generation: Option<u64>,
    /// The targets that have not verified that generation.
    pub lagging: Vec<Lagging>,
    /// The conditions that keep it from being in effect, the first [`MOST_LISTED`].
    pub conditions: Vec<Condition>,
}

impl TicketStatus {
    /// Returns `true` if waiting longer would not help: it is in effect, or only permanent conditions keep it from that.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let permanent = |condition: &Condition| !condition.transient;
        self.in_effect
            || (self.lagging.is_empty()
                && !self.conditions.is_empty()
                && self.conditions.iter().all(permanent))
    }
}

/// The writes of the program to a source, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TicketsStatus {
    /// The newest write.
    pub written: u64,
    /// The newest write that was taken in.
    pub taken: u64,
    /// Every write up to this one is in effect.
    pub in_effect: u64,
}

/// The health of a source: whether its reports can be taken for current. They stay in effect in every case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It has never told everything: nothing is known of it, which is not the same as nothing being there.
    NeverSynced {
        /// The time for which it has been tried, in milliseconds.
        for_ms: u64,
        /// The last problem.
        why: Option<String>,
    },
    /// It is followed and within its bound of silence.
    Live {
        /// For how long.
        for_ms: u64,
    },
    /// It told everything once and is not followed now.
    Stale {
        /// For how long.
        for_ms: u64,
        /// Why.
        why: String,
    },
    /// Trying again helps only after something was changed outside: configuration, permission, a broken contract.
    Failed {
        /// For how long.
        for_ms: u64,
        /// Why.
        why: String,
    },
    /// It said that it has nothing more to say.
    Ended {
        /// For how long.
        for_ms: u64,
        /// Why.
        why: String,
    },
}

impl Health {
    /// Returns `true` if what the source said is current.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

/// The state of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: &'static str,
    /// The health: whether its reports can be taken for current.
    pub health: Health,
    /// The position in its event stream.
    pub cursor: Option<Cursor>,
    /// The number of records it says there are.
    pub records: usize,
    /// The number of its records that the guard holds back.
    pub held: usize,
    /// The number of its records that are left out, or a part of them, because of its [limits](crate::Limits).
    pub refused: usize,
    /// The number of updates that were applied.
    pub updates: u64,
    /// The number of updates that were left out because they were older than what was applied.
    pub outdated: u64,
    /// The number of attempts that were begun.
    pub attempts: u64,
    /// The time since its last report, in milliseconds.
    pub silent_ms: Option<u64>,
    /// The time until the next attempt, in milliseconds, while none is made.
    pub retry_in_ms: Option<u64>,
    /// The problems it found, the last [`MOST_LISTED`]. A reset drops all but those told right
    /// before it.
    pub diagnostics: Vec<Diagnostic>,
    /// The number of those that are not listed; at most 65,536 are told apart.
    pub diagnostics_dropped: u64,
    /// The writes of the program to it, where it is such a source.
    pub tickets: Option<TicketsStatus>,
}

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// Nothing.
    Idle,
    /// A pass.
    Running,
    /// Pausing after a failure.
    Waiting,
}

/// The state of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TargetStatus {
    /// Its name.
    pub name: Name,
    /// The activity of the target.
    pub activity: Activity,
    /// The last generation that was applied and verified.
    pub verified: Option<u64>,
    /// The number of generations it is behind the newest.
    pub behind: u64,
    /// The time that the oldest change that it has not verified has waited, in milliseconds.
    pub lag_ms: Option<u64>,
    /// The number of passes that were made.
    pub passes: u64,
    /// The number of passes in a row that did not converge.
    pub failures: u32,
    /// Why the last failed pass failed, until a pass succeeds.
    pub last_error: Option<String>,
    /// The kind of that failure.
    pub failure: Option<ConditionKind>,
    /// The program at the other end, as the last successful pass found it.
    pub about: Option<About>,
    /// The time until the next try after a failure, in milliseconds.
    pub retry_in_ms: Option<u64>,
    /// From receipt to verification of the last change.
    pub last_latency_micros: Option<u64>,
    /// Unmet conditions, the first [`MOST_LISTED`].
    pub unmet: Vec<Unmet>,
    /// The number of unmet conditions.
    pub unmet_count: usize,
    /// The driver's own counts.
    pub counters: BTreeMap<&'static str, u64>,
    /// The driver's own levels.
    pub gauges: BTreeMap<&'static str, u64>,
}

/// The removals that the guard holds back of one service of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HoldStatus {
    /// The source.
    pub source: Name,
    /// The service.
    pub service: Name,
    /// The number of records.
    pub records: usize,
    /// The time until the last of them is let go, in milliseconds, unless contradicted; 0 when that only waits for the
    /// source to be live.
    pub release_in_ms: u64,
}
