//! What a guard holds back, and for how long.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::Name;

/// The policy for mass removals: what counts as one, and for how long it is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GuardPolicy {
    /// If `true`, anything is held back.
    pub enabled: bool,
    /// The share of live endpoints (0 to 1) that may go at once.
    pub max_share: f64,
    /// The number of live endpoints that may go at once whatever their share, unless the service would be empty. The
    /// default is 1: a single endpoint leaves every day, two or more that make up most of a service do not.
    pub min_count: usize,
    /// The time a removal must persist before it takes effect without being confirmed.
    #[serde(with = "crate::duration")]
    pub hold: Duration,
    /// If `true`, removals by name are guarded too.
    pub explicit_removals: bool,
    /// If `true`, endpoints reported draining or down are guarded too.
    pub reported_down: bool,
}

impl Default for GuardPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            max_share: 0.5,
            min_count: 1,
            hold: Duration::from_secs(10),
            explicit_removals: false,
            reported_down: false,
        }
    }
}

impl GuardPolicy {
    /// A policy that holds nothing back.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }

    /// The same with another share that may go at once: 0 to 1.
    #[must_use]
    pub fn with_max_share(mut self, share: f64) -> Self {
        self.max_share = share;
        self
    }

    /// The same with another count that may go at once.
    #[must_use]
    pub fn with_min_count(mut self, count: usize) -> Self {
        self.min_count = count;
        self
    }

    /// The same with another hold time.
    #[must_use]
    pub fn with_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The same, guarding removals by name or not.
    #[must_use]
    pub fn with_explicit_removals(mut self, guarded: bool) -> Self {
        self.explicit_removals = guarded;
        self
    }

    /// The same, guarding endpoints reported draining or down or not.
    #[must_use]
    pub fn with_reported_down(mut self, guarded: bool) -> Self {
        self.reported_down = guarded;
        self
    }

    /// Returns `true` if so large a drop is held back.
    pub(super) fn trips(&self, before: usize, after: usize) -> bool {
        let lost = before.saturating_sub(after);
        // A count of endpoints is far below 2^52, so the share is exact enough.
        let share = lost as f64 / before.max(1) as f64;
        lost > self.min_count && share > self.max_share
    }
}

/// The guard's policies: one for everything a source has together, one for each service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GuardConfig {
    /// For all endpoints of a source together, and for each service that has no policy of its own.
    pub overall: GuardPolicy,
    /// For single services.
    pub services: BTreeMap<Name, GuardPolicy>,
}

impl GuardConfig {
    /// One policy for everything.
    #[must_use]
    pub fn new(overall: GuardPolicy) -> Self {
        Self {
            overall,
            services: BTreeMap::new(),
        }
    }

    /// The same with another policy for one service.
    #[must_use]
    pub fn with_service(mut self, service: Name, policy: GuardPolicy) -> Self {
        self.services.insert(service, policy);
        self
    }

    /// The policy for one service.
    #[must_use]
    pub fn policy(&self, service: &Name) -> &GuardPolicy {
        self.services.get(service).unwrap_or(&self.overall)
    }

    /// Checks every policy.
    ///
    /// # Errors
    /// [`InvalidGuard`] for a share outside 0 to 1.
    pub fn check(&self) -> Result<(), InvalidGuard> {
        let named = self
            .services
            .iter()
            .map(|(name, policy)| (Some(name), policy));
        for (service, policy) in std::iter::once((None, &self.overall)).chain(named) {
            if !(0.0..=1.0).contains(&policy.max_share) {
                return Err(InvalidGuard {
                    service: service.cloned(),
                    value: policy.max_share,
                });
            }
        }
        Ok(())
    }
}

/// A policy that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("guard max_share{} is {value}, expected 0 to 1", .service.as_ref().map(|s| format!(" of service {s}")).unwrap_or_default())]
pub struct InvalidGuard {
    /// The service whose policy it is; `None` for the overall one.
    pub service: Option<Name>,
    /// The share given.
    pub value: f64,
}
