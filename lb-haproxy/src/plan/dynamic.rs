//! Backends made at run time: when one is made, and when it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::{Mode, Name, Unmet, UnmetReason};

use super::{
    backend::{Backend, Role},
    decide::Decision,
    planner::Planner,
    slot::Refused,
    step::BackendStep,
};

impl Planner {
    /// Returns `true` if backends are made at run time where that helps; [`observe_backends`](Self::observe_backends)
    /// is then to be told of all there are.
    #[must_use]
    pub fn makes_backends(&self) -> bool {
        self.capabilities.use_dynamic_backends(&self.policy).is_ok()
            && self.capabilities.use_dynamic_servers(&self.policy).is_ok()
    }

    /// Takes in which backends there are: one made at run time may have no servers, and is then seen nowhere else.
    pub fn observe_backends(&mut self, names: &[Name]) {
        self.places_changed = true;
        for backend in self.backends.values_mut() {
            backend.listed = false;
        }
        for name in names {
            if self.policy.is_dynamic_backend_name(name) && self.owns(name) {
                self.backend_mut(name).listed = true;
                self.dirty.insert(name.clone());
            }
        }
    }

    /// Takes in that a backend was made or removed.
    pub fn backend_done(&mut self, step: &BackendStep) {
        self.places_changed = true;
        match step {
            BackendStep::Create { backend, .. } => {
                if let Some(known) = self.backends.get_mut(backend) {
                    known.listed = true;
                    known.no_such_change = None;
                }
            }
            BackendStep::Remove { backend } => {
                if let Some(known) = self.backends.get_mut(backend) {
                    known.listed = false;
                    known.no_such_change = None;
                }
            }
        }
    }

    /// Takes in that HAProxy refused to make or remove a backend: it is not tried again before a time.
    pub fn backend_refused(&mut self, step: &BackendStep, detail: String, now: Duration) {
        let name = step.backend();
        if let Some(known) = self.backends.get_mut(name) {
            let earlier = known.no_such_change.as_ref();
            known.no_such_change = Some(Refused::again(earlier, detail, now));
        }
        self.routes.recompile();
        self.dirty.insert(name.clone());
    }

    /// The backend to make at run time for a service, where that can be.
    pub(super) fn dynamic_backend(&self, service: &Name) -> Option<Name> {
        let desired = self.services.contains_key(service);
        (desired && self.makes_backends()).then(|| self.policy.dynamic_backend_of(service))
    }

    /// Backends to make now: somebody ready waits for them.
    pub(super) fn backends_to_make(
        &mut self,
        looked_at: &BTreeMap<Name, Vec<Role>>,
        now: Duration,
    ) -> Vec<BackendStep> {
        let Ok(defaults) = self.capabilities.use_dynamic_backends(&self.policy) else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        for name in looked_at.keys() {
            let Some(backend) = self.backends.get(name) else {
                continue;
            };
            let Some(service) = &backend.service else {
                continue;
            };
            let refused = backend.no_such_change.as_ref();
            if self.dynamic_backend(service).as_ref() != Some(name)
                || !backend.slots.is_empty()
                || !backend.wants.any_ready()
                || refused.is_some_and(|refused| now < refused.until)
            {
                continue;
            }
            steps.push(BackendStep::Create {
                backend: name.clone(),
                defaults: defaults.clone(),
                mode: self.services.get(service).copied().unwrap_or(Mode::Http),
            });
        }
        if !steps.is_empty() {
            self.routes.recompile();
        }
        steps
    }

    /// Backends made at run time whose service is gone and whose servers are removed.
    pub(super) fn backends_to_remove(
        &mut self,
        looked_at: &BTreeMap<Name, Vec<Role>>,
        now: Duration,
    ) -> Vec<BackendStep> {
        if self.partial || !self.makes_backends() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        for name in looked_at.keys() {
            let Some(backend) = self.backends.get(name) else {
                continue;
            };
            let served = backend.service.as_ref();
            let desired = served.is_some_and(|service| self.services.contains_key(service));
            let refused = backend.no_such_change.as_ref();
            if desired
                || !backend.listed
                || !backend.slots.is_empty()
                || !self.policy.is_dynamic_backend_name(name)
                || refused.is_some_and(|refused| now < refused.until)
            {
                continue;
            }
            steps.push(BackendStep::Remove {
                backend: name.clone(),
            });
        }
        if !steps.is_empty() {
            // No route may lead there when it goes.
            self.routes.recompile();
        }
        steps
    }

    /// Says when a refused change of a backend is tried again, and what waits for it.
    pub(super) fn wait_for_backend(
        &self,
        backend: &Backend,
        decision: &mut Decision,
        now: Duration,
    ) {
        let Some(refused) = backend.no_such_change.as_ref() else {
            return;
        };
        if refused.until <= now {
            return;
        }
        decision.again_at = Some(
            decision
                .again_at
                .map_or(refused.until, |at| at.min(refused.until)),
        );
        if let Some(service) = &backend.service
            && backend.slots.is_empty()
            && backend.wants.any_ready()
        {
            let mut unmet = Unmet::new(
                service.clone(),
                None,
                UnmetReason::Refused,
                format!("backend {} was not made: {}", backend.name, refused.detail),
            );
            unmet.transient = refused.transient;
            decision
                .unmet
                .retain(|unmet| unmet.reason == UnmetReason::Unsupported);
            decision.unmet.push(unmet);
        }
    }

    /// Returns `true` if a backend has no servers only because no endpoint is ready to serve there, or because it is
    /// being made.
    pub(super) fn is_being_made(&self, backend: &Backend, making: &BTreeSet<Name>) -> bool {
        let own = backend
            .service
            .as_ref()
            .and_then(|service| self.dynamic_backend(service));
        making.contains(&backend.name)
            || (own.as_ref() == Some(&backend.name) && !backend.wants.any_ready())
    }
}
