//! The container source against a real engine.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lb_core::{EndpointState, Severity};
use lb_docker::{
    ComposeService, ConnectionConfig, DockerConfig, DockerSource, EndpointOutcome, LabelScheme,
    self_test,
};

use crate::support::{
    engine::{CHECKED_IMAGE, Engine, IMAGE, available, exists},
    follower::Follower,
};

pub(crate) fn config(engine: &Engine) -> DockerConfig {
    let mut config = DockerConfig::default();
    config.connection = ConnectionConfig::at(engine.host());
    config
}

pub(crate) fn follow(config: DockerConfig) -> Follower {
    Follower::new(DockerSource::new(config))
}

fn draining(state: Option<EndpointState>) -> bool {
    matches!(state, Some(EndpointState::Draining { .. }))
}

/// Containers come, leave and go: ready on start, drained on SIGTERM, out on die, and what does not stop them
/// changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_container_that_stops_is_drained_and_a_dead_one_is_out() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.run(
        "old",
        &["-l", "lb.service=web", "-l", "lb.routes=web.example/"],
    );
    let told = follow(config(&engine));
    told.until("listed", |told| told.ready("web") == 1).await;

    let ran = Instant::now();
    let id = engine.run("new", &["-l", "lb.service=web", "-e", "LINGER_MS=1500"]);
    told.until("two ready", |told| told.ready("web") == 2).await;
    println!("docker run to ready: {} ms", ran.elapsed().as_millis());
    let address = format!("{}:80", engine.ip("new", "bridge"));
    assert_eq!(
        engine.fetch(&address).as_deref(),
        id.get(..12),
        "the address leads to the container"
    );

    engine.docker(&["kill", "-s", "HUP", "new"]);
    engine.docker(&["rename", "new", "renamed"]);
    engine.docker(&["exec", "renamed", "/server", "sick"]);
    engine.docker(&["stop", "renamed"]);
    told.until("gone", |told| told.records.len() == 1).await;
    let states = told.look(|told| told.states("web"));
    let states = &states[&id[..12]];
    assert!(states.len() == 4, "{states:?}");
    assert_eq!(states[0], Some(EndpointState::Ready));
    assert!(draining(states[1]), "{states:?}");
    assert_eq!(states[2], Some(EndpointState::Down));
    assert_eq!(states[3], None);

    engine.docker(&["start", "renamed"]);
    told.until("back", |told| told.ready("web") == 2).await;
    engine.docker(&["kill", "renamed"]);
    told.until("killed", |told| told.records.len() == 1).await;
    assert_eq!(told.look(|told| told.resets), 1, "all of it in one attempt");
}

/// Not ready unless the container says so: starting is pending, unhealthy and paused are drained, and the
/// routes stay all the while.
#[tokio::test(flavor = "multi_thread")]
async fn i9_health_and_pause_decide_who_is_ready() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let told = follow(config(&engine));
    told.until("listed", |told| told.resets == 1).await;
    engine.run_image(
        CHECKED_IMAGE,
        "web",
        &["-l", "lb.service=web", "-l", "lb.routes=web.example/"],
    );
    told.until("healthy", |told| told.ready("web") == 1).await;
    engine.docker(&["exec", "web", "/server", "sick"]);
    told.until("sick", |told| draining(told.state("web"))).await;
    engine.docker(&["exec", "web", "/server", "well"]);
    told.until("well", |told| told.ready("web") == 1).await;
    engine.docker(&["pause", "web"]);
    told.until("paused", |told| draining(told.state("web")))
        .await;
    engine.docker(&["unpause", "web"]);
    told.until("awake", |told| told.ready("web") == 1).await;

    let states = told.look(|told| told.states("web"));
    let states = states.into_values().next().unwrap();
    assert_eq!(states[0], Some(EndpointState::Pending), "{states:?}");
    assert!(
        !states.contains(&None) && !states.contains(&Some(EndpointState::Down)),
        "{states:?}"
    );
    told.look(|told| {
        for record in told.records.values() {
            assert_eq!(record.routes.len(), 1);
        }
    });
}

/// A container's address follows its networks, and one that cannot be reached disturbs no other.
#[tokio::test(flavor = "multi_thread")]
async fn p16_networks_come_and_go_and_a_bad_container_disturbs_no_other() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.docker(&["network", "create", "back"]);
    let told = follow(config(&engine));
    told.until("listed", |told| told.resets == 1).await;
    engine.run(
        "web",
        &[
            "-l",
            "lb.service=web",
            "-l",
            "lb.network=back",
            "-l",
            "lb.routes=*/web",
        ],
    );
    engine.run("good", &["-l", "lb.service=good"]);
    engine.run("bad", &["-l", "lb.service=bad", "-l", "lb.port=none"]);
    engine.run("many", &["-l", "lb.service=many", "--expose", "81"]);
    told.until("all seen", |told| {
        let refused = |container: &str, field: &str| {
            told.diagnostics.iter().any(|diagnostic| {
                diagnostic.object.contains(container)
                    && diagnostic.field.as_deref() == Some(field)
                    && diagnostic.severity == Severity::Error
            })
        };
        told.ready("good") == 1 && refused("bad", "lb.port") && refused("many", "address")
    })
    .await;
    let complaint = told.look(|told| {
        let found = told
            .diagnostics
            .iter()
            .find(|diagnostic| diagnostic.object.contains("many"));
        found.unwrap().to_string()
    });
    assert!(complaint.contains("80, 81"), "{complaint}");
    assert_eq!(
        told.look(|told| told.ready("web")),
        0,
        "it is not on its network"
    );
    told.look(|told| {
        let web = told
            .records
            .values()
            .find(|record| record.key.service.as_str() == "web");
        assert_eq!(
            web.unwrap().routes.len(),
            1,
            "its route stays and answers \"unavailable\""
        );
    });

    engine.docker(&["network", "connect", "back", "web"]);
    told.until("connected", |told| told.ready("web") == 1).await;
    let address = format!("{}:80", engine.ip("web", "back"));
    assert!(told.endpoints().contains_key(&("web".to_owned(), address)));
    let explained = DockerSource::new(config(&engine))
        .explain("web")
        .await
        .unwrap();
    let text = explained.to_string();
    assert!(
        text.contains("network back is asked for") && text.contains("network bridge"),
        "{text}"
    );
    engine.docker(&["network", "disconnect", "back", "web"]);
    told.until("disconnected", |told| told.ready("web") == 0)
        .await;
    let unknown = DockerSource::new(config(&engine)).explain("nobody").await;
    assert!(unknown.unwrap_err().to_string().contains("\"nobody\""));
}

/// Published ports, the machine's own network and another container's network each lead to the container.
#[tokio::test(flavor = "multi_thread")]
async fn i1_every_way_leads_to_the_container_that_it_names() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.docker(&["network", "create", "--internal", "inside"]);
    let told = follow(config(&engine));
    told.until("listed", |told| told.resets == 1).await;
    let published = engine.run(
        "published",
        &[
            "--network",
            "inside",
            "-p",
            "127.0.0.1:8085:80",
            "-l",
            "lb.service=published",
            "-l",
            "lb.network=inside",
        ],
    );
    engine.run(
        "host",
        &[
            "--network",
            "host",
            "-l",
            "lb.service=host",
            "-l",
            "lb.port=80",
        ],
    );
    let owner = engine.run("owner", &["-l", "lb.service=owner"]);
    engine.docker(&[
        "run",
        "-d",
        "--name",
        "guest",
        "--network",
        "container:owner",
        "-l",
        "lb.service=guest",
        "-l",
        "lb.port=81",
        IMAGE,
        "81",
    ]);
    told.until("all ready", |told| {
        ["published", "host", "owner", "guest"]
            .iter()
            .all(|service| told.ready(service) == 1)
    })
    .await;
    let at = |service: &str| {
        let found = told
            .endpoints()
            .into_keys()
            .find(|(name, _)| name == service);
        found.unwrap().1
    };
    for (service, expected) in [
        ("published", &published),
        ("owner", &owner),
        ("guest", &owner),
    ] {
        assert_eq!(
            engine.fetch(&at(service)).as_deref(),
            expected.get(..12),
            "{service}"
        );
    }
    assert!(engine.fetch(&at("host")).is_some());
    engine.docker(&["restart", "-t", "0", "owner"]);
    told.until("the guest without a network", |told| {
        told.resets == 1 && told.ready("owner") == 1
    })
    .await;
}

/// Replicas of a compose service need no label: `up --scale echo=10` is all, and one-off containers stay out.
#[tokio::test(flavor = "multi_thread")]
async fn compose_replicas_need_no_label_and_keep_their_identity() {
    if !available() {
        return;
    }
    if !exists("docker-compose") {
        panic!("cannot run: docker-compose is not in PATH");
    }
    let engine = Engine::start();
    let file = engine.dir().join("compose.yml");
    fs::write(
        &file,
        format!("version: '2.4'\nservices:\n  echo:\n    image: {IMAGE}\n"),
    )
    .unwrap();
    let compose = |project: &str, arguments: &[&str]| {
        for attempt in 1.. {
            let output = Command::new("docker-compose")
                .args(["-p", project, "-f", file.to_str().unwrap()])
                .args(arguments)
                .env("DOCKER_HOST", engine.host())
                .output()
                .unwrap();
            if output.status.success() {
                return;
            }
            let told = String::from_utf8_lossy(&output.stderr);
            // The engine lets go of a network some time after it has told that the container is gone.
            assert!(
                told.contains("has active endpoints") && attempt < 20,
                "{told}"
            );
            thread::sleep(Duration::from_millis(500));
        }
    };
    let mut config = config(&engine);
    config.services = vec![ComposeService::new("echo")];
    let told = follow(config.clone());
    told.until("listed", |told| told.resets == 1).await;
    compose("shop", &["up", "-d", "--scale", "echo=10"]);
    told.until("ten ready", |told| told.ready("echo") == 10)
        .await;
    let ids = |told: &Follower| {
        told.look(|told| {
            told.records
                .keys()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        })
    };
    let ten = ids(&told);
    assert!(ten.contains("echo/shop-echo-10"), "{ten:?}");
    for (_, address) in told.endpoints().keys() {
        assert!(engine.fetch(address).is_some(), "{address} answers");
    }

    compose("shop", &["run", "-d", "echo"]);
    compose("other", &["up", "-d"]);
    compose(
        "shop",
        &[
            "up",
            "-d",
            "--scale",
            "echo=10",
            "--force-recreate",
            "-t",
            "1",
        ],
    );
    told.until("the other project refused", |told| {
        told.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.value.as_deref() == Some("other"))
    })
    .await;
    told.until("ten again", |told| told.ready("echo") == 10)
        .await;
    assert_eq!(ids(&told), ten, "replicas keep their identity");
    config.services[0].project = Some("other".to_owned());
    let other = follow(config);
    other
        .until("the other project chosen", |told| told.ready("echo") == 1)
        .await;
    compose("shop", &["down", "-t", "1"]);
    told.until("the other project takes over", |told| {
        told.records
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            == ["echo/other-echo-1"]
    })
    .await;
}

/// Other schemes' labels and variables are read where chosen.
#[tokio::test(flavor = "multi_thread")]
async fn other_schemes_are_read_by_choice() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.run(
        "c-t",
        &["-l", "traefik.http.routers.t.rule=Host(`t.example`)"],
    );
    engine.run("c-v", &["-e", "VIRTUAL_HOST=v.example"]);
    engine.run("c-e", &["-l", "easyhaproxy.x.host=e.example"]);
    engine.run(
        "c-d",
        &[
            "-l",
            "com.df.notify=true",
            "-l",
            "com.df.port=80",
            "-l",
            "com.df.servicePath=/d",
        ],
    );
    let mut config = config(&engine);
    config.labels = vec![
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::DockerFlow,
        LabelScheme::VirtualHost,
    ];
    let told = follow(config);
    told.until("all ready", |told| {
        ["c-t", "v.example", "e.example", "c-d"]
            .iter()
            .all(|service| told.ready(service) == 1)
    })
    .await;
    engine.run("v2", &["-e", "VIRTUAL_HOST=v.example"]);
    told.until("a second one", |told| told.ready("v.example") == 2)
        .await;
    engine.docker(&["rm", "-f", "c-v"]);
    told.until("one again", |told| told.ready("v.example") == 1)
        .await;
}

/// The self-test asks each question once and finds all allowed, but those for managers on an engine that is none.
#[tokio::test(flavor = "multi_thread")]
async fn the_self_test_names_what_fails() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let connection = ConnectionConfig::at(engine.host());
    for test in self_test(&connection).await.unwrap() {
        match test.swarm_only {
            false => assert_eq!(test.outcome, EndpointOutcome::Allowed, "{test}"),
            true => assert!(matches!(test.outcome, EndpointOutcome::Failed(_)), "{test}"),
        }
    }
    let nowhere = ConnectionConfig::at("unix:///nonexistent/socket");
    let error = self_test(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("mount the folder"), "{error}");
}
