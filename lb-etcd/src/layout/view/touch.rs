//! Which records change with keys that are about something else.

use std::collections::BTreeSet;

use lb_core::Name;
use lb_schemes::Proportion;

use super::{
    super::{fact::Fact, rules::Subject},
    Entity, ServiceView, View,
};

impl View {
    /// Touches the routes that name middlewares, as one changed.
    pub(super) fn touch_routers(&self, touched: &mut BTreeSet<Subject>) {
        let is_middleware = |subject: &Subject| matches!(subject, Subject::Middleware { .. });
        if !touched.iter().any(is_middleware) {
            return;
        }
        let routes = self.routes.iter();
        let named = routes.filter(|(_, entity)| self.names_middlewares(entity));
        touched.extend(named.map(|(id, _)| Subject::Route { id: id.clone() }));
    }

    /// Counts the services of which no route may be served; where one comes or goes, all routes of it change.
    pub(super) fn bar(&mut self, touched: &mut BTreeSet<Subject>) {
        let mut changed: BTreeSet<Name> = BTreeSet::new();
        let bars: Vec<(Subject, Option<Name>)> = touched
            .iter()
            .filter_map(|subject| {
                let bars = self.bars(subject);
                let before = self.known(subject).and_then(|entity| entity.bars.as_ref());
                (bars.as_ref() != before).then(|| (subject.clone(), bars))
            })
            .collect();
        for (subject, bars) in bars {
            let before = std::mem::replace(&mut self.entity(&subject).bars, bars.clone());
            if let Some(service) = bars {
                *self.barred.entry(service.clone()).or_default() += 1;
                changed.insert(service);
            }
            if let Some(service) = before {
                let left = self.barred.get(&service).map_or(0, |count| count - 1);
                match left {
                    0 => self.barred.remove(&service),
                    left => self.barred.insert(service.clone(), left),
                };
                changed.insert(service);
            }
        }
        for service in changed {
            let name = self.tree_name(&service);
            let of_service = |entity: &Entity| {
                entity
                    .record
                    .as_ref()
                    .is_some_and(|record| record.key.service == name)
            };
            let routes = self.routes.iter().filter(|(_, entity)| of_service(entity));
            touched.extend(routes.map(|(id, _)| Subject::Route { id: id.clone() }));
            if let Some(view) = self.services.get(&service) {
                touched.extend(endpoints_of(&service, view));
                if !view.own.keys.is_empty() {
                    touched.insert(Subject::Service {
                        service: service.clone(),
                    });
                }
            }
        }
    }

    /// The service of which no route may be served because of this subject.
    fn bars(&self, subject: &Subject) -> Option<Name> {
        match subject {
            Subject::Endpoint { service, .. } | Subject::Service { service } => {
                let withholds = |entity| self.facts_of(entity).any(|fact| *fact == Fact::Withheld);
                let bars = self.known(subject).is_some_and(withholds);
                bars.then(|| service.clone())
            }
            Subject::Middleware { .. } => None,
            Subject::Route { .. } => self.make(subject).bars,
        }
    }

    fn known(&self, subject: &Subject) -> Option<&Entity> {
        match subject {
            Subject::Endpoint { service, id } => self.services.get(service)?.endpoints.get(id),
            Subject::Middleware { name } => self.middlewares.get(name),
            Subject::Route { id } => self.routes.get(id),
            Subject::Service { service } => self.services.get(service).map(|view| &view.own),
        }
    }

    pub(super) fn is_barred(&self, service: &Name) -> bool {
        self.barred.contains_key(service)
    }

    /// Records that tell what keys of others say change with them: the mode of the service, and its leader.
    pub(super) fn touch_dependent(&self, touched: &mut BTreeSet<Subject>) {
        let mut services: BTreeSet<&Name> = BTreeSet::new();
        let mut elected: BTreeSet<&Name> = BTreeSet::new();
        for subject in &*touched {
            match subject {
                Subject::Service { service } => {
                    services.insert(service);
                    elected.insert(service);
                }
                Subject::Endpoint { service, .. } => {
                    elected.insert(service);
                }
                Subject::Middleware { .. } | Subject::Route { .. } => {}
            }
        }
        let mut more = BTreeSet::new();
        for service in elected {
            let Some(view) = self.services.get(service) else {
                continue;
            };
            // Whether it names an endpoint changes with them.
            if self.leader_of(view).is_some() {
                more.insert(Subject::Service {
                    service: service.clone(),
                });
            }
            // All endpoints of a service are elected or none is.
            let first = view
                .endpoints
                .values()
                .find(|entity| !entity.keys.is_empty());
            if first.is_some_and(|entity| self.is_elected(entity)) {
                more.extend(endpoints_of(service, view));
            }
        }
        for service in services {
            let Some(view) = self.services.get(service) else {
                continue;
            };
            let before = view.own.record.as_ref().map(|record| record.mode);
            if before.unwrap_or_default() == self.mode_of(service).unwrap_or_default() {
                continue;
            }
            more.extend(endpoints_of(service, view));
            more.extend(
                self.routes
                    .iter()
                    .filter(|(_, entity)| {
                        entity
                            .record
                            .as_ref()
                            .is_some_and(|record| record.key.service == *service)
                    })
                    .map(|(id, _)| Subject::Route { id: id.clone() }),
            );
        }
        touched.extend(more);
    }

    /// Where a weight is beyond the range, those of the whole service change with each of its servers.
    pub(super) fn touch_weights(&mut self, touched: &mut BTreeSet<Subject>) {
        let mut services: BTreeSet<Name> = BTreeSet::new();
        for subject in &*touched {
            let Subject::Endpoint { service, id } = subject else {
                continue;
            };
            let entity = self.known(subject);
            let now = entity.is_some_and(|entity| self.is_beyond(entity));
            let Some(view) = self.services.get_mut(service) else {
                continue;
            };
            if let Some(entity) = view.endpoints.get_mut(id) {
                let before = std::mem::replace(&mut entity.beyond, now);
                view.beyond += usize::from(now);
                view.beyond -= usize::from(before);
            }
            if view.beyond > 0 || view.proportion != Proportion::default() {
                services.insert(service.clone());
            }
        }
        for service in services {
            let Some(view) = self.services.get(&service) else {
                continue;
            };
            let written = view
                .endpoints
                .values()
                .filter_map(|entity| self.written_weight(entity));
            let proportion = Proportion::of(written);
            if proportion != view.proportion {
                touched.extend(endpoints_of(&service, view));
                if let Some(view) = self.services.get_mut(&service) {
                    view.proportion = proportion;
                }
            }
        }
    }

    /// Returns `true` if the endpoint's weight is beyond the range.
    pub(super) fn is_beyond(&self, entity: &Entity) -> bool {
        let is_written = |fact: &Fact| matches!(fact, Fact::WrittenWeight(_));
        self.facts_of(entity).any(is_written)
    }

    pub(super) fn is_elected(&self, entity: &Entity) -> bool {
        self.facts_of(entity).any(|fact| *fact == Fact::Elected)
    }
}

pub(super) fn endpoints_of<'v>(
    service: &'v Name,
    view: &'v ServiceView,
) -> impl Iterator<Item = Subject> + 'v {
    view.endpoints.keys().map(|id| Subject::Endpoint {
        service: service.clone(),
        id: id.clone(),
    })
}
