//! The Swarm source against a real manager.

use std::{collections::BTreeMap, time::Instant};

use lb_core::{EndpointState, Severity, Update};
use lb_docker::{ConnectionConfig, Spread, SwarmConfig, SwarmSource};

use crate::support::{
    engine::{CHECKED_IMAGE, Engine, available},
    follower::{Follower, Told},
};

pub(crate) fn config(engine: &Engine) -> SwarmConfig {
    let mut config = SwarmConfig::default();
    config.managers = vec![ConnectionConfig::at(engine.host())];
    config
}

/// As if the load balancer ran in the container `lb`, which is on the overlay network.
pub(crate) fn inside(engine: &Engine) -> SwarmConfig {
    let mut config = config(engine);
    config.reach.container = Some("lb".to_owned());
    config
}

fn start() -> Engine {
    let engine = Engine::start();
    engine.swarm();
    engine.run("lb", &["--network", "mesh"]);
    engine
}

fn follow(config: SwarmConfig) -> Follower {
    Follower::new(SwarmSource::new(config))
}

/// The first time at which an endpoint was in a state that `wanted` accepts.
fn first(told: &Told, id: &str, wanted: impl Fn(EndpointState) -> bool) -> Option<Instant> {
    told.log.iter().find_map(|said| {
        let (Update::Batch { set: records, .. } | Update::Reset { records, .. }) = &said.update
        else {
            return None;
        };
        records
            .iter()
            .any(|record| {
                record.key.id.as_str() == id
                    && record
                        .endpoint
                        .as_ref()
                        .is_some_and(|endpoint| wanted(endpoint.state))
            })
            .then_some(said.at)
    })
}

fn is_draining(state: EndpointState) -> bool {
    matches!(state, EndpointState::Draining { .. })
}

/// The number of endpoints that were ready at the worst moment since `from` updates were told.
fn fewest_ready(told: &Told, service: &str, from: usize) -> usize {
    let mut states: BTreeMap<String, bool> = BTreeMap::new();
    let mut fewest = usize::MAX;
    for (number, said) in told.log.iter().enumerate() {
        match &said.update {
            Update::Batch {
                set: records,
                remove,
                ..
            } => {
                for key in remove {
                    states.remove(key.id.as_str());
                }
                for record in records
                    .iter()
                    .filter(|record| record.key.service.as_str() == service)
                {
                    let ready = record
                        .endpoint
                        .as_ref()
                        .is_some_and(|endpoint| endpoint.state.is_ready());
                    states.insert(record.key.id.to_string(), ready);
                }
            }
            Update::Reset { records, .. } => {
                states = records
                    .iter()
                    .filter(|record| record.key.service.as_str() == service)
                    .map(|record| {
                        let ready = record
                            .endpoint
                            .as_ref()
                            .is_some_and(|endpoint| endpoint.state.is_ready());
                        (record.key.id.to_string(), ready)
                    })
                    .collect();
            }
            _ => {}
        }
        if number >= from {
            fewest = fewest.min(states.values().filter(|ready| **ready).count());
        }
    }
    fewest
}

/// Scaling up shows tasks before they serve; scaling down drains tasks about three seconds before they get their
/// signal.
#[tokio::test(flavor = "multi_thread")]
async fn i8_tasks_are_known_before_they_serve_and_drained_before_their_signal() {
    if !available() {
        return;
    }
    let engine = start();
    engine.service(
        "web",
        &[
            "--network",
            "mesh",
            "-l",
            "lb.port=80",
            "-l",
            "lb.routes=*/web",
        ],
    );
    let told = follow(inside(&engine));
    told.until("one task", |told| told.ready("web") == 1).await;
    for (_, address) in told.endpoints().keys() {
        assert!(
            address.starts_with("10.0."),
            "{address} is an overlay address"
        );
    }
    engine.docker(&["service", "scale", "--detach", "web=4"]);
    told.until("four tasks", |told| told.ready("web") == 4)
        .await;
    let states = told.look(|told| told.states("web"));
    let known_before = states
        .values()
        .filter(|states| states[0] == Some(EndpointState::Pending))
        .count();
    assert!(known_before >= 1, "{states:?}");

    let asked = Instant::now();
    engine.docker(&["service", "scale", "--detach", "web=2"]);
    told.until("two drained", |told| told.ready("web") == 2)
        .await;
    println!(
        "service scale to drained: {} ms",
        asked.elapsed().as_millis()
    );
    told.until("two tasks", |told| told.records.len() == 2)
        .await;
    told.look(|told| {
        let gone: Vec<String> = told
            .states("web")
            .into_iter()
            .filter(|(_, states)| states.last() == Some(&None) && states.len() > 1)
            .map(|(id, _)| id)
            .collect();
        assert_eq!(gone.len(), 2 + usize::from(gone.len() > 2), "{gone:?}");
        for id in gone.iter().filter(|id| !id.starts_with("service")) {
            let drained = first(told, id, is_draining).expect("drained");
            let died = first(told, id, |state| state == EndpointState::Down).expect("down");
            assert!(died > drained, "{id} was drained before it died");
            println!("drained {} ms before it died", (died - drained).as_millis());
        }
    });
    let explained = SwarmSource::new(inside(&engine))
        .explain("web")
        .await
        .unwrap()
        .to_string();
    assert!(explained.contains("network mesh (overlay)"), "{explained}");
}

/// A rolling update that starts new tasks first never has fewer ready endpoints than the service has replicas; each
/// new one is known before it serves, and each old one is drained before it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn i12_a_rolling_update_never_lacks_a_ready_task() {
    if !available() {
        return;
    }
    let engine = start();
    engine.service(
        "web",
        &[
            "--replicas",
            "2",
            "--update-order",
            "start-first",
            "--network",
            "mesh",
            "-l",
            "lb.port=80",
        ],
    );
    let told = follow(inside(&engine));
    told.until("two tasks", |told| told.ready("web") == 2).await;
    let from = told.look(|told| told.log.len());
    let old = told.look(|told| told.records.clone());
    engine.docker(&["service", "update", "--detach", "--env-add", "A=1", "web"]);
    told.until("two new tasks", |told| {
        told.ready("web") == 2
            && told.records.len() == 2
            && told.records.keys().all(|key| !old.contains_key(key))
    })
    .await;
    told.look(|told| {
        assert!(fewest_ready(told, "web", from) >= 2);
        for key in old.keys() {
            assert!(
                first(told, key.id.as_str(), is_draining).is_some(),
                "{key} was drained"
            );
        }
    });
}

/// The report of the node's own engine comes sooner than that of the managers: a sick task is drained, a dead one is
/// out.
#[tokio::test(flavor = "multi_thread")]
async fn i9_local_health_and_death_come_before_the_managers_word() {
    if !available() {
        return;
    }
    let engine = start();
    engine.service_of(
        CHECKED_IMAGE,
        "web",
        &["--replicas", "2", "--network", "mesh", "-l", "lb.port=80"],
    );
    let told = follow(inside(&engine));
    told.until("two tasks", |told| told.ready("web") == 2).await;
    let containers = engine.docker(&[
        "ps",
        "-q",
        "--filter",
        "label=com.docker.swarm.service.name=web",
    ]);
    let mut containers = containers.lines();
    let (sick, dead) = (containers.next().unwrap(), containers.next().unwrap());
    engine.docker(&["exec", sick, "/server", "sick"]);
    told.until("one drained", |told| {
        told.endpoints().values().any(|state| is_draining(*state))
    })
    .await;
    engine.docker(&["kill", dead]);
    told.until("one down", |told| {
        told.log.iter().any(|said| match &said.update {
            Update::Batch { set, .. } => set.iter().any(|record| {
                record
                    .endpoint
                    .as_ref()
                    .is_some_and(|endpoint| endpoint.state == EndpointState::Down)
            }),
            _ => false,
        })
    })
    .await;
    told.until("both replaced", |told| told.ready("web") == 2)
        .await;
}

/// From the host only what leads there is used: host-mode and ingress ports, never overlay addresses; and a label
/// broken by hand takes nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn i1_the_host_uses_published_ports_and_never_overlay_addresses() {
    if !available() {
        return;
    }
    let engine = start();
    engine.service(
        "hidden",
        &[
            "--network",
            "mesh",
            "-l",
            "lb.port=80",
            "-l",
            "lb.routes=*/hidden",
        ],
    );
    engine.service(
        "hosted",
        &[
            "--network",
            "mesh",
            "-l",
            "lb.weight=5",
            "-p",
            "mode=host,target=80",
        ],
    );
    engine.service(
        "meshed",
        &[
            "-l",
            "lb.spread=nodes",
            "-p",
            "mode=ingress,target=80,published=8099",
        ],
    );
    let told = follow(config(&engine));
    told.until("two served, one refused", |told| {
        told.ready("hosted") == 1
            && told.ready("meshed") == 1
            && told
                .diagnostics
                .iter()
                .any(|diagnostic| diagnostic.object.contains("hidden"))
    })
    .await;
    told.look(|told| {
        let hidden: Vec<_> = told
            .records
            .values()
            .filter(|record| record.key.service.as_str() == "hidden")
            .collect();
        assert_eq!(hidden.len(), 1, "its route stays");
        assert!(hidden[0].endpoint.is_none() && hidden[0].routes.len() == 1);
        for ((_, address), _) in told.endpoints() {
            assert!(address.starts_with("127.0.0.1:"), "{address}");
        }
    });
    let hosted = told
        .endpoints()
        .into_keys()
        .find(|(name, _)| name == "hosted")
        .unwrap()
        .1;
    let container = engine.docker(&[
        "ps",
        "-q",
        "--filter",
        "label=com.docker.swarm.service.name=hosted",
    ]);
    assert_eq!(
        engine.fetch(&hosted),
        Some(container),
        "{hosted} leads to the task"
    );

    engine.docker(&[
        "service",
        "update",
        "--detach",
        "--label-add",
        "lb.port=none",
        "hosted",
    ]);
    told.until("the label refused", |told| {
        told.diagnostics.iter().any(|diagnostic| {
            diagnostic.field.as_deref() == Some("lb.port") && diagnostic.severity == Severity::Error
        })
    })
    .await;
    assert_eq!(
        told.look(|told| told.ready("hosted")),
        1,
        "what served goes on serving"
    );
    engine.docker(&[
        "service",
        "update",
        "--detach",
        "--label-rm",
        "lb.port",
        "--label-add",
        "lb.weight=6",
        "hosted",
    ]);
    told.until("the new weight", |told| {
        told.records.values().any(|record| {
            record
                .endpoint
                .as_ref()
                .is_some_and(|endpoint| endpoint.weight.get() == 6)
        })
    })
    .await;
    engine.docker(&["service", "rm", "hosted"]);
    told.until("removed", |told| {
        told.states("hosted")
            .iter()
            .any(|(id, states)| id.starts_with("1.") && states.last() == Some(&None))
    })
    .await;
    told.look(|told| {
        let states = told.states("hosted");
        let drained = states
            .values()
            .any(|states| states.iter().flatten().any(|state| is_draining(*state)));
        assert!(drained, "a removed service is drained first: {states:?}");
    });
}

/// A virtual address serves a service that has one; one without falls back to its tasks.
#[tokio::test(flavor = "multi_thread")]
async fn virtual_addresses_and_dnsrr() {
    if !available() {
        return;
    }
    let engine = start();
    engine.service(
        "single",
        &["--replicas", "2", "--network", "mesh", "-l", "lb.port=80"],
    );
    engine.service(
        "robin",
        &[
            "--replicas",
            "2",
            "--endpoint-mode",
            "dnsrr",
            "--network",
            "mesh",
            "-l",
            "lb.port=80",
        ],
    );
    let mut config = inside(&engine);
    config.spread = Spread::Vip;
    let told = follow(config);
    told.until("all ready", |told| {
        told.ready("single") == 1 && told.ready("robin") == 2
    })
    .await;
    assert!(told.look(|told| {
        told.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.message.contains("dnsrr"))
    }));
    let vips = engine.docker(&[
        "service",
        "inspect",
        "-f",
        "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}",
        "single",
    ]);
    let address = told
        .endpoints()
        .into_keys()
        .find(|(name, _)| name == "single")
        .unwrap()
        .1;
    let vip = address.split(':').next().unwrap();
    assert!(vips.contains(&format!("{vip}/")), "{vip} in {vips}");
}

/// A manager that is none, or that is gone, is told apart from an empty Swarm; the next manager is asked.
#[tokio::test(flavor = "multi_thread")]
async fn i2_without_a_manager_nothing_is_removed_and_the_next_is_asked() {
    if !available() {
        return;
    }
    let mut engine = start();
    engine.service("web", &["--network", "mesh", "-l", "lb.port=80"]);
    let mut config = inside(&engine);
    config
        .managers
        .insert(0, ConnectionConfig::at("unix:///nonexistent/socket"));
    let told = follow(config);
    told.until("one task", |told| told.ready("web") == 1).await;
    engine.halt();
    told.until("known to be stale", |told| told.stale).await;
    assert_eq!(told.look(|told| told.records.len()), 1, "all is kept");
    engine.boot();
    engine.start_attached("lb");
    told.until("one task again", |told| {
        !told.stale && told.ready("web") == 1
    })
    .await;
    let not_a_manager = Engine::start();
    let told = follow(self::config(&not_a_manager));
    told.until("refused", |told| !told.errors.is_empty()).await;
    let error = told.look(|told| told.errors[0].clone());
    assert!(
        error.contains("no Swarm manager") && error.contains("inactive"),
        "{error}"
    );
}
