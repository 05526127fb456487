//! The backends that this planner manages. Nothing is planned for any other, whatever is desired.

use std::collections::BTreeSet;

use lb_core::Name;

use super::{super::backend::Backend, Planner, ownership::Cause};
use crate::scope::Scope;

/// The planner's part of HAProxy.
#[derive(Debug, Clone, Default)]
pub(super) struct Managed {
    scope: Scope,
    /// Backends that were observed and belong to somebody else.
    others: BTreeSet<Name>,
}

impl Planner {
    /// The same planner for these backends only. What it observes of others is forgotten at once.
    #[must_use]
    pub fn managing(mut self, scope: Scope) -> Self {
        self.routes.share(&scope);
        self.managed.scope = scope;
        self
    }

    /// Returns `true` if a backend may be changed; notes that it is there otherwise.
    pub(super) fn observe_owned(&mut self, backend: &Name, has_servers: bool) -> bool {
        let owned = self.owns(backend);
        if !owned && has_servers && !self.managed.others.contains(backend) {
            self.managed.others.insert(backend.clone());
            self.places_changed = true;
        }
        owned
    }

    /// Updates which backends there are that belong to others.
    pub fn observe_others(&mut self, others: BTreeSet<Name>) {
        self.managed.others = others;
        self.places_changed = true;
    }

    /// Forgets backends that HAProxy does not have any more and that no service asks for, so that names that come and go
    /// take no memory.
    pub fn forget_gone(&mut self) {
        let gone = |(name, backend): &(&Name, &Backend)| {
            backend.slots.is_empty()
                && backend.service.is_none()
                && backend.wants.len() == 0
                && !backend.listed
                && !self.dirty.contains(*name)
                && !self.waiting.contains_key(*name)
                && !self.blocking.contains_key(*name)
        };
        let gone: Vec<Name> = self
            .backends
            .iter()
            .filter(gone)
            .map(|(name, _)| name.clone())
            .collect();
        self.places_changed |= !gone.is_empty();
        for name in gone {
            self.backends.remove(&name);
            self.conditions.remove(&name);
            self.usage.forget(&name);
        }
    }

    /// Returns `true` if every backend may be changed.
    #[must_use]
    pub fn manages_all(&self) -> bool {
        self.managed.scope.is_all()
    }

    /// Returns `true` if a backend may be changed.
    pub(crate) fn owns(&self, backend: &Name) -> bool {
        self.managed.scope.owns(backend)
    }

    /// Returns `true` if HAProxy has this backend and it may not be changed.
    pub(super) fn is_of_others(&self, backend: &Name) -> bool {
        self.managed.others.contains(backend)
    }

    /// Leaves a service without a backend because the backend is outside of what is managed.
    pub(super) fn leave_to_others(&mut self, service: &Name, backend: &Name) {
        let detail = format!(
            "backend {backend} is outside of `manage` ({}); add it there, or map service {service} to a backend that \
             is managed",
            self.managed.scope
        );
        self.withhold(service, detail, Cause::NotManaged);
    }

    /// The services whose routes are left to the one who manages their backend.
    pub(super) fn left_to_others(&self) -> BTreeSet<Name> {
        self.withheld
            .iter()
            .filter(|(_, withheld)| withheld.cause == Cause::NotManaged)
            .map(|(service, _)| service.clone())
            .collect()
    }
}
