//! The object that is read, and what it asks for, whatever scheme it is written in.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use lb_core::{
    Diagnostic, Mode, Name, PathMatch, Route, RouteHost, ServiceOptions, Weight,
    model::{Rank, leads_to_none},
};
use serde::{Deserialize, Serialize};

use crate::traefik::MiddlewareDefinition;

/// The object whose labels are read, with the facts that its engine knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The object as diagnostics name it.
    pub object: &'a str,
    /// The name of the container or Swarm service.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, where it is known.
    pub env: &'a [(String, String)],
    /// Its place in a compose project, if it has one.
    pub compose: Option<Compose<'a>>,
    /// The stack that a Swarm service belongs to.
    pub stack: Option<&'a str>,
    /// The TCP ports that it exposes, as far as they are known.
    pub exposed: &'a BTreeSet<u16>,
}

/// A place in a compose project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compose<'a> {
    /// The project.
    pub project: &'a str,
    /// The service within it.
    pub service: &'a str,
    /// The number of the replica; none for one-off containers.
    pub number: Option<&'a str>,
    /// If `true`, it is a container of `docker compose run`.
    pub one_off: bool,
}

/// The kind of endpoints that a Swarm service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Spread {
    /// One endpoint for each task: each is drained before it stops.
    #[default]
    Tasks,
    /// The service's virtual address: Swarm spreads connections, and nothing can be drained.
    Vip,
    /// The published ingress port of each node that is up: Swarm spreads connections.
    Nodes,
}

/// One service that an object asks to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub service: Name,
    /// The routes it asks for. A withheld one names [`lb_core::model::withheld`].
    pub routes: Vec<Route>,
    /// The object's port. None: the only one that it exposes.
    pub port: Option<u16>,
    /// The weight of its endpoints.
    pub weight: Weight,
    /// Where its scheme knows greater weights than there are here, what it says. [`Proportion`](crate::Proportion) says
    /// what that is among all servers of the service; `weight` is what it is alone.
    pub written_weight: Option<WrittenWeight>,
    /// The network to use.
    pub network: Option<String>,
    /// The port of the target's own health check.
    pub check_port: Option<u16>,
    /// The time that requests in flight may take when it leaves. None: as long as its engine waits before it kills.
    pub drain: Option<Duration>,
    /// HTTP or TCP.
    pub mode: Mode,
    /// The options it states of its service beside the mode.
    pub options: ServiceOptions,
    /// For a Swarm service, what its endpoints are.
    pub spread: Option<Spread>,
    /// If `true`, the object is no endpoint of it: what it asks for cannot be served here. Its routes are kept, and
    /// answered as unavailable.
    pub without_endpoint: bool,
}

/// A weight beyond those that there are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenWeight {
    /// The whole key.
    pub key: String,
    /// The weight, more than 256.
    pub weight: u64,
}

/// A named definition that several objects may make, such as a router of Traefik.
///
/// Where two objects define one of them differently, Traefik uses none of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The key that names it: `traefik.http.routers.web`.
    pub key: String,
    /// All that it says. Definitions are the same if and only if these are.
    pub content: String,
    /// HTTP or TCP.
    pub mode: Mode,
    /// The routes that it makes, withheld ones left out.
    pub routes: Vec<Route>,
}

/// A statement of an object about a host. It holds for all objects that name the host: nginx-proxy makes one server of
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedHost {
    /// The host.
    pub host: RouteHost,
    /// If `true`, something restricts who is served that cannot be honoured: no object's routes of the host are served.
    pub restricted: bool,
    /// If `true`, requests of the host without TLS are redirected to https.
    pub redirect_https: bool,
}

/// All that an object asks for, and what was wrong with its labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The services.
    pub services: Vec<ServiceSpec>,
    /// Definitions that must not differ between objects.
    pub definitions: Vec<Definition>,
    /// The statements about hosts that it shares with other objects, also of those that it has no service for.
    pub hosts: Vec<SharedHost>,
    /// The middlewares of Traefik that it defines, for all objects of its source.
    pub middlewares: Vec<MiddlewareDefinition>,
    /// The names of middlewares that its routers need, in lower case, whichever object defines them.
    pub asked: BTreeSet<String>,
    /// If `true`, something is left out only because a value is none that its key can have. What the object said before
    /// may then be kept.
    pub malformed: bool,
    /// The diagnostics of what is not honoured.
    pub diagnostics: Vec<Diagnostic>,
}

impl ServiceSpec {
    /// A service of HTTP without routes.
    #[must_use]
    pub fn new(service: Name) -> Self {
        Self {
            service,
            routes: Vec::new(),
            port: None,
            weight: Weight::default(),
            written_weight: None,
            network: None,
            check_port: None,
            drain: None,
            mode: Mode::Http,
            options: ServiceOptions::default(),
            spread: None,
            without_endpoint: false,
        }
    }

    /// The same for a service of another name.
    #[must_use]
    pub fn renamed(mut self, service: Name) -> Self {
        for route in &mut self.routes {
            if route.service == self.service {
                route.service = service.clone();
            }
        }
        self.service = service;
        self
    }

    /// Adds a route to this service.
    pub fn route(&mut self, host: RouteHost, path: PathMatch, priority: i32) {
        let route = Route::new(host, path, self.service.clone()).with_priority(priority);
        self.routes.push(route);
    }

    /// Withholds all of its routes. Over TCP, where a listener may lead here without a route, it has no endpoint either.
    pub fn withhold(&mut self) {
        for route in &mut self.routes {
            route.service = lb_core::model::withheld();
            route.strip_prefix = false;
            route.redirect_https = false;
        }
        self.without_endpoint |= self.mode == Mode::Tcp;
    }

    /// Takes the routes of another one that is the same service. What restricts the other restricts this one.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.without_endpoint |= other.without_endpoint && self.mode == Mode::Tcp;
        for mut route in other.routes {
            if !leads_to_none(&route.service) {
                route.service = self.service.clone();
            }
            self.routes.push(route);
        }
    }

    /// Takes what is withheld of another one that is left out.
    pub(crate) fn keep_withheld(&mut self, mut other: Self) {
        let withheld = lb_core::model::withheld();
        other.routes.retain(|route| route.service == withheld);
        self.absorb(other);
    }

    /// Leaves out routes that are there already, and those at a place that is withheld.
    pub fn settle_routes(&mut self) {
        let withheld = lb_core::model::withheld();
        let kept: HashSet<Place> = self
            .routes
            .iter()
            .filter(|route| route.service == withheld)
            .map(place)
            .collect();
        let mut known = HashSet::new();
        self.routes.retain(|route| {
            (route.service == withheld || !kept.contains(&place(route)))
                && known.insert(route.clone())
        });
    }
}

/// The change that another program makes to a path before it passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewrite {
    /// Nothing.
    Keep,
    /// It takes the prefix off, wherever in a segment it ends.
    Strip,
    /// It takes the prefix off paths that go on with a slash, and leaves others as they are.
    StripBelow,
}

/// The routes of a place of another program that compares paths as text. Without a service it is withheld.
///
/// A prefix is taken off at the border of a segment only. What another program takes off within one is withheld: it would
/// reach a wider route. A withheld place is withheld with and without borders, so that it goes before a served one of the
/// same text as either.
pub(crate) fn routes_of_place(
    host: &RouteHost,
    path: &PathMatch,
    service: Option<&Name>,
    rewrite: Rewrite,
) -> Vec<Route> {
    let withheld = lb_core::model::withheld();
    let route =
        |path: &PathMatch, service: &Name| Route::new(host.clone(), path.clone(), service.clone());
    // What ends in a slash ends at the border of a segment.
    let segments = match path {
        PathMatch::Beginning(text) if text.ends_with('/') => path.clone(),
        path => path.clone().by_segments(),
    };
    let beyond = (segments != *path).then_some(path);
    let Some(service) = service else {
        let all = [Some(&segments), beyond];
        return all
            .into_iter()
            .flatten()
            .map(|path| route(path, &withheld))
            .collect();
    };
    let mut routes = match rewrite {
        Rewrite::Keep => return vec![route(path, service)],
        Rewrite::Strip | Rewrite::StripBelow => {
            vec![route(&segments, service).with_strip_prefix(true)]
        }
    };
    match rewrite {
        Rewrite::StripBelow => {
            if segments != PathMatch::any() && !path.text().ends_with('/') {
                routes.push(route(&PathMatch::Exact(path.text().into()), service));
            }
            routes.extend(beyond.map(|path| route(path, service)));
        }
        Rewrite::Keep | Rewrite::Strip => routes.extend(beyond.map(|path| route(path, &withheld))),
    }
    routes
}

/// The place of a route: what it matches, and its order among others.
type Place = (RouteHost, PathMatch, i32, Option<Rank>);

fn place(route: &Route) -> Place {
    let Route {
        host,
        path,
        priority,
        rank,
        ..
    } = route;
    (host.clone(), path.clone(), *priority, rank.clone())
}

impl Subject<'_> {
    /// The service's name where no label gives one: compose's project and service, else its own name.
    #[must_use]
    pub fn default_service(&self) -> Name {
        match self.compose {
            Some(compose) => Name::from_text(&format!("{}-{}", compose.project, compose.service)),
            None => Name::from_text(self.name),
        }
    }
}
