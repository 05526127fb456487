//! What keeps one target converged.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    chain::chain,
    condition::{Condition, ConditionKind},
    model::{Name, Snapshot},
};

/// Keeps one target (one data-plane process) converged on the snapshot it is given.
///
/// Level-triggered: every pass is given the whole desired state, may be cut anywhere by dropping its future, and
/// the next pass finishes what was cut.
#[async_trait]
pub trait Driver: Send + 'static {
    /// The target's name, unique in a control plane.
    fn name(&self) -> &Name;

    /// One pass: observe, plan, apply, verify. With nothing to change it writes nothing.
    ///
    /// # Errors
    /// [`DriveError`] when the target could not be reached or its answers could not be believed. What was applied
    /// before stays applied.
    async fn converge(&mut self, desired: &Arc<Snapshot>) -> Result<Report, DriveError>;

    /// The plan of [`converge`](Self::converge) now, as text for people and as JSON for programs. Changes nothing.
    ///
    /// # Errors
    /// As for [`converge`](Self::converge).
    async fn preview(&mut self, desired: &Arc<Snapshot>) -> Result<Preview, DriveError>;

    /// Returns when the target itself gives a reason for another pass (it restarted, its socket closed).
    /// Never returns by default. Dropping the future must lose nothing.
    async fn attention(&mut self) {
        std::future::pending::<()>().await;
    }

    /// The control plane ends in order: what is still to be written beside the target, such as files that follow it,
    /// is written now. The target serves on as it is. Given up after a few seconds; never called when the control plane
    /// is dropped or its process killed.
    async fn close(&mut self) {}
}

/// The result of one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The generation of the snapshot that was applied.
    pub generation: u64,
    /// The number of steps that were applied and verified.
    pub applied: usize,
    /// Unmet conditions, each with its reason.
    pub unmet: Vec<Unmet>,
    /// The conditions at this target beside `unmet` that an operator should know: fixed servers, contention, foreign
    /// holds. The core fills in the target and since when.
    pub conditions: Vec<Condition>,
    /// The program at the other end, where it is known.
    pub about: Option<About>,
    /// Ask for another pass after this time even if nothing changes: something is on its way (a drain, a check).
    pub again: Option<Duration>,
    /// If `true`, the whole desired state is in effect and verified, but for `unmet` and endpoints that drain.
    pub converged: bool,
    /// Named counts of what was done since the driver began, such as steps by rung or reloads: cumulative.
    pub counters: BTreeMap<&'static str, u64>,
    /// Named levels of what there is now, such as free places or old processes that live on.
    pub gauges: BTreeMap<&'static str, u64>,
    /// The notices since the last report: each is given once, as an event.
    pub notices: Vec<Notice>,
}

/// The program that a target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct About {
    /// The program's name, such as `HAProxy`.
    pub program: String,
    /// The version in the program's own words.
    pub version: String,
}

impl About {
    /// A program of a version.
    #[must_use]
    pub fn new(program: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            version: version.into(),
        }
    }
}

/// Something that happened at a target and that is no change of an endpoint: a reload, a shortage that comes near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Notice {
    /// The kind of the notice, for programs.
    pub kind: &'static str,
    /// If `true`, the operator should do something about it.
    pub warning: bool,
    /// The text of the notice for people, as a lower-case fragment.
    pub detail: String,
}

impl Notice {
    /// Something worth knowing.
    #[must_use]
    pub fn info(kind: &'static str, detail: String) -> Self {
        Self {
            kind,
            warning: false,
            detail,
        }
    }

    /// Something to do something about.
    #[must_use]
    pub fn warning(kind: &'static str, detail: String) -> Self {
        Self {
            kind,
            warning: true,
            detail,
        }
    }
}

/// A dry run: what a pass would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// The number of steps.
    pub steps: usize,
    /// For people: a line a step, with its reason.
    pub text: String,
    /// For programs: the same as JSON text.
    pub json: String,
}

impl Preview {
    /// A preview of `steps` steps in both forms.
    #[must_use]
    pub fn new(steps: usize, text: String, json: String) -> Self {
        Self { steps, text, json }
    }
}

/// An unmet condition; the rest of the desired state is in effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Unmet {
    /// The service whose desired state it is.
    pub service: Name,
    /// The endpoint, where one is concerned.
    pub endpoint: Option<Name>,
    /// Why, for programs.
    pub reason: UnmetReason,
    /// If `true`, it is expected to pass by itself within seconds, so that a wait goes on. Defaults to `false`.
    pub transient: bool,
    /// Why, for people: names what is missing and what would help, as a lower-case fragment.
    pub detail: String,
}

impl Unmet {
    /// An unmet condition of `service`.
    #[must_use]
    pub fn new(service: Name, endpoint: Option<Name>, reason: UnmetReason, detail: String) -> Self {
        Self {
            service,
            endpoint,
            reason,
            transient: false,
            detail: crate::text::cleaned(detail, crate::text::MESSAGE),
        }
    }

    /// The same unmet condition, expected to pass by itself.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }
}

/// The reason of an unmet condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnmetReason {
    /// The target has no room for another endpoint of this service.
    NoCapacity,
    /// The target has no place for this service.
    NoSuchService,
    /// The target refused the change.
    Refused,
    /// The place of this service is not managed by this control plane.
    NotManaged,
    /// The target cannot do this without a reload.
    NeedsReload,
    /// The target cannot do this at all.
    Unsupported,
    /// The change is on its way and not yet verified.
    Pending,
    /// Another service has what this one asks for.
    Conflict,
    /// The service is exclusive, and another endpoint serves or is not surely out yet.
    Exclusive,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The target could not be reached, or the conversation broke; the outcome of what was sent is unknown.
    #[error("cannot reach target {target}")]
    Unreachable {
        /// The target's name.
        target: Name,
        /// The cause below.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The target answered something that cannot be believed or that forbids going on.
    #[error("target {target} cannot be driven")]
    Unusable {
        /// The target's name.
        target: Name,
        /// The cause below.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else than expected is at the other end: another program, a version or a socket that cannot be driven.
    #[error("target {target} is not what it should be")]
    WrongTarget {
        /// The target's name.
        target: Name,
        /// The cause below, which says what was found and what was expected.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another control plane manages this target. Nothing was changed.
    #[error("target {target} is managed by another control plane")]
    Owned {
        /// The target's name.
        target: Name,
        /// The cause below, which names the other.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DriveError {
    /// The kind of the condition that lasts until a pass succeeds.
    #[must_use]
    pub fn kind(&self) -> ConditionKind {
        match self {
            Self::Unreachable { .. } | Self::Unusable { .. } => ConditionKind::TargetDown,
            Self::WrongTarget { .. } => ConditionKind::WrongTarget,
            Self::Owned { .. } => ConditionKind::Owned,
        }
    }
}

/// The failure of a pass, as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassFailure {
    /// The kind of the condition that lasts until a pass succeeds.
    pub kind: ConditionKind,
    /// The reason, for people.
    pub error: String,
}

impl From<String> for PassFailure {
    fn from(error: String) -> Self {
        Self {
            kind: ConditionKind::TargetDown,
            error,
        }
    }
}

impl From<&DriveError> for PassFailure {
    fn from(error: &DriveError) -> Self {
        Self {
            kind: error.kind(),
            error: chain(error),
        }
    }
}
