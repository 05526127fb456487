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
    key::{MAX_WILDCARD_LABELS, host_chain, host_key, longest_prefix, path_key},
    value::{MAX_STRIP, value_text},
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
        /// How many labels its domain has.
        labels: usize,
    },
    /// It asks for an option that the frontend does not have for its service.
    #[error("{option} is not for {of}")]
    Option {
        /// The option, as a source writes it.
        option: &'static str,
        /// What it is not for.
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
        /// How many entries its routes needed when there was no more room.
        entries: usize,
        /// [`MAX_ENTRIES`].
        limit: usize,
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
        if route.strip_prefix && matches!(path, PathMatch::Beginning(_)) {
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
/// As [`compile_http`]; the backend of a service that has none is [`UNAVAILABLE_TCP`].
pub fn compile_sni<'a>(
    routes: impl IntoIterator<Item = &'a Route>,
    backend_of: impl Fn(&Name) -> Option<Name>,
) -> Compiled {
    compile(routes, backend_of, UNAVAILABLE_TCP, |route| {
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
    })
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
                    let text = value_text(backend, route.redirect_https, strips(route));
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
    let mut table = Table::default();
    let mut issues = Vec::new();
    for route in ordered {
        let added = match refused.get(route) {
            Some(reason) => Err(reason.clone()),
            None => checked_host(route).and_then(|host| {
                let path = path_of(route)?;
                writable::<MapKey>(&format!("{host}{path}"))?;
                table.add(route, host, path)
            }),
        };
        if let Err(reason) = added {
            issues.push(RouteIssue::new(route, reason));
        }
        if table.len > MAX_ENTRIES {
            break;
        }
    }
    (table, issues)
}

/// How many segments a route takes off: 0 for none.
fn strips(route: &Route) -> usize {
    match (&route.path, route.strip_prefix) {
        (path, true) if path.text().len() > 1 => path.text().matches('/').count(),
        _ => 0,
    }
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

    /// Refuses routes of the service that holds the most entries, those first that hold the most themselves: half of what
    /// it holds.
    fn refuse_the_heaviest(&self, refused: &mut BTreeMap<&'a Route, RouteFault>) {
        let mut held: BTreeMap<&Name, BTreeMap<&'a Route, usize>> = BTreeMap::new();
        for route in self.hosts.values().flat_map(BTreeMap::values) {
            let of = held.entry(&route.service).or_default();
            *of.entry(*route).or_default() += 1;
        }
        let sum = |routes: &BTreeMap<&Route, usize>| routes.values().sum::<usize>();
        let Some((service, routes)) = held.iter().max_by_key(|(_, routes)| sum(routes)) else {
            return;
        };
        let entries = sum(routes);
        let mut heaviest: Vec<(&&Route, &usize)> = routes.iter().collect();
        heaviest.sort_by(|(route, held), (other, others)| {
            others.cmp(held).then_with(|| other.cmp(route))
        });
        let mut left = entries;
        for (route, held) in heaviest {
            if left <= entries / 2 {
                break;
            }
            left -= held;
            let reason = RouteFault::TooManyEntries {
                service: (*service).clone(),
                entries,
                limit: MAX_ENTRIES,
            };
            refused.insert(*route, reason);
        }
    }

    /// The route of the longest path of a host that contains this one.
    fn longest(&self, host: &str, path: &str) -> Option<&'a Route> {
        let paths = self.hosts.get(host)?;
        match path.is_empty() {
            true => paths.get(path).copied(),
            false => longest_prefix(paths, path, 1).copied(),
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
