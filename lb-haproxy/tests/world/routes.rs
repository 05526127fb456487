//! How a frontend finds the backend of a request for a host: the longest prefix, then its parents, then any.

use lb_haproxy::simulator::Simulator;

use crate::scene::ROUTES;

/// The backend that the map of routes names for a path of a host.
pub(crate) fn lookup<'s>(sim: &'s Simulator, host: &str, path: &str) -> Option<&'s str> {
    let mut hosts = vec![host.to_owned()];
    let parents = host.match_indices('.').map(|(at, _)| host[at..].to_owned());
    hosts.extend(parents);
    hosts.push("*".to_owned());
    hosts.iter().find_map(|host| {
        let asked = format!("{host}{path}/?");
        sim.map_entries(ROUTES)
            .filter(|(key, _)| asked.starts_with(key))
            // Of several entries of one key the first counts.
            .reduce(|best, other| {
                if other.0.len() > best.0.len() {
                    other
                } else {
                    best
                }
            })
            .map(|(_, value)| value)
    })
}
