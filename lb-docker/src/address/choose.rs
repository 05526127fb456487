//! The choice among everything that may lead there.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    choice::{AddressChoice, Candidate},
    network::{Networks, Way},
    port::{port, through_published},
    reach::{Reach, Viewpoint},
};
use crate::{
    config::Family,
    container::{Attached, NetworkMode, Published},
};

/// The network view of an object: its networks and ports.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) mode: &'a NetworkMode,
    pub(crate) attachments: &'a [Attached],
    pub(crate) exposed: &'a BTreeSet<u16>,
    pub(crate) published: &'a [Published],
    /// The prefix that compose or a stack puts before the names of its networks.
    pub(crate) project: Option<&'a str>,
}

/// The address request of its labels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Want<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) network: Option<&'a str>,
}

/// The address to use from `reach`.
pub(crate) fn choose(
    place: &Place<'_>,
    want: Want<'_>,
    networks: &Networks,
    reach: &Reach,
) -> AddressChoice {
    let none = |reason: String, candidates| AddressChoice {
        address: None,
        reason,
        candidates,
    };
    let (port, port_reason) = match port(want.port, place.exposed) {
        Ok(found) => found,
        Err(reason) => return none(reason, Vec::new()),
    };
    match place.mode {
        NetworkMode::Host => return host_network(port, &port_reason, reach),
        NetworkMode::None => {
            return none("it has no network".to_owned(), Vec::new());
        }
        NetworkMode::Own | NetworkMode::Container(_) => {}
    }

    let wanted = want.network.or(reach.network.as_deref());
    let mut ways: Vec<Way<'_>> = place
        .attachments
        .iter()
        .map(|attached| Way::through_network(attached, port, networks, reach))
        .collect();
    ways.sort_by(|a, b| a.name.cmp(b.name));
    let through_ports: Vec<Candidate> = place
        .published
        .iter()
        .filter(|published| published.port == port)
        .map(|published| through_published(published, reach))
        .collect();

    let named = wanted.map(|wanted| {
        ways.iter()
            .position(|way| way.is_called(wanted, place.project))
            .ok_or(wanted)
    });
    let (address, reason) = match named {
        Some(Err(wanted)) => (
            None,
            format!("network {wanted:?} is asked for and it is not on it"),
        ),
        Some(Ok(at)) => match ways.get(at) {
            Some(Way {
                candidate:
                    Candidate {
                        refused: None,
                        address,
                        ..
                    },
                name,
                ..
            }) => (
                *address,
                format!("network {name} is asked for; {port_reason}"),
            ),
            found => {
                let why = found.and_then(|way| way.candidate.refused.as_deref());
                let wanted = wanted.unwrap_or_default();
                let why = why.unwrap_or("it leads nowhere");
                (
                    None,
                    format!("network {wanted:?} is asked for and cannot be used: {why}"),
                )
            }
        },
        None => unnamed(&ways, &through_ports, &port_reason, reach),
    };
    AddressChoice {
        address,
        reason,
        candidates: ways
            .into_iter()
            .map(|way| way.candidate)
            .chain(through_ports)
            .collect(),
    }
}

fn unnamed(
    ways: &[Way<'_>],
    through_ports: &[Candidate],
    port_reason: &str,
    reach: &Reach,
) -> (Option<SocketAddr>, String) {
    let in_container = matches!(reach.viewpoint, Viewpoint::Container { .. });
    // A shared network may be internal: both are on it. From the host an internal one is a choice of its own.
    let mut usable = ways
        .iter()
        .filter(|way| way.usable() && (in_container || !way.internal));
    if let Some(first) = usable.next() {
        let name = first.name;
        let others = usable.count();
        let why = match (in_container, others) {
            (true, 0) => format!("network {name} is the only one shared"),
            (false, 0) => format!("network {name} is the only one that leads there"),
            (true, _) => format!("network {name} is the first shared one by name"),
            (false, _) => format!("network {name} is the first one by name"),
        };
        return (first.candidate.address, format!("{why}; {port_reason}"));
    }
    let of_family = |family: fn(&IpAddr) -> bool| {
        through_ports.iter().find(|candidate| {
            candidate.refused.is_none()
                && candidate
                    .address
                    .is_some_and(|address| family(&address.ip()))
        })
    };
    let (v4, v6) = (of_family(IpAddr::is_ipv4), of_family(IpAddr::is_ipv6));
    let published = match reach.family {
        Family::V4 => v4.or(v6),
        Family::V6 => v6.or(v4),
        Family::V4Only => v4,
        Family::V6Only => v6,
    };
    match published {
        Some(candidate) => (
            candidate.address,
            format!("no network leads there, a published port does; {port_reason}"),
        ),
        None => (None, why_none(ways, through_ports)),
    }
}

/// Why nothing can be used, with what was looked at.
fn why_none(ways: &[Way<'_>], through_ports: &[Candidate]) -> String {
    let refused: Vec<String> = ways
        .iter()
        .map(|way| &way.candidate)
        .chain(through_ports)
        .map(|candidate| {
            let why = candidate.refused.as_deref();
            let why = why.unwrap_or("it is internal, and no label asks for it");
            format!("{}: {why}", candidate.via)
        })
        .collect();
    match refused.is_empty() {
        true => "it is on no network and publishes no port".to_owned(),
        false => refused.join("; "),
    }
}

fn host_network(port: u16, port_reason: &str, reach: &Reach) -> AddressChoice {
    let own = match reach.viewpoint {
        Viewpoint::Host => Some(
            reach
                .node_address
                .unwrap_or_else(|| reach.family.loopback()),
        ),
        Viewpoint::Container { .. } | Viewpoint::Elsewhere => reach.node_address,
    };
    let address = own.map(|own| SocketAddr::new(own, port));
    let refused = address
        .is_none()
        .then(|| "the machine's address is not configured (reach.node_address)".to_owned());
    AddressChoice {
        address,
        reason: match &refused {
            None => format!("it uses the machine's own network; {port_reason}"),
            Some(refused) => format!("it uses the machine's own network; {refused}"),
        },
        candidates: vec![Candidate {
            via: "host network".to_owned(),
            address,
            refused,
        }],
    }
}
