//! Whole control planes over real engines: what they have in effect, and which conditions last.

use std::time::{Duration, Instant};

use lb_core::{
    ConditionKind, ControlPlane, Handle, Running, Source,
    testkit::{FakeDriver, FakeTarget},
};
use lb_docker::{ConnectionConfig, DockerConfig, DockerSource, SwarmConfig, SwarmSource};

use crate::support::engine::{Engine, available};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

struct Plane {
    target: FakeTarget,
    handle: Handle,
    _running: Running,
}

impl Plane {
    fn start(sources: impl IntoIterator<Item = Box<dyn Source>>) -> Self {
        let (driver, target) = FakeDriver::new("edge".parse().unwrap());
        let mut plane = ControlPlane::builder().target(driver);
        for source in sources {
            plane = plane.boxed_source(source);
        }
        let running = plane.build().unwrap().spawn();
        Self {
            target,
            handle: running.handle(),
            _running: running,
        }
    }

    /// The endpoints of a service that the target has as ready, in order.
    fn serving(&self, service: &str) -> Vec<String> {
        let Some(applied) = self.target.applied() else {
            return Vec::new();
        };
        let service = applied.service(&service.parse().unwrap());
        let endpoints = service.into_iter().flat_map(|known| known.endpoints());
        let mut ready: Vec<String> = endpoints
            .filter(|(_, own)| own.state.is_ready())
            .map(|(_, own)| own.address.to_string())
            .collect();
        ready.sort();
        ready
    }

    /// The objects that the conditions of one kind concern, in order.
    fn concerned(&self, kind: ConditionKind) -> Vec<String> {
        let conditions = self.handle.status().conditions;
        let of_kind = conditions.into_iter().filter(|found| found.kind == kind);
        of_kind.filter_map(|found| found.object).collect()
    }

    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LIMIT;
        while !so(self) {
            let status = self.handle.status();
            assert!(Instant::now() < end, "never {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_serving(&self, service: &str, mut addresses: Vec<String>) {
        addresses.sort();
        let what = format!("{addresses:?} serve {service}");
        self.until(&what, |plane| plane.serving(service) == addresses)
            .await;
    }

    /// Waits until exactly one object has a diagnostic, whose name has `object` in it, or none.
    async fn until_told(&self, object: Option<&str>) {
        let what = format!("a diagnostic of {object:?} alone");
        let right = |plane: &Self| {
            let found = plane.concerned(ConditionKind::Diagnostic);
            match object {
                Some(object) => {
                    !found.is_empty() && found.iter().all(|found| found.contains(object))
                }
                None => found.is_empty(),
            }
        };
        self.until(&what, right).await;
    }
}

fn docker(engine: &Engine, name: &str) -> Box<dyn Source> {
    let mut config = DockerConfig::default();
    config.name = name.parse().unwrap();
    config.connection = ConnectionConfig::at(engine.host());
    Box::new(DockerSource::new(config))
}

/// One compose project on two engines: its first replica has the same name on both.
#[tokio::test(flavor = "multi_thread")]
async fn case_p18_replicas_of_one_name_on_two_engines_both_serve() {
    assert!(available());
    let engines = [Engine::start(), Engine::start()];
    let at = |engine: &Engine| format!("{}:80", engine.ip("shop-web-1", "shop"));
    let run = |engine: &Engine| {
        let labels = [
            "com.docker.compose.project=shop",
            "com.docker.compose.service=web",
            "com.docker.compose.container-number=1",
            "lb.service=shop-web",
        ];
        let mut options = vec!["--network", "shop"];
        options.extend(labels.into_iter().flat_map(|label| ["-l", label]));
        engine.run("shop-web-1", &options);
        at(engine)
    };
    for (engine, subnet) in engines.iter().zip(["10.71.1.0/24", "10.71.2.0/24"]) {
        engine.docker(&["network", "create", "--subnet", subnet, "shop"]);
    }
    let [one, other] = [run(&engines[0]), run(&engines[1])];
    assert_ne!(one, other);
    let sources = || [docker(&engines[0], "east"), docker(&engines[1], "west")];
    let plane = Plane::start(sources());
    plane
        .until_serving("shop-web", vec![one.clone(), other.clone()])
        .await;
    assert_eq!(plane.concerned(ConditionKind::Conflict), [""; 0]);

    // The replica that had its name first goes, and comes back: the other one serves all the while.
    engines[0].docker(&["rm", "-f", "shop-web-1"]);
    plane.until_serving("shop-web", vec![other.clone()]).await;
    let again = run(&engines[0]);
    plane
        .until_serving("shop-web", vec![again, other.clone()])
        .await;
    engines[1].docker(&["rm", "-f", "shop-web-1"]);
    plane.until_serving("shop-web", vec![at(&engines[0])]).await;
    assert_eq!(plane.concerned(ConditionKind::Conflict), [""; 0]);

    // One engine, followed twice: what it runs serves once.
    let twice = Plane::start([docker(&engines[0], "east"), docker(&engines[0], "again")]);
    let heard = |plane: &Plane| {
        let sources = plane.handle.status().sources;
        sources.iter().all(|source| source.records == 1)
    };
    twice.until("both heard", heard).await;
    twice.until_serving("shop-web", vec![at(&engines[0])]).await;
    assert_eq!(twice.concerned(ConditionKind::Conflict), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_p19_a_diagnostic_of_a_container_ends_when_it_is_fixed_or_removed() {
    assert!(available());
    let engine = Engine::start();
    engine.docker(&["network", "create", "back"]);
    let plane = Plane::start([docker(&engine, "docker")]);
    engine.run("good", &["-l", "lb.service=good"]);
    plane
        .until("good serves", |plane| plane.serving("good").len() == 1)
        .await;
    plane.until_told(None).await;

    // Removed.
    engine.run("bad", &["-l", "lb.service=web", "-l", "lb.port=none"]);
    plane.until_told(Some("bad")).await;
    engine.docker(&["rm", "-f", "bad"]);
    plane.until_told(None).await;

    // Stopped, and started again.
    engine.run("bad", &["-l", "lb.service=web", "-l", "lb.port=none"]);
    plane.until_told(Some("bad")).await;
    engine.docker(&["stop", "-t", "0", "bad"]);
    plane.until_told(None).await;
    engine.docker(&["start", "bad"]);
    plane.until_told(Some("bad")).await;

    // Made anew with the right label.
    engine.docker(&["rm", "-f", "bad"]);
    engine.run("bad", &["-l", "lb.service=web", "-l", "lb.port=80"]);
    plane
        .until("it serves", |plane| plane.serving("web").len() == 1)
        .await;
    plane.until_told(None).await;

    // Repaired while it runs.
    engine.run("apart", &["-l", "lb.service=api", "-l", "lb.network=back"]);
    plane.until_told(Some("apart")).await;
    engine.docker(&["network", "connect", "back", "apart"]);
    plane
        .until("it serves", |plane| plane.serving("api").len() == 1)
        .await;
    plane.until_told(None).await;
    assert_eq!(plane.handle.status().condition_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_p19_a_diagnostic_of_a_swarm_service_ends_when_it_is_fixed_or_removed() {
    assert!(available());
    let engine = Engine::start();
    engine.swarm();
    let overlay = [
        "network",
        "create",
        "-d",
        "overlay",
        "--attachable",
        "front",
    ];
    engine.docker(&overlay);
    engine.run("lb", &["--network", "front"]);
    let mut config: SwarmConfig =
        serde_json::from_str(r#"{ "reach": { "container": "lb" } }"#).unwrap();
    config.managers = vec![ConnectionConfig::at(engine.host())];
    let plane = Plane::start([Box::new(SwarmSource::new(config)) as Box<dyn Source>]);
    let labels = ["--label", "lb.service=web", "--label", "lb.port=none"];
    let options = [&labels[..], &["--network", "front"]].concat();
    engine.service("bad", &options);
    plane.until_told(Some("bad")).await;
    let fix = [
        "service",
        "update",
        "-d",
        "--label-add",
        "lb.port=80",
        "bad",
    ];
    engine.docker(&fix);
    plane
        .until("it serves", |plane| plane.serving("web").len() == 1)
        .await;
    plane.until_told(None).await;
    let spoil = [
        "service",
        "update",
        "-d",
        "--label-add",
        "lb.port=none",
        "bad",
    ];
    engine.docker(&spoil);
    plane.until_told(Some("bad")).await;
    engine.docker(&["service", "rm", "bad"]);
    plane.until_told(None).await;
    plane
        .until("nothing is wrong", |plane| {
            plane.handle.status().condition_count == 0
        })
        .await;
}
