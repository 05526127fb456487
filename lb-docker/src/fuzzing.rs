//! Translations that are no part of what the crate offers, for fuzz targets.

use std::{collections::BTreeMap, net::IpAddr};

use lb_core::{Diagnostic, Record};

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::{InspectedContainer, list},
    book::Book,
    config::{Family, LabelScheme, Spread},
    container::{Attached, Container, NetworkMode, Phase},
    moment,
    swarm::{Cluster, SwarmBook, SwarmRules},
    translate::Rules,
};

/// What [`labels`] calls its container.
pub const CONTAINER: &str = "c";

/// The records of a container with these labels, which are its environment too, and what is wrong with them.
///
/// It runs on one network and exposes one port; nothing else is known of it.
#[must_use]
pub fn labels(
    labels: &BTreeMap<String, String>,
    schemes: &[LabelScheme],
) -> (Vec<Record>, Vec<Diagnostic>) {
    let env = labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    let container = Container {
        id: "0123456789abcdef".to_owned(),
        name: CONTAINER.to_owned(),
        labels: labels.clone(),
        env: Some(env.collect()),
        phase: Phase::Serving,
        mode: NetworkMode::Own,
        attachments: vec![Attached {
            network: NETWORK.to_owned(),
            network_id: NETWORK.to_owned(),
            v4: Some(IpAddr::from([172, 17, 0, 2])),
            v6: None,
        }],
        exposed: [80].into(),
        published: Vec::new(),
        stop: None,
    };
    translated(container, schemes)
}

/// The same of a container as the engine shows it when asked for one. Nothing where it is no such answer.
#[must_use]
pub fn inspection(json: &str, schemes: &[LabelScheme]) -> Option<(Vec<Record>, Vec<Diagnostic>)> {
    let inspected: InspectedContainer = serde_json::from_str(json).ok()?;
    Some(translated(Container::from_inspect(inspected), schemes))
}

/// The same of Swarm services as a manager lists them, reached at their virtual addresses.
#[must_use]
pub fn services(json: &str, schemes: &[LabelScheme]) -> Option<(Vec<Record>, Vec<Diagnostic>)> {
    let (listed, _) = list(json).ok()?;
    let mut cluster = Cluster::default();
    cluster.set_services(listed);
    let rules = SwarmRules {
        schemes: schemes.to_vec(),
        spread: Spread::Vip,
    };
    let inside = Viewpoint::Container {
        networks: [NETWORK.to_owned()].into(),
    };
    Some(SwarmBook::new(rules, cluster, networks(), reach(inside)).snapshot())
}

/// A time of the engine's, as its event stream takes it back.
#[must_use]
pub fn time(text: &str) -> Option<String> {
    moment::since(text)
}

fn translated(container: Container, schemes: &[LabelScheme]) -> (Vec<Record>, Vec<Diagnostic>) {
    let rules = Rules {
        schemes: schemes.to_vec(),
        services: Vec::new(),
        one_off: false,
        own_project: None,
    };
    let mut book = Book::new(rules, networks(), reach(Viewpoint::Host));
    book.replace(vec![(container, None)]);
    book.snapshot()
}

const NETWORK: &str = "net";

fn networks() -> Networks {
    let network = Network {
        name: NETWORK.to_owned(),
        driver: "bridge".to_owned(),
        internal: false,
        ingress: false,
    };
    [(NETWORK.to_owned(), network)].into()
}

fn reach(viewpoint: Viewpoint) -> Reach {
    Reach {
        viewpoint,
        network: None,
        node_address: None,
        family: Family::V4,
    }
}
