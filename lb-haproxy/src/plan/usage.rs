//! How the slots of all backends are used, kept up to date backend by backend.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::{Name, Notice};

use super::{
    backend::{Backend, Role},
    planner::Planner,
};
use crate::{
    forecast::{Forecast, Outlook, SlotUse},
    policy::Policy,
};

/// Sums over all backends. What changes costs the size of the change.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    of: BTreeMap<Name, SlotUse>,
    /// Only of backends with a service: nobody misses the slots of others.
    forecasts: BTreeMap<Name, Forecast>,
    /// Spare backends that serve nobody.
    spares: BTreeSet<Name>,
    total: SlotUse,
    notices: Vec<Notice>,
}

/// The most notices that wait to be taken; each is also in a later status.
const MOST_NOTICES: usize = 64;

impl Usage {
    /// Takes in one backend as it is now.
    pub(super) fn take(
        &mut self,
        backend: &Backend,
        roles: &[Role],
        policy: &Policy,
        now: Duration,
    ) {
        let seen = backend.slot_use(policy, roles);
        let before = self
            .of
            .insert(backend.name.clone(), seen)
            .unwrap_or_default();
        self.total = self.total.minus(before).plus(seen);
        let is_spare = [&policy.spare_http, &policy.spare_tcp]
            .iter()
            .any(|prefix| backend.name.as_str().starts_with(prefix.as_str()));
        match is_spare && backend.service.is_none() && seen.slots > 0 {
            true => self.spares.insert(backend.name.clone()),
            false => self.spares.remove(&backend.name),
        };
        if backend.service.is_none() {
            self.forecasts.remove(&backend.name);
            return;
        }
        let forecast = self.forecasts.entry(backend.name.clone()).or_default();
        let SlotUse {
            slots,
            free,
            quarantined,
            ..
        } = seen;
        let name = &backend.name;
        let notice = match forecast.observe(now, seen) {
            Outlook::Quiet => return,
            Outlook::Low(left) => {
                let left = match left {
                    Some(left) => format!("at the present rate they last {} s", left.as_secs()),
                    None => "there is no trend yet".to_owned(),
                };
                let detail = format!(
                    "backend {name} has {free} of {slots} slots left, {quarantined} more are in quarantine; {left}"
                );
                Notice::warning("slots_low", detail)
            }
            Outlook::Room => {
                let detail = format!(
                    "backend {name} has room again: {free} of {slots} slots are free, {quarantined} more are in quarantine"
                );
                Notice::info("slots_enough", detail)
            }
        };
        if self.notices.len() < MOST_NOTICES {
            self.notices.push(notice);
        }
    }
}

impl Usage {
    /// Forgets a backend without servers.
    pub(super) fn forget(&mut self, backend: &Name) {
        let before = self.of.remove(backend).unwrap_or_default();
        self.total = self.total.minus(before);
        self.forecasts.remove(backend);
        self.spares.remove(backend);
    }
}

impl Planner {
    /// The use of all backends' slots together, as of the last plan.
    #[must_use]
    pub fn slot_use(&self) -> SlotUse {
        self.usage.total
    }

    /// The number of spare backends without a service, as of the last plan.
    #[must_use]
    pub fn spare_backends(&self) -> u64 {
        self.usage.spares.len() as u64
    }

    /// The notices of slots since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.usage.notices)
    }
}
