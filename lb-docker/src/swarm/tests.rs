//! Tasks, nodes and services in every state, and what becomes of them.

use crate::narrow::Narrow;
use lb_core::{EndpointState, Record, Severity};
use lb_schemes::Options;
use serde_json::{Value, json};

use super::{Cluster, ListedService, Local, SwarmBook, SwarmRules};
use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    budget::Gathered,
    config::{Family, LabelScheme, MAX_LABEL_BYTES, Spread},
    container::{Container, Published},
    translate::Fate,
};

fn service(labels: Value, ports: Value) -> Value {
    json!([{ "ID": "s1", "Spec": { "Name": "web", "Labels": labels, "Mode": { "Replicated": { "Replicas": 1 } } },
        "Endpoint": { "Ports": ports, "VirtualIPs": [{ "NetworkID": "mesh-id", "Addr": "10.0.1.2/24" }] } }])
}

fn task(id: &str, state: &str, desired: &str, address: &str, version: u64) -> Value {
    json!({ "ID": id, "Version": { "Index": version }, "ServiceID": "s1", "Slot": 1, "NodeID": "far",
        "Status": { "State": state }, "DesiredState": desired,
        "NetworksAttachments": [{ "Network": { "ID": "mesh-id", "Spec": { "Name": "mesh" } },
            "Addresses": [address] }] })
}

fn nodes(state: &str) -> Value {
    json!([
        { "ID": "own", "Status": { "State": "ready", "Addr": "0.0.0.0" }, "ManagerStatus": { "Addr": "192.0.2.1:2377" } },
        { "ID": "far", "Status": { "State": state, "Addr": "192.0.2.2" } },
    ])
}

fn book(services: Value, tasks: Value, nodes: Value, viewpoint: Viewpoint) -> SwarmBook {
    let mut cluster = Cluster {
        own_node: "own".to_owned(),
        ..Cluster::default()
    };
    cluster.set_services(serde_json::from_value(services).unwrap());
    cluster.set_nodes(serde_json::from_value(nodes).unwrap());
    assert!(cluster.set_tasks(serde_json::from_value(tasks).unwrap()));
    let networks: Networks = [(
        "mesh-id".to_owned(),
        Network {
            name: "mesh".to_owned(),
            driver: "overlay".to_owned(),
            internal: false,
            ingress: false,
        },
    )]
    .into();
    let rules = SwarmRules {
        options: Options::new(&[LabelScheme::Lb], &["docker"]),
        narrow: Narrow::default(),
        spread: Spread::Tasks,
        max_label_bytes: MAX_LABEL_BYTES,
    };
    let reach = Reach {
        viewpoint,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    SwarmBook::new(rules, cluster, networks, reach)
}

fn inside() -> Viewpoint {
    Viewpoint::Container {
        networks: ["mesh-id".to_owned()].into(),
    }
}

fn state(records: &[Record]) -> Option<EndpointState> {
    records
        .first()?
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.state)
}

fn addresses(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .filter_map(|record| Some(record.endpoint.as_ref()?.address.to_string()))
        .collect()
}

#[test]
fn each_task_state_means_one_endpoint_state() {
    let draining = EndpointState::Draining {
        grace: Some(std::time::Duration::from_secs(13)),
    };
    for (status, desired, node, expected) in [
        ("new", "running", "ready", Some(EndpointState::Pending)),
        ("pending", "running", "ready", Some(EndpointState::Pending)),
        ("preparing", "ready", "ready", Some(EndpointState::Pending)),
        ("starting", "running", "ready", Some(EndpointState::Pending)),
        ("running", "running", "ready", Some(EndpointState::Ready)),
        ("running", "shutdown", "ready", Some(draining)),
        ("running", "remove", "ready", Some(draining)),
        ("running", "running", "down", Some(EndpointState::Down)),
        ("running", "running", "unknown", Some(EndpointState::Ready)),
        (
            "running",
            "running",
            "disconnected",
            Some(EndpointState::Ready),
        ),
        ("preparing", "running", "down", None),
        ("starting", "shutdown", "ready", None),
        ("complete", "shutdown", "ready", None),
        ("failed", "shutdown", "ready", None),
        ("rejected", "shutdown", "ready", None),
        ("orphaned", "remove", "ready", None),
        ("levitating", "running", "ready", None),
    ] {
        let tasks = json!([task("t1", status, desired, "10.0.1.5/24", 7)]);
        let mut book = book(
            service(json!({ "lb.port": "80" }), json!([])),
            tasks,
            nodes(node),
            inside(),
        );
        let (records, complaints) = book.snapshot();
        assert_eq!(state(&records), expected, "{status} {desired} {node}");
        assert_eq!(complaints, []);
    }
}

#[test]
fn i9_the_worse_of_what_managers_and_the_local_engine_say_counts() {
    let local = |state: &str, status: &str, fate| {
        let container = json!({ "Id": "c1", "State": state, "Status": status });
        Local {
            container: Container::from_list(serde_json::from_value(container).unwrap()),
            fate,
        }
    };
    let is_draining = |state| matches!(state, Some(EndpointState::Draining { .. }));
    let tasks = json!([task("t1", "running", "running", "10.0.1.5/24", 7)]);
    let mut book = book(
        service(json!({ "lb.port": "80" }), json!([])),
        tasks,
        nodes("ready"),
        inside(),
    );
    let mut with = |local| {
        book.cluster.locals.insert("t1".to_owned(), local);
        state(&book.snapshot().0)
    };
    assert_eq!(
        with(local("running", "Up (healthy)", Fate::Stays)),
        Some(EndpointState::Ready)
    );
    assert!(is_draining(with(local(
        "running",
        "Up (unhealthy)",
        Fate::Stays
    ))));
    assert!(is_draining(with(local(
        "paused",
        "Up (Paused)",
        Fate::Stays
    ))));
    assert!(is_draining(with(local("running", "Up", Fate::Leaves))));
    assert_eq!(
        with(local("running", "Up", Fate::Died)),
        Some(EndpointState::Down)
    );
}

#[test]
fn p14_a_reused_address_belongs_to_the_later_task() {
    let mut services = service(json!({ "lb.port": "80" }), json!([]));
    let mut other = services[0].clone();
    other["ID"] = json!("s2");
    other["Spec"]["Name"] = json!("api");
    services.as_array_mut().unwrap().push(other);
    let mut later = task("t2", "running", "running", "10.0.1.5/24", 9);
    later["ServiceID"] = json!("s2");
    let tasks = json!([task("t1", "running", "shutdown", "10.0.1.5/24", 7), later]);
    let mut book = book(services, tasks, nodes("ready"), inside());
    let states: Vec<_> = book
        .snapshot()
        .0
        .iter()
        .map(|record| {
            (
                record.key.service.to_string(),
                state(std::slice::from_ref(record)).unwrap(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            ("api".to_owned(), EndpointState::Ready),
            ("web".to_owned(), EndpointState::Down)
        ]
    );
}

#[test]
fn i11_an_older_answer_changes_nothing() {
    let tasks = json!([task("t1", "running", "running", "10.0.1.5/24", 7)]);
    let mut book = book(
        service(json!({ "lb.port": "80" }), json!([])),
        tasks,
        nodes("ready"),
        inside(),
    );
    book.snapshot();
    let older = json!([task("t1", "starting", "running", "10.0.1.5/24", 6)]);
    assert!(
        !book
            .cluster
            .set_tasks(serde_json::from_value(older).unwrap())
    );
    assert_eq!(book.changes(), None);
}

#[test]
fn from_the_host_a_task_elsewhere_is_reached_at_its_nodes_fixed_port() {
    let fixed = json!([{ "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host", "Protocol": "tcp" }]);
    let tasks = json!([task("t1", "running", "running", "10.0.1.5/24", 7)]);
    let mut fixed = book(
        service(json!({ "lb.weight": "1" }), fixed),
        tasks,
        nodes("ready"),
        Viewpoint::Host,
    );
    assert_eq!(addresses(&fixed.snapshot().0), ["192.0.2.2:8080"]);
}

#[test]
fn i1_host_ports_that_differ_by_family_are_never_guessed() {
    let random = json!([{ "TargetPort": 80, "PublishMode": "host", "Protocol": "tcp" }]);
    let with_ports = |v4: u16, v6: u16| {
        let mut task = task("t1", "running", "running", "10.0.1.5/24", 7);
        task["Status"]["PortStatus"] = json!({ "Ports": [
            { "TargetPort": 80, "PublishedPort": v4, "PublishMode": "host", "Protocol": "tcp" },
            { "TargetPort": 80, "PublishedPort": v6, "PublishMode": "host", "Protocol": "tcp" },
        ] });
        book(
            service(json!({ "lb.weight": "1" }), random.clone()),
            json!([task]),
            nodes("ready"),
            Viewpoint::Host,
        )
    };
    assert_eq!(
        addresses(&with_ports(32768, 32768).snapshot().0),
        ["192.0.2.2:32768"]
    );
    let mut split = with_ports(32768, 32769);
    let (records, complaints) = split.snapshot();
    assert_eq!(addresses(&records), [] as [&str; 0]);
    assert!(
        complaints[0].message.contains("different ports"),
        "{}",
        complaints[0]
    );
    // On our own node the engine says which is which.
    let mut container = Container::from_list(
        serde_json::from_value(json!({ "Id": "c1", "State": "running", "Status": "Up" })).unwrap(),
    );
    container.published = [("0.0.0.0", 32768), ("::", 32769)]
        .map(|(host_ip, host_port)| Published {
            port: 80,
            host_ip: host_ip.parse().unwrap(),
            host_port,
        })
        .into();
    let fate = Fate::Stays;
    split
        .cluster
        .locals
        .insert("t1".to_owned(), Local { container, fate });
    assert_eq!(addresses(&split.snapshot().0), ["192.0.2.2:32768"]);
}

#[test]
fn ingress_ports_are_reached_at_nodes_that_are_up() {
    let ports = json!([{ "TargetPort": 80, "PublishedPort": 8099, "PublishMode": "ingress", "Protocol": "tcp" }]);
    let labels = json!({ "lb.spread": "nodes" });
    let tasks = json!([task("t1", "running", "running", "10.0.1.5/24", 7)]);
    let mut up = book(
        service(labels.clone(), ports.clone()),
        tasks.clone(),
        nodes("ready"),
        Viewpoint::Elsewhere,
    );
    assert_eq!(
        addresses(&up.snapshot().0),
        ["192.0.2.2:8099", "192.0.2.1:8099"]
    );
    let mut down = book(
        service(labels, ports),
        tasks,
        nodes("down"),
        Viewpoint::Elsewhere,
    );
    assert_eq!(addresses(&down.snapshot().0), ["192.0.2.1:8099"]);
}

#[test]
fn i2_a_label_broken_by_hand_keeps_the_last_good_spec() {
    let tasks = json!([task("t1", "running", "running", "10.0.1.5/24", 7)]);
    let mut book = book(
        service(json!({ "lb.port": "80" }), json!([])),
        tasks,
        nodes("ready"),
        inside(),
    );
    let before = book.snapshot().0;
    let set = |book: &mut SwarmBook, labels: Value| {
        let services = service(labels, json!([]));
        book.cluster
            .set_services(serde_json::from_value(services).unwrap());
    };
    set(&mut book, json!({ "lb.port": "eighty" }));
    let changes = book.changes().unwrap();
    assert!(changes.set.is_empty() && changes.remove.is_empty());
    assert_eq!(changes.diagnostics()[0].severity, Severity::Error);
    assert_eq!(book.snapshot().0, before);
    set(&mut book, json!({}));
    assert_eq!(
        book.changes().unwrap().remove.len(),
        1,
        "a label that is taken away counts"
    );
}

#[test]
fn a_removed_service_drains_until_its_last_task_has_stopped() {
    let tasks = json!([task("t1", "running", "remove", "10.0.1.5/24", 7)]);
    let mut book = book(
        service(json!({ "lb.port": "80" }), json!([])),
        tasks,
        nodes("ready"),
        inside(),
    );
    book.cluster.set_services(Vec::new());
    book.cluster.retire();
    assert!(matches!(
        state(&book.snapshot().0),
        Some(EndpointState::Draining { .. })
    ));
    book.cluster.set_tasks(Vec::new());
    book.cluster.retire();
    assert_eq!(book.changes().unwrap().remove.len(), 1);
    assert!(book.has_converged());
}

/// The labels of all services are bounded together: those of the largest are not read, and reported.
#[test]
fn case_h04_the_labels_of_all_services_are_bounded_together() {
    let rules = SwarmRules {
        options: Options::new(&[LabelScheme::Lb], &["docker"]),
        narrow: Narrow::default(),
        spread: Spread::Tasks,
        max_label_bytes: 250_000,
    };
    let listed = |id: &str, name: &str, junk: usize| -> ListedService {
        let labels = json!({ "lb.service": name, "lb.port": "80", "lb.x": "x".repeat(junk), "com.example": "unread" });
        serde_json::from_value(json!({ "ID": id, "Spec": { "Name": name, "Labels": labels } }))
            .unwrap()
    };
    let mut gathered = Gathered::new(rules.max_label_bytes);
    let all = [
        ("s1", "one", 100_000),
        ("s2", "two", 100_001),
        ("s3", "three", 100_002),
        ("s4", "honest", 1),
        ("s5", "huge", 2_000_000),
    ];
    for (id, name, junk) in all {
        let mut service = listed(id, name, junk);
        rules.drop_unread(&mut service);
        assert!(!service.spec.labels.contains_key("com.example"));
        gathered.push(id.to_owned(), service);
    }
    let kept: Vec<bool> = gathered
        .into_objects()
        .map(|service| {
            let reading = rules.specs(&service, &[], &Networks::new(), None);
            let named = |one: &lb_core::Diagnostic| {
                one.object == format!("Swarm service {}", service.spec.name)
                    && one.field.as_deref() == Some("labels")
            };
            let read = !reading.services.is_empty();
            assert_eq!(read, !reading.diagnostics.iter().any(named), "{reading:?}");
            read
        })
        .collect();
    assert_eq!(kept, [true, true, false, true, false]);
}
