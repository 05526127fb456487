//! Hosts and paths, and the routes that take the requests found there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::LazyLock,
};

use lb_core::{Name, PathMatch, Route, RouteHost, model::nowhere};

use super::{
    compile::{MAX_ENTRIES, RouteFault},
    key::{host_chain, longest_prefix},
};

/// Host, then path, to the route that takes the requests found there.
///
/// Invariant: of the routes added so far, lookup finds for every request the first that matches it.
#[derive(Default)]
pub(super) struct Table<'a> {
    pub(super) hosts: BTreeMap<String, BTreeMap<String, &'a Route>>,
    pub(super) len: usize,
}

impl<'a> Table<'a> {
    /// Adds a route that goes after all before it, so that it gets the requests none of them takes. Where there are none
    /// left, answers with the route that takes them.
    pub(super) fn add(
        &mut self,
        route: &'a Route,
        host: &str,
        path: &str,
    ) -> Result<(), &'a Route> {
        let Some(by) = self.found(host, path) else {
            self.insert(route, host, path);
            return Ok(());
        };
        // What is below the path is taken, the path itself may be left.
        let exact = format!("{path}?");
        match path.ends_with('/') && !is_below(route, path) && self.found(host, &exact).is_none() {
            true => {
                self.insert(route, host, &exact);
                Ok(())
            }
            false => Err(by),
        }
    }

    /// Gives each path whose routes match only what is below it to the route that takes it, so that a lookup finds that one.
    pub(super) fn close(&mut self) {
        let mut open: Vec<(String, String)> = Vec::new();
        for (host, paths) in &self.hosts {
            for (path, _) in paths.iter().filter(|(path, route)| is_below(route, path)) {
                let exact = format!("{path}?");
                if path.ends_with('/') && !paths.contains_key(&exact) {
                    open.push((host.clone(), exact));
                }
            }
        }
        for (host, exact) in open {
            let taker = self.found(&host, &exact).unwrap_or(&NOWHERE);
            self.put(taker, &host, exact);
        }
    }

    /// Adds an entry whose requests go to `route`, which takes them already or is the first that does.
    pub(super) fn insert(&mut self, route: &'a Route, host: &str, path: &str) {
        let chain = host_chain(host);
        // An entry of this host hides those of the wider hosts. Where one of them takes a path below this one's,
        // this host needs that entry too.
        let mut kept: Vec<(String, &'a Route)> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for wider in chain.iter().skip(1) {
            for (below, taker) in self.below(wider, path) {
                // The nearest of the wider hosts is looked up first, with all its paths.
                let hidden = self.longest(host, below).is_some() || !seen.insert(below);
                if !hidden {
                    let first = chain
                        .iter()
                        .skip(1)
                        .find_map(|host| self.longest(host, below))
                        .unwrap_or(taker);
                    kept.push((below.to_owned(), first));
                    // The path itself may be another route's.
                    let exact = format!("{below}?");
                    let mut wider = chain.iter().skip(1);
                    if is_below(first, below)
                        && self.longest(host, &exact).is_none()
                        && let Some(taker) = wider.find_map(|host| self.longest(host, &exact))
                    {
                        kept.push((exact, taker));
                    }
                }
            }
        }
        for (path, route) in kept {
            self.put(route, host, path);
        }
        self.put(route, host, path.to_owned());
    }

    /// Adds an entry as it is.
    pub(super) fn put(&mut self, route: &'a Route, host: &str, path: String) {
        let paths = match self.hosts.get_mut(host) {
            Some(paths) => paths,
            None => self.hosts.entry(host.to_owned()).or_default(),
        };
        self.len += usize::from(paths.insert(path, route).is_none());
    }

    /// Returns `true` if there is an entry of this key.
    pub(super) fn has(&self, host: &str, path: &str) -> bool {
        self.hosts
            .get(host)
            .is_some_and(|paths| paths.contains_key(path))
    }

    /// The route that takes the requests of a path and a host's part of a key.
    pub(super) fn found(&self, host: &str, path: &str) -> Option<&'a Route> {
        let chain = host_chain(host);
        chain.iter().find_map(|host| self.longest(host, path))
    }

    /// Refuses routes of the service that holds the most entries, those first that hold the most themselves: half of what
    /// it holds.
    pub(super) fn refuse_the_heaviest(&self, refused: &mut BTreeMap<&'a Route, RouteFault>) {
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

    /// The route of the longest path of a host that contains this one. `/a/` of a route that matches only what is below `/a`
    /// does not contain `/a/?`, which is `/a`.
    pub(super) fn longest(&self, host: &str, path: &str) -> Option<&'a Route> {
        let paths = self.hosts.get(host)?;
        if path.is_empty() {
            return paths.get(path).copied();
        }
        let found = longest_prefix(paths, path, 1).copied()?;
        let below = path.strip_suffix('?').filter(|below| below.ends_with('/'));
        match below {
            Some(below)
                if is_below(found, below)
                    && !paths.contains_key(path)
                    && paths.contains_key(below) =>
            {
                let wider = below.get(..below.len() - 1)?;
                longest_prefix(paths, wider, 1).copied()
            }
            _ => Some(found),
        }
    }

    /// The entries of a host whose paths lie below this one, itself left out.
    pub(super) fn below<'b>(
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

/// Returns `true` if a route matches what is below the path of an entry, and not that path without the slash at its end. Of
/// an entry below its own path it matches both.
fn is_below(route: &Route, entry: &str) -> bool {
    matches!(&route.path, PathMatch::Beginning(path) if path.ends_with('/') && **path == *entry)
}

/// The route of requests that no route takes, where a lookup would find another one's entry.
static NOWHERE: LazyLock<Route> =
    LazyLock::new(|| Route::new(RouteHost::Any, PathMatch::any(), nowhere()));
