//! Exclusive services on real HAProxies, as their servers see it: never two primaries, however a swap is written and
//! wherever lb dies. And the fate of sessions to an endpoint that is down.
//!
//! `LB_SWAPS` is how many swaps are made on each version, `LB_SWAP_KILLS` in how many of them lb dies.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and measures real time"
)]

#[path = "support/observer.rs"]
mod observer;
#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lb_core::{
    ControlPlane, Endpoint, EndpointState, Mode, Name, OnDown, Publisher, Record, RecordKey,
    Running, ServiceOptions, Weight, feed,
};
use lb_haproxy::{HaproxyDriver, TargetConfig, driver::Files, process::Executable};
use observer::{Observer, Users};
use side_by_side::side_by_side;
use support::{Place, executables, free_port};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats timeout 1h
defaults
  mode tcp
  timeout client 10m
  timeout server 10m
  timeout connect 1s
  retries 3
  option redispatch
frontend in
  bind 127.0.0.1:FRONT
  default_backend db
backend db
  server-template slot 1-5 127.0.0.1:1 disabled
";

/// The most time a swap may take, lb's death and its new beginning included.
const LIMIT: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(name("db"), name(id))
}

fn number(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// A control plane with all that is true, and where its truth is written.
struct Life {
    publisher: Publisher,
    _running: Running,
}

impl Life {
    fn begin(place: &Place, truth: &[(String, Endpoint)], options: ServiceOptions) -> Self {
        let target = TargetConfig::new(name("edge"), place.admin.clone());
        Self::begin_at(target, truth, options)
    }

    fn begin_at(
        mut target: TargetConfig,
        truth: &[(String, Endpoint)],
        options: ServiceOptions,
    ) -> Self {
        let (publisher, source) = feed(name("feed"));
        let declared = Record::declare(Publisher::declaration(name("db")))
            .with_mode(Mode::Tcp)
            .with_options(options);
        let endpoints = truth.iter().map(|(id, endpoint)| record(id, endpoint));
        publisher.reset(endpoints.chain([declared])).unwrap();
        target.policy.drain_timeout = Duration::from_secs(1);
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .build()
            .unwrap();
        Self {
            publisher,
            _running: plane.spawn(),
        }
    }
}

fn record(id: &str, endpoint: &Endpoint) -> Record {
    Record::new(key(id), endpoint.clone()).with_mode(Mode::Tcp)
}

/// The truth of `db`: at most one endpoint is ready.
#[derive(Debug, Clone)]
struct Truth {
    endpoints: Vec<(String, Endpoint)>,
}

impl Truth {
    fn primary(&self) -> (String, Endpoint) {
        let ready = |(_, endpoint): &&(String, Endpoint)| endpoint.state.is_ready();
        self.endpoints.iter().find(ready).unwrap().clone()
    }

    fn set(&mut self, id: &str, endpoint: Endpoint) {
        self.endpoints.retain(|(known, _)| known != id);
        self.endpoints.push((id.to_owned(), endpoint));
    }

    fn remove(&mut self, id: &str) {
        self.endpoints.retain(|(known, _)| known != id);
    }

    /// Makes the endpoint at `address` the primary, written in one of the ways of programs.
    fn swap(&mut self, publisher: &Publisher, way: usize, serial: usize, address: SocketAddr) {
        let (old, was) = self.primary();
        // Whoever left before and is still listed is forgotten, or its address named twice.
        let gone: Vec<String> = self
            .endpoints
            .iter()
            .map(|(id, _)| id.clone())
            .filter(|id| *id != old)
            .collect();
        for id in &gone {
            publisher.remove(&key(id)).unwrap();
            self.remove(id);
        }
        let id = format!("e{serial}");
        let new = Endpoint::new(address);
        let drained = |grace| was.clone().with_state(EndpointState::Draining { grace });
        let at_once = Some(Duration::ZERO);
        match way {
            0 | 1 => {
                let grace = if way == 0 { at_once } else { None };
                publisher.drain(&key(&old), grace).unwrap();
                publisher.set(record(&id, &new)).unwrap();
                self.set(&old, drained(grace));
            }
            2 => {
                let set = [record(&old, &drained(None)), record(&id, &new)];
                publisher.batch(set, []).unwrap();
                self.set(&old, drained(None));
            }
            3 => {
                publisher.batch([record(&id, &new)], [key(&old)]).unwrap();
                self.remove(&old);
            }
            4 => {
                publisher.set(record(&old, &new)).unwrap();
                return self.set(&old, new);
            }
            5 => {
                publisher
                    .weigh(&key(&old), Weight::new(7).unwrap())
                    .unwrap();
                let new = new.clone().with_weight(Weight::MAX);
                let set = [record(&old, &drained(at_once)), record(&id, &new)];
                publisher.batch(set, []).unwrap();
                self.set(&old, drained(at_once));
                return self.set(&id, new);
            }
            6 => {
                publisher.set(record(&id, &new)).unwrap();
                publisher.drain(&key(&old), at_once).unwrap();
                self.set(&old, drained(at_once));
            }
            7 => {
                let none = was.clone().with_weight(Weight::new(0).unwrap());
                publisher
                    .batch([record(&old, &none), record(&id, &new)], [])
                    .unwrap();
                self.set(&old, none.with_state(EndpointState::Pending));
                publisher.set(record(&old, &self.endpoints[0].1)).unwrap();
            }
            _ => {
                let down = was.clone().with_state(EndpointState::Down);
                publisher
                    .batch([record(&old, &down), record(&id, &new)], [])
                    .unwrap();
                self.set(&old, down);
            }
        }
        self.set(&id, new);
    }
}

const WAYS: usize = 9;

/// A cheap source of chance that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p06_no_server_ever_sees_two_primaries() {
    let swaps = number("LB_SWAPS", 36);
    let kills = number("LB_SWAP_KILLS", 5);
    side_by_side(executables(), async |executable: Executable| {
        let version = executable.version().await.unwrap();
        let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let place = Place::new(&CONFIG.replace("FRONT", &front.port().to_string()));
        let haproxy = place.start(&executable).await;
        let observer = Observer::start(3);
        let options = ServiceOptions::default().exclusive(true);
        let mut truth = Truth {
            endpoints: vec![("primary".to_owned(), Endpoint::new(observer.addresses[0]))],
        };
        let mut life = Life::begin(&place, &truth.endpoints, options);
        let users = Users::start(front, 4);
        assert!(observer.serves(0, LIMIT).await, "{version}: nobody begins to serve");
        let mut dice = Dice(u64::from(front.port()));
        let (mut gaps, mut killed) = (Vec::new(), 0);
        for swap in 0..swaps {
            let (_, was) = truth.primary();
            let at = observer.addresses.iter().position(|at| *at == was.address).unwrap();
            let next = (at + 1 + dice.below(2) as usize) % 3;
            let way = swap % WAYS;
            let dies = killed * swaps < swap * kills;
            let before = observer.note_swap();
            truth.swap(&life.publisher, way, swap, observer.addresses[next]);
            if dies {
                killed += 1;
                tokio::time::sleep(Duration::from_micros(dice.below(4_000))).await;
                drop(life);
                life = Life::begin(&place, &truth.endpoints, options);
            }
            let serves = observer.serves(next, LIMIT).await;
            observer.check(&format!("{version}: swap {swap} in way {way}, killed {dies}"));
            assert!(serves, "{version}: swap {swap} in way {way}, killed {dies} has no end: {truth:?}");
            if !dies {
                gaps.push(observer.gap_since(before, at, next));
            }
        }
        gaps.sort();
        let at = |share: usize| gaps[(gaps.len() - 1) * share / 100];
        println!(
            "{version}: {swaps} swaps, lb killed in {killed}: gap median {:?}, p99 {:?}, most {:?}; {} sessions seen",
            at(50),
            at(99),
            at(100),
            observer.accepted(),
        );
        drop(users);
        observer.check("in the end");
        haproxy.stop().await.unwrap();
    })
    .await;
}

/// The same on a HAProxy that loads a server-state file when it is reloaded.
const WITH_STATE: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats timeout 1h
  server-state-file DIR/state
  hard-stop-after 3s
defaults
  mode tcp
  timeout client 10m
  timeout server 10m
  timeout connect 1s
  load-server-state-from-file global
frontend in
  bind 127.0.0.1:FRONT
  default_backend db
backend db
  server-template slot 1-5 slot.invalid:1 disabled init-addr last,127.0.0.1
";

/// A reload by somebody else right after a swap: the new worker must not know an earlier primary as ready. `LB_RELOADS` is
/// how many are made on each version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p06_a_reload_right_after_a_swap_brings_no_second_primary() {
    let reloads = number("LB_RELOADS", 6);
    side_by_side(executables(), async |executable: Executable| {
        let version = executable.version().await.unwrap();
        let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let place = Place::new(&WITH_STATE.replace("FRONT", &front.port().to_string()));
        std::fs::write(place.dir.path().join("state"), "").unwrap();
        let mut haproxy = place.start(&executable).await;
        let observer = Observer::start(3);
        let options = ServiceOptions::default().exclusive(true);
        let mut truth = Truth {
            endpoints: vec![("primary".to_owned(), Endpoint::new(observer.addresses[0]))],
        };
        let mut target = TargetConfig::new(name("edge"), place.admin.clone());
        target.files = Files::with_server_state(place.dir.path().join("state"));
        let master = place.dir.path().join("master.sock");
        target.master = Some(master.display().to_string().parse().unwrap());
        let life = Life::begin_at(target, &truth.endpoints, options);
        let users = Users::start(front, 4);
        assert!(
            observer.serves(0, LIMIT).await,
            "{version}: nobody begins to serve"
        );
        let mut dice = Dice(u64::from(front.port()));
        let mut at = 0;
        for swap in 0..reloads {
            let next = (at + 1 + dice.below(2) as usize) % 3;
            truth.swap(&life.publisher, swap % WAYS, swap, observer.addresses[next]);
            // Before, while and after the next one begins to serve.
            match swap % 3 {
                0 => tokio::time::sleep(Duration::from_millis(dice.below(20))).await,
                _ => assert!(observer.serves(next, LIMIT).await, "{version}: swap {swap}"),
            }
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            haproxy.reload().await.unwrap();
            // Until the old worker is gone, and so are its sessions.
            tokio::time::sleep(Duration::from_millis(3_500)).await;
            assert!(
                observer.serves(next, LIMIT).await,
                "{version}: after reload {swap}"
            );
            observer.check(&format!("{version}: reload after swap {swap}"));
            at = next;
        }
        drop(users);
        haproxy.stop().await.unwrap();
    })
    .await;
}

/// A session to an endpoint that its source reports down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p05_a_session_to_an_endpoint_that_is_down_is_shut_down_or_kept() {
    side_by_side(executables(), async |executable: Executable| {
        for on_down in [OnDown::ShutdownSessions, OnDown::Keep] {
            let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let place = Place::new(&CONFIG.replace("FRONT", &front.port().to_string()));
            let haproxy = place.start(&executable).await;
            let observer = Observer::start(2);
            let options = ServiceOptions::default().on_down(on_down);
            let first = Endpoint::new(observer.addresses[0]);
            let endpoints = [("a".to_owned(), first.clone())];
            let life = Life::begin(&place, &endpoints, options);
            let mut user = first_session(front).await;
            life.publisher
                .set(record("b", &Endpoint::new(observer.addresses[1])))
                .unwrap();
            let down = first.with_state(EndpointState::Down);
            life.publisher.set(record("a", &down)).unwrap();
            let asked = Instant::now();
            let closed = loop {
                if asked.elapsed() > Duration::from_secs(2) {
                    break false;
                }
                user.set_read_timeout(Some(Duration::from_millis(20)))
                    .unwrap();
                match user.read(&mut [0]) {
                    Ok(0) => break true,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => break true,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            assert_eq!(closed, on_down == OnDown::ShutdownSessions, "{on_down:?}");
            if !closed {
                user.write_all(b"x").unwrap();
                user.set_read_timeout(Some(LIMIT)).unwrap();
                user.read_exact(&mut [0]).unwrap();
            }
            haproxy.stop().await.unwrap();
        }
    })
    .await;
}

/// A session that was answered once.
async fn first_session(front: SocketAddr) -> TcpStream {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LIMIT, "nobody serves");
        if let Some(stream) = observer::session(front) {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
