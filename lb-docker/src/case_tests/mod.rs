//! Cases of containers together: what one does never disturbs another.

mod explained;
mod labels;
mod narrowed;
mod reported;
mod shared;
mod withheld_routes;

use std::collections::BTreeMap;

use lb_core::{
    Record,
    model::{nowhere, withheld},
};
use lb_schemes::{LabelScheme, Options};
use serde_json::json;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::InspectedContainer,
    book::Book,
    config::{Family, MAX_LABEL_BYTES},
    container::Container,
    narrow::Narrow,
    translate::Rules,
};

fn networks() -> Networks {
    ["front", "back"]
        .map(|name| {
            let network = Network {
                name: name.to_owned(),
                driver: "bridge".to_owned(),
                internal: false,
                ingress: false,
            };
            (format!("{name}-id"), network)
        })
        .into()
}

fn book(scheme: LabelScheme, narrow: Narrow) -> Book {
    let rules = Rules {
        options: Options::new(&[scheme], &["docker"]),
        narrow,
        services: Vec::new(),
        one_off: false,
        own_project: None,
        max_label_bytes: MAX_LABEL_BYTES,
    };
    let reach = Reach {
        viewpoint: Viewpoint::Host,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    Book::new(rules, networks(), reach)
}

/// A running container as the engine shows it when asked for one.
fn container(number: u8, network: &str, labels: &BTreeMap<String, String>) -> Container {
    let answer = json!({
        "Id": format!("{number:064x}"),
        "Name": format!("/c{number}"),
        "State": { "Status": "running" },
        "Config": { "Labels": labels, "Env": [], "ExposedPorts": { "80/tcp": {} } },
        "NetworkSettings": { "Networks": { network: {
            "NetworkID": format!("{network}-id"), "IPAddress": format!("172.17.0.{number}"),
        } } },
    });
    let inspected: InspectedContainer = serde_json::from_value(answer).unwrap();
    Container::from_inspect(inspected)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Each record as `service address routes`.
fn printed(records: &[Record]) -> Vec<String> {
    let mut all: Vec<String> = records
        .iter()
        .map(|record| {
            let address = record.endpoint.as_ref().map(|endpoint| endpoint.address);
            let mut text = format!("{} {address:?}", record.key.service);
            let routes = record.routes.iter();
            for route in routes.filter(|route| route.service != nowhere()) {
                let mark = match route.service == withheld() {
                    true => "503:",
                    false => "",
                };
                text.push_str(&format!(" {mark}{}{}", route.host, route.path));
            }
            text.replace("Some(", "").replace(')', "")
        })
        .collect();
    all.sort();
    all
}

/// A container with these variables.
fn with_variables(number: u8, variables: &[(&str, &str)]) -> Container {
    let mut made = container(number, "front", &BTreeMap::new());
    made.env = Some(labels(variables).into_iter().collect());
    made
}
