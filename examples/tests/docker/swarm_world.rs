//! A Swarm, a HAProxy on its overlay network, and a control plane between the two.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{ControlPlane, Handle, Name, plane::Running as Plane};
use lb_docker::{ConnectionConfig, LabelScheme, SwarmConfig, SwarmSource};
use lb_examples::traffic::{Ask, Load, Oracle, Running, now};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::{Backend, Bind, Config, Frontend, Slots},
};

use crate::{
    front::Front,
    network::{NETWORK, Reachable},
    support::engine::Engine,
    users::{LIMIT, executables, name},
    verified::Verified,
};

/// The services that have a frontend of their own, and its port.
pub(crate) const FRONTENDS: [(&str, u16); 2] = [("a", 8001), ("b", 8002)];
/// The port where services are told apart by the path.
pub(crate) const BY_PATH: u16 = 8080;
/// The number of slots each backend has.
const SLOTS: u32 = 24;

/// All of it. HAProxy is in the network of the container `lb`.
pub(crate) struct SwarmWorld {
    pub(crate) verified: Verified,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) front: Ipv4Addr,
    _plane: Plane,
    handle: Handle,
    _haproxy: Front,
    pub(crate) engine: Engine,
}

impl SwarmWorld {
    /// Starts it with the HAProxy of this number, counted around.
    pub(crate) async fn new(which: usize, labels: LabelScheme) -> Self {
        let engine = Engine::start();
        let _reachable = Reachable::new(&engine);
        engine.swarm();
        std::fs::create_dir(engine.dir().join("shared")).unwrap();
        engine.run("lb", &["--network", "mesh"]);
        engine.docker(&["network", "connect", NETWORK, "lb"]);
        let front: Ipv4Addr = engine.ip("lb", NETWORK).parse().unwrap();

        let mut executables = executables();
        let executable = executables.swap_remove(which % executables.len());
        let haproxy = Front::start(&executable, &engine, "lb", |folder| {
            let at = |file: &str| folder.join(file).display().to_string();
            let mut config = Config::new(at("admin.sock").parse().unwrap());
            for (service, port) in FRONTENDS {
                let listens = Bind::Tcp(SocketAddr::new(front.into(), port));
                let mut frontend = Frontend::new(name(&format!("{service}-in")), listens);
                frontend.default_backend = Some(name(service));
                config.frontends.push(frontend);
                config.backends.push(backend(service));
            }
            for map in ["lb-routes.map", "lb-services.map"] {
                std::fs::write(at(map), "").unwrap();
            }
            let listens = Bind::Tcp(SocketAddr::new(front.into(), BY_PATH));
            let mut by_path = Frontend::new(name("by-path"), listens);
            by_path.route_map = Some(at("lb-routes.map").parse().unwrap());
            config.frontends.push(by_path);
            config.service_map = Some(at("lb-services.map").parse().unwrap());
            config.backends.push(backend("spare-http-1"));
            config.backends.push(backend("spare-http-2"));
            config
        })
        .await;

        let mut config = SwarmConfig::default();
        config.managers = vec![ConnectionConfig::at(engine.host())];
        config.labels = vec![labels];
        config.reach.container = Some("lb".to_owned());
        let target = TargetConfig::new(name("haproxy"), haproxy.socket.clone());
        let plane = ControlPlane::builder()
            .source(SwarmSource::new(config))
            .target(HaproxyDriver::new(target))
            .event_capacity(1 << 14)
            .build()
            .unwrap();
        let handle = plane.handle();
        let verified = Verified::follow(handle.clone());
        let oracle = Arc::new(Oracle::new());
        for host in 0..=u8::MAX {
            // The first overlay network but for Swarm's own. Containers say themselves whose they are.
            let address = SocketAddr::new(Ipv4Addr::new(10, 0, 1, host).into(), 80);
            for (service, _) in FRONTENDS {
                oracle.publish(address, &name(service));
            }
        }
        Self {
            verified,
            oracle,
            front,
            _plane: plane.spawn(),
            handle,
            _haproxy: haproxy,
            engine,
        }
    }

    /// Makes a service of `a` or `b`, whose tasks end on SIGTERM at once.
    pub(crate) fn service(&self, service: &str, options: &[&str]) {
        let variable = format!("SERVICE={service}");
        let shared = self.engine.dir().join("shared");
        let shared = format!("type=bind,source={},target=/shared", shared.display());
        let own = [
            "--network",
            "mesh",
            "--label",
            "lb.port=80",
            "--env",
            &variable,
            "--env",
            "ADDRESS=10.0.1.",
            "--env",
            "ABRUPT=1",
            "--mount",
            &shared,
            "--update-monitor",
            "1s",
        ];
        self.engine.service(service, &[&own, options].concat());
    }

    /// Users of one service until they are stopped: half of them wait long for their answers.
    pub(crate) fn users(&self, service: &str, users: usize) -> Users {
        let port = FRONTENDS
            .iter()
            .find(|(name, _)| *name == service)
            .unwrap()
            .1;
        let frontend = SocketAddr::new(self.front.into(), port);
        let start = |ask| {
            let mut load = Load::new(vec![(name(service), frontend)], users, 0);
            load.at_least = LIMIT * 2;
            load.deadline = LIMIT * 2;
            load.request_limit = LIMIT;
            load.pause = Duration::from_millis(2);
            load.ask = ask;
            load.start(Arc::clone(&self.oracle))
        };
        Users([start(Ask::Identity), start(Ask::Slow(SLOW))])
    }

    /// Waits until a service has this many endpoints ready, all of which `wanted` accepts.
    pub(crate) async fn ready(
        &self,
        service: &str,
        count: usize,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) {
        let what = format!("{count} endpoints of {service}");
        let service = name(service);
        self.verified
            .until(&what, |seen| {
                let mut of_it = seen.iter().filter(|(_, name)| **name == service);
                of_it.clone().count() == count && of_it.all(|(address, _)| wanted(address))
            })
            .await;
    }

    /// The addresses of a service's endpoints that are ready.
    pub(crate) fn addresses(&self, service: &str) -> Vec<SocketAddr> {
        let service = name(service);
        let ready = self.verified.last().into_iter();
        ready
            .filter(|(_, name)| *name == service)
            .map(|(address, _)| address)
            .collect()
    }

    /// Waits until a service has this many containers that run: those that leave are gone.
    pub(crate) fn containers(&self, service: &str, count: usize) -> Vec<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let began = Instant::now();
        loop {
            let listed = self.engine.docker(&["ps", "-q", "--filter", &filter]);
            let ids: Vec<String> = listed.lines().map(str::to_owned).collect();
            if ids.len() == count {
                return ids;
            }
            assert!(
                began.elapsed() < LIMIT,
                "{count} containers of {service}: {ids:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The number of requests that reached a container of another service.
    pub(crate) fn misrouted(&self) -> u64 {
        let file = self.engine.dir().join("shared/misrouted");
        std::fs::metadata(file).map_or(0, |file| file.len())
    }

    /// The number of times that HAProxy was reloaded.
    pub(crate) fn reloads(&self) -> u64 {
        let status = self.handle.status();
        let reloads = status.targets.iter();
        reloads
            .map(|target| target.counters.get("reloads").copied().unwrap())
            .sum()
    }
}

/// The time half of the users wait for each answer.
const SLOW: Duration = Duration::from_millis(300);

/// The users of one service: quick ones, and those that wait for long answers.
pub(crate) struct Users([Running; 2]);

impl Users {
    /// Waits until each kind has got this many more right answers.
    pub(crate) async fn answers(&self, more: u64) {
        for running in &self.0 {
            crate::users::answers(running, more).await;
        }
    }

    pub(crate) fn excuse_failures(&self, excused: bool) {
        for running in &self.0 {
            running.excuse_failures(excused);
        }
    }

    /// Ends and judges them; gives how failures that were excused looked, and the most of one user.
    pub(crate) async fn judge(self) -> (Vec<(String, u64)>, u64) {
        let mut excuses = Vec::new();
        let mut most = 0;
        for running in self.0 {
            let outcome = crate::users::judge(running, 1).await;
            excuses.extend(outcome.excuses);
            most = most.max(outcome.most_excused);
        }
        (excuses, most)
    }
}

fn backend(service: &str) -> Backend {
    Backend::new(name(service), Slots::new(Name::from_text("slot"), SLOTS))
}

/// Runs what blocks.
pub(crate) fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let began = now();
    let result = tokio::task::block_in_place(run);
    println!("{what}: {:?}", began.elapsed());
    result
}
