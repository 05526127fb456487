//! Routes of schemes that have an order of their own, beside those that go by specificity.
//!
//! Which scheme answers a request is settled by the order of all routes, and then which of its routes by their ranks. So
//! there is a table of all routes, and one of each scheme; where the first leads to a scheme, the second says where to.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Name, Route};

use super::{
    compile::MAX_ENTRIES,
    key::{host_chain, longest_prefix},
    table::Table,
};

/// A route and the parts of its key.
pub(super) struct Keyed<'a> {
    pub(super) route: &'a Route,
    pub(super) host: String,
    pub(super) path: String,
}

impl Keyed<'_> {
    fn scheme(&self) -> Option<&Name> {
        Some(&self.route.rank.as_ref()?.scheme)
    }
}

/// Routes without effect, and what takes their requests.
type Shadowed<'a> = Vec<(&'a Route, &'a Route)>;

/// The table of routes in their order. It may have too many entries, and then is not complete.
pub(super) fn table<'a>(routes: &[Keyed<'a>]) -> (Table<'a>, Shadowed<'a>) {
    let schemes: BTreeSet<Option<&Name>> = routes.iter().map(Keyed::scheme).collect();
    let (mut table, shadowed) = match (schemes.len(), schemes.first()) {
        (1, Some(Some(_))) => by_rank(routes.iter()),
        (0 | 1, _) => by_specificity(routes),
        _ => mixed(routes, schemes.into_iter().flatten()),
    };
    table.close();
    (table, shadowed)
}

fn by_specificity<'a>(routes: &[Keyed<'a>]) -> (Table<'a>, Shadowed<'a>) {
    add_all(routes.iter())
}

fn by_rank<'a: 'b, 'b>(routes: impl Iterator<Item = &'b Keyed<'a>>) -> (Table<'a>, Shadowed<'a>) {
    let mut routes: Vec<&Keyed<'a>> = routes.collect();
    routes.sort_by(|one, other| one.route.cmp_by_rank(other.route));
    add_all(routes.into_iter())
}

fn add_all<'a: 'b, 'b>(routes: impl Iterator<Item = &'b Keyed<'a>>) -> (Table<'a>, Shadowed<'a>) {
    let (mut table, mut shadowed) = (Table::default(), Vec::new());
    for Keyed { route, host, path } in routes {
        if let Err(by) = table.add(route, host, path) {
            shadowed.push((*route, by));
        }
        if table.len > MAX_ENTRIES {
            break;
        }
    }
    (table, shadowed)
}

fn mixed<'a: 'b, 'b>(
    routes: &'b [Keyed<'a>],
    schemes: impl Iterator<Item = &'b Name>,
) -> (Table<'a>, Shadowed<'a>) {
    let mut of_schemes: BTreeMap<&Name, Table<'a>> = BTreeMap::new();
    let mut shadowed = Shadowed::new();
    for scheme in schemes {
        let its = routes.iter().filter(|route| route.scheme() == Some(scheme));
        let (table, lost) = by_rank(its);
        if table.len > MAX_ENTRIES {
            return (table, Vec::new());
        }
        shadowed.extend(lost);
        of_schemes.insert(scheme, table);
    }
    let mut all = Table::default();
    for keyed @ Keyed { route, host, path } in routes {
        let taken = all.found(host, path);
        match (all.add(route, host, path), keyed.scheme()) {
            (Err(by), None) => shadowed.push((*route, by)),
            (Ok(()), None) => {}
            // Its place counts all the same: where another route of its scheme takes its requests, they may be its own.
            (_, Some(_)) => {
                if let Some(by) = taken
                    && !all.has(host, path)
                {
                    all.insert(by, host, path);
                }
            }
        }
        if all.len > MAX_ENTRIES {
            return (all, Vec::new());
        }
    }
    all.close();
    let mut settled = Table::default();
    for (host, paths) in &all.hosts {
        let own: BTreeMap<&str, &str> = paths.keys().map(|path| (&**path, &**path)).collect();
        let chain = host_chain(host);
        for (path, route) in paths {
            let scheme = route
                .rank
                .as_ref()
                .and_then(|rank| of_schemes.get(&rank.scheme));
            let first = |path: &str| scheme.and_then(|table| table.found(host, path));
            settled.put(first(path).unwrap_or(route), host, path.clone());
            for wider in &chain {
                let below = scheme
                    .into_iter()
                    .flat_map(|table| table.below(wider, path));
                for (below, _) in below {
                    // A longer entry of the host has these requests, which may be another scheme's.
                    if longest_prefix(&own, below, 1) == Some(&path.as_str()) {
                        settled.put(first(below).unwrap_or(route), host, below.to_owned());
                    }
                }
                // What has an entry for the path hides those of the wider hosts.
                if scheme.is_some_and(|table| table.longest(wider, path).is_some()) {
                    break;
                }
            }
            if settled.len > MAX_ENTRIES {
                return (settled, Vec::new());
            }
        }
    }
    let serving: BTreeSet<&Route> = settled
        .hosts
        .values()
        .flat_map(BTreeMap::values)
        .copied()
        .collect();
    let lost: BTreeSet<&Route> = shadowed.iter().map(|(route, _)| *route).collect();
    for Keyed { route, host, path } in routes {
        if !serving.contains(route)
            && !lost.contains(route)
            && let Some(by) = settled.found(host, path)
        {
            shadowed.push((*route, by));
        }
    }
    (settled, shadowed)
}
