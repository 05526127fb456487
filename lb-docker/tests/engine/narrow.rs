//! Sources that take a part of what an engine runs, on a real engine and a real Swarm.

use std::collections::BTreeSet;

use lb_docker::{ConnectionConfig, DockerConfig, DockerSource, SwarmConfig, SwarmSource};

use crate::support::{
    engine::{Engine, available},
    follower::{Follower, Told},
};

/// Waits until exactly these services are taken; answers with the diagnostics.
async fn taken(follower: &Follower, expected: &[&str]) -> Vec<String> {
    let services = |told: &Told| -> BTreeSet<String> {
        told.records
            .keys()
            .map(|key| key.service.to_string())
            .collect()
    };
    let wanted: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let what = format!("{expected:?} are taken");
    follower
        .until(&what, |told| told.resets == 1 && services(told) == wanted)
        .await;
    follower.look(|told| told.diagnostics.iter().map(ToString::to_string).collect())
}

fn docker(engine: &Engine, options: &str) -> Follower {
    let mut config: DockerConfig = serde_json::from_str(options).unwrap();
    config.connection = ConnectionConfig::at(engine.host());
    Follower::new(DockerSource::new(config))
}

fn swarm(engine: &Engine, options: &str) -> Follower {
    let mut config: SwarmConfig = serde_json::from_str(options).unwrap();
    config.managers = vec![ConnectionConfig::at(engine.host())];
    Follower::new(SwarmSource::new(config))
}

/// Options, and the services that a source with them takes.
const NARROWED: [(&str, &[&str]); 7] = [
    (r#"{}"#, &["blog", "shop", "wiki"]),
    (r#"{ "projects": ["shop"] }"#, &["shop"]),
    (r#"{ "projects": ["shop", "blog"] }"#, &["blog", "shop"]),
    (
        r#"{ "constraints": "Label(`tier`, `public`) && !Label(`draft`, `yes`)" }"#,
        &["shop"],
    ),
    (
        r#"{ "constraints": "Label(`tier`, `public`) || Label(`tier`, `inner`)" }"#,
        &["blog", "shop", "wiki"],
    ),
    (r#"{ "networks": ["back"] }"#, &["wiki"]),
    (r#"{ "exposed_by_default": false }"#, &["blog"]),
];

/// Objects: name, which is their project and service too, network and further labels.
const OBJECTS: [(&str, &str, &[&str]); 3] = [
    ("shop", "front", &["tier=public"]),
    (
        "blog",
        "front",
        &["tier=public", "draft=yes", "lb.enable=true"],
    ),
    ("wiki", "back", &["tier=inner"]),
];

fn options<'a>(label: &'a str, pairs: &'a [String]) -> Vec<&'a str> {
    pairs
        .iter()
        .flat_map(|pair| [label, pair.as_str()])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_s16_a_source_of_containers_is_narrowed_on_a_real_engine() {
    assert!(available());
    let engine = Engine::start();
    for network in ["front", "back"] {
        engine.docker(&["network", "create", network]);
    }
    for (name, network, labels) in OBJECTS {
        let mut pairs = vec![
            format!("com.docker.compose.project={name}"),
            format!("lb.service={name}"),
        ];
        pairs.extend(labels.iter().map(|label| (*label).to_owned()));
        let words = [options("-l", &pairs), vec!["--network", network]].concat();
        engine.run(name, &words);
    }
    for (narrowed, expected) in NARROWED {
        let told = taken(&docker(&engine, narrowed), expected).await;
        assert_eq!(told, [] as [String; 0], "{narrowed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_s16_a_source_of_swarm_services_is_narrowed_and_names_what_helps() {
    assert!(available());
    let engine = Engine::start();
    engine.swarm();
    for network in ["front", "back"] {
        engine.docker(&[
            "network",
            "create",
            "-d",
            "overlay",
            "--attachable",
            network,
        ]);
    }
    engine.run("lb", &["--network", "front"]);
    engine.docker(&["network", "connect", "back", "lb"]);
    for (name, network, labels) in OBJECTS {
        let mut pairs = vec![
            format!("com.docker.stack.namespace={name}"),
            format!("lb.service={name}"),
            "lb.port=80".to_owned(),
        ];
        pairs.extend(labels.iter().map(|label| (*label).to_owned()));
        let words = [options("--label", &pairs), vec!["--network", network]].concat();
        engine.service(name, &words);
    }
    for (narrowed, expected) in NARROWED {
        let mut options: serde_json::Value = serde_json::from_str(narrowed).unwrap();
        options["reach"] = serde_json::json!({ "container": "lb" });
        let told = taken(&swarm(&engine, &options.to_string()), expected).await;
        assert_eq!(told, [] as [String; 0], "{narrowed}");
    }

    // One that is published by ingress, seen from the engine's machine: the options that help are named, and they help.
    let published = [
        "--label",
        "lb.service=edge",
        "--label",
        "lb.port=80",
        "--publish",
        "8099:80",
    ];
    engine.service("edge", &published);
    let only = r#""constraints": "Label(`lb.service`, `edge`)", "reach": { "from": "host" }"#;
    let follower = swarm(&engine, &format!("{{ {only} }}"));
    let helps = ["lb.spread=nodes", "spread = \"nodes\""];
    let names = |told: &Told| {
        told.diagnostics
            .iter()
            .any(|one| helps.iter().all(|help| one.message.contains(help)))
    };
    follower
        .until("the options that help are named", names)
        .await;
    let follower = swarm(&engine, &format!("{{ {only}, \"spread\": \"nodes\" }}"));
    follower
        .until("it is reached by ingress", |told| told.ready("edge") == 1)
        .await;
    let told = follower.look(|told| told.diagnostics.len());
    assert_eq!(told, 0);
}

/// Of several exposed ports, Traefik takes the lowest and nginx-proxy 80; lb's own labels want one named, and say which
/// label does so.
#[tokio::test(flavor = "multi_thread")]
async fn case_s12_each_scheme_has_its_rule_for_several_exposed_ports() {
    assert!(available());
    let engine = Engine::start();
    let ports = ["--expose", "70", "--expose", "9000"];
    let run = |name: &str, more: &[&str]| engine.run(name, &[ports.as_slice(), more].concat());
    run(
        "traefik",
        &[
            "-l",
            "traefik.http.routers.t.rule=Host(`t.example`)",
            "-l",
            "traefik.enable=true",
        ],
    );
    run("nginx", &["-e", "VIRTUAL_HOST=n.example"]);
    run("own", &["-l", "lb.service=o"]);
    let follower = docker(
        &engine,
        r#"{ "labels": ["lb", "traefik", "virtual-host"] }"#,
    );
    follower
        .until("all are told", |told| {
            !told.diagnostics.is_empty() && told.endpoints().len() == 2
        })
        .await;
    let at = |container: &str, port: u16| format!("{}:{port}", engine.ip(container, "bridge"));
    let found: BTreeSet<String> =
        follower.look(|told| told.endpoints().into_keys().map(|(_, at)| at).collect());
    assert_eq!(found, BTreeSet::from([at("traefik", 70), at("nginx", 80)]));
    // A request decides: the container of nginx-proxy's rule answers at 80.
    assert!(engine.fetch(&at("nginx", 80)).is_some());
    let told = follower.look(|told| {
        told.diagnostics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    });
    assert_eq!(told.len(), 1, "{told:?}");
    let named = |line: &String| {
        line.contains("container own") && line.contains("lb.port") && line.contains("70, 80, 9000")
    };
    assert!(told.iter().any(named), "{told:?}");
}
