//! The route maps: what they have, what they are to have, and which spare backend serves which service.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::{Mode, Name, Route, Snapshot, Unmet, UnmetReason, model::mode_of_none};

use super::{shared_map, slot::Refused, step::MapStep};
use crate::{
    capability::Capabilities,
    policy::Policy,
    proto::{MapEntry, MapKey, MapName},
    routes::{
        Compiled, MapChange, RouteFault, RouteMap, ServiceMap, backend_of_value, compile_http,
        compile_sni,
    },
    scope::Scope,
};

/// The purpose of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Http,
    Services,
    Sni,
}

/// All route maps of one HAProxy.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    maps: BTreeMap<Kind, Map>,
    /// The routes desired, with the mode of their service.
    desired: Vec<(Route, Mode)>,
    /// If `true`, the desired state may lack routes that are still desired.
    partial: bool,
    services: ServiceMap,
    /// If `true`, assignments changed since the map of services was last told.
    reassigned: bool,
    /// Spare backends to which no route may lead yet: the map of services does not say whose they are.
    closed: BTreeSet<Name>,
    stale: bool,
    unmet: Vec<Unmet>,
    /// The backends whose entries are managed, where those are not all.
    scope: Option<Scope>,
    /// Services whose routes are left to another control plane.
    left_out: BTreeSet<Name>,
}

#[derive(Debug, Clone)]
struct Map {
    name: MapName,
    observed: Vec<MapEntry>,
    /// `None` while it is not known: then the map is left as it is.
    wanted: Option<RouteMap>,
    /// Its last refusal of a change, if none was accepted since.
    refused: Option<Refused>,
    /// If `true`, it was found to have what it is to have.
    in_step: bool,
    /// Our own entries, where others have entries too, and all keys that were ours and may still be there.
    own: Option<RouteMap>,
    own_keys: BTreeSet<MapKey>,
    /// Our keys that another has already.
    taken: Vec<MapKey>,
}

impl Map {
    /// Sets what it is to have, but for the entries of others.
    fn want(&mut self, own: RouteMap, scope: Option<&Scope>) {
        self.in_step = false;
        match scope {
            None => self.wanted = Some(own),
            Some(scope) => {
                self.own = Some(own);
                self.share(scope);
            }
        }
    }

    /// Brings what it is to have up to date with the entries of others.
    fn share(&mut self, scope: &Scope) {
        if let Some(own) = &self.own {
            let (wanted, taken) = shared_map::merge(own, &self.observed, &self.own_keys, scope);
            (self.wanted, self.taken) = (Some(wanted), taken);
            let observed: BTreeSet<&str> = self
                .observed
                .iter()
                .map(|entry| entry.key.as_str())
                .collect();
            self.own_keys.retain(|key| observed.contains(key.as_str()));
            self.own_keys
                .extend(own.entries().map(|(key, _)| key.clone()));
        }
    }

    /// Why it is left alone, and until when; `None` where it may be changed.
    fn refusal(&self, now: Duration) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| now < refused.until)
    }

    fn has(&self, key: &Name, value: &Name) -> bool {
        self.observed
            .iter()
            .any(|entry| entry.key == key.as_str() && entry.value == value.as_str())
    }
}

impl Routes {
    /// Takes in which maps HAProxy has.
    pub(super) fn observe_maps(&mut self, files: &[MapName], policy: &Policy) {
        let mut known = std::mem::take(&mut self.maps);
        for file in files {
            let last = file.as_str().rsplit('/').next().unwrap_or_default();
            let kind = if last == policy.route_map {
                Kind::Http
            } else if last == policy.sni_map {
                Kind::Sni
            } else if last == policy.service_map {
                Kind::Services
            } else {
                continue;
            };
            let map = known
                .remove(&kind)
                .filter(|map| map.name == *file)
                .unwrap_or_else(|| Map {
                    name: file.clone(),
                    observed: Vec::new(),
                    wanted: None,
                    refused: None,
                    in_step: false,
                    own: None,
                    own_keys: BTreeSet::new(),
                    taken: Vec::new(),
                });
            self.maps.insert(kind, map);
        }
        self.stale = true;
    }

    /// The maps to be read.
    pub(super) fn names(&self) -> impl Iterator<Item = &MapName> {
        self.maps.values().map(|map| &map.name)
    }

    /// The maps with what they are to have, for their files.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&MapName, &RouteMap)> {
        self.maps
            .values()
            .filter_map(|map| Some((&map.name, map.wanted.as_ref()?)))
    }

    /// Takes in what a map has. At the first time, the map of services tells what an earlier life assigned.
    pub(super) fn observe(&mut self, name: &MapName, entries: Vec<MapEntry>, first: bool) {
        for (kind, map) in &mut self.maps {
            if map.name == *name {
                if *kind == Kind::Services && first {
                    let ours = |entry: &&MapEntry| {
                        let scope = self.scope.as_ref();
                        scope.is_none_or(|scope| shared_map::is_ours(scope, &entry.value))
                    };
                    let ours: Vec<MapEntry> = entries.iter().filter(ours).cloned().collect();
                    self.services = ServiceMap::from_entries(&ours).0;
                    self.reassigned = true;
                }
                map.observed = entries;
                map.in_step = false;
                if let Some(scope) = &self.scope {
                    map.share(scope);
                }
                return;
            }
        }
    }

    /// From now on only entries that lead to backends of `scope` are managed.
    pub(super) fn share(&mut self, scope: &Scope) {
        self.scope = (!scope.is_all()).then(|| scope.clone());
        self.stale = true;
    }

    /// Leaves the routes of these services, and no others, to another control plane.
    pub(super) fn leave_out(&mut self, services: BTreeSet<Name>) {
        self.stale |= self.left_out != services;
        self.left_out = services;
    }

    /// The content that the file of a map is to have, given what HAProxy has in it now.
    pub(super) fn file_of(&self, map: &MapName, observed: &[MapEntry]) -> Option<RouteMap> {
        let known = self.maps.values().find(|known| known.name == *map)?;
        match (&known.own, &self.scope) {
            (Some(own), Some(scope)) => {
                Some(shared_map::merge(own, observed, &known.own_keys, scope).0)
            }
            _ => known.wanted.clone(),
        }
    }

    /// Returns `true` if HAProxy has the map that says which service has which spare backend.
    pub(super) fn records_services(&self) -> bool {
        self.maps.contains_key(&Kind::Services)
    }

    /// The services that have spare backends.
    pub(super) fn services(&self) -> &ServiceMap {
        &self.services
    }

    /// Returns `true` if requests are led to a backend, as last observed.
    pub(super) fn lead_to(&self, backend: &Name) -> bool {
        self.maps
            .iter()
            .filter(|(kind, _)| **kind != Kind::Services)
            .flat_map(|(_, map)| &map.observed)
            .any(|entry| backend_of_value(&entry.value) == backend.as_str())
    }

    /// Until when the map of services, which refused a change, is left without the entry of a spare backend.
    pub(super) fn unrecorded_until(
        &self,
        service: &Name,
        backend: &Name,
        now: Duration,
    ) -> Option<Duration> {
        if self.services.backend_of(service) != Some(backend) {
            return None;
        }
        let map = self.maps.get(&Kind::Services)?;
        let until = map.refusal(now)?.until;
        (!map.has(service, backend)).then_some(until)
    }

    /// Spare backends that wait for their entry and to which no request is led: a route would lead to somebody of whom
    /// HAProxy does not know whom he serves. Those that are in use already go on.
    fn closed(&self, now: Duration) -> BTreeSet<Name> {
        let services = self.maps.get(&Kind::Services);
        let Some(map) = services.filter(|map| map.refusal(now).is_some()) else {
            return BTreeSet::new();
        };
        self.services
            .iter()
            .filter(|(service, backend)| !map.has(service, backend) && !self.lead_to(backend))
            .map(|(_, backend)| backend.clone())
            .collect()
    }

    pub(super) fn assign(&mut self, service: Name, backend: Name) {
        self.services.assign(service, backend);
        self.reassigned = true;
    }

    pub(super) fn release(&mut self, service: &Name) {
        self.services.release(service);
        self.reassigned = true;
    }

    pub(super) fn desire(&mut self, desired: &Snapshot) {
        self.desired = desired
            .routes()
            .map(|route| {
                let service = desired.service(&route.service);
                let mode = mode_of_none(&route.service)
                    .or_else(|| service.map(|service| service.mode()))
                    .unwrap_or_default();
                (route.clone(), mode)
            })
            .collect();
        self.stale = true;
    }

    /// While the desired state is partial, no entry leaves.
    pub(super) fn set_partial(&mut self, partial: bool) {
        self.stale |= self.partial != partial;
        self.partial = partial;
    }

    /// Something that routes lead to has changed its place.
    pub(super) fn recompile(&mut self) {
        self.stale = true;
    }

    pub(super) fn refused(&mut self, name: &MapName, detail: String, now: Duration) {
        for map in self.maps.values_mut().filter(|map| map.name == *name) {
            map.refused = Some(Refused::again(map.refused.as_ref(), detail.clone(), now));
        }
    }

    /// The part of the desired state that is not in effect.
    pub(super) fn unmet(&self, now: Duration) -> Vec<Unmet> {
        let mut unmet = self.unmet.clone();
        for (key, map) in self
            .maps
            .values()
            .flat_map(|map| map.taken.iter().map(move |key| (key, map)))
        {
            let service = self
                .desired
                .iter()
                .find(|(route, _)| key.as_str().starts_with(&route.host.to_string()))
                .or_else(|| self.desired.first())
                .map(|(route, _)| route.service.clone());
            if let Some(service) = service {
                let detail = format!(
                    "map {} has {key} for a backend that another control plane manages; it stays",
                    map.name
                );
                unmet.push(Unmet::new(service, None, UnmetReason::Conflict, detail));
            }
        }
        for (kind, map) in &self.maps {
            let Some(refused) = map.refusal(now) else {
                continue;
            };
            let mode = match kind {
                Kind::Http => Mode::Http,
                Kind::Sni => Mode::Tcp,
                // Who waits for an entry there says so himself.
                Kind::Services => continue,
            };
            if let Some((route, _)) = self.desired.iter().find(|(_, its)| *its == mode) {
                let detail = format!("map {} was not changed: {}", map.name, refused.detail);
                let service = route.service.clone();
                let mut one = Unmet::new(service, None, UnmetReason::Refused, detail);
                one.transient = refused.transient;
                unmet.push(one);
            }
        }
        unmet
    }

    /// Returns `true` if a map is left as it is for now because it refused a change.
    pub(super) fn is_refused(&self, now: Duration) -> bool {
        let mut maps = self.maps.values();
        maps.any(|map| map.refusal(now).is_some())
    }

    /// The change of the map of services: to be made before a spare backend is filled.
    pub(super) fn record(&mut self, capabilities: &Capabilities, now: Duration) -> Vec<MapStep> {
        if std::mem::take(&mut self.reassigned)
            && let Some(map) = self.maps.get_mut(&Kind::Services)
        {
            map.want(self.services.to_map(), self.scope.as_ref());
        }
        self.changes(&[Kind::Services], capabilities, now)
    }

    /// The changes of the maps that frontends look into: to be made when what is new serves and before what is old
    /// leaves. Also tells when to try again what was refused.
    pub(super) fn route(
        &mut self,
        backend_of: impl Fn(&Name) -> Option<Name>,
        capabilities: &Capabilities,
        now: Duration,
    ) -> (Vec<MapStep>, Option<Duration>) {
        let closed = self.closed(now);
        if self.stale || closed != self.closed {
            self.stale = false;
            self.compile(|service| backend_of(service).filter(|backend| !closed.contains(backend)));
            self.closed = closed;
        }
        let steps = self.changes(&[Kind::Http, Kind::Sni], capabilities, now);
        let again = self
            .maps
            .values()
            .filter_map(|map| map.refusal(now).map(|refused| refused.until))
            .min();
        (steps, again)
    }

    fn changes(
        &mut self,
        kinds: &[Kind],
        capabilities: &Capabilities,
        now: Duration,
    ) -> Vec<MapStep> {
        let mut capabilities = capabilities.clone();
        // A transaction would write the entries of others as they were read.
        capabilities.map_transactions &= self.scope.is_none();
        let mut steps = Vec::new();
        for kind in kinds {
            let Some(map) = self.maps.get_mut(kind) else {
                continue;
            };
            if map.in_step {
                continue;
            }
            if map.refusal(now).is_some() {
                continue;
            }
            let Some(wanted) = &map.wanted else {
                continue;
            };
            let change = MapChange::new(&map.name, &map.observed, wanted, &capabilities);
            if change.is_none() {
                map.refused = None;
                map.in_step = true;
            } else {
                steps.push(MapStep {
                    map: map.name.clone(),
                    change,
                });
            }
        }
        steps
    }

    fn compile(&mut self, backend_of: impl Fn(&Name) -> Option<Name>) {
        self.unmet.clear();
        let of_mode = |mode: Mode| {
            let routes: Vec<&Route> = self
                .desired
                .iter()
                .filter(|(_, its)| *its == mode)
                .map(|(route, _)| route)
                .filter(|route| !self.left_out.contains(&route.service))
                .collect();
            routes
        };
        let http = compile_http(of_mode(Mode::Http), &backend_of);
        let sni = compile_sni(of_mode(Mode::Tcp), &backend_of);
        let counts = [of_mode(Mode::Http), of_mode(Mode::Tcp)]
            .map(|routes| routes.first().map(|route| route.service.clone()));
        for ((kind, compiled), first) in [(Kind::Http, http), (Kind::Sni, sni)]
            .into_iter()
            .zip(counts)
        {
            self.take(kind, compiled, first);
        }
    }

    fn take(&mut self, kind: Kind, compiled: Compiled, first: Option<Name>) {
        for issue in compiled.issues.iter().filter(|issue| !issue.is_harmless()) {
            let detail = format!("{issue}: {}", issue.reason);
            let service = issue.route.service.clone();
            let reason = match issue.reason {
                RouteFault::TooManyEntries { .. } => UnmetReason::NoCapacity,
                _ => UnmetReason::Unsupported,
            };
            self.unmet.push(Unmet::new(service, None, reason, detail));
        }
        match (self.maps.get_mut(&kind), first) {
            (Some(map), _) => {
                // What a partial desired state does not name may be the desired state of who has not spoken yet.
                let own = match self.partial {
                    true => with_observed(&compiled.map, &map.observed),
                    false => compiled.map,
                };
                map.want(own, self.scope.as_ref());
            }
            (None, Some(service)) => {
                let what = if kind == Kind::Sni { "TCP" } else { "HTTP" };
                let detail = format!(
                    "HAProxy's configuration names no map for {what} routes; {} routes wait",
                    compiled.map.len()
                );
                self.unmet
                    .push(Unmet::new(service, None, UnmetReason::NeedsReload, detail));
            }
            (None, None) => {}
        }
    }
}

/// The wanted entries, and of the observed ones those of other keys.
fn with_observed(wanted: &RouteMap, observed: &[MapEntry]) -> RouteMap {
    let own = wanted
        .entries()
        .map(|(key, value)| (key.clone(), value.clone()));
    let others = observed
        .iter()
        .filter_map(|entry| Some((entry.key.parse().ok()?, entry.value.parse().ok()?)));
    RouteMap::new(own.chain(others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::{Plan, Stage},
        proto::parse_map_entries,
    };

    const FILE: &str = "/etc/haproxy/routes.map";

    fn route(host: &str, path: &str, priority: i32) -> Route {
        let (host, path) = (host.parse().unwrap(), path.parse().unwrap());
        Route::new(host, path, "shop".parse().unwrap()).with_priority(priority)
    }

    /// Route maps of an HAProxy whose map of HTTP routes has one entry.
    fn found() -> Routes {
        let policy = Policy {
            route_map: "routes.map".to_owned(),
            ..Policy::default()
        };
        let mut routes = Routes::default();
        let file: MapName = FILE.parse().unwrap();
        routes.observe_maps(std::slice::from_ref(&file), &policy);
        let entries = parse_map_entries("0x1 old.example/ old\n").unwrap();
        routes.observe(&file, entries, true);
        routes
    }

    fn steps(routes: &mut Routes) -> Vec<MapStep> {
        let backend_of = |service: &Name| Some(service.clone());
        routes
            .route(backend_of, &Capabilities::of(3, 2), Duration::ZERO)
            .0
    }

    fn wanted(routes: &Routes) -> String {
        routes.wanted().map(|(_, map)| map.file_text()).collect()
    }

    /// S11: a plan shows what is done with the paths of requests, and redirects.
    #[test]
    fn case_s11_a_plan_shows_what_is_done_with_requests() {
        let mut routes = found();
        let api = route("shop.example", "/api/v1", 0).with_strip_prefix(true);
        let tls = route("*.b.example", "/", 0).with_redirect_https(true);
        routes.desired = [api, tls]
            .into_iter()
            .map(|route| (route, Mode::Http))
            .collect();
        let stage = Stage {
            maps: steps(&mut routes),
            ..Stage::default()
        };
        let plan = Plan {
            stages: vec![stage],
            ..Plan::default()
        };
        let shown = plan.to_string();
        for line in [
            "    shop.example/api/v1/ to shop: /api/v1 is taken off, the rest is passed on in normal form (without //, . and ..)\n",
            "    *.b.example/ to shop: redirected to https without TLS\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn routes_of_too_many_entries_are_in_effect_but_for_those_that_need_them() {
        let mut routes = found();
        let hosts = (0..1000).map(|n| route(&format!("h{n}.example"), "/", 0));
        let paths = (0..1000).map(|n| route("*", &format!("/p{n}"), 1));
        routes.desired = hosts
            .chain(paths)
            .map(|route| (route, Mode::Http))
            .collect();
        assert_eq!(steps(&mut routes).len(), 1);
        let unmet = routes.unmet(Duration::ZERO);
        assert!(!unmet.is_empty());
        for unmet in &unmet {
            assert_eq!(unmet.reason, UnmetReason::NoCapacity);
            assert!(unmet.detail.starts_with("route */p"), "{}", unmet.detail);
        }
        assert!(wanted(&routes).contains("\nh999.example/ shop\n"));
    }

    #[test]
    fn i2_a_partial_desired_state_takes_no_route_away() {
        let mut routes = found();
        routes.desired = vec![(route("new.example", "/", 0), Mode::Http)];
        routes.set_partial(true);
        assert_eq!(steps(&mut routes).len(), 1);
        assert_eq!(wanted(&routes), "new.example/ shop\nold.example/ old\n");
        routes.set_partial(false);
        assert_eq!(steps(&mut routes).len(), 1);
        assert_eq!(wanted(&routes), "new.example/ shop\n");
    }
}
