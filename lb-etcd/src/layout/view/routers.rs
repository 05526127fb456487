//! The routers of Traefik: what their keys come to, with the middlewares that they name.

use std::collections::BTreeSet;

use lb_core::{Name, Record, RecordKey, model::withheld};
use lb_schemes::{
    Diagnostics,
    traefik::{Middlewares, Outcome, Protocol, Router, RouterKeys},
};

use super::{
    super::{
        fact::{Complaint, Fact},
        rules::Subject,
        traefik::{RouterName, TCP, Tree, TreeKey, UNKNOWN_ROUTER, tree_service},
    },
    Entity, Made, ServiceView, View,
};

/// The most middlewares that one router may reach.
const MAX_MIDDLEWARES: usize = 64;

impl View {
    /// The router that a route is of, if it is one of Traefik.
    pub(super) fn router_of<'v>(&'v self, entity: &'v Entity) -> Option<&'v RouterName> {
        self.facts_of(entity).find_map(|fact| match fact {
            Fact::Router(router) => Some(&**router),
            _ => None,
        })
    }

    /// Returns `true` if the route names middlewares.
    pub(super) fn names_middlewares(&self, entity: &Entity) -> bool {
        self.tree_keys(entity)
            .any(|key| key.key.starts_with("middlewares"))
    }

    /// The result of a router, and its problems.
    pub(super) fn router(&self, id: &Name, entity: &Entity, name: &RouterName) -> Made {
        let tree = &name.tree;
        let keys: Vec<(String, &str)> = self
            .tree_keys(entity)
            .map(|key| (key.key.to_string(), &*key.value))
            .collect();
        let naming = tree.naming();
        let object = Some(naming.full(name.protocol, "routers", &name.name, ""));
        let has = |wanted: &str| {
            let mut values = keys.iter().filter(|(key, _)| key == wanted);
            values.any(|(_, value)| !value.is_empty())
        };
        if keys.iter().all(|(key, _)| key.starts_with('@')) {
            return Made {
                wrong: vec![Complaint::value(UNKNOWN_ROUTER).secret()],
                ..Made::default()
            };
        }
        let is_named = has("service");
        let incomplete = || {
            // Keys come one by one.
            let message = "the route is not complete yet, expected its rule and its service";
            Made {
                wrong: vec![Complaint::value(message).tolerated()],
                object: object.clone(),
                ..Made::default()
            }
        };
        if !has("rule") {
            return incomplete();
        }
        let mut diagnostics = Diagnostics::new("");
        let router = RouterKeys {
            protocol: name.protocol,
            name: &name.name,
            keys: &keys,
            naming,
            default_rule: None,
        }
        .read(
            tree.options(),
            &self.middlewares_of(tree, &keys),
            &mut diagnostics,
        );
        // One that is withheld needs no service: it leads to none.
        let withholds = matches!(
            router.outcome,
            Outcome::Withheld(_) | Outcome::WithheldService(_)
        );
        if !is_named && !withholds {
            return incomplete();
        }
        let service = router.service.as_deref().unwrap_or(&name.name);
        let service = Some(tree_service(name.protocol, service));
        let service = service.filter(|_| router.outcome != Outcome::LeftOut);
        let wrong = diagnostics.into_inner().into_iter().map(|found| Complaint {
            field: found.field,
            secret: found.value.is_none(),
            found: found.value,
            message: found.message,
            severity: found.severity,
        });
        Made {
            record: service
                .as_ref()
                .and_then(|service| self.router_record(id, service, name.protocol, &router)),
            wrong: wrong.collect(),
            object,
            bars: service
                .filter(|_| is_named && matches!(router.outcome, Outcome::WithheldService(_))),
        }
    }

    fn router_record(
        &self,
        id: &Name,
        service: &Name,
        protocol: Protocol,
        router: &Router,
    ) -> Option<Record> {
        let own = self.tree_name(service);
        let mut routes = router.routes(&own);
        if routes.is_empty() {
            return None;
        }
        if self.is_barred(service) {
            for route in &mut routes {
                route.service = withheld();
                route.strip_prefix = false;
                route.redirect_https = false;
            }
        }
        let key = RecordKey::new(own, Name::from_text(&format!("route:{id}")));
        let mode = match protocol {
            Protocol::Http => lb_core::Mode::Http,
            Protocol::Tcp => lb_core::Mode::Tcp,
        };
        Some(Record::declare(key).with_mode(mode).with_routes(routes))
    }

    /// The name of a service of Traefik. One of TCP gets another name where one of HTTP has servers under its own.
    pub(super) fn tree_name(&self, service: &Name) -> Name {
        let Some(own) = service.as_str().strip_prefix(TCP) else {
            return service.clone();
        };
        let own = Name::from_text(own);
        let has_servers = |view: &ServiceView| {
            let mut endpoints = view.endpoints.values();
            endpoints.any(|entity| !entity.keys.is_empty())
        };
        if self.services.get(&own).is_some_and(has_servers) {
            Name::from_text(&format!("{own}-tcp"))
        } else {
            own
        }
    }

    /// Touches the services of TCP with the name of one of HTTP: they may change their name when its servers come or
    /// go.
    pub(super) fn touch_namesakes(&self, touched: &mut BTreeSet<Subject>) {
        if !self.has_tcp {
            return;
        }
        let mut more = BTreeSet::new();
        for subject in &*touched {
            let Subject::Endpoint { service, .. } = subject else {
                continue;
            };
            let namesake = tree_service(Protocol::Tcp, service.as_str());
            let name = self.tree_name(&namesake);
            let stale = |entity: &Entity| {
                let record = entity.record.as_ref();
                record.is_some_and(|record| record.key.service != name)
            };
            if let Some(view) = self.services.get(&namesake)
                && view.endpoints.values().any(stale)
            {
                more.extend(super::touch::endpoints_of(&namesake, view));
            }
            let of_namesake = |entity: &Entity| {
                self.router_of(entity)
                    .is_some_and(|router| router.protocol == Protocol::Tcp)
                    && entity.record.as_ref().is_some_and(|record| {
                        let found = record.key.service.as_str();
                        found.strip_suffix("-tcp").unwrap_or(found) == service.as_str()
                    })
            };
            let routes = self.routes.iter().filter(|(_, entity)| of_namesake(entity));
            more.extend(routes.map(|(id, _)| Subject::Route { id: id.clone() }));
        }
        touched.extend(more);
    }

    /// The definitions of the middlewares that these keys name, and of those that they call.
    fn middlewares_of(&self, tree: &Tree, keys: &[(String, &str)]) -> Middlewares<'_> {
        let mut known = Middlewares::default();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut left: Vec<String> = keys
            .iter()
            .filter(|(key, _)| key.starts_with("middlewares"))
            .flat_map(|(_, value)| references(value))
            .collect();
        while let Some(name) = left.pop() {
            if seen.len() >= MAX_MIDDLEWARES || !seen.insert(name.clone()) {
                continue;
            }
            let Some(entity) = self.middlewares.get(&tree.middleware(&name)) else {
                continue;
            };
            for key in self.tree_keys(entity) {
                known.add(&name, &key.key, &key.value);
                if key.key.starts_with("chain.middlewares") {
                    left.extend(references(&key.value));
                }
            }
        }
        known
    }

    fn tree_keys<'v>(&'v self, entity: &'v Entity) -> impl Iterator<Item = &'v TreeKey> {
        self.facts_of(entity).filter_map(|fact| match fact {
            Fact::TreeKey(key) => Some(key),
            _ => None,
        })
    }
}

/// The names in a list of middlewares, in lower case and without what names their provider.
fn references(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').map(|name| {
        name.split('@')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase()
    })
}
