//! One backend, one service (I1): which service a backend belongs to, and which names no service may take.

use lb_core::{Endpoint, Name, Unmet, UnmetReason};

use super::{super::want::Wants, Planner};
use crate::{
    policy::DynamicBackends,
    routes::{NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP},
};

/// A service without a backend, because its own is another service's or reserved.
#[derive(Debug, Clone)]
pub(super) struct Withheld {
    /// Its endpoints, kept for the time when the backend is free.
    pub(super) wants: Wants,
    pub(super) cause: Cause,
    /// The reason, naming the backend and what it belongs to.
    detail: String,
}

/// Why a service has no backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its own belongs to another service, or is reserved.
    Taken,
    /// Its own is outside of what is managed.
    NotManaged,
}

impl Planner {
    /// The services that have a backend, with its name. No two of them have the same.
    pub fn bindings(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.bindings
            .iter()
            .filter(|(service, _)| self.services.contains_key(*service))
    }

    /// The reason for which a service may not have this backend as its own.
    pub(super) fn taken(&self, service: &Name, own: &Name) -> Option<String> {
        let policy = &self.policy;
        let configured = policy.backends.contains_key(service);
        if let Some(owner) = self.owner_but(service, own) {
            return Some(format!(
                "backend {own} is that of service {owner}, expected one service for one backend; map {service} to \
                 another backend in policy.backends"
            ));
        }
        if configured {
            return None;
        }
        let reserved = |what: &str, option: &str| {
            Some(format!(
                "backend {own} has a name that is reserved for {what}; rename service {service}, map it to another \
                 backend in policy.backends, or change policy.{option}"
            ))
        };
        if [NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP].contains(&own.as_str()) {
            return reserved("requests without a service", "backend_prefix");
        }
        let begins = |prefix: &String| !prefix.is_empty() && own.as_str().starts_with(prefix);
        for (prefix, option) in [
            (&policy.spare_http, "spare_http"),
            (&policy.spare_tcp, "spare_tcp"),
        ] {
            // A backend prefix of that kind gives every service such a name, and none is spare.
            if begins(prefix) && !policy.backend_prefix.starts_with(prefix) {
                return reserved("spare backends", option);
            }
        }
        let makes =
            policy.backend_defaults.is_some() && policy.dynamic_backends != DynamicBackends::Never;
        if makes
            && begins(&policy.dynamic_backend_prefix)
            && policy.dynamic_backend_of(service) != *own
        {
            return reserved("backends made at run time", "dynamic_backend_prefix");
        }
        None
    }

    /// Returns `true` if the configuration gives a backend to a service.
    pub(super) fn is_configured(&self, backend: &Name) -> bool {
        self.policy.backends.values().any(|given| given == backend)
    }

    /// The service other than this one that a backend belongs to: by the configuration, by the map of services, or
    /// because it serves there. A service that is gone keeps it until its last server is free.
    pub(super) fn owner_but(&self, service: &Name, backend: &Name) -> Option<&Name> {
        let policy = &self.policy;
        let configured = policy.backends.get(service) == Some(backend);
        let by_policy = policy
            .backends
            .iter()
            .find(|(other, given)| *given == backend && *other != service)
            .map(|(other, _)| other);
        if !configured && by_policy.is_some() {
            return by_policy;
        }
        let assigned = self.routes.services().iter();
        let by_map = assigned
            .filter(|_| !configured)
            .find(|(other, given)| {
                *given == backend && *other != service && self.services.contains_key(*other)
            })
            .map(|(other, _)| other);
        by_map.or_else(|| {
            let known = self.backends.get(backend)?;
            let holder = known.service.as_ref().filter(|holder| *holder != service)?;
            let serves = self.services.contains_key(holder) && !self.withheld.contains_key(holder);
            (serves || !self.is_vacant(known)).then_some(holder)
        })
    }

    /// Leaves a service without a backend.
    pub(super) fn withhold(&mut self, service: &Name, detail: String, cause: Cause) {
        self.homeless.remove(service);
        if self.bindings.remove(service).is_some() {
            self.places_changed = true;
            self.routes.recompile();
        }
        if !self.services.contains_key(service) {
            self.withheld.remove(service);
            return;
        }
        match self.withheld.get_mut(service) {
            Some(withheld) => (withheld.detail, withheld.cause) = (detail, cause),
            None => {
                let withheld = Withheld {
                    wants: Wants::default(),
                    cause,
                    detail,
                };
                self.places_changed = true;
                self.withheld.insert(service.clone(), withheld);
            }
        }
    }

    /// Updates the endpoints of a service without a backend.
    pub(super) fn want_withheld(
        &mut self,
        service: &Name,
        id: &Name,
        before: Option<&Endpoint>,
        after: Option<&Endpoint>,
    ) {
        if let Some(withheld) = self.withheld.get_mut(service) {
            withheld.wants.change(id, before, after);
        }
    }

    /// The services without a backend, each with the reason.
    pub(super) fn unmet_withheld(&self) -> impl Iterator<Item = Unmet> {
        self.withheld.iter().map(|(service, withheld)| {
            let (service, detail) = (service.clone(), withheld.detail.clone());
            let reason = match withheld.cause {
                Cause::Taken => UnmetReason::Conflict,
                Cause::NotManaged => UnmetReason::NotManaged,
            };
            Unmet::new(service, None, reason, detail)
        })
    }
}
