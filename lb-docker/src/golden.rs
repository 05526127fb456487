//! What recorded engine answers become, compared with files that people have read.

use std::{fs, path::Path};

use crate::narrow::Narrow;
use lb_core::{Diagnostic, Mode, Record};
use lb_schemes::Options;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::{InspectedContainer, ListedContainer, ListedNetwork, list},
    book::Book,
    config::{ComposeService, Family, LabelScheme, MAX_LABEL_BYTES, Spread},
    container::Container,
    pieces::Piece,
    refresh::Event,
    swarm::{Cluster, SwarmBook, SwarmRules},
    translate::Rules,
};

const VERSIONS: [&str; 2] = ["api-1.41", "api-1.52"];

fn fixture(version: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares with a golden file; both versions of the API must lead to the same.
fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "{}", path.display());
}

fn printed(records: &[Record], complaints: &[Diagnostic]) -> String {
    let mut lines: Vec<String> = records
        .iter()
        .map(|record| {
            let mut line = record.key.to_string();
            match &record.endpoint {
                Some(endpoint) => line.push_str(&format!(
                    " {} weight {} {:?}",
                    endpoint.address, endpoint.weight, endpoint.state
                )),
                None => line.push_str(" without endpoint"),
            }
            if record.mode == Mode::Tcp {
                line.push_str(" tcp");
            }
            for route in record.routes.iter() {
                line.push_str(&format!(" {}{}", route.host, route.path));
            }
            line
        })
        .chain(complaints.iter().map(|complaint| format!("! {complaint}")))
        .collect();
    lines.sort();
    lines.push(String::new());
    lines.join("\n")
}

fn networks(version: &str) -> Networks {
    let (listed, unread) =
        list::<ListedNetwork>(fixture(version, "networks.json").as_bytes()).unwrap();
    assert_eq!(unread, []);
    listed
        .into_iter()
        .map(|network| {
            let kind = Network {
                name: network.name,
                driver: network.driver,
                internal: network.internal,
                ingress: network.ingress,
            };
            (network.id, kind)
        })
        .collect()
}

fn reach(viewpoint: Viewpoint) -> Reach {
    Reach {
        viewpoint,
        network: None,
        node_address: None,
        family: Family::V4,
    }
}

/// As a container on the overlay network sees it.
fn inside(version: &str) -> Reach {
    let mesh = networks(version)
        .into_iter()
        .filter(|(_, network)| network.name == "mesh")
        .map(|(id, _)| id);
    reach(Viewpoint::Container {
        networks: mesh.collect(),
    })
}

fn rules() -> Rules {
    Rules {
        options: Options::new(&[LabelScheme::Lb], &["docker"]),
        narrow: Narrow::default(),
        services: vec![ComposeService::new("echo")],
        one_off: false,
        own_project: None,
        max_label_bytes: MAX_LABEL_BYTES,
    }
}

fn inspected(version: &str, name: &str) -> Container {
    let text = fixture(version, &format!("inspect-{name}.json"));
    Container::from_inspect(serde_json::from_str::<InspectedContainer>(&text).unwrap())
}

#[test]
fn containers_listed_from_the_host() {
    for version in VERSIONS {
        let text = fixture(version, "containers.json");
        let (listed, unread) = list::<ListedContainer>(text.as_bytes()).unwrap();
        assert_eq!(unread, []);
        let mut book = Book::new(rules(), networks(version), reach(Viewpoint::Host));
        let containers = listed.into_iter().map(Container::from_list);
        book.replace(
            containers
                .map(|container| {
                    let shares = container.name == "guest";
                    (container, shares.then(|| inspected(version, "plain")))
                })
                .collect(),
        );
        let (records, complaints) = book.snapshot();
        check(
            "containers-from-host.golden",
            &printed(&records, &complaints),
        );
    }
}

#[test]
fn an_inspection_says_what_the_listing_said() {
    for version in VERSIONS {
        let (listed, _) =
            list::<ListedContainer>(fixture(version, "containers.json").as_bytes()).unwrap();
        for listed in listed.into_iter().map(Container::from_list) {
            if !["plain", "host", "guest", "checked", "published"].contains(&listed.name.as_str()) {
                continue;
            }
            let mut inspected = inspected(version, &listed.name);
            assert!(inspected.env.take().is_some());
            let stop = inspected.stop.take().unwrap();
            if inspected.name == "host" {
                assert_eq!((stop.signal, stop.timeout.unwrap().as_secs()), (3, 33));
                // Only an inspection tells what a container in the machine's network exposes.
                inspected.exposed.clear();
            }
            if inspected.name == "guest" {
                inspected.exposed.clear();
                assert!(inspected.attachments.is_empty());
            }
            assert_eq!(inspected, listed, "{version}");
        }
    }
}

fn swarm(version: &str, viewpoint: Reach) -> SwarmBook {
    let mut cluster = Cluster {
        own_node: fixture_node(version),
        ..Cluster::default()
    };
    cluster.set_services(
        list(fixture(version, "services.json").as_bytes())
            .unwrap()
            .0,
    );
    cluster.set_nodes(list(fixture(version, "nodes.json").as_bytes()).unwrap().0);
    let (tasks, unread) = list(fixture(version, "tasks.json").as_bytes()).unwrap();
    assert_eq!(unread, []);
    assert!(cluster.set_tasks(tasks));
    let rules = SwarmRules {
        options: Options::new(&[LabelScheme::Lb], &["docker"]),
        narrow: Narrow::default(),
        spread: Spread::Tasks,
        max_label_bytes: MAX_LABEL_BYTES,
    };
    SwarmBook::new(rules, cluster, networks(version), viewpoint)
}

fn fixture_node(version: &str) -> String {
    let info: crate::api::Info = serde_json::from_str(&fixture(version, "info.json")).unwrap();
    assert!(info.swarm.control_available && !info.swarm.cluster.id.is_empty());
    assert!(crate::moment::since(&info.system_time).is_some());
    info.swarm.node_id
}

#[test]
fn swarm_services_in_the_middle_of_an_update() {
    for version in VERSIONS {
        let mut book = swarm(version, inside(version));
        let (records, complaints) = book.snapshot();
        assert!(!book.has_converged(), "an update is under way");
        check("swarm-from-overlay.golden", &printed(&records, &complaints));
        let mut book = swarm(version, reach(Viewpoint::Host));
        let (records, complaints) = book.snapshot();
        check("swarm-from-host.golden", &printed(&records, &complaints));
    }
}

#[test]
fn recorded_events_are_understood() {
    let mut lines: Vec<String> = Vec::new();
    for line in fixture("api-1.41", "events.jsonl").lines() {
        if let Some(event) = Event::read(Piece::Whole(line.as_bytes())) {
            let claimed = event.attributes.keys().any(|key| key.starts_with("lb."));
            let action = event
                .action
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            lines.push(format!(
                "{:?} {action} claimed {claimed}: new {:?}, known {:?}",
                event.kind,
                event.step(None, claimed),
                event.step(Some(None), claimed)
            ));
        }
    }
    lines.sort();
    lines.dedup();
    lines.push(String::new());
    check("events.golden", &lines.join("\n"));
}
