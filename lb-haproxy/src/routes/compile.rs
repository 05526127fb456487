//! Routes to map entries: what the order of lookup does not say by itself is settled here, once.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{
    Name, PathMatch, Route, RouteHost,
    model::{InvalidRoute, is_withheld, nowhere, withheld_tcp},
};
use serde::Serialize;

use super::{
    RouteMap,
    frontend::{NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP},
    key::{MAX_WILDCARD_LABELS, host_key, path_key},
    ranked::{self, Keyed},
    table::Table,
    value::{MAX_STRIP, value_text},
};
use crate::proto::{InvalidMapText, MapKey, MapValue};

/// The most entries of one map.
pub const MAX_ENTRIES: usize = 100_000;

/// The map that routes come to, and what could not be met.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Compiled {
    /// The map that HAProxy is to have.
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

    /// Returns `true` if the requests of the route reach its service all the same, with the same options, through the
    /// route that shadows it.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        let RouteFault::Shadowed { by } = &self.reason else {
            return false;
        };
        let options = |route: &Route| (route.redirect_https, strips(route));
        by.service == self.route.service && options(by) == options(&self.route)
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
        /// The number of labels its domain has.
        labels: usize,
    },
    /// It asks for an option that the frontend does not have for its service.
    #[error("{option} is not for {of}")]
    Option {
        /// The option, as a source writes it.
        option: &'static str,
        /// The thing it is not for.
        of: &'static str,
    },
    /// Its service asks for most of the entries, and a map has no room for all of them.
    #[error(
        "the routes of {service} need the most map entries ({entries}), and a map has at most {limit}: fewer routes, or \
         fewer priorities between hosts and paths, would help"
    )]
    TooManyEntries {
        /// The service.
        service: Name,
        /// The number of entries that its routes needed when there was no more room.
        entries: usize,
        /// [`MAX_ENTRIES`].
        limit: usize,
    },
    /// It asks for a path of TCP connections, which have none.
    #[error("service is tcp, expected no path or /; connections of the host go to no wider route")]
    PathOfTcp,
    /// Its host or path is none; it was made without parsing.
    #[error("host or path was not made by parsing")]
    Invalid(
        #[source]
        #[serde(skip)]
        InvalidRoute,
    ),
    /// Its host or path has what cannot be written into a map.
    #[error("map entry cannot be written")]
    Unwritable(
        #[source]
        #[serde(skip)]
        InvalidMapText,
    ),
}

/// The map of HTTP routes: a request's lookup finds the first of the routes, in their order, that matches it.
///
/// `backend_of` names the backend of a service; where it has none the route leads to [`UNAVAILABLE`].
/// The order in which the routes are given does not matter.
///
/// Priorities that go against specificity need copies of entries: a path of any host that goes before `n` hosts needs `n`.
/// Where more than [`MAX_ENTRIES`] are needed, routes of the service that needs the most are refused; all others go on.
///
/// ```
/// use lb_core::Route;
/// use lb_haproxy::routes::compile_http;
///
/// let routes = [
///     Route::new("shop.example".parse().unwrap(), "/".parse().unwrap(), "shop".parse().unwrap()),
///     Route::new("*".parse().unwrap(), "/health".parse().unwrap(), "probe".parse().unwrap()).with_priority(9),
/// ];
/// let compiled = compile_http(&routes, |service| Some(service.clone()));
/// assert_eq!(compiled.map.lookup("shop.example", "/cart").unwrap().as_str(), "shop");
/// assert_eq!(compiled.map.lookup("shop.example", "/health").unwrap().as_str(), "probe");
/// assert_eq!(compiled.map.lookup("else.example", "/"), None);
/// ```
pub fn compile_http<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
) -> Compiled {
    compile(routes, backend_of, UNAVAILABLE, |route| {
        let path: Result<PathMatch, _> = route.path.to_string().parse();
        let path = path.map_err(RouteFault::Invalid)?;
        let inside = matches!(&path, PathMatch::Beginning(path) if !path.ends_with('/'));
        if route.strip_prefix && inside {
            return Err(RouteFault::Option {
                option: "strip_prefix",
                of: "a prefix that may end inside a segment",
            });
        }
        if strips(route) > MAX_STRIP {
            return Err(RouteFault::Option {
                option: "strip_prefix",
                of: "a path of more than 8 segments",
            });
        }
        Ok(path_key(&path))
    })
}

/// The map of TCP routes: server names of TLS handshakes, `*` for the rest.
///
/// As [`compile_http`]; the backend of a service that has none is [`UNAVAILABLE_TCP`]. Connections have no path: a route that
/// asks for one is refused, and closes the connections of its host that no route of that host takes. They reach no wider one.
pub fn compile_sni<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
) -> Compiled {
    let mut routes: Vec<&Route> = routes.into_iter().collect();
    let closed = closed_hosts(&routes);
    routes.extend(&closed);
    let backend_of = |service: &Name| backend_of(service).filter(|_| !is_withheld(service));
    let mut compiled = compile(routes, backend_of, UNAVAILABLE_TCP, |route| {
        let options = [
            ("redirect_https", route.redirect_https),
            ("strip_prefix", route.strip_prefix),
        ];
        if let Some((option, _)) = options.into_iter().find(|(_, set)| *set) {
            let of = "a tcp service";
            return Err(RouteFault::Option { option, of });
        }
        match route.path == PathMatch::any() {
            true => Ok(String::new()),
            false => Err(RouteFault::PathOfTcp),
        }
    });
    compiled
        .issues
        .retain(|issue| !closed.contains(&issue.route));
    compiled
}

/// Withheld routes for the hosts of which a path of connections is asked for, and that have no route of their own.
fn closed_hosts(routes: &[&Route]) -> Vec<Route> {
    let every_path = PathMatch::any();
    let own: BTreeSet<&RouteHost> = routes
        .iter()
        .filter(|route| route.path == every_path)
        .map(|route| &route.host)
        .collect();
    let closed: BTreeSet<Route> = routes
        .iter()
        .filter(|route| route.path != every_path && !own.contains(&route.host))
        .map(|route| {
            let mut closed = (*route).clone();
            closed.path = every_path.clone();
            closed.service = withheld_tcp();
            closed.strip_prefix = false;
            closed.redirect_https = false;
            closed
        })
        .collect();
    closed.into_iter().collect()
}

fn compile<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
    unavailable: &str,
    path_of: impl Fn(&Route) -> Result<String, RouteFault>,
) -> Compiled {
    let ordered: BTreeSet<&Route> = routes.into_iter().collect();
    let mut refused: BTreeMap<&Route, RouteFault> = BTreeMap::new();
    let (table, mut issues) = loop {
        let (table, issues) = build(&ordered, &refused, &path_of);
        if table.len <= MAX_ENTRIES {
            break (table, issues);
        }
        table.refuse_the_heaviest(&mut refused);
    };

    let mut values: BTreeMap<(&Name, bool, usize), MapValue> = BTreeMap::new();
    let mut entries = Vec::with_capacity(table.len);
    for (host, paths) in &table.hosts {
        for (path, route) in paths {
            let of = (&route.service, route.redirect_https, strips(route));
            let value = match values.get(&of) {
                Some(value) => value.clone(),
                None => {
                    let backend = backend_of(&route.service);
                    let backend = backend.as_ref().map_or(unavailable, Name::as_str);
                    let text = match route.service == nowhere() {
                        true => NOT_FOUND.to_owned(),
                        false => value_text(backend, route.redirect_https, strips(route)),
                    };
                    match writable::<MapValue>(&text) {
                        Ok(value) => values.entry(of).or_insert(value).clone(),
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
    Compiled {
        map: RouteMap::new(entries),
        issues,
    }
}

/// The table of the routes that are not refused, and the issues of the others. It may end with one route too many.
fn build<'a>(
    ordered: &BTreeSet<&'a Route>,
    refused: &BTreeMap<&'a Route, RouteFault>,
    path_of: &impl Fn(&Route) -> Result<String, RouteFault>,
) -> (Table<'a>, Vec<RouteIssue>) {
    let mut issues = Vec::new();
    let mut keyed = Vec::with_capacity(ordered.len());
    for route in ordered {
        let key = match refused.get(route) {
            Some(reason) => Err(reason.clone()),
            None => checked_host(route).and_then(|host| {
                let path = path_of(route)?;
                writable::<MapKey>(&format!("{host}{path}"))?;
                Ok((host, path))
            }),
        };
        match key {
            Ok((host, path)) => keyed.push(Keyed { route, host, path }),
            Err(reason) => issues.push(RouteIssue::new(route, reason)),
        }
    }
    let (table, mut shadowed) = ranked::table(&keyed);
    // What leads nowhere is for what others leave; where they leave nothing, it lacks nothing.
    shadowed.retain(|(route, _)| route.service != nowhere());
    issues.extend(shadowed.into_iter().map(|(route, by)| {
        let by = Box::new(by.clone());
        RouteIssue::new(route, RouteFault::Shadowed { by })
    }));
    issues.sort_by(|one, other| one.route.cmp(&other.route));
    (table, issues)
}

/// The number of segments a route takes off: 0 for none.
fn strips(route: &Route) -> usize {
    match (&route.path, route.strip_prefix) {
        (path, true) if path.text().len() > 1 => {
            path.text().trim_end_matches('/').matches('/').count()
        }
        _ => 0,
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
