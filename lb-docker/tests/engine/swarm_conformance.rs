//! The contract of sources, held by the Swarm source against a real manager.

use std::time::Duration;

use async_trait::async_trait;
use lb_core::{
    RecordKey, Source,
    testkit::conformance::{self, Ability, Harness},
};
use lb_docker::SwarmSource;

use crate::{
    support::engine::{Engine, available},
    swarm::inside,
};

/// An item is a service, seen at its virtual address; its version is its weight.
struct Services {
    engine: Engine,
}

#[async_trait]
impl Harness for Services {
    async fn source(&mut self) -> Box<dyn Source> {
        let mut config = inside(&self.engine);
        config.ping_interval = Duration::from_millis(400);
        Box::new(SwarmSource::new(config))
    }

    async fn put(&mut self, item: u16, version: u16) {
        let name = format!("item-{item}");
        let weight = format!("lb.weight={version}");
        let update = [
            "service",
            "update",
            "--detach",
            "--label-add",
            &weight,
            &name,
        ];
        if self.engine.try_docker(&update).status.success() {
            return;
        }
        self.engine.service(
            &name,
            &[
                "--replicas",
                "0",
                "--network",
                "mesh",
                "-l",
                "lb.port=80",
                "-l",
                "lb.spread=vip",
                "-l",
                &weight,
            ],
        );
    }

    async fn remove(&mut self, item: u16) {
        self.engine
            .try_docker(&["service", "rm", &format!("item-{item}")]);
    }

    fn key(&self, item: u16) -> RecordKey {
        RecordKey::new(
            format!("item-{item}").parse().unwrap(),
            "vip".parse().unwrap(),
        )
    }

    fn effort(&self) -> usize {
        20
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn drain_and_remove(&mut self, item: u16) -> Ability {
        let name = format!("item-{item}");
        // Not detached: returns when the task runs.
        self.engine
            .docker(&["service", "scale", &format!("{name}=1")]);
        self.remove(item).await;
        Ability::Done
    }

    async fn spoil(&mut self) -> Ability {
        self.engine
            .service("spoilt", &["--replicas", "0", "-l", "lb.port=none"]);
        Ability::Done
    }

    async fn unspoil(&mut self) {
        self.engine.docker(&["service", "rm", "spoilt"]);
    }

    async fn interrupt(&mut self) -> Ability {
        self.engine.halt();
        Ability::Done
    }

    async fn silence(&mut self) -> Ability {
        self.engine.freeze();
        Ability::Done
    }

    async fn heal(&mut self) {
        self.engine.thaw();
        if !self.engine.is_up() {
            self.engine.boot();
            self.engine.start_attached("lb");
        }
    }

    async fn noise(&mut self) -> Ability {
        self.engine
            .service("noise", &["--replicas", "0", "-l", "other.label=1"]);
        self.engine.docker(&["kill", "-s", "HUP", "lb"]);
        self.engine.docker(&["service", "rm", "noise"]);
        Ability::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_keep_the_contract() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    engine.swarm();
    engine.run("lb", &["--network", "mesh"]);
    let report = conformance::run(Services { engine }, 42).await;
    println!("{report}");
    assert!(report.passed(), "{report}");
}
