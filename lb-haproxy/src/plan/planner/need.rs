//! What only a reload could give, and what one would take away.

use std::collections::BTreeMap;

use lb_core::Name;

use super::Planner;
use crate::growth::Need;

impl Planner {
    /// The needs that only a reload could meet.
    pub(super) fn need(&self) -> Need {
        let mut need = Need::default();
        for (name, waiting) in &self.waiting {
            if waiting.short > 0
                && let Some(backend) = self.backends.get(name)
            {
                let short = u32::try_from(waiting.short).unwrap_or(u32::MAX);
                need.lack(name, backend.declared_slots(&self.policy), short);
            }
        }
        for service in &self.homeless {
            let waits = |name: &Name| {
                let backend = self.backends.get(name);
                backend.is_some_and(|backend| backend.wants.len() > 0)
            };
            if self.bindings.get(service).is_some_and(waits)
                && let Some(mode) = self.services.get(service)
            {
                need.backends.insert(service.clone(), *mode);
            }
        }
        need
    }

    /// How many of the endpoints in `need` get a slot that is leaving or resting, by backend.
    pub(super) fn waits_for_slot(&self, need: &Need) -> BTreeMap<Name, u32> {
        let waits = need.slots.iter().filter_map(|(backend, lack)| {
            let soon = self.waiting.get(backend)?.soon;
            let count = lack.short.min(u32::try_from(soon).unwrap_or(u32::MAX));
            (count > 0).then(|| (backend.clone(), count))
        });
        waits.collect()
    }

    /// `need`, and slots for the servers made at run time: a reload would take those away.
    #[must_use]
    pub fn with_dynamic_servers(&self, need: &Need) -> Need {
        let mut need = need.clone();
        for (name, backend) in &self.backends {
            let count = backend
                .slots
                .iter()
                .filter(|slot| self.policy.is_dynamic_name(&slot.server.name))
                .count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let declared = backend.declared_slots(&self.policy);
            if count > 0 && declared == 0 && self.policy.is_dynamic_backend_name(name) {
                let service = backend.service.as_ref();
                let mode = service.and_then(|service| self.services.get(service));
                need.made
                    .insert(name.clone(), (mode.copied().unwrap_or_default(), count));
            } else if count > 0 {
                need.lack(name, backend.declared_slots(&self.policy), count);
            }
        }
        need
    }
}
