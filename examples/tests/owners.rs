//! Several control planes on one HAProxy: agents beside agents and beside programs, at a Unix socket and over TCP, and
//! what each really says on its socket.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

#[expect(dead_code, reason = "these tests need a part of it")]
#[path = "support/users.rs"]
mod users;
#[expect(dead_code, reason = "these tests need a part of it")]
#[path = "agent/world.rs"]
mod world;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lb_core::{
    ControlPlane, DriveError, Driver as _, Endpoint, Record, RecordKey, Snapshot, feed,
    testkit::free_port,
};
use lb_examples::{testbed::Tap, traffic::Dropped};
use lb_haproxy::{HaproxyDriver, Scope, TargetConfig, process::Executable};

use crate::{
    users::{executables, name},
    world::{NamedServer, World, eventually},
};

const SERVICES: [&str; 2] = ["web", "db"];

/// The rounds in which each agent is given other endpoints.
const ROUNDS: usize = 40;

/// A HAProxy with backends `web` and `db`, each behind a frontend of its own, and two addresses of its runtime API.
struct Shared {
    world: World,
    fronts: [PathBuf; 2],
    admin: [SocketAddr; 2],
}

impl Shared {
    async fn start(executable: Executable) -> Self {
        let admin = [
            free_port().unwrap(),
            SocketAddr::from(([127, 0, 0, 2], free_port().unwrap().port())),
        ];
        let world = World::start_with(executable, |here| {
            let mut config = format!(
                "global\n  stats socket {here}/admin.sock mode 600 level admin expose-fd listeners\n  \
                 stats socket ipv4@{} level admin\n  stats socket ipv4@{} level admin\n  stats maxconn 40\n\
                 defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n",
                admin[0], admin[1]
            );
            for service in SERVICES {
                config.push_str(&format!(
                    "frontend front-{service}\n  bind unix@{here}/{service}.front\n  default_backend {service}\n\
                     backend {service}\n  server-template slot 1-8 127.0.0.1:1 disabled\n"
                ));
            }
            config
        })
        .await;
        let fronts = SERVICES.map(|service| world.path(&format!("{service}.front")));
        Self {
            world,
            fronts,
            admin,
        }
    }

    /// Writes the configuration of an agent for one target.
    fn configure(&self, agent: &str, socket: &str, more: &str) -> String {
        let here = self.world.folder.path().display();
        let text = format!(
            "[agent]\nsocket = \"{here}/{agent}.sock\"\n\
             [[sources]]\nkind = \"file\"\npath = \"{here}/{agent}.services.toml\"\n\
             [[targets]]\nname = \"{agent}\"\nsocket = \"{socket}\"\n{more}\n"
        );
        let file = format!("{agent}.toml");
        self.world.write(&file, &text);
        file
    }

    fn write_endpoints(&self, agent: &str, service: &str, servers: &[&NamedServer]) {
        let addresses: Vec<String> = servers
            .iter()
            .map(|server| format!("\"{}\"", server.address))
            .collect();
        let text = format!(
            "[services.{service}]\nendpoints = [{}]\n",
            addresses.join(", ")
        );
        self.world.write(&format!("{agent}.services.toml"), &text);
    }
}

/// Users of one service, each request on a connection of its own. That is one of TCP from HAProxy to a server, and no
/// more of them than needed: where a firewall tracks connections, it remembers each for two minutes.
struct Users {
    dropped: Dropped,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Users {
    fn start(front: &Path, service: &'static str) -> Self {
        let dropped = Dropped::begin();
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..2).map(|_| {
            let (stop, done, front) = (stop.clone(), done.clone(), front.to_owned());
            thread::spawn(move || {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match served_by(&front) {
                        Ok(server) if server.starts_with(service) => {}
                        other => lost.push(format!("{service}: {other:?}")),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
                lost
            })
        });
        let threads = threads.collect();
        Self {
            dropped,
            stop,
            done,
            threads,
        }
    }

    /// Every request was answered, and by an endpoint of its service.
    fn judge(self, least: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let lost: Vec<String> = self
            .threads
            .into_iter()
            .flat_map(|own| own.join().unwrap())
            .collect();
        let dropped = self.dropped.since();
        assert_eq!(lost, Vec::<String>::new(), "{dropped:?}");
        let done = self.done.load(Ordering::Relaxed);
        assert!(done >= least, "only {done} requests");
    }
}

fn served_by(front: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(front)?;
    stream.set_read_timeout(Some(world::LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(text)),
    }
}

/// Runs a test on all versions at the same time, and each to its end: what one finds is not what the end of another
/// does to it.
async fn on_all<F>(test: impl Fn(Executable) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut all = tokio::task::JoinSet::new();
    for executable in executables() {
        all.spawn(test(executable));
    }
    let mut failed = None;
    while let Some(ended) = all.join_next().await {
        failed = failed.or_else(|| ended.err());
    }
    if let Some(error) = failed {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Lets two agents change the endpoints of their own service while users go on. `taps` listen to each.
async fn share(shared: Arc<Shared>, sockets: [String; 2], taps: [Tap; 2]) {
    let all: Vec<Vec<NamedServer>> = SERVICES
        .iter()
        .map(|service| {
            (0..6)
                .map(|at| NamedServer::start(&format!("{service}-{at}")))
                .collect()
        })
        .collect();
    let taps = Arc::new(taps);
    let heard = taps.clone();
    let work = tokio::task::spawn_blocking(move || {
        let mut agents = Vec::new();
        for (at, service) in SERVICES.into_iter().enumerate() {
            let manage = format!("manage = [\"{service}\"]");
            let file = shared.configure(service, &sockets[at], &manage);
            shared.write_endpoints(service, service, &[&all[at][4], &all[at][5]]);
            agents.push(shared.world.agent_with(&file, &format!("{service}.log")));
        }
        for front in &shared.fronts {
            eventually("both serve", || served_by(front).is_ok());
        }
        let users: Vec<Users> = shared
            .fronts
            .iter()
            .zip(SERVICES)
            .map(|(front, service)| Users::start(front, service))
            .collect();
        for round in 0..ROUNDS {
            let before: Vec<u64> = heard.iter().map(|tap| tap.heard().changes).collect();
            for (at, service) in SERVICES.into_iter().enumerate() {
                let servers = &all[at];
                let some: Vec<&NamedServer> = (0..1 + (round + at) % 3)
                    .map(|more| &servers[(round + more) % 6])
                    .collect();
                shared.write_endpoints(service, service, &some);
            }
            // Every second time, the next change comes while this one is under way.
            if round % 2 == 0 {
                let is_heard = || {
                    let mut both = heard.iter().zip(&before);
                    both.all(|(tap, before)| tap.heard().changes > *before)
                };
                eventually("both change their backends", is_heard);
            }
            thread::sleep(Duration::from_millis(60));
        }
        for service in SERVICES {
            let file = format!("{service}.toml");
            eventually("each agent is well", || {
                shared.world.call_with(&file, &["status", "--healthy"]).code == Some(0)
            });
        }
        for users in users {
            users.judge(100);
        }
        drop(agents);
    });
    work.await.unwrap();
    for (tap, service) in taps.iter().zip(SERVICES) {
        let heard = tap.heard();
        let backends: Vec<&str> = heard.backends.keys().map(String::as_str).collect();
        assert_eq!(backends, [service], "{heard:?}");
        assert!(heard.backends[service] >= ROUNDS as u64 / 2, "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_two_agents_share_a_haproxy_under_load_and_change() {
    on_all(|executable| async move {
        let shared = Arc::new(Shared::start(executable).await);
        let admin = shared.world.path("admin.sock");
        let sockets = SERVICES.map(|service| shared.world.path(&format!("{service}.tap")));
        let taps = sockets
            .clone()
            .map(|at| Tap::unix(at, admin.clone()).unwrap());
        let sockets = sockets.map(|socket| socket.display().to_string());
        share(shared, sockets, taps).await;
    })
    .await;
}

/// Over TCP, as from two hosts: there is no lock that they share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_two_agents_share_a_haproxy_over_tcp() {
    on_all(|executable| async move {
        let shared = Arc::new(Shared::start(executable).await);
        let at = [free_port().unwrap(), free_port().unwrap()];
        let first = Tap::tcp(at[0], shared.admin[0]).await.unwrap();
        let second = Tap::tcp(at[1], shared.admin[1]).await.unwrap();
        let sockets = at.map(|at| at.to_string());
        share(shared, sockets, [first, second]).await;
    })
    .await;
}

/// Over TCP, two owners of the same backend are seen by what they undo of each other, and reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_two_agents_that_overlap_over_tcp_report_contention() {
    on_all(|executable| async move {
        let shared = Arc::new(Shared::start(executable).await);
        // As on another machine: beside a socket there would be a lock.
        std::fs::remove_file(shared.world.path("admin.sock")).unwrap();
        let work = tokio::task::spawn_blocking(move || {
            let servers = ["a", "b"].map(NamedServer::start);
            let agents = [0, 1].map(|which| {
                let agent = ["first", "second"][which];
                let more = "[targets.policy]\nresync = \"6s\"";
                let file = shared.configure(agent, &shared.admin[which].to_string(), more);
                shared.write_endpoints(agent, "web", &[&servers[which]]);
                shared.world.agent_with(&file, &format!("{agent}.log"))
            });
            let begun = Instant::now();
            let mut told = String::new();
            while !told.contains("contention") {
                assert!(
                    begun.elapsed() < Duration::from_secs(150),
                    "no contention: {told}"
                );
                thread::sleep(Duration::from_millis(500));
                told.clear();
                for file in ["first.toml", "second.toml"] {
                    let called = shared.world.call_with(file, &["status", "--healthy"]);
                    told.push_str(&called.out);
                    told.push_str(&called.err);
                }
            }
            println!("contention after {:?}", begun.elapsed());
            assert!(told.contains("another client set it to"), "{told}");
            drop(agents);
        });
        work.await.unwrap();
    })
    .await;
}

/// The second says who the first is and does not start; a killed one locks nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_a_second_agent_says_who_the_first_is_and_does_not_start() {
    on_all(|executable| async move {
        let world = World::start_on(executable).await;
        let server = NamedServer::start("a");
        world.write_endpoints("services.toml", &[&server]);
        world.write("agent.toml", &world.config(""));
        let mut first = world.agent();
        world.until_served_by(&server);

        // Another name, and the same HAProxy.
        let other = world
            .config("")
            .replace("agent.sock", "other.sock")
            .replace("\"edge\"", "\"other\"");
        world.write("other.toml", &other);
        let refused = world.call_with("other.toml", &["run"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let owner = format!(
            "target other is managed by lb-agent (process {}, target edge, manage all backends)",
            first.pid()
        );
        assert!(refused.err.contains(&owner), "{refused:?}");

        // A control plane in another program is refused as well.
        let socket = world.path("admin.sock").display().to_string();
        let config = TargetConfig::new("program".parse().unwrap(), socket.parse().unwrap());
        let mut driver = HaproxyDriver::new(config);
        let nothing = Arc::new(Snapshot::default());
        let error = driver.converge(&nothing).await.unwrap_err();
        assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");

        first.signal("KILL");
        let _killed = first.ended();
        let again = world.agent();
        again.until_logged("connected to HAProxy");
        world.until_served_by(&server);
    })
    .await;
}

/// A change that a program writes into a backend that it manages stays, beside an agent that manages another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_agents_of_different_backends_run_side_by_side() {
    on_all(|executable| async move {
        let world = World::start_on(executable).await;
        let server = NamedServer::start("a");
        world.write_endpoints("services.toml", &[&server]);
        let config = world.config("");
        world.write("agent.toml", &format!("{config}manage = [\"web\"]\n"));
        let _web = world.agent();
        world.until_served_by(&server);
        let other = config
            .replace("agent.sock", "other.sock")
            .replace("services", "none");
        world.write("none.toml", "[services]\n");
        world.write("other.toml", &format!("{other}manage = [\"db-*\"]\n"));
        let _db = world.agent_with("other.toml", "other.log");
        eventually("the second agent is well", || {
            world.call_with("other.toml", &["status", "--healthy"]).code == Some(0)
        });
        assert_eq!(world.served_by().as_deref(), Some("a"));
        let refused = world.call_with("other.toml", &["check"]);
        assert_eq!(refused.code, Some(0), "{refused:?}");
        world.write("other.toml", &format!("{other}manage = []\n"));
        let refused = world.call_with("other.toml", &["check"]);
        assert!(
            refused.code != Some(0) && refused.err.contains("manage"),
            "{refused:?}"
        );
    })
    .await;
}

/// An agent and a program that manage one backend each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_an_agent_and_a_program_share_a_haproxy() {
    on_all(|executable| async move {
        let shared = Shared::start(executable).await;
        let admin = shared.world.path("admin.sock");
        let sockets = SERVICES.map(|service| shared.world.path(&format!("{service}.tap")));
        let taps = sockets
            .clone()
            .map(|at| Tap::unix(at, admin.clone()).unwrap());
        let [of_agent, of_program] = sockets.map(|socket| socket.display().to_string());
        let web = ["web-0", "web-1"].map(NamedServer::start);
        let db = ["db-0", "db-1"].map(NamedServer::start);
        let file = shared.configure("web", &of_agent, "manage = [\"web\"]");
        shared.write_endpoints("web", "web", &[&web[0]]);
        let _agent = shared.world.agent_with(&file, "web.log");
        let (publisher, source) = feed(name("program"));
        let target = TargetConfig::new(name("program"), of_program.parse().unwrap());
        let target = target.managing(Scope::new(["db"]).unwrap());
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .build()
            .unwrap()
            .spawn();
        let key = RecordKey::new(name("db"), name("db"));
        for round in 0..20 {
            let record = Record::new(key.clone(), Endpoint::new(db[round % 2].address));
            let ticket = publisher.set(record).unwrap();
            shared.write_endpoints("web", "web", &[&web[round % 2]]);
            let state = plane.handle().wait(&ticket, world::LIMIT).await.unwrap();
            assert!(state.in_effect, "{state:?}");
            assert_eq!(served_by(&shared.fronts[1]).unwrap(), db[round % 2].name);
        }
        eventually("the agent's endpoint serves", || {
            served_by(&shared.fronts[0]).is_ok_and(|name| name == web[1].name)
        });
        plane.shutdown().await;
        for (tap, service) in taps.iter().zip(SERVICES) {
            let heard = tap.heard();
            let backends: Vec<&str> = heard.backends.keys().map(String::as_str).collect();
            assert_eq!(backends, [service], "{heard:?}");
        }
    })
    .await;
}
