//! The contract of sources, held by the container source against a real engine.

use std::time::Duration;

use async_trait::async_trait;
use lb_core::{
    RecordKey, Source,
    testkit::conformance::{self, Ability, Harness},
};
use lb_docker::DockerSource;

use crate::{
    containers::config,
    support::engine::{Engine, available},
};

/// An item is a replica of a compose service, because that keeps its identity when its container is made anew; its
/// version is its weight.
struct Containers {
    engine: Engine,
}

#[async_trait]
impl Harness for Containers {
    async fn source(&mut self) -> Box<dyn Source> {
        let mut config = config(&self.engine);
        config.ping_interval = Duration::from_millis(400);
        Box::new(DockerSource::new(config))
    }

    async fn put(&mut self, item: u16, version: u16) {
        self.remove(item).await;
        self.engine.run(
            &format!("item-{item}"),
            &[
                "-l",
                "com.docker.compose.project=p",
                "-l",
                "com.docker.compose.service=s",
                "-l",
                &format!("com.docker.compose.container-number={item}"),
                "-l",
                "lb.service=web",
                "-l",
                &format!("lb.weight={version}"),
            ],
        );
    }

    async fn remove(&mut self, item: u16) {
        self.engine
            .try_docker(&["rm", "-f", &format!("item-{item}")]);
    }

    fn key(&self, item: u16) -> RecordKey {
        RecordKey::new(
            "web".parse().unwrap(),
            format!("p-s-{item}").parse().unwrap(),
        )
    }

    fn effort(&self) -> usize {
        12
    }

    async fn drain_and_remove(&mut self, item: u16) -> Ability {
        let name = format!("item-{item}");
        self.engine.docker(&["stop", &name]);
        self.remove(item).await;
        Ability::Done
    }

    async fn spoil(&mut self) -> Ability {
        self.engine.run("spoilt", &["-l", "lb.port=none"]);
        Ability::Done
    }

    async fn unspoil(&mut self) {
        self.engine.docker(&["rm", "-f", "spoilt"]);
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
        }
    }

    async fn noise(&mut self) -> Ability {
        self.engine.run("noise", &["-l", "other.label=1"]);
        // A program that has just begun may not ignore signals yet.
        self.engine.docker(&["exec", "noise", "/server", "health"]);
        for signal in ["HUP", "HUP", "HUP"] {
            self.engine.docker(&["kill", "-s", signal, "noise"]);
            self.engine.docker(&["kill", "-s", signal, "item-1"]);
        }
        self.engine.docker(&["exec", "item-1", "/server", "sick"]);
        self.engine.docker(&["rename", "item-2", "other"]);
        self.engine.docker(&["rename", "other", "item-2"]);
        self.engine.docker(&["rm", "-f", "noise"]);
        Ability::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_keep_the_contract() {
    if !available() {
        return;
    }
    let mut engine = Engine::start();
    engine.live_restore();
    let report = conformance::run(Containers { engine }, 42).await;
    println!("{report}");
    assert!(report.passed(), "{report}");
}
