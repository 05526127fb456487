//! Routes to map entries: what the order of lookup does not say by itself is settled here, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use lb_core::{Name, PathMatch, Route, RouteHost, model::InvalidRoute};
use serde::Serialize;

use super::{
    RouteMap,
    frontend::{UNAVAILABLE, UNAVAILABLE_TCP},
    key::{MAX_WILDCARD_LABELS, host_chain, host_key, path_chain, path_key},
};
use crate::proto::{InvalidMapText, MapKey, MapValue};

/// The most entries of one map.
pub const MAX_ENTRIES: usize = 100_000;

/// The map that routes come to, and what could not be met.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Compiled {
    /// What HAProxy is to have.
    pub map: RouteMap,
    /// Routes that have no effect, in the order of the routes.
    pub issues: Vec<RouteIssue>,
}

/// A route that has no effect. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("route {} has no effect", describe(route))]
#[non_exhaustive]
pub struct RouteIssue {
    /// The route.
    pub route: Route,
    /// Why.
    #[source]
    pub reason: RouteFault,
}

impl RouteIssue {
    fn new(route: &Route, reason: RouteFault) -> Self {
        Self {
            route: route.clone(),
            reason,
        }
    }

    /// Whether the requests of the route reach its service all the same, through the route that shadows it.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        matches!(&self.reason, RouteFault::Shadowed { by } if by.service == self.route.service)
    }
}

/// Why a route has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteFault {
    /// Another route takes every request it could match: the same host and path, or wider ones at a higher
    /// priority.
    #[error("route {} goes before it and matches all it does", describe(by))]
    Shadowed {
        /// The one that goes before it, the nearest of them.
        by: Box<Route>,
    },
    /// Its wildcard has more labels than the frontend tries.
    #[error("wildcard has {labels} labels, expected at most {MAX_WILDCARD_LABELS}")]
    TooDeep {
        /// How many labels its domain has.
        labels: usize,
    },
    /// It asks for a path of TCP connections, which have none.
    #[error("service is tcp, expected no path or /")]
    PathOfTcp,
    /// Its host or path is none; it was made without parsing.
    #[error("host or path was not made by parsing")]
    Invalid(
        #[source]
        #[serde(skip)]
        InvalidRoute,
    ),
    /// Its path has what cannot be written into a map: `;` or `<<`.
    #[error("map entry cannot be written")]
    Unwritable(
        #[source]
        #[serde(skip)]
        InvalidMapText,
    ),
}

/// Priorities that go against specificity need more entries than one map may have.
///
/// A path of any host that goes before `n` hosts needs `n` entries: leave such priorities to few routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "routes need more than {limit} map entries at route {}; fewer routes, or fewer priorities between hosts and paths, would help",
    describe(route)
)]
#[non_exhaustive]
pub struct TooManyEntries {
    /// The route that did not fit.
    pub route: Box<Route>,
    /// [`MAX_ENTRIES`].
    pub limit: usize,
}

/// The map of HTTP routes: a request's lookup finds the first of the routes, in their order, that matches it.
///
/// `backend_of` names the backend of a service; where it has none the route leads to [`UNAVAILABLE`].
/// The order in which the routes are given does not matter.
///
/// ```
/// use lb_core::Route;
/// use lb_haproxy::routes::compile_http;
///
/// let routes = [
///     Route::new("shop.example".parse().unwrap(), "/".parse().unwrap(), "shop".parse().unwrap()),
///     Route::new("*".parse().unwrap(), "/health".parse().unwrap(), "probe".parse().unwrap()).with_priority(9),
/// ];
/// let compiled = compile_http(&routes, |service| Some(service.clone())).unwrap();
/// assert_eq!(compiled.map.lookup("shop.example", "/cart").unwrap().as_str(), "shop");
/// assert_eq!(compiled.map.lookup("shop.example", "/health").unwrap().as_str(), "probe");
/// assert_eq!(compiled.map.lookup("else.example", "/"), None);
/// ```
///
/// # Errors
/// [`TooManyEntries`], where leaving routes out would send their requests elsewhere.
pub fn compile_http<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
) -> Result<Compiled, TooManyEntries> {
    compile(routes, backend_of, UNAVAILABLE, |route| {
        let path: Result<PathMatch, _> = route.path.to_string().parse();
        path.map(|path| path_key(&path))
            .map_err(RouteFault::Invalid)
    })
}

/// The map of TCP routes: server names of TLS handshakes, `*` for the rest.
///
/// As [`compile_http`]; the backend of a service that has none is [`UNAVAILABLE_TCP`].
///
/// # Errors
/// [`TooManyEntries`].
pub fn compile_sni<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
) -> Result<Compiled, TooManyEntries> {
    compile(routes, backend_of, UNAVAILABLE_TCP, |route| {
        match route.path == PathMatch::any() {
            true => Ok(String::new()),
            false => Err(RouteFault::PathOfTcp),
        }
    })
}

fn compile<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
    unavailable: &str,
    path_of: impl Fn(&Route) -> Result<String, RouteFault>,
) -> Result<Compiled, TooManyEntries> {
    let ordered: BTreeSet<&Route> = routes.into_iter().collect();
    let mut table = Table::default();
    let mut issues = Vec::new();
    for route in ordered {
        let added = checked_host(route).and_then(|host| {
            let path = path_of(route)?;
            writable::<MapKey>(&format!("{host}{path}"))?;
            table.add(route, host, path)
        });
        if let Err(reason) = added {
            issues.push(RouteIssue::new(route, reason));
        }
        if table.len > MAX_ENTRIES {
            return Err(TooManyEntries {
                route: Box::new(route.clone()),
                limit: MAX_ENTRIES,
            });
        }
    }

    let mut values: BTreeMap<&Name, MapValue> = BTreeMap::new();
    let mut entries = Vec::with_capacity(table.len);
    for (host, paths) in &table.hosts {
        for (path, route) in paths {
            let value = match values.get(&route.service) {
                Some(value) => value.clone(),
                None => {
                    let backend = backend_of(&route.service);
                    let text = backend.as_ref().map_or(unavailable, Name::as_str);
                    match writable::<MapValue>(text) {
                        Ok(value) => values.entry(&route.service).or_insert(value).clone(),
                        Err(reason) => {
                            issues.push(RouteIssue::new(route, reason));
                            continue;
                        }
                    }
                }
            };
            match writable::<MapKey>(&format!("{host}{path}")) {
                Ok(key) => entries.push((key, value)),
                Err(reason) => issues.push(RouteIssue::new(route, reason)),
            }
        }
    }
    Ok(Compiled {
        map: RouteMap::new(entries),
        issues,
    })
}

/// Host, then path, to the route that takes the requests found there.
///
/// Invariant: of the routes added so far, lookup finds for every request the first that matches it.
#[derive(Default)]
struct Table<'a> {
    hosts: BTreeMap<String, BTreeMap<String, &'a Route>>,
    len: usize,
}

impl<'a> Table<'a> {
    /// Adds a route that goes after all before it, so that it gets the requests none of them takes.
    fn add(&mut self, route: &'a Route, host: String, path: String) -> Result<(), RouteFault> {
        let chain = host_chain(&host);
        if let Some(by) = chain.iter().find_map(|host| self.longest(host, &path)) {
            return Err(RouteFault::Shadowed {
                by: Box::new(by.clone()),
            });
        }
        // An entry of this host hides those of the wider hosts. Where one of them takes a path below this one's,
        // this host needs that entry too.
        let mut kept: Vec<(String, &'a Route)> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for wider in chain.iter().skip(1) {
            for (below, taker) in self.below(wider, &path) {
                // The nearest of the wider hosts is looked up first, with all its paths.
                let hidden = self.longest(&host, below).is_some() || !seen.insert(below);
                if !hidden {
                    let first = chain
                        .iter()
                        .skip(1)
                        .find_map(|host| self.longest(host, below))
                        .unwrap_or(taker);
                    kept.push((below.to_owned(), first));
                }
            }
        }
        self.len += 1 + kept.len();
        let paths = self.hosts.entry(host).or_default();
        paths.insert(path, route);
        paths.extend(kept);
        Ok(())
    }

    /// The route of the longest path of a host that contains this one.
    fn longest(&self, host: &str, path: &str) -> Option<&'a Route> {
        let paths = self.hosts.get(host)?;
        match path.is_empty() {
            true => paths.get(path).copied(),
            false => path_chain(path).find_map(|path| paths.get(path).copied()),
        }
    }

    /// The entries of a host whose paths lie below this one, itself left out.
    fn below<'b>(
        &'b self,
        host: &str,
        path: &'b str,
    ) -> impl Iterator<Item = (&'b str, &'a Route)> {
        self.hosts
            .get(host)
            .into_iter()
            .flat_map(move |paths| paths.range::<str, _>((Bound::Excluded(path), Bound::Unbounded)))
            .take_while(move |(below, _)| below.starts_with(path))
            .map(|(below, route)| (below.as_str(), *route))
    }
}

fn checked_host(route: &Route) -> Result<String, RouteFault> {
    // A host that was not made by parsing could be read as another part of the key.
    let host: RouteHost = route
        .host
        .to_string()
        .parse()
        .map_err(RouteFault::Invalid)?;
    if let RouteHost::Wildcard(domain) = &host {
        let labels = domain.split('.').count();
        if labels > MAX_WILDCARD_LABELS {
            return Err(RouteFault::TooDeep { labels });
        }
    }
    Ok(host_key(&host))
}

fn writable<T: std::str::FromStr<Err = InvalidMapText>>(text: &str) -> Result<T, RouteFault> {
    text.parse().map_err(RouteFault::Unwritable)
}

fn describe(route: &Route) -> String {
    let Route {
        host,
        path,
        service,
        priority,
        ..
    } = route;
    match priority {
        0 => format!("{host}{path} of {service}"),
        _ => format!("{host}{path} of {service} (priority {priority})"),
    }
}
