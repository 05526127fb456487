//! Which address leads to a container or task from where the load balancer runs, and why.
//!
//! The same facts give the same choice: candidates are sorted by name, never taken from a map's order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::Serialize;

use crate::{
    config::Family,
    container::{Attached, NetworkMode, Published},
};

/// How an address was chosen: every candidate, and why it was taken or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AddressChoice {
    /// The chosen address; `None` when no candidate will do.
    pub address: Option<SocketAddr>,
    /// Why this one, or why none, as a lower-case fragment.
    pub reason: String,
    /// Everything that was looked at, in the order of preference.
    pub candidates: Vec<Candidate>,
}

/// One address that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// The way there: a network or a published port.
    pub via: String,
    /// Where it leads; `None` when the network gives no address.
    pub address: Option<SocketAddr>,
    /// Why it cannot be used; `None` when it could be.
    pub refused: Option<String>,
}

impl fmt::Display for AddressChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}: {}", self.reason)?,
            None => write!(f, "no address: {}", self.reason)?,
        }
        for candidate in &self.candidates {
            write!(f, "\n  {}", candidate.via)?;
            if let Some(address) = candidate.address {
                write!(f, " {address}")?;
            }
            match &candidate.refused {
                Some(refused) => write!(f, ": refused, {refused}")?,
                None if candidate.address == self.address => f.write_str(": chosen")?,
                None => f.write_str(": usable")?,
            }
        }
        Ok(())
    }
}

/// From where containers are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) viewpoint: Viewpoint,
    /// The network to use where no label names one.
    pub(crate) network: Option<String>,
    /// The address of the machine that publishes ports.
    pub(crate) node_address: Option<IpAddr>,
    pub(crate) family: Family,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Viewpoint {
    /// On the engine's machine.
    Host,
    /// In a container on the networks with these ids.
    Container { networks: BTreeSet<String> },
    /// On another machine.
    Elsewhere,
}

impl fmt::Display for Viewpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "from the engine's machine",
            Self::Container { .. } => "from the load balancer's container",
            Self::Elsewhere => "from another machine",
        })
    }
}

/// What kind of network it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) internal: bool,
    pub(crate) ingress: bool,
}

/// All networks, by id.
pub(crate) type Networks = BTreeMap<String, Network>;

/// What is to be reached.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) mode: &'a NetworkMode,
    pub(crate) attachments: &'a [Attached],
    pub(crate) exposed: &'a BTreeSet<u16>,
    pub(crate) published: &'a [Published],
    /// The prefix that compose or a stack puts before the names of its networks.
    pub(crate) project: Option<&'a str>,
}

/// What its labels ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Want<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) network: Option<&'a str>,
}

/// The port to use: the one asked for, else the only one exposed.
pub(crate) fn port(want: Option<u16>, exposed: &BTreeSet<u16>) -> Result<(u16, String), String> {
    if let Some(port) = want {
        return Ok((port, format!("port {port} is asked for")));
    }
    let mut ports = exposed.iter();
    match (ports.next(), ports.next()) {
        (Some(port), None) => Ok((*port, format!("port {port} is the only one exposed"))),
        (None, _) => Err("it exposes no TCP port and no label names one".to_owned()),
        (Some(_), Some(_)) => {
            let all: Vec<_> = exposed.iter().map(u16::to_string).collect();
            Err(format!(
                "it exposes the TCP ports {} and no label names one of them",
                all.join(", ")
            ))
        }
    }
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

/// A network that leads there, maybe.
struct Way<'a> {
    name: &'a str,
    id: &'a str,
    internal: bool,
    candidate: Candidate,
}

impl<'a> Way<'a> {
    fn through_network(
        attached: &'a Attached,
        port: u16,
        networks: &Networks,
        reach: &Reach,
    ) -> Self {
        let known = networks.get(&attached.network_id);
        let address = reach
            .family
            .pick(attached.v4, attached.v6)
            .map(|address| SocketAddr::new(address, port));
        let refused = if address.is_none() {
            Some("it has no address of the wanted family there".to_owned())
        } else {
            known.map_or_else(
                || Some("the engine lists no such network".to_owned()),
                |network| refusal(network, &attached.network_id, reach),
            )
        };
        let kind = known.map_or("unknown", |network| network.driver.as_str());
        Self {
            name: &attached.network,
            id: &attached.network_id,
            internal: known.is_some_and(|network| network.internal),
            candidate: Candidate {
                via: format!("network {} ({kind})", attached.network),
                address,
                refused,
            },
        }
    }

    fn is_called(&self, wanted: &str, project: Option<&str>) -> bool {
        self.name == wanted
            || self.id == wanted
            || (wanted.len() >= 12 && self.id.starts_with(wanted))
            || project.is_some_and(|project| {
                self.name
                    .strip_prefix(project)
                    .and_then(|rest| rest.strip_prefix('_'))
                    == Some(wanted)
            })
    }

    fn usable(&self) -> bool {
        self.candidate.refused.is_none()
    }
}

fn refusal(network: &Network, id: &str, reach: &Reach) -> Option<String> {
    if network.ingress {
        return Some("Swarm's ingress network does not lead to containers".to_owned());
    }
    match &reach.viewpoint {
        Viewpoint::Host => match network.driver.as_str() {
            // What the host sends there leaves the machine, and something else may answer.
            "overlay" => Some("the host has no route into an overlay network".to_owned()),
            "macvlan" | "ipvlan" => Some(format!(
                "the host cannot reach its own containers on a {} network",
                network.driver
            )),
            _ => None,
        },
        Viewpoint::Container { networks } if networks.contains(id) => None,
        Viewpoint::Container { .. } => {
            Some("the load balancer's container is not on this network".to_owned())
        }
        Viewpoint::Elsewhere => Some("the load balancer runs on another machine".to_owned()),
    }
}

fn unnamed(
    ways: &[Way<'_>],
    through_ports: &[Candidate],
    port_reason: &str,
    reach: &Reach,
) -> (Option<SocketAddr>, String) {
    let in_container = matches!(reach.viewpoint, Viewpoint::Container { .. });
    // A shared network may be internal: both are on it. From the host an internal one is a wish of its own.
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

fn through_published(published: &Published, reach: &Reach) -> Candidate {
    let bound = published.host_ip;
    let via = format!(
        "published port {}",
        SocketAddr::new(bound, published.host_port)
    );
    let at = |address: IpAddr| Some(SocketAddr::new(address, published.host_port));
    let on_host = reach.viewpoint == Viewpoint::Host;
    let (address, refused) = if !reach.family.wants(bound) {
        (None, Some("it is not of the wanted family".to_owned()))
    } else if bound.is_unspecified() {
        let node = reach
            .node_address
            .filter(|node| node.is_ipv4() == bound.is_ipv4());
        match node {
            Some(node) => (at(node), None),
            None if on_host && bound.is_ipv4() => (at(Ipv4Addr::LOCALHOST.into()), None),
            None if on_host => (at(Ipv6Addr::LOCALHOST.into()), None),
            None => (
                None,
                Some(
                    "the machine's address of this family is not configured (reach.node_address)"
                        .to_owned(),
                ),
            ),
        }
    } else if bound.is_loopback() && !on_host {
        (
            at(bound),
            Some("it is bound to the machine's loopback".to_owned()),
        )
    } else {
        (at(bound), None)
    };
    Candidate {
        via,
        address,
        refused,
    }
}

impl Family {
    fn pick(self, v4: Option<IpAddr>, v6: Option<IpAddr>) -> Option<IpAddr> {
        match self {
            Self::V4 => v4.or(v6),
            Self::V6 => v6.or(v4),
            Self::V4Only => v4,
            Self::V6Only => v6,
        }
    }

    fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::V4 | Self::V6 => true,
            Self::V4Only => address.is_ipv4(),
            Self::V6Only => address.is_ipv6(),
        }
    }

    fn loopback(self) -> IpAddr {
        match self {
            Self::V4 | Self::V4Only => Ipv4Addr::LOCALHOST.into(),
            Self::V6 | Self::V6Only => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reach(viewpoint: Viewpoint) -> Reach {
        Reach {
            viewpoint,
            network: None,
            node_address: None,
            family: Family::V4,
        }
    }

    fn networks() -> Networks {
        [
            ("bridge", "bridge", false, false),
            ("shop_back", "bridge", true, false),
            ("shop_front", "bridge", false, false),
            ("mesh", "overlay", false, false),
            ("ingress", "overlay", false, true),
            ("lan", "macvlan", false, false),
        ]
        .map(|(name, driver, internal, ingress)| {
            (
                format!("id-of-{name}-network"),
                Network {
                    name: name.to_owned(),
                    driver: driver.to_owned(),
                    internal,
                    ingress,
                },
            )
        })
        .into()
    }

    fn on(network: &str, address: &str) -> Attached {
        let address: IpAddr = address.parse().unwrap();
        Attached {
            network: network.to_owned(),
            network_id: format!("id-of-{network}-network"),
            v4: Some(address).filter(IpAddr::is_ipv4),
            v6: Some(address).filter(IpAddr::is_ipv6),
        }
    }

    fn published(host_ip: &str, host_port: u16) -> Published {
        Published {
            port: 80,
            host_ip: host_ip.parse().unwrap(),
            host_port,
        }
    }

    fn pick(
        attachments: &[Attached],
        published: &[Published],
        want: Want<'_>,
        reach: &Reach,
    ) -> AddressChoice {
        let place = Place {
            mode: &NetworkMode::Own,
            attachments,
            exposed: &[80].into(),
            published,
            project: Some("shop"),
        };
        choose(&place, want, &networks(), reach)
    }

    fn chosen(choice: &AddressChoice) -> Option<String> {
        choice.address.map(|address| address.to_string())
    }

    #[test]
    fn the_host_never_uses_an_overlay_address() {
        let mesh = [on("mesh", "10.0.2.5")];
        let host = reach(Viewpoint::Host);
        let refused = pick(&mesh, &[], Want::default(), &host);
        assert_eq!(refused.address, None);
        assert!(
            refused.to_string().contains("no route into an overlay"),
            "{refused}"
        );
        let named = Want {
            network: Some("mesh"),
            ..Want::default()
        };
        assert_eq!(
            pick(&mesh, &[], named, &host).address,
            None,
            "not even when asked"
        );
        let through_port = pick(
            &mesh,
            &[published("0.0.0.0", 32768)],
            Want::default(),
            &host,
        );
        assert_eq!(chosen(&through_port).as_deref(), Some("127.0.0.1:32768"));
        let unknown = [on("new", "10.0.9.9")];
        assert_eq!(pick(&unknown, &[], Want::default(), &host).address, None);
    }

    #[test]
    fn a_label_names_its_network_with_or_without_prefix_or_by_id() {
        let attachments = [on("bridge", "172.17.0.2"), on("shop_back", "172.18.0.2")];
        let host = reach(Viewpoint::Host);
        for network in [
            "shop_back",
            "back",
            "id-of-shop_back-network",
            "id-of-shop_b",
        ] {
            let want = Want {
                network: Some(network),
                ..Want::default()
            };
            let choice = pick(&attachments, &[], want, &host);
            assert_eq!(
                chosen(&choice).as_deref(),
                Some("172.18.0.2:80"),
                "{network}"
            );
        }
        let want = Want {
            network: Some("front"),
            ..Want::default()
        };
        let choice = pick(&attachments, &[published("0.0.0.0", 1)], want, &host);
        assert_eq!(choice.address, None, "a wish is never replaced by a guess");
        assert!(choice.to_string().contains("\"front\""), "{choice}");
    }

    #[test]
    fn from_a_container_only_shared_networks_are_used() {
        let attachments = [on("bridge", "172.17.0.2"), on("shop_back", "172.18.0.2")];
        let inside = reach(Viewpoint::Container {
            networks: ["id-of-shop_back-network".to_owned()].into(),
        });
        let choice = pick(&attachments, &[], Want::default(), &inside);
        assert_eq!(chosen(&choice).as_deref(), Some("172.18.0.2:80"));
        let apart = reach(Viewpoint::Container {
            networks: BTreeSet::new(),
        });
        assert_eq!(
            pick(&attachments, &[], Want::default(), &apart).address,
            None
        );
    }

    #[test]
    fn host_ports_follow_the_family_of_their_binding() {
        let ports = [published("0.0.0.0", 32793), published("::", 32786)];
        let host = reach(Viewpoint::Host);
        let v4 = pick(&[], &ports, Want::default(), &host);
        assert_eq!(chosen(&v4).as_deref(), Some("127.0.0.1:32793"));
        let v6 = Reach {
            family: Family::V6,
            ..host.clone()
        };
        let v6 = pick(&[], &ports, Want::default(), &v6);
        assert_eq!(chosen(&v6).as_deref(), Some("[::1]:32786"));
        let elsewhere = Reach {
            node_address: Some("192.0.2.9".parse().unwrap()),
            ..reach(Viewpoint::Elsewhere)
        };
        let far = pick(
            &[on("bridge", "172.17.0.2")],
            &ports,
            Want::default(),
            &elsewhere,
        );
        assert_eq!(chosen(&far).as_deref(), Some("192.0.2.9:32793"));
        let loopback = [published("127.0.0.1", 8080)];
        assert_eq!(
            pick(&[], &loopback, Want::default(), &elsewhere).address,
            None
        );
    }

    #[test]
    fn the_port_is_named_or_the_only_one_or_an_error_that_lists_them() {
        assert_eq!(port(Some(81), &[80].into()).unwrap().0, 81);
        assert_eq!(port(None, &[80].into()).unwrap().0, 80);
        assert!(port(None, &BTreeSet::new()).is_err());
        let error = port(None, &[80, 8080].into()).unwrap_err();
        assert!(error.contains("80, 8080"), "{error}");
    }

    proptest! {
        #[test]
        fn p13_the_order_of_facts_never_changes_the_choice(
            mut order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
            inside: bool,
        ) {
            let all = [
                on("bridge", "172.17.0.2"),
                on("shop_front", "172.18.0.2"),
                on("mesh", "10.0.2.5"),
                on("ingress", "10.0.0.5"),
                on("lan", "192.0.2.7"),
            ];
            let from = reach(if inside {
                Viewpoint::Container { networks: networks().into_keys().collect() }
            } else {
                Viewpoint::Host
            });
            let sorted = pick(&all, &[], Want::default(), &from);
            let shuffled: Vec<_> = order.drain(..).map(|at| all[at].clone()).collect();
            prop_assert_eq!(pick(&shuffled, &[], Want::default(), &from), sorted);
        }
    }
}
