//! The networks of an engine, and which of them lead to a container.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    choice::Candidate,
    reach::{Reach, Viewpoint},
};
use crate::container::Attached;

/// The kind of network it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) internal: bool,
    pub(crate) ingress: bool,
}

/// All networks, by id.
pub(crate) type Networks = BTreeMap<String, Network>;

/// A network that leads there, maybe.
pub(super) struct Way<'a> {
    pub(super) name: &'a str,
    id: &'a str,
    pub(super) internal: bool,
    pub(super) candidate: Candidate,
}

impl<'a> Way<'a> {
    pub(super) fn through_network(
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

    pub(super) fn is_called(&self, wanted: &str, project: Option<&str>) -> bool {
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

    pub(super) fn usable(&self) -> bool {
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
