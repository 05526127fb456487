//! Which backend serves which service.

use std::collections::BTreeSet;

use lb_core::{Condition, ConditionKind, Mode, Name};

use super::{
    super::backend::{Backend, Role},
    Planner,
    ownership::Cause,
    preferred_place,
};
use crate::{policy::DynamicBackends, proto::AdminState};

impl Planner {
    /// The backend of a service: its own, else the one made for it at run time, else the spare one it has, else a free
    /// spare one or one to be made at run time, else its own all the same, which is then missing.
    ///
    /// `None` where its own is another service's or reserved: it has no backend then, and waits.
    pub(super) fn bind(&mut self, service: &Name) -> Option<Name> {
        let own = self.policy.backend_of(service);
        if let Some(taken) = self.taken(service, &own) {
            self.withhold(service, taken, Cause::Taken);
            return None;
        }
        if self.is_of_others(&own) {
            self.leave_to_others(service, &own);
            return None;
        }
        let has_servers = |name: &Name| {
            self.backends
                .get(name)
                .is_some_and(|backend| !backend.slots.is_empty())
        };
        let assigned = self
            .routes
            .services()
            .backend_of(service)
            .filter(|name| has_servers(name) && self.owner_but(service, name).is_none());
        let assigned = assigned.cloned();
        let made = self.policy.dynamic_backend_of(service);
        let made_is_its = has_servers(&made) && self.owner_but(service, &made).is_none();
        let dynamic = self
            .dynamic_backend(service)
            .filter(|name| self.owns(name) && self.owner_but(service, name).is_none());
        let first = self.policy.dynamic_backends == DynamicBackends::Always;
        let bound = if has_servers(&own) {
            own
        } else if made_is_its {
            made
        } else if let Some(spare) = assigned {
            spare
        } else if let Some(dynamic) = dynamic.clone().filter(|_| first) {
            dynamic
        } else if let Some(spare) = self.free_spare(service) {
            self.routes.assign(service.clone(), spare.clone());
            self.spares_given += 1;
            spare
        } else if dynamic.is_none() && !self.owns(&own) {
            self.leave_to_others(service, &own);
            return None;
        } else {
            dynamic.clone().unwrap_or(own)
        };
        let has_servers = |name: &Name| {
            self.backends
                .get(name)
                .is_some_and(|backend| !backend.slots.is_empty())
        };
        if has_servers(&bound)
            || dynamic.as_ref() == Some(&bound)
            || !self.services.contains_key(service)
        {
            self.homeless.remove(service);
        } else {
            self.homeless.insert(service.clone());
        }
        let before = self.bindings.insert(service.clone(), bound.clone());
        let withheld = self.withheld.remove(service).map(|withheld| withheld.wants);
        if before.as_ref() != Some(&bound) {
            self.places_changed = true;
            self.routes.recompile();
            let left = before.and_then(|before| {
                let left = self.backends.get_mut(&before)?;
                if left.service.as_ref() != Some(service) {
                    return None;
                }
                left.service = None;
                self.dirty.insert(before.clone());
                Some((std::mem::take(&mut left.wants), before))
            });
            let former = left.as_ref().map(|(_, before)| before.clone());
            if let Some(wants) = withheld.or_else(|| left.map(|(wants, _)| wants)) {
                let rule = self.rules.get(service).copied();
                let entered = self.backend_mut(&bound);
                entered.wants = wants;
                entered.service = Some(service.clone());
                entered.take_rule(rule);
                entered.formerly.extend(former);
                self.dirty.insert(bound.clone());
            }
        }
        Some(bound)
    }

    /// A spare backend of the service's mode that serves nobody, rests no more, and to which no route leads any more.
    fn free_spare(&self, service: &Name) -> Option<Name> {
        let prefix = match self.services.get(service)? {
            Mode::Tcp => &self.policy.spare_tcp,
            _ => &self.policy.spare_http,
        };
        let taken: BTreeSet<&Name> = self
            .routes
            .services()
            .iter()
            .map(|(_, backend)| backend)
            .collect();
        let free: Vec<&Name> = self
            .backends
            .iter()
            .filter(|(name, backend)| {
                !prefix.is_empty()
                    && name.as_str().starts_with(prefix.as_str())
                    && !self.is_configured(name)
                    && !taken.contains(name)
                    && backend.service.is_none()
                    && !self.routes.lead_to(name)
                    && !backend.slots.is_empty()
                    && self.is_vacant(backend)
            })
            .map(|(name, _)| name)
            .collect();
        let place = preferred_place(service.as_str(), free.len())?;
        free.get(place).map(|name| (*name).clone())
    }

    /// Says of services with a spare backend that HAProxy has no map that remembers it.
    pub(super) fn unrecorded_spares(&self) -> Option<Condition> {
        if !self.maps_known || self.routes.records_services() {
            return None;
        }
        let spares = self.routes.services().iter();
        let mut bound =
            spares.filter(|(service, spare)| self.bindings.get(*service) == Some(*spare));
        let (service, spare) = bound.next()?;
        let others = match bound.count() {
            0 => String::new(),
            count => format!(", as {count} others do"),
        };
        let map = &self.policy.service_map;
        let detail = format!(
            "service {service} has the spare backend {spare}{others}, and HAProxy loads no map {map}: each restart of lb \
             and each reload moves services to other spare backends, and requests fail while they move"
        );
        let help = format!(
            "add to a backend of haproxy.cfg: http-request set-var(txn.lb_service) str(-),map_str(/etc/haproxy/{map}) if \
             {{ always_false }}"
        );
        let condition = Condition::new(ConditionKind::Diagnostic, detail);
        Some(condition.of_object(map.as_str()).with_help(help))
    }

    pub(super) fn is_vacant(&self, backend: &Backend) -> bool {
        let roles = backend.roles(&self.policy);
        backend
            .slots
            .iter()
            .zip(&roles)
            .all(|(slot, role)| match role {
                Role::Free => slot.server.admin == AdminState::Maint,
                Role::Foreign => true,
                _ => false,
            })
    }

    /// Gives spare backends back whose service is gone and whose slots are all free, and tries to find one for services
    /// that still have none.
    pub(super) fn rebind(&mut self) {
        if self.partial {
            return;
        }
        let gone: Vec<(Name, Name)> = self
            .routes
            .services()
            .iter()
            .filter(|(service, _)| !self.services.contains_key(*service))
            .filter(|(_, backend)| {
                self.backends
                    .get(*backend)
                    .is_none_or(|backend| self.is_vacant(backend))
            })
            // As long as requests are led there, it must not become somebody else's.
            .filter(|(_, backend)| !self.routes.lead_to(backend))
            .map(|(service, backend)| (service.clone(), backend.clone()))
            .collect();
        for (service, spare) in gone {
            self.places_changed = true;
            self.routes.release(&service);
            self.bindings.remove(&service);
            if let Some(backend) = self.backends.get_mut(&spare) {
                backend.service = None;
            }
        }
        // However many of them change all the time: where there was no place there is none now.
        if !std::mem::take(&mut self.places_changed) {
            return;
        }
        let homeless: Vec<Name> = self.homeless.iter().cloned().collect();
        for service in homeless {
            self.bind(&service);
        }
        let withheld: Vec<Name> = self.withheld.keys().cloned().collect();
        for service in withheld {
            self.bind(&service);
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{Endpoint, Snapshot, model::Changes};

    use super::*;
    use crate::{capability::Capabilities, policy::Policy};

    #[test]
    fn services_without_a_backend_look_for_one_only_when_a_place_may_have_come_up() {
        let mut planner = Planner::new(Policy::default(), Capabilities::of(3, 0));
        let web: Name = "web".parse().unwrap();
        let mut old = Snapshot::default();
        for port in 1..=5_u16 {
            let mut edit = old.edit();
            let endpoint = Endpoint::new(([10, 0, 0, 1], port).into());
            edit.set_endpoint(&web, &"a".parse().unwrap(), endpoint);
            let new = edit.commit().unwrap();
            planner.desire(&old, &new, &new.changes_since(old.generation()));
            assert_eq!(planner.places_changed, port == 1, "{port}");
            let plan = planner.plan(std::time::Duration::ZERO);
            assert_eq!(plan.unmet.len(), 1, "{plan}");
            // What was found may be a place for another one.
            planner.plan(std::time::Duration::ZERO);
            assert!(!planner.places_changed, "{port}");
            old = new;
        }
        planner.desire(&old, &old, &Changes::Everything);
        assert!(planner.places_changed);
    }
}
