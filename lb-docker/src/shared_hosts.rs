//! What containers state of the hosts that they share: nginx-proxy makes one server of all containers of a host.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{
    Diagnostic, Record, RouteHost,
    model::{leads_to_none, withheld},
};
use lb_schemes::{Diagnostics, SharedHost};

/// The statements of each object about hosts.
#[derive(Debug, Default)]
pub(crate) struct SharedHosts {
    by_host: BTreeMap<RouteHost, BTreeMap<String, Effect>>,
    by_object: BTreeMap<String, BTreeSet<RouteHost>>,
}

/// The statement that holds for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Effect {
    restricted: bool,
    redirect_https: bool,
}

impl SharedHosts {
    /// Takes in all that one object states now. Answers with the other objects for which that changes something.
    pub(crate) fn set<'a>(
        &mut self,
        object: &str,
        stated: impl Iterator<Item = &'a SharedHost>,
    ) -> BTreeSet<String> {
        let mut now: BTreeMap<&RouteHost, Effect> = BTreeMap::new();
        for shared in stated {
            let effect = now.entry(&shared.host).or_default();
            effect.restricted |= shared.restricted;
            effect.redirect_https |= shared.redirect_https;
        }
        let mut hosts = self.by_object.remove(object).unwrap_or_default();
        hosts.extend(now.keys().map(|host| (*host).clone()));
        let mut others = BTreeSet::new();
        for host in &hosts {
            let before = self.effect(host);
            let objects = self.by_host.entry(host.clone()).or_default();
            match now.get(host) {
                Some(effect) => objects.insert(object.to_owned(), *effect),
                None => objects.remove(object),
            };
            if objects.is_empty() {
                self.by_host.remove(host);
            }
            if before != self.effect(host)
                && let Some(objects) = self.by_host.get(host)
            {
                others.extend(objects.keys().filter(|other| *other != object).cloned());
            }
        }
        if !now.is_empty() {
            let hosts = now.into_keys().cloned().collect();
            self.by_object.insert(object.to_owned(), hosts);
        }
        others
    }

    /// The record with what holds for the hosts that its object shares.
    pub(crate) fn apply(&self, record: Record, stated: &[SharedHost]) -> Record {
        if stated.is_empty() {
            return record;
        }
        let routes = record.routes.iter().cloned().map(|mut route| {
            if !stated.iter().any(|shared| shared.host == route.host) {
                return route;
            }
            let effect = self.effect(&route.host);
            if effect.restricted {
                route.service = withheld();
                route.strip_prefix = false;
                route.redirect_https = false;
            } else if !leads_to_none(&route.service) {
                route.redirect_https |= effect.redirect_https;
            }
            route
        });
        let routes = routes.collect::<Vec<_>>();
        record.with_routes(routes)
    }

    /// Says of which hosts an object loses its routes because another one is restricted.
    pub(crate) fn lost(&self, object: &str, stated: &[SharedHost]) -> Vec<Diagnostic> {
        let mut diagnostics = Diagnostics::new(object);
        for shared in stated {
            if !shared.restricted && self.effect(&shared.host).restricted {
                diagnostics.withhold(
                    "VIRTUAL_HOST",
                    format!("another container of the host {} is restricted, which holds for the host, as there: requests of it are answered with 503 unless allow_unprotected names what restricts the other", shared.host),
                );
            }
        }
        diagnostics.into_inner()
    }

    fn effect(&self, host: &RouteHost) -> Effect {
        let objects = self
            .by_host
            .get(host)
            .into_iter()
            .flat_map(BTreeMap::values);
        objects.fold(Effect::default(), |all, one| Effect {
            restricted: all.restricted || one.restricted,
            redirect_https: all.redirect_https || one.redirect_https,
        })
    }
}
