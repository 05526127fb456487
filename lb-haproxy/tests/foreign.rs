//! What others do on a real HAProxy: servers written by hand, agent checks, edits by another client, and endpoints that no
//! server can serve.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_core::{
    ConditionKind, Driver as _, Endpoint, EndpointState, Name, Report, Snapshot, UnmetReason,
    Weight,
};
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

    /// What another client says, and what it is told.
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
    wish: &Arc<Snapshot>,
    right: impl Fn(&Report) -> bool,
) -> Report {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let report = driver.converge(wish).await.unwrap();
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

/// What is desired, one after the other.
#[derive(Default)]
struct Wishes(Arc<Snapshot>);

impl Wishes {
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

#[tokio::test]
async fn case_p01_an_endpoint_that_no_server_can_serve_disturbs_no_other() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-4 127.0.0.1:1 disabled\n";
        let subject = Subject::start(&executable, slots).await;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let good = Upstream::start([127, 0, 0, 1]).await;
        let poison = [
            "0.0.0.0:80",
            "[::]:80",
            "10.0.0.1:0",
            "127.0.0.1:1",
            "[fe80::1%3]:80",
        ];
        let mut endpoints = vec![("good", good.at, READY, 100)];
        let ids = ["p0", "p1", "p2", "p3", "p4"];
        for (id, address) in ids.iter().zip(poison) {
            endpoints.push((id, address.parse().unwrap(), READY, 100));
        }
        let report = until(&mut driver, &wishes.next(&endpoints), |report| {
            report.converged
        })
        .await;
        let unmet: Vec<&str> = report
            .unmet
            .iter()
            .map(|unmet| unmet.endpoint.as_ref().unwrap().as_str())
            .collect();
        assert_eq!(unmet, ids, "{report:?}");
        assert!(
            report
                .unmet
                .iter()
                .all(|unmet| { unmet.reason == UnmetReason::Unsupported && !unmet.transient })
        );
        assert_eq!(subject.request().await, 200);
        // And each ends with its cause.
        let report = until(&mut driver, &wishes.next(&endpoints[..1]), |report| {
            report.converged
        })
        .await;
        assert_eq!(report.unmet, []);
    })
    .await;
}

/// How long servers written by hand are watched: 5 seconds, or as `LB_FIXED_SECONDS` says.
fn fixed_seconds() -> Duration {
    let given = std::env::var("LB_FIXED_SECONDS").ok();
    Duration::from_secs(given.map_or(5, |seconds| seconds.parse().unwrap()))
}

#[tokio::test]
async fn case_p08_a_server_written_by_hand_stays_as_it_is() {
    side_by_side(executables(), async |executable: Executable| {
        let servers = "  server-template slot 1-2 127.0.0.1:1 disabled\n  \
                       server legacy2 127.0.0.9:8080 disabled\n  \
                       server sorry9 127.0.0.9:8081 backup disabled\n  \
                       server app1 127.0.0.1:1 disabled weight 7\n";
        let subject = Subject::start(&executable, servers).await;
        let fixed = ["legacy2", "sorry9", "app1"];
        let mut before = Vec::new();
        for server in fixed {
            before.push(subject.line(server).await);
        }
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|policy| policy.resync = Duration::from_millis(20));
        let upstream = Upstream::start([127, 0, 0, 1]).await;
        let end = Instant::now() + fixed_seconds();
        let mut rounds = 0..;
        while Instant::now() < end {
            let round: u16 = rounds.next().unwrap() % 5000;
            let mut endpoints = vec![("good", upstream.at, READY, 100)];
            let more: Vec<String> = (0..4).map(|at| format!("{at}")).collect();
            for (at, id) in (0..).zip(&more) {
                let address = SocketAddr::from(([127, 0, 0, 2], 2000 + round * 10 + at));
                endpoints.push((id, address, READY, 1 + at));
            }
            let endpoints = &endpoints[..usize::from(1 + round % 5)];
            let report = until(&mut driver, &wishes.next(endpoints), |report| {
                report.again.is_none()
            })
            .await;
            let told = report.conditions.iter();
            let kinds: Vec<ConditionKind> = told.map(|condition| condition.kind).collect();
            // One is parked, as slots are: it may be one of another prefix.
            let [ConditionKind::UnknownSlots, rest @ ..] = &kinds[..] else {
                panic!("{report:?}");
            };
            assert_eq!(rest, [ConditionKind::FixedServer; 2]);
            assert!(
                report
                    .conditions
                    .iter()
                    .any(|condition| condition.detail.contains("is a backup"))
            );
            assert_eq!(report.gauges.get("fixed_servers"), Some(&3));
            for (server, before) in fixed.iter().zip(&before) {
                assert_eq!(subject.line(server).await, *before, "{:?}", subject.version);
            }
        }
        assert!(rounds.next() > Some(5), "{:?}", subject.version);
    })
    .await;
}

#[tokio::test]
async fn case_p09_a_fixed_server_that_serves_beside_slots_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let upstream = Upstream::start([127, 0, 0, 1]).await;
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled\n  server shop3 {}\n",
            upstream.at
        );
        let subject = Subject::start(&executable, &servers).await;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let both = [
            ("a", SocketAddr::from(([127, 0, 0, 1], 9)), READY, 1),
            ("b", upstream.at, READY, 1),
        ];
        let report = until(&mut driver, &wishes.next(&both), |report| report.converged).await;
        assert_eq!(report.unmet, []);
        let [condition] = &report.conditions[..] else {
            panic!("{report:?}");
        };
        assert_eq!(condition.endpoint, Some(name("b")));
        // Dropped by its source, it serves on: plan and report say so.
        let one = wishes.next(&both[..1]);
        let report = until(&mut driver, &one, |report| report.converged).await;
        assert!(
            report.conditions[0].detail.contains("no source reports"),
            "{report:?}"
        );
        let plan = driver.preview(&one).await.unwrap();
        assert!(plan.text.contains("web/shop3"), "{}", plan.text);
        assert_eq!(
            subject.column("shop3", "srv_uweight").await.as_deref(),
            Some("1")
        );
    })
    .await;
}

#[tokio::test]
async fn case_p10_what_an_agent_says_counts() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-4 127.0.0.1:1 disabled weight 100 agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let version = subject.version;
        let (one, two) = (Upstream::start([127, 0, 0, 2]).await, Upstream::start([127, 0, 0, 3]).await);
        let first = Agent::start([127, 0, 0, 2], port, "up ready 100%").await;
        let _second = Agent::start([127, 0, 0, 3], port, "up ready 100%").await;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let endpoints = [("one", one.at, READY, 100), ("two", two.at, READY, 100)];
        let both = wishes.next(&endpoints);
        until(&mut driver, &both, |report| report.converged && report.conditions.is_empty()).await;
        for word in ["drain", "maint"] {
            first.says(word);
            let told = |report: &Report| {
                let agents = report.conditions.iter();
                agents.filter(|found| found.kind == ConditionKind::AgentHold).count() == 1
            };
            let report = until(&mut driver, &both, told).await;
            assert_eq!(report.conditions[0].endpoint, Some(name("one")), "{version:?}");
            // Two resyncs and more.
            let (before, end) = (one.count(), Instant::now() + Duration::from_millis(1000));
            while Instant::now() < end {
                let report = driver.converge(&both).await.unwrap();
                assert!(report.converged && report.unmet.is_empty(), "{report:?}");
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {word}");
            // Another lb, as after a restart, does not know better.
            driver = subject.driver(|_| {});
            until(&mut driver, &both, told).await;
            for _ in 0..10 {
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {word}");
            first.says("up ready 100%");
            until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        }
        // Its weight is the agent's, until the source wants another one.
        first.says("up 75% ready");
        let weighed = |report: &Report| report.conditions.iter().any(|found| found.detail.contains("weight 75"));
        until(&mut driver, &both, weighed).await;
        sleep(Duration::from_millis(700)).await;
        assert!(weighed(&driver.converge(&both).await.unwrap()), "{version:?}");
        first.says("up ready");
        let fifty = wishes.next(&[("one", one.at, READY, 50), endpoints[1]]);
        until(&mut driver, &fifty, |report| report.converged && report.conditions.is_empty()).await;
        // What the source takes out stays out, whatever the agent says.
        for state in [EndpointState::Down, EndpointState::Draining { grace: None }] {
            let out = wishes.next(&[("one", one.at, state, 50), endpoints[1]]);
            until(&mut driver, &out, |report| report.converged).await;
            let before = one.count();
            first.says("up ready 100%");
            for _ in 0..70 {
                sleep(Duration::from_millis(10)).await;
                assert_eq!(subject.request().await, 200);
            }
            assert_eq!(one.count(), before, "{version:?}: {state:?}");
            // And it comes in again, with its agent heard.
            until(&mut driver, &both, |report| report.converged).await;
            first.says("drain");
            until(&mut driver, &both, |report| !report.conditions.is_empty()).await;
            first.says("up ready 100%");
            until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        }
    })
    .await;
}

/// What an agent takes down is told of the agent, where nothing else looks at the server.
#[tokio::test]
async fn case_p10_an_agent_that_says_down_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let agent = Agent::start([127, 0, 0, 2], port, "up ready").await;
        let mut wishes = Wishes::default();
        let mut driver =
            subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
        let wish = wishes.next(&[("one", one.at, READY, 100)]);
        let silent = |report: &Report| report.converged && report.conditions.is_empty();
        until(&mut driver, &wish, silent).await;
        for word in ["down", "stopped", "fail"] {
            agent.says(word);
            let told = |report: &Report| !report.conditions.is_empty();
            let report = until(&mut driver, &wish, told).await;
            let condition = &report.conditions[0];
            assert_eq!(condition.kind, ConditionKind::AgentHold, "{word}: {condition}");
            assert_eq!(condition.endpoint, Some(name("one")), "{condition}");
            agent.says("up ready");
            until(&mut driver, &wish, silent).await;
        }
    })
    .await;
}

#[tokio::test]
async fn case_p12_a_check_that_another_client_points_elsewhere_is_put_right() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-3 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        let version = subject.version;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let up = Upstream::start([127, 0, 0, 2]).await;
        let one = wishes.next(&[("one", up.at, READY, 100)]);
        let up_again = at_rest;
        until(&mut driver, &one, up_again).await;
        let state = subject.say("show servers state web").await;
        let line = state
            .lines()
            .find(|line| line.contains(" 127.0.0.2 "))
            .unwrap();
        let slot = line.split(' ').nth(3).unwrap().to_owned();
        let reply = subject
            .say(&format!(
                "set server web/{slot} check-addr 127.0.0.99 port 1"
            ))
            .await;
        assert_eq!(
            reply.trim().is_empty(),
            ((2, 4)..(3, 4)).contains(&version),
            "{version:?} {reply}"
        );
        if version >= (2, 4) {
            subject
                .say(&format!("set server web/{slot} check-port 1"))
                .await;
        }
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            driver.converge(&one).await.unwrap();
            let follows = subject.column(&slot, "srv_check_addr").await;
            let follows = follows.is_none_or(|address| matches!(&*address, "-" | "0.0.0.0"));
            let port = subject.column(&slot, "srv_check_port").await;
            let port = port.is_none_or(|port| port != "1");
            if follows
                && port
                && subject.column(&slot, "srv_op_state").await.as_deref() == Some("2")
            {
                break;
            }
            assert!(
                Instant::now() < end,
                "{version:?}: {}",
                subject.line(&slot).await
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(subject.request().await, 200);
        // A free slot that was changed is right before its next tenant.
        until(&mut driver, &wishes.next(&[]), up_again).await;
        for slot in 1..4 {
            subject
                .say(&format!(
                    "set server web/slot{slot} check-addr 127.0.0.99 port 1"
                ))
                .await;
        }
        until(&mut driver, &one, up_again).await;
        assert_eq!(subject.request().await, 200, "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn case_p12_the_check_of_a_dynamic_server_is_put_right() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        if subject.version < (3, 0) {
            return;
        }
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|policy| {
            policy.dynamic_servers = lb_haproxy::policy::DynamicServers::Auto;
            policy.server.check = Some(true);
            policy.server.inter = Some(Duration::from_millis(100));
        });
        let first = Upstream::start([127, 0, 0, 2]).await;
        let second = Upstream::start([127, 0, 0, 3]).await;
        let both = [
            ("one", first.at, READY, 100),
            ("two", second.at, READY, 100),
        ];
        let both = wishes.next(&both);
        let up_again = at_rest;
        until(&mut driver, &both, up_again).await;
        let server = subject.column(" dyn-", "srv_name").await.unwrap();
        let edit = format!("set server web/{server} check-addr 127.0.0.99 port 1");
        let taken = subject.say(&edit).await.trim().is_empty();
        assert_eq!(taken, subject.version < (3, 4), "{:?}", subject.version);
        // Another lb, as after a restart, does not take what it finds for right.
        driver = subject.driver(|_| {});
        let follows = || async {
            let address = subject.column(&server, "srv_check_addr").await.unwrap();
            let port = subject.column(&server, "srv_check_port").await.unwrap();
            let up = subject.column(&server, "srv_op_state").await.unwrap();
            matches!(&*address, "-" | "0.0.0.0") && port != "1" && up == "2"
        };
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            driver.converge(&both).await.unwrap();
            if follows().await {
                break;
            }
            assert!(Instant::now() < end, "{}", subject.line(&server).await);
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(subject.request().await, 200);
    })
    .await;
}

#[tokio::test]
async fn case_p13_tls_that_another_client_switches_on_is_switched_off() {
    side_by_side(executables(), async |executable: Executable| {
        // Settings of TLS that are there and not in use.
        let slots = "  default-server ssl verify none\n  server-template slot 1-3 127.0.0.1:1 disabled no-ssl\n";
        let subject = Subject::start(&executable, slots).await;
        if subject.version < (2, 4) {
            return;
        }
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let up = Upstream::start([127, 0, 0, 2]).await;
        let one = wishes.next(&[("one", up.at, READY, 100)]);
        until(&mut driver, &one, at_rest).await;
        for slot in 1..4 {
            let reply = subject.say(&format!("set server web/slot{slot} ssl on")).await;
            assert!(reply.contains("updated"), "{reply}");
        }
        assert_eq!(subject.request().await, 503, "the upstream speaks no TLS");
        sleep(Duration::from_millis(300)).await;
        until(&mut driver, &one, at_rest).await;
        assert_eq!(subject.request().await, 200, "{:?}", subject.version);
        let other = wishes.next(&[("one", up.at, READY, 100), ("two", ([127, 0, 0, 2], 9).into(), READY, 0)]);
        until(&mut driver, &other, at_rest).await;
        for slot in 1..4 {
            let server = format!("slot{slot}");
            let address = subject.column(&server, "srv_addr").await;
            let ssl = subject.column(&server, "srv_use_ssl").await;
            let used = address.as_deref() != Some("127.0.0.1");
            assert!(!used || ssl.as_deref() != Some("1"), "{server}: {address:?} {ssl:?}");
        }
    })
    .await;
}

/// HAProxy before 2.4 does not show the port of a check: what was sent is remembered, and set again for the next tenant.
#[tokio::test]
async fn case_p13_a_check_port_that_is_not_shown_is_sent_once() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms\n";
        let subject = Subject::start(&executable, slots).await;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let (up, checked) = (
            Upstream::start([127, 0, 0, 2]).await,
            Upstream::start([127, 0, 0, 2]).await,
        );
        let mut edit = wishes.next(&[]).edit();
        let endpoint = Endpoint::new(up.at).with_check_port(Some(checked.at.port()));
        edit.set_endpoint(&name("web"), &name("one"), endpoint);
        wishes.0 = Arc::new(edit.commit().unwrap());
        let one = wishes.0.clone();
        let quiet = |report: &Report| report.converged && report.again.is_none();
        until(&mut driver, &one, quiet).await;
        assert_eq!(subject.request().await, 200);
        // The next tenant of the slot is checked at its own port.
        until(&mut driver, &wishes.next(&[]), quiet).await;
        drop(checked);
        let two = Upstream::start([127, 0, 0, 3]).await;
        until(
            &mut driver,
            &wishes.next(&[("two", two.at, READY, 100)]),
            quiet,
        )
        .await;
        let end = Instant::now() + Duration::from_secs(5);
        while subject.request().await != 200 {
            assert!(Instant::now() < end, "{:?}", subject.version);
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// What is desired and does not serve is reported, also where it is HAProxy's own check that keeps it out.
#[tokio::test]
async fn case_p03_an_endpoint_whose_check_never_passes_is_reported_until_it_does() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-2 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let mut wishes = Wishes::default();
        let mut driver =
            subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
        let dead = SocketAddr::from(([127, 0, 0, 4], support::free_port()));
        let good = Upstream::start([127, 0, 0, 1]).await;
        let both = [("dead", dead, READY, 100), ("good", good.at, READY, 100)];
        let both = wishes.next(&both);
        let failing = |report: &Report| {
            let mut all = report.conditions.iter();
            all.any(|found| {
                found.kind == ConditionKind::CheckFailing && found.endpoint == Some(name("dead"))
            })
        };
        let report = until(&mut driver, &both, failing).await;
        assert_eq!(
            report.conditions.len(),
            1,
            "{:?}: {report:?}",
            subject.version
        );
        let condition = &report.conditions[0];
        assert!(
            !condition.transient && condition.kind.keeps_from_effect(),
            "{condition}"
        );
        assert!(condition.detail.contains(&dead.to_string()), "{condition}");
        assert!(report.converged, "{report:?}");
        // Weight 0 asks for no traffic, so nothing is missing.
        let none = wishes.next(&[("dead", dead, READY, 0), ("good", good.at, READY, 100)]);
        until(&mut driver, &none, |report| {
            report.converged && !failing(report)
        })
        .await;
        until(
            &mut driver,
            &wishes.next(&[("dead", dead, READY, 100), ("good", good.at, READY, 100)]),
            failing,
        )
        .await;
        let listener = TcpListener::bind(dead).await.unwrap();
        let both = wishes.0.clone();
        until(&mut driver, &both, |report| report.conditions.is_empty()).await;
        assert_eq!(
            subject.column("127.0.0.4", "srv_op_state").await.as_deref(),
            Some("2")
        );
        drop(listener);
    })
    .await;
}

/// That a check passes again is seen soon, however long the pause between two full reads is.
#[tokio::test]
async fn case_p03_a_check_that_passes_again_is_seen_within_seconds() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-2 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let mut driver = subject.driver(|policy| {
            policy.admission_timeout = Duration::from_millis(400);
            policy.resync = Duration::from_secs(30);
        });
        let dead = SocketAddr::from(([127, 0, 0, 4], support::free_port()));
        let wish = Wishes::default().next(&[("dead", dead, READY, 100)]);
        until(&mut driver, &wish, |report| !report.conditions.is_empty()).await;
        let listener = TcpListener::bind(dead).await.unwrap();
        let began = Instant::now();
        until(&mut driver, &wish, |report| report.conditions.is_empty()).await;
        let lag = began.elapsed();
        println!("{:?}: seen after {lag:?}", subject.version);
        assert!(
            lag < Duration::from_secs(3),
            "{:?}: {lag:?}",
            subject.version
        );
        drop(listener);
    })
    .await;
}

/// The same of an agent that lets its server in again.
#[tokio::test]
async fn case_p10_an_agent_that_lets_its_server_in_is_seen_within_seconds() {
    side_by_side(executables(), async |executable: Executable| {
        let port = support::free_port();
        let servers = format!(
            "  server-template slot 1-2 127.0.0.1:1 disabled agent-check agent-inter 300ms agent-port {port}\n"
        );
        let subject = Subject::start(&executable, &servers).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let agent = Agent::start([127, 0, 0, 2], port, "up ready").await;
        let wish = Wishes::default().next(&[("one", one.at, READY, 100)]);
        let silent = |report: &Report| report.converged && report.conditions.is_empty();
        for word in ["drain", "maint", "down"] {
            let mut driver =
                subject.driver(|policy| policy.admission_timeout = Duration::from_millis(400));
            until(&mut driver, &wish, silent).await;
            agent.says(word);
            until(&mut driver, &wish, |report| !report.conditions.is_empty()).await;
            drop(driver);
            // Another life, that reads everything at its beginning and then seldom.
            let mut driver = subject.driver(|policy| {
                policy.admission_timeout = Duration::from_millis(400);
                policy.resync = Duration::from_secs(30);
            });
            until(&mut driver, &wish, |report| !report.conditions.is_empty()).await;
            agent.says("up ready");
            let began = Instant::now();
            until(&mut driver, &wish, silent).await;
            let lag = began.elapsed();
            println!("{:?}: {word}: seen after {lag:?}", subject.version);
            assert!(lag < Duration::from_secs(3), "{:?}: {word}: {lag:?}", subject.version);
        }
    })
    .await;
}

/// What an operator does to a slot by hand is named, undone, and no news after a while.
#[tokio::test]
async fn case_p13_an_operators_edit_of_a_slot_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled weight 100\n";
        let subject = Subject::start(&executable, slots).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let wish = Wishes::default().next(&[("one", one.at, READY, 100)]);
        let edits = [
            ("state maint", "from ready to maint"),
            ("state drain", "from ready to drain"),
            ("weight 7", "its weight from 100 to 7"),
        ];
        for (edit, text) in edits {
            let mut driver = subject.driver(|_| {});
            until(&mut driver, &wish, |report| {
                report.converged && report.conditions.is_empty()
            })
            .await;
            subject.say(&format!("set server web/slot1 {edit}")).await;
            let named = |report: &Report| {
                let mut all = report.conditions.iter();
                all.any(|found| {
                    found.kind == ConditionKind::ForeignEdit && found.detail.contains(text)
                })
            };
            let report = until(&mut driver, &wish, named).await;
            assert_eq!(report.conditions.len(), 1, "{report:?}");
            assert_eq!(report.conditions[0].object.as_deref(), Some("web/slot1"));
            until(&mut driver, &wish, |report| report.converged).await;
            assert_eq!(
                subject.request().await,
                200,
                "{:?}: {edit}",
                subject.version
            );
        }
    })
    .await;
}

/// The same of a check, on each version that takes the edit.
#[tokio::test]
async fn case_p12_an_operators_edit_of_a_check_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled check inter 100ms rise 1\n";
        let subject = Subject::start(&executable, slots).await;
        let version = subject.version;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let wish = Wishes::default().next(&[("one", one.at, READY, 100)]);
        // Which is seen, and since when its command is taken.
        let edits = [
            ("check-port 1", "the port of its check", (2, 4)),
            (
                "check-addr 127.0.0.99",
                "the address of its check to 127.0.0.99",
                (2, 4),
            ),
            ("health off", "its check off", (2, 2)),
        ];
        for (edit, text, since) in edits {
            let mut driver = subject.driver(|_| {});
            until(&mut driver, &wish, |report| {
                report.converged && report.conditions.is_empty()
            })
            .await;
            let line = match edit {
                "health off" => "disable health web/slot1".to_owned(),
                _ => format!("set server web/slot1 {edit}"),
            };
            let reply = subject.say(&line).await;
            let refused =
                reply.contains("Health checks are not enabled") || !reply.trim().is_empty();
            if version < since || refused && !reply.contains("updated") {
                continue;
            }
            let named = |report: &Report| {
                let mut all = report.conditions.iter();
                all.any(|found| {
                    found.kind == ConditionKind::ForeignEdit && found.detail.contains(text)
                })
            };
            until(&mut driver, &wish, named).await;
            let end = Instant::now() + Duration::from_secs(10);
            while subject.column("slot1", "srv_op_state").await.as_deref() != Some("2") {
                assert!(Instant::now() < end, "{version:?}: {edit}");
                driver.converge(&wish).await.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(subject.request().await, 200, "{version:?}: {edit}");
        }
    })
    .await;
}

/// HAProxy sends a backup nothing while another server serves: an endpoint in such a slot is not in effect.
#[tokio::test]
async fn case_p08_an_endpoint_in_a_backup_slot_is_named() {
    side_by_side(executables(), async |executable: Executable| {
        let slots = "  server-template slot 1-1 127.0.0.1:1 disabled\n  server slot2 127.0.0.1:1 disabled backup\n";
        let subject = Subject::start(&executable, slots).await;
        let one = Upstream::start([127, 0, 0, 2]).await;
        let two = Upstream::start([127, 0, 0, 3]).await;
        let mut wishes = Wishes::default();
        let mut driver = subject.driver(|_| {});
        let both = wishes.next(&[("one", one.at, READY, 100), ("two", two.at, READY, 100)]);
        let report = until(&mut driver, &both, |report| report.converged).await;
        assert_eq!(report.unmet.len(), 1, "{report:?}");
        assert_eq!(report.unmet[0].reason, UnmetReason::Unsupported);
        let backup = report.unmet[0].endpoint.clone().unwrap();
        let (count, at) = match backup.as_str() {
            "one" => (&one.requests, one.at),
            _ => (&two.requests, two.at),
        };
        for _ in 0..20 {
            assert_eq!(subject.request().await, 200);
        }
        assert_eq!(count.load(Ordering::SeqCst), 0, "{backup} gets traffic");
        let alone = wishes.next(&[(backup.as_str(), at, READY, 100)]);
        until(&mut driver, &alone, |report| report.converged && report.unmet.is_empty()).await;
        assert_eq!(subject.request().await, 200);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    })
    .await;
}
