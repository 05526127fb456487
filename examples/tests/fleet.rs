//! One control plane and many HAProxies: the same slots everywhere, changes in waves, and nobody waits for the dead.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and reads the clock for its deadlines"
)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use lb_core::{
    ControlPlane, Endpoint, Event, Handle, Name, Publisher, Record, RecordKey, Running, feed,
    reconciler::Waves, testkit::free_port,
};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    process::{Executable, Haproxy, HaproxyOptions},
    proto::{Command, ServersState},
};

const LIMIT: Duration = Duration::from_secs(120);
const TARGETS: usize = 6;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn executables() -> Vec<Executable> {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let mut paths: Vec<Option<&Path>> = listed
        .split_whitespace()
        .map(|path| Some(Path::new(path)))
        .collect();
    if paths.is_empty() {
        paths.push(None);
    }
    paths
        .into_iter()
        .map(|path| Executable::find(path).unwrap())
        .collect()
}

struct Fleet {
    haproxies: Vec<Haproxy>,
    running: Running,
    handle: Handle,
    publisher: Publisher,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// HAProxies of all versions in turn. The target at place `dead` leads nowhere.
    async fn start(waves: Waves, dead: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let versions = executables();
        let mut haproxies = Vec::new();
        let (publisher, source) = feed(name("program"));
        publisher.reset(Vec::new()).unwrap();
        let mut builder = ControlPlane::builder().source(source).waves(waves);
        for number in 0..TARGETS {
            let executable = versions[number % versions.len()].clone();
            let at = |file: &str| {
                let file = folder.path().join(format!("{number}-{file}"));
                file.display().to_string()
            };
            let target = name(&format!("edge{number}"));
            if dead == Some(number) {
                let nowhere = at("nowhere.sock").parse().unwrap();
                builder = builder.target(HaproxyDriver::new(TargetConfig::new(target, nowhere)));
                continue;
            }
            let frontend: SocketAddr = free_port().unwrap();
            let config = format!(
                "global\n  stats socket {} mode 600 level admin\n  stats timeout 1h\n\
                 defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 2s\n\
                 frontend in\n  bind {frontend}\n  default_backend web\n\
                 backend web\n  server-template slot 1-40 127.0.0.1:1 disabled\n",
                at("admin.sock")
            );
            std::fs::write(at("haproxy.cfg"), config).unwrap();
            let admin: lb_haproxy::SocketAddress = at("admin.sock").parse().unwrap();
            let options = HaproxyOptions::new(
                executable,
                at("haproxy.cfg"),
                admin.clone(),
                at("master.sock"),
            );
            haproxies.push(Haproxy::start(options).await.unwrap());
            builder = builder.target(HaproxyDriver::new(TargetConfig::new(target, admin)));
        }
        let plane = builder.build().unwrap();
        let handle = plane.handle();
        Self {
            haproxies,
            handle,
            running: plane.spawn(),
            publisher,
            _folder: folder,
        }
    }

    fn add(&self, from: u16, to: u16) {
        let records = (from..to).map(|number| {
            let key = RecordKey::new(name("web"), name(&format!("e{number}")));
            let address = SocketAddr::from(([10, 1, 0, 1], 1000 + number));
            Record::new(key, Endpoint::new(address))
        });
        let _cursor = self.publisher.batch(records, Vec::new()).unwrap();
    }

    fn remove(&self, numbers: impl Iterator<Item = u16>) {
        let keys = numbers.map(|number| RecordKey::new(name("web"), name(&format!("e{number}"))));
        let _cursor = self
            .publisher
            .batch(Vec::new(), keys.collect::<Vec<_>>())
            .unwrap();
    }

    /// The address of each slot, of each HAProxy.
    async fn slots(&self) -> Vec<BTreeMap<String, SocketAddr>> {
        let mut all = Vec::new();
        for haproxy in &self.haproxies {
            let mut client = haproxy.connect().await.unwrap();
            let reply = client.exec(&Command::ShowServersState(None)).await.unwrap();
            let rows = ServersState::parse(reply.text()).unwrap().rows;
            let used = rows
                .iter()
                .filter(|row| row.op.is_up() && !row.admin.is_maint());
            all.push(
                used.filter_map(|row| Some((row.server.to_string(), row.socket_addr()?)))
                    .collect(),
            );
        }
        all
    }

    async fn until(&self, what: &str, so: impl Fn(&lb_core::Status) -> bool) {
        let began = Instant::now();
        loop {
            let status = self.handle.status();
            if so(&status) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "waited for {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until every target that lives has verified the newest generation with this many endpoints.
    async fn verified(&self, endpoints: usize, dead: usize) {
        self.until("all to verify", |status| {
            let behind = status
                .targets
                .iter()
                .filter(|target| target.behind > 0 || target.verified.is_none());
            status.endpoints == endpoints && behind.count() == dead
        })
        .await;
    }

    async fn end(self) {
        self.running.shutdown().await;
        for haproxy in self.haproxies {
            haproxy.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_endpoints_are_in_the_same_slots_on_every_version() {
    let fleet = Fleet::start(Waves::default(), None).await;
    fleet.add(0, 30);
    fleet.verified(30, 0).await;
    let slots = fleet.slots().await;
    assert_eq!(slots[0].len(), 30);
    assert!(slots.iter().all(|other| *other == slots[0]), "{slots:?}");
    // They stay where they are when others leave.
    fleet.remove((0..10).map(|number| number * 3));
    fleet.verified(20, 0).await;
    let fewer = fleet.slots().await;
    let stayed = |(slot, address): (&String, &SocketAddr)| slots[0].get(slot) == Some(address);
    for each in &fewer {
        assert!(each.iter().all(stayed), "{each:?}");
    }
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_to_one_target_first_and_to_the_others_when_that_has_verified() {
    let fleet = Fleet::start(Waves::canary(1, LIMIT), None).await;
    let mut events = fleet.handle.subscribe();
    fleet.add(0, 5);
    fleet.verified(5, 0).await;
    let newest = fleet.handle.status().generation;
    let mut order = Vec::new();
    while order.len() < TARGETS {
        let next = tokio::time::timeout(LIMIT, events.next())
            .await
            .unwrap()
            .unwrap();
        if let Event::Verified {
            target, generation, ..
        } = &next.event
            && *generation == newest
        {
            order.push(target.to_string());
        }
    }
    assert_eq!(order[0], "edge0", "{order:?}");
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_holds_nobody_back_and_its_lag_is_told() {
    let at_once = Fleet::start(Waves::default(), Some(2)).await;
    at_once.add(0, 5);
    at_once.verified(5, 1).await;
    let status = at_once.handle.status();
    let dead = status
        .targets
        .iter()
        .find(|target| target.name.as_str() == "edge2")
        .unwrap();
    assert!(
        dead.lag_ms.is_some() && dead.last_error.is_some(),
        "{dead:?}"
    );
    assert!(dead.verified.is_none());
    at_once.end().await;

    // In waves, the first one dead: the others wait for the deadline and no longer.
    let deadline = Duration::from_millis(700);
    let waves = Fleet::start(Waves::canary(1, deadline), Some(0)).await;
    waves.add(0, 5);
    waves.verified(5, 1).await;
    assert!(waves.slots().await.iter().all(|slots| slots.len() == 5));
    waves.end().await;
}
