//! Finds out from where containers are reached: the engine's networks, and our own place among them.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::{InspectedContainer, ListedNetwork},
    config::{ReachConfig, ReachFrom},
    connection::Address,
    container::{Container, NetworkMode},
    engine::{Engine, encoded},
    error::EngineError,
    surroundings::{Here, own_container_ids},
};

/// The networks that were found.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub(crate) networks: Networks,
    pub(crate) reach: Reach,
    /// The load balancer's own container.
    pub(crate) own: Option<Container>,
}

/// Looks around at `engine`.
pub(crate) async fn survey(engine: &Engine, config: &ReachConfig) -> Result<Survey, EngineError> {
    let (listed, _unread) = engine.list::<ListedNetwork>("/networks").await?;
    let networks = by_id(listed);
    let own = own_container(engine, config).await?;
    let reach = reach(config, engine.address(), own.as_ref())?;
    Ok(Survey {
        networks,
        reach,
        own,
    })
}

/// Networks by their ids.
pub(crate) fn by_id(listed: Vec<ListedNetwork>) -> Networks {
    let network = |listed: ListedNetwork| Network {
        name: listed.name,
        driver: listed.driver,
        internal: listed.internal,
        ingress: listed.ingress,
    };
    listed
        .into_iter()
        .map(|listed| (listed.id.clone(), network(listed)))
        .collect()
}

async fn own_container(
    engine: &Engine,
    config: &ReachConfig,
) -> Result<Option<Container>, EngineError> {
    let named = config.container.clone();
    let candidates = match (&named, config.from) {
        (Some(name), _) => vec![name.clone()],
        (None, ReachFrom::Auto | ReachFrom::Container) => own_container_ids(&Here),
        (None, ReachFrom::Host | ReachFrom::Elsewhere) => Vec::new(),
    };
    for id in candidates {
        match inspect(engine, &id).await {
            Ok(container) => return Ok(Some(container)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    match named {
        Some(name) => Err(EngineError::Settings {
            what: format!("reach.container is {name:?}, expected a container that the engine has"),
        }),
        None => Ok(None),
    }
}

/// One container as an inspection shows it.
pub(crate) async fn inspect(engine: &Engine, id: &str) -> Result<Container, EngineError> {
    let path = format!("/containers/{}/json", encoded(id));
    let inspected = engine.get::<InspectedContainer>(&path).await?;
    Ok(Container::from_inspect(inspected))
}

/// From where containers are reached, as configured or as the engine's address and our own container tell.
pub(crate) fn reach(
    config: &ReachConfig,
    address: &Address,
    own: Option<&Container>,
) -> Result<Reach, EngineError> {
    let (local, node_address) = whereabouts(address);
    let inside = |container: &Container| match container.mode {
        NetworkMode::Host => Viewpoint::Host,
        _ => Viewpoint::Container {
            networks: container
                .attachments
                .iter()
                .map(|attached| attached.network_id.clone())
                .collect::<BTreeSet<String>>(),
        },
    };
    let viewpoint = match (config.from, own) {
        (ReachFrom::Host, _) => Viewpoint::Host,
        (ReachFrom::Elsewhere, _) => Viewpoint::Elsewhere,
        (ReachFrom::Auto | ReachFrom::Container, Some(container)) => inside(container),
        (ReachFrom::Container, None) => {
            return Err(EngineError::Settings {
                what: "reach.from is \"container\" and this program is in none that the engine knows, expected reach.container".to_owned(),
            });
        }
        (ReachFrom::Auto, None) if local => Viewpoint::Host,
        (ReachFrom::Auto, None) => Viewpoint::Elsewhere,
    };
    Ok(Reach {
        viewpoint,
        network: config.network.clone(),
        node_address: config.node_address.or(node_address),
        family: config.family,
    })
}

/// The place of the engine: whether it is on this machine, and its address where it is on another.
fn whereabouts(address: &Address) -> (bool, Option<IpAddr>) {
    let authority = match address {
        Address::Unix(_) => return (true, None),
        Address::Tcp(authority) | Address::Tls { authority, .. } => authority.as_str(),
        Address::Ssh(url) => {
            let authority = url.strip_prefix("ssh://").unwrap_or(url);
            authority.rsplit('@').next().unwrap_or(authority)
        }
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => (true, None),
        Ok(ip) => (false, Some(ip)),
        Err(_) => (host == "localhost", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_machine_is_known_by_its_address() {
        for (address, local, ip) in [
            (Address::Unix("/run/x.sock".into()), true, None),
            (Address::Tcp("127.0.0.1:2375".into()), true, None),
            (Address::Tcp("[::1]:2375".into()), true, None),
            (Address::Tcp("localhost:2375".into()), true, None),
            (
                Address::Tcp("192.0.2.1:2375".into()),
                false,
                Some("192.0.2.1"),
            ),
            (
                Address::Tcp("[fd00::1]:2375".into()),
                false,
                Some("fd00::1"),
            ),
            (Address::Tcp("engine:2375".into()), false, None),
            (
                Address::Ssh("ssh://me@192.0.2.1:22".into()),
                false,
                Some("192.0.2.1"),
            ),
        ] {
            let expected = (local, ip.map(|ip| ip.parse().unwrap()));
            assert_eq!(whereabouts(&address), expected, "{address}");
        }
    }
}
