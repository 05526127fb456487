//! Which port of a container, and where a machine publishes it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    choice::Candidate,
    reach::{Reach, Viewpoint},
};
use crate::container::Published;

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
                "it exposes the TCP ports {} and no label such as lb.port names one of them",
                all.join(", ")
            ))
        }
    }
}

/// The address to which a published port leads.
pub(super) fn through_published(published: &Published, reach: &Reach) -> Candidate {
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
