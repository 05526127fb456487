//! What happens in a control plane, told to subscribers as it happens.

use serde::Serialize;

use crate::{
    condition::Condition,
    driver::Notice,
    guard::ReleaseReason,
    model::Name,
    source::{Cursor, Diagnostic, Ticket},
    status::Health,
};

/// An event with its number and its time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stamped {
    /// Counts the events of one control plane, without gaps.
    pub seq: u64,
    /// The time of the event, in microseconds since the control plane began.
    pub at_micros: u64,
    /// The report of a run.
    #[serde(flatten)]
    pub event: Event,
}

impl Stamped {
    pub(crate) fn new(seq: u64, at_micros: u64, event: Event) -> Self {
        Self {
            seq,
            at_micros,
            event,
        }
    }
}

/// The cause of a generation: what one source reported (I10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The source.
    pub source: Name,
    /// The position in the source's event stream: that of the last of its updates in this generation.
    pub cursor: Cursor,
    /// The time at which the first of these updates was received, in microseconds since the control plane began.
    pub received_micros: u64,
}

impl Cause {
    pub(crate) fn new(source: Name, cursor: Cursor, received_micros: u64) -> Self {
        Self {
            source,
            cursor,
            received_micros,
        }
    }
}

/// Something that happened in a control plane.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A source was added.
    SourceAdded {
        /// The source.
        source: Name,
    },
    /// A source was taken away, with its records.
    SourceRemoved {
        /// The source.
        source: Name,
    },
    /// A source's health changed.
    SourceHealth {
        /// The source.
        source: Name,
        /// Its health now.
        health: Health,
    },
    /// A source said what is wrong with one of its objects.
    SourceDiagnostic {
        /// The source.
        source: Name,
        /// The diagnostic.
        diagnostic: Diagnostic,
    },
    /// An update was left out because it is older than what was applied (I11).
    SourceOutdated {
        /// The source.
        source: Name,
        /// The cursor that the update claimed.
        at: Cursor,
        /// The cursor that was applied before.
        applied: Cursor,
    },
    /// The guard holds records back.
    GuardHeld {
        /// Of which source.
        source: Name,
        /// Of which service.
        service: Name,
        /// The number of records.
        records: usize,
        /// For how long, unless confirmed or contradicted.
        hold_ms: u64,
    },
    /// The guard no longer holds records.
    GuardReleased {
        /// Of which source.
        source: Name,
        /// Of which service.
        service: Name,
        /// The number of records.
        records: usize,
        /// Why.
        reason: ReleaseReason,
    },
    /// There is a new snapshot.
    Published {
        /// Its number.
        generation: u64,
        /// The number of records that changed in it.
        changes: usize,
        /// The causes in the sources' updates. Empty when time passed, a confirmation or a removed source led to it.
        causes: Vec<Cause>,
    },
    /// A target was added.
    TargetAdded {
        /// The target.
        target: Name,
    },
    /// A target was taken away. Nothing is changed in it.
    TargetRemoved {
        /// The target.
        target: Name,
    },
    /// A permanent condition began, or another client changed something (`foreign_edit`). Of those that begin at once,
    /// the first 64 are told; the status counts all.
    ConditionBegan {
        /// The condition.
        condition: Condition,
    },
    /// A condition that was told of ended, or is expected to pass by itself now.
    ConditionEnded {
        /// The condition as it was.
        condition: Condition,
    },
    /// Writes of the program are in effect on every target: those after `after` up to and including `ticket`.
    InEffect {
        /// The last of the writes.
        ticket: Ticket,
        /// The revision of the last write before them.
        after: u64,
    },
    /// Writes of the program are taken in, and only permanent conditions keep them from being in effect: those after
    /// `after` up to and including `ticket`. Told once; when the conditions end, [`InEffect`](Self::InEffect) follows.
    KeptBack {
        /// The last of the writes.
        ticket: Ticket,
        /// The revision of the last write before them.
        after: u64,
        /// The conditions that keep them.
        conditions: Vec<Condition>,
    },
    /// Everything that a generation desires is in effect on a target and verified, for the first time.
    ///
    /// As long as something is unmet there is a [`Pass`](Self::Pass) instead; this event follows when the rest is in
    /// effect.
    Verified {
        /// The target.
        target: Name,
        /// The generation.
        generation: u64,
        /// The number of steps the pass applied.
        applied: usize,
        /// The causes that are verified with it, all generations since the last verified one together.
        causes: Vec<Cause>,
        /// The time the pass took.
        pass_micros: u64,
        /// From the receipt of the first cause to this verification; `None` without a cause.
        latency_micros: Option<u64>,
    },
    /// A pass changed something, found something else unmet, or verified a generation but for what is unmet.
    Pass {
        /// The target.
        target: Name,
        /// The generation.
        generation: u64,
        /// The number of steps the pass applied.
        applied: usize,
        /// The number of unmet conditions.
        unmet: usize,
        /// If `true`, everything else is in effect.
        converged: bool,
        /// The causes that are verified with it but for what is unmet, if it is the first pass to do so.
        causes: Vec<Cause>,
        /// From the receipt of the first cause to this pass; `None` without a cause.
        latency_micros: Option<u64>,
        /// The time the pass took.
        pass_micros: u64,
    },
    /// A pass failed.
    TargetFailed {
        /// The target.
        target: Name,
        /// The generation it was given.
        generation: u64,
        /// Why.
        error: String,
        /// The time until the next try.
        retry_in_ms: u64,
    },
    /// Something happened at a target that is no change of an endpoint.
    TargetNotice {
        /// The target.
        target: Name,
        /// The report of a run.
        notice: Notice,
    },
    /// This subscriber was too slow: the oldest events were dropped.
    Lost {
        /// The number of events.
        count: u64,
    },
    /// The control plane is shutting down.
    Closing,
}

impl Event {
    /// Returns `true` if it says that this write is in effect on every target.
    #[must_use]
    pub fn puts_in_effect(&self, write: &Ticket) -> bool {
        matches!(self, Self::InEffect { ticket, after }
            if ticket.is_of_same_source(write) && *after < write.revision && write.revision <= ticket.revision)
    }
}
