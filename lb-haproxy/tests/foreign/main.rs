//! What others do on a real HAProxy: servers written by hand, agent checks, edits by another client, and endpoints that no
//! server can serve.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agents;
mod checks;
mod edits;
#[path = "../support/side_by_side.rs"]
mod side_by_side;
mod slots;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_core::{Driver as _, Endpoint, EndpointState, Name, Report, Snapshot, Weight};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    policy::Policy,
    process::{Executable, Haproxy},
};
use side_by_side::side_by_side;
use support::{Place, executables};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    time::{Instant, sleep},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

struct Subject {
    _haproxy: Haproxy,
    place: Place,
    front: SocketAddr,
    version: (u32, u32),
}

impl Subject {
    async fn start(executable: &Executable, backend: &str) -> Self {
        let front = SocketAddr::from(([127, 0, 0, 1], support::free_port()));
        let place = Place::new(&format!(
            "global\n  stats socket DIR/admin.sock mode 600 level admin expose-fd listeners\n  stats timeout 1h\n\
             defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 1s\n  retries 0\n\
             frontend in\n  bind {front}\n  default_backend web\nbackend web\n  http-reuse never\n  \
             option http-server-close\n{backend}"
        ));
        let haproxy = place.start(executable).await;
        let version = haproxy.connect().await.unwrap().info().version.clone();
        Self {
            _haproxy: haproxy,
            place,
            front,
            version: (version.major().into(), version.minor().into()),
        }
    }

    fn driver(&self, set: impl FnOnce(&mut Policy)) -> HaproxyDriver {
        let mut policy = Policy::default();
        policy.resync = Duration::from_millis(300);
        policy.drain_timeout = Duration::from_millis(500);
        policy.dynamic_servers = lb_haproxy::policy::DynamicServers::Never;
        set(&mut policy);
        let target = TargetConfig::new(name("edge"), self.place.admin.clone());
        HaproxyDriver::new(target.with_policy(policy))
    }

    /// Sends a line as another client does, and returns the reply.
    async fn say(&self, line: &str) -> String {
        let path = self.place.dir.path().join("admin.sock");
        let mut stream = UnixStream::connect(path).await.unwrap();
        let line = format!("{line}\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    /// The line of a server, without the seconds since its last change.
    async fn line(&self, server: &str) -> String {
        let state = self.say("show servers state web").await;
        let line = state.lines().find(|line| line.contains(server)).unwrap();
        let mut fields: Vec<&str> = line.split(' ').collect();
        fields[9] = "T";
        fields.join(" ")
    }

    /// The column of a server.
    async fn column(&self, server: &str, column: &str) -> Option<String> {
        let state = self.say("show servers state web").await;
        let names = state.lines().find_map(|line| line.strip_prefix("# "))?;
        let at = names.split(' ').position(|name| name == column)?;
        let line = state.lines().find(|line| line.contains(server))?;
        line.split(' ').nth(at).map(str::to_owned)
    }

    async fn request(&self) -> u16 {
        let mut stream = TcpStream::connect(self.front).await.unwrap();
        let text = "GET / HTTP/1.0\r\nhost: x\r\n\r\n";
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Passes until a report is as it is to be.
async fn until(
    driver: &mut HaproxyDriver,
    wanted: &Arc<Snapshot>,
    right: impl Fn(&Report) -> bool,
) -> Report {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let report = driver.converge(wanted).await.unwrap();
        if right(&report) {
            return report;
        }
        assert!(Instant::now() < end, "{report:#?}");
        let pause = report.again.unwrap_or(Duration::from_millis(50));
        sleep(pause.min(Duration::from_millis(50))).await;
    }
}

/// Nothing is to be done soon; that an edit is no news any more may be due later.
fn at_rest(report: &Report) -> bool {
    let later = |again| again > Duration::from_secs(2);
    report.converged && report.again.is_none_or(later)
}

/// The desired states, one after the other.
#[derive(Default)]
struct Desired(Arc<Snapshot>);

impl Desired {
    fn next(&mut self, endpoints: &[(&str, SocketAddr, EndpointState, u16)]) -> Arc<Snapshot> {
        let web = name("web");
        let mut edit = self.0.edit();
        edit.set_service(&web, lb_core::Mode::Http);
        if let Some(known) = self.0.service(&web) {
            for (id, _) in known.endpoints() {
                edit.remove_endpoint(&web, id);
            }
        }
        for (id, address, state, weight) in endpoints {
            let endpoint = Endpoint::new(*address)
                .with_state(*state)
                .with_weight(Weight::new(*weight).unwrap());
            edit.set_endpoint(&web, &name(id), endpoint);
        }
        if let Some(next) = edit.commit() {
            self.0 = Arc::new(next);
        }
        self.0.clone()
    }
}

const READY: EndpointState = EndpointState::Ready;

/// A server that answers every request, and counts them.
struct Upstream {
    at: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Upstream {
    async fn start(ip: [u8; 4]) -> Self {
        let listener = TcpListener::bind((IpAddr::from(ip), 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let count = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        count.fetch_add(1, Ordering::Relaxed);
                        let reply = b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n";
                        let _gone = stream.write_all(reply).await;
                    }
                });
            }
        });
        Self { at, requests }
    }

    fn count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// An agent on a port, with the word that it answers.
#[derive(Clone)]
struct Agent(Arc<Mutex<String>>);

impl Agent {
    async fn start(ip: [u8; 4], port: u16, word: &str) -> Self {
        let agent = Self(Arc::new(Mutex::new(word.to_owned())));
        let listener = TcpListener::bind((IpAddr::from(ip), port)).await.unwrap();
        let words = agent.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let word = format!("{}\n", words.0.lock().unwrap());
                let _gone = stream.write_all(word.as_bytes()).await;
            }
        });
        agent
    }

    fn says(&self, word: &str) {
        word.clone_into(&mut self.0.lock().unwrap());
    }
}
