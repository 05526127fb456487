//! Conditions: what keeps something desired from being in effect, and what an operator should know of.
//!
//! Unmet conditions of targets, diagnostics of sources, holds of the guard, conflicts between records, stale sources
//! and what a driver finds at its target have this one shape. A condition ends when its cause ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    driver::{Unmet, UnmetReason},
    model::Name,
    text,
};

/// A state of affairs that lasts, with what it concerns, the reason and what would help.
///
/// ```
/// use lb_core::{Condition, ConditionKind};
///
/// let fixed = Condition::new(ConditionKind::FixedServer, "server web/legacy1 is fixed and serves beside the slots")
///     .of_service("web".parse().unwrap())
///     .of_object("web/legacy1")
///     .with_help("remove the server from haproxy.cfg, or leave it");
/// assert!(!fixed.transient);
/// assert!(!fixed.kind.needs_operator());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// The kind, for programs.
    pub kind: ConditionKind,
    /// If `true`, it is expected to end by itself within seconds: a wait goes on. If `false`, something outside must
    /// change before it ends.
    pub transient: bool,
    /// Milliseconds since the control plane began at which it was first seen. Set by the core.
    pub since_ms: u64,
    /// The source that is concerned.
    pub source: Option<Name>,
    /// The target that is concerned.
    pub target: Option<Name>,
    /// The service that is concerned.
    pub service: Option<Name>,
    /// The endpoint that is concerned.
    pub endpoint: Option<Name>,
    /// The thing in terms of the other program: a container, a key, a file, a server as `backend/server`.
    pub object: Option<String>,
    /// The reason, for people, as a lower-case fragment.
    pub detail: String,
    /// The option to set, the command to run, or the change to make that would end it.
    pub help: Option<String>,
}

impl Condition {
    /// A permanent condition that concerns nothing by name yet.
    #[must_use]
    pub fn new(kind: ConditionKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            transient: false,
            since_ms: 0,
            source: None,
            target: None,
            service: None,
            endpoint: None,
            object: None,
            detail: text::cleaned(detail.into(), text::MESSAGE),
            help: None,
        }
    }

    /// The same condition, expected to end by itself.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The same condition of a source.
    #[must_use]
    pub fn of_source(mut self, source: Name) -> Self {
        self.source = Some(source);
        self
    }

    /// The same condition of a target.
    #[must_use]
    pub fn of_target(mut self, target: Name) -> Self {
        self.target = Some(target);
        self
    }

    /// The same condition of a service.
    #[must_use]
    pub fn of_service(mut self, service: Name) -> Self {
        self.service = Some(service);
        self
    }

    /// The same condition of an endpoint.
    #[must_use]
    pub fn of_endpoint(mut self, endpoint: Name) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// The same condition of a thing of the other program.
    #[must_use]
    pub fn of_object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(text::cleaned(object.into(), text::OBJECT));
        self
    }

    /// The same condition with what would end it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(text::cleaned(help.into(), text::MESSAGE));
        self
    }

    /// Returns `true` if `other` is the same condition, whatever its text and since when.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// The identity of a condition: its kind and the object it concerns.
    pub(crate) fn identity(&self) -> impl Ord + '_ {
        (
            self.kind,
            &self.source,
            &self.target,
            &self.service,
            &self.endpoint,
            &self.object,
        )
    }
}

impl From<Unmet> for Condition {
    fn from(unmet: Unmet) -> Self {
        let mut condition = Self::new(unmet.reason.into(), unmet.detail).of_service(unmet.service);
        condition.transient = unmet.transient;
        condition.endpoint = unmet.endpoint;
        condition
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        for (what, name) in [
            ("source", self.source.as_ref().map(Name::as_str)),
            ("target", self.target.as_ref().map(Name::as_str)),
            ("service", self.service.as_ref().map(Name::as_str)),
            ("endpoint", self.endpoint.as_ref().map(Name::as_str)),
            ("object", self.object.as_deref()),
        ] {
            if let Some(name) = name {
                write!(f, " {what} {name}")?;
            }
        }
        write!(f, ": {}", self.detail)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The kind of a [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConditionKind {
    /// A target has no room for another endpoint of the service.
    NoCapacity,
    /// A target has no place for the service.
    NoSuchService,
    /// The place of the service is not managed by this control plane.
    NotManaged,
    /// A target refused the change.
    Refused,
    /// A target cannot do this without a reload.
    NeedsReload,
    /// A target cannot do this at all.
    Unsupported,
    /// The change is on its way and not yet verified.
    Pending,
    /// An exclusive service has another endpoint that serves, or that is not surely out yet.
    Exclusive,
    /// An endpoint has an address that no target can serve.
    InvalidAddress,
    /// An object of a source, or a part of it, is not honoured, or a target lacks what a guarantee needs.
    Diagnostic,
    /// A route is withheld because what restricts who may reach it cannot be honoured.
    Withheld,
    /// Records disagree: one of them is not in effect.
    Conflict,
    /// A source asks for more than it is allowed to.
    NotAllowed,
    /// The guard holds a mass removal.
    Hold,
    /// A source has never told everything.
    NeverSynced,
    /// A source is not followed now; what it reported last stays in effect.
    Stale,
    /// A source or a configuration cannot be read until something outside is changed.
    Failed,
    /// A target cannot be reached, or does not answer.
    TargetDown,
    /// A target is not what it should be: another program, a version or a socket that cannot be driven.
    WrongTarget,
    /// A target is of a newer version than all that were tried.
    UnknownVersion,
    /// Another control plane owns what this one is to manage.
    Owned,
    /// Another client changes the same value back again and again.
    Contention,
    /// An operator or another program took a server out, and that is respected.
    ForeignHold,
    /// The agent check of a server took it out or changed its weight, and that is respected.
    AgentHold,
    /// The health check of a server has not passed, so an endpoint that is to serve gets no traffic; that is respected.
    CheckFailing,
    /// Another client changed something: lb set it right, and it is transient, or that cannot be done at run time.
    ForeignEdit,
    /// A managed backend has a server that is no slot; it is never touched.
    FixedServer,
    /// Servers look like slots and are not configured as such.
    UnknownSlots,
    /// Free slots are running low.
    CapacityLow,
    /// A file beside a target could not be read or written.
    File,
}

impl ConditionKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::NoCapacity,
        Self::NoSuchService,
        Self::NotManaged,
        Self::Refused,
        Self::NeedsReload,
        Self::Unsupported,
        Self::Pending,
        Self::Exclusive,
        Self::InvalidAddress,
        Self::Diagnostic,
        Self::Withheld,
        Self::Conflict,
        Self::NotAllowed,
        Self::Hold,
        Self::NeverSynced,
        Self::Stale,
        Self::Failed,
        Self::TargetDown,
        Self::WrongTarget,
        Self::UnknownVersion,
        Self::Owned,
        Self::Contention,
        Self::ForeignHold,
        Self::AgentHold,
        Self::CheckFailing,
        Self::ForeignEdit,
        Self::FixedServer,
        Self::UnknownSlots,
        Self::CapacityLow,
        Self::File,
    ];

    /// The name in status, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCapacity => "no_capacity",
            Self::NoSuchService => "no_such_service",
            Self::NotManaged => "not_managed",
            Self::Refused => "refused",
            Self::NeedsReload => "needs_reload",
            Self::Unsupported => "unsupported",
            Self::Pending => "pending",
            Self::Exclusive => "exclusive",
            Self::InvalidAddress => "invalid_address",
            Self::Diagnostic => "diagnostic",
            Self::Withheld => "withheld",
            Self::Conflict => "conflict",
            Self::NotAllowed => "not_allowed",
            Self::Hold => "hold",
            Self::NeverSynced => "never_synced",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::TargetDown => "target_down",
            Self::WrongTarget => "wrong_target",
            Self::UnknownVersion => "unknown_version",
            Self::Owned => "owned",
            Self::Contention => "contention",
            Self::ForeignHold => "foreign_hold",
            Self::AgentHold => "agent_hold",
            Self::CheckFailing => "check_failing",
            Self::ForeignEdit => "foreign_edit",
            Self::FixedServer => "fixed_server",
            Self::UnknownSlots => "unknown_slots",
            Self::CapacityLow => "capacity_low",
            Self::File => "file",
        }
    }

    /// Returns `true` if what it concerns is not in effect as desired while it lasts.
    #[must_use]
    pub fn keeps_from_effect(self) -> bool {
        !matches!(
            self,
            Self::Diagnostic
                | Self::NeverSynced
                | Self::Stale
                | Self::Failed
                | Self::TargetDown
                | Self::ForeignEdit
                | Self::FixedServer
                | Self::UnknownSlots
                | Self::CapacityLow
                | Self::File
        )
    }

    /// Returns `true` if an operator must act, so that a health check fails while such a permanent condition lasts.
    #[must_use]
    pub fn needs_operator(self) -> bool {
        !matches!(
            self,
            Self::Pending
                | Self::Diagnostic
                | Self::AgentHold
                | Self::CheckFailing
                | Self::FixedServer
                | Self::CapacityLow
                | Self::UnknownVersion
        )
    }
}

impl From<UnmetReason> for ConditionKind {
    fn from(reason: UnmetReason) -> Self {
        match reason {
            UnmetReason::NoCapacity => Self::NoCapacity,
            UnmetReason::NoSuchService => Self::NoSuchService,
            UnmetReason::Refused => Self::Refused,
            UnmetReason::NeedsReload => Self::NeedsReload,
            UnmetReason::Unsupported => Self::Unsupported,
            UnmetReason::Pending => Self::Pending,
            UnmetReason::NotManaged => Self::NotManaged,
            UnmetReason::Conflict => Self::Conflict,
            UnmetReason::Exclusive => Self::Exclusive,
        }
    }
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_kind_is_the_one_in_json() {
        for kind in ConditionKind::ALL {
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
    }

    #[test]
    fn a_condition_names_what_it_concerns() {
        let unmet = Unmet::new(
            "web".parse().unwrap(),
            Some("web-1".parse().unwrap()),
            UnmetReason::NoCapacity,
            "no free slot".to_owned(),
        );
        let condition = Condition::from(unmet)
            .of_target("edge".parse().unwrap())
            .with_help("declare more slots");
        assert_eq!(
            condition.to_string(),
            "no_capacity target edge service web endpoint web-1: no free slot (declare more slots)"
        );
    }
}
