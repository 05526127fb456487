//! Route maps on real HAProxies: what is answered to real requests is what the routes say, also while maps change.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end in a panic"
)]

mod support;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lb_core::{Mode, Name, Route};
use lb_haproxy::{
    Client,
    capability::Capabilities,
    config::{Backend, Bind, Config, ConfigPath, Frontend, Slots},
    driver::{MapError, converge_map},
    process::{Executable, Haproxy},
    proto::{Accepted, Command, MapName, parse_map_entries, verdict},
    routes::{MapChange, MapStage, RouteMap, ServiceMap, compile_http, compile_sni},
};
use support::{Place, executables, free_port};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LONG: Duration = Duration::from_secs(60);

/// A HAProxy whose backends answer with their own names.
struct Bed {
    haproxy: Haproxy,
    #[expect(dead_code, reason = "its folder goes when it is dropped")]
    place: Place,
    http: SocketAddr,
    routes: MapName,
    capabilities: Capabilities,
}

impl Bed {
    async fn start(executable: &Executable, file: &RouteMap, backends: &[&str]) -> Self {
        let version = executable.version().await.unwrap();
        let port = free_port();
        let place = Place::new("");
        let dir = place.dir.path();
        let map = |name: &str| -> MapName { dir.join(name).to_str().unwrap().parse().unwrap() };
        let (routes, services) = (map("routes.map"), map("services.map"));
        std::fs::write(routes.as_str(), file.file_text()).unwrap();
        std::fs::write(services.as_str(), "").unwrap();
        let mut config = Config::new(place_path(&place, "admin.sock"));
        let bind = Bind::Tcp(([127, 0, 0, 1], port).into());
        let mut main = Frontend::new("main".parse().unwrap(), bind);
        main.route_map = Some(routes.clone());
        config.frontends.push(main);
        config.service_map = Some(services);
        let slots = Slots::new("slot".parse().unwrap(), 2);
        config
            .backends
            .push(Backend::new("empty".parse().unwrap(), slots));
        let mut config = config.render(&version).unwrap();
        for name in backends {
            writeln!(
                config,
                "backend {name}\n  http-request return status 200 content-type text/plain string {name}"
            )
            .unwrap();
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(executable).await;
        Self {
            haproxy,
            place,
            http: ([127, 0, 0, 1], port).into(),
            routes,
            capabilities: Capabilities::of(version.major().into(), version.minor().into()),
        }
    }

    async fn client(&self) -> Client {
        self.haproxy.connect().await.unwrap()
    }

    async fn converge(&self, client: &mut Client, wanted: &RouteMap) -> MapChange {
        converge_map(client, &self.routes, wanted, &self.capabilities)
            .await
            .unwrap()
    }
}

fn place_path(place: &Place, file: &str) -> ConfigPath {
    let path = place.dir.path().join(file);
    path.to_str().unwrap().parse().unwrap()
}

/// A client connection that is kept.
struct Browser {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Browser {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// What answers: the body of a 200, else the status.
    async fn ask(&mut self, host: &str, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    async fn send(&mut self, request: &str) -> String {
        timeout(LONG, self.exchange(request)).await.unwrap()
    }

    async fn exchange(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(str::to_owned)
            })
            .map_or(0, |length| length.trim().parse().unwrap());
        while self.read.len() < end + length {
            self.more().await;
        }
        let body = String::from_utf8(self.read[end..end + length].to_vec()).unwrap();
        self.read.drain(..end + length);
        match head.split(' ').nth(1).unwrap() {
            "200" => body,
            status => status.to_owned(),
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.read).await.unwrap();
        assert!(read > 0, "the connection ended within a response");
    }
}

fn route(host: &str, path: &str, service: &str, priority: i32) -> Route {
    Route::new(
        host.parse().unwrap(),
        path.parse().unwrap(),
        service.parse().unwrap(),
    )
    .with_priority(priority)
}

fn own_name(service: &Name) -> Option<Name> {
    Some(service.clone())
}

/// The service of the first of the routes, in their order, that matches; 404 where none does.
fn expected(routes: &[Route], host: &str, path: &str) -> String {
    let ordered: BTreeSet<&Route> = routes.iter().collect();
    ordered
        .into_iter()
        .find(|route| route.host.matches(host) && route.path.matches(path))
        .map_or_else(|| "404".to_owned(), |route| route.service.to_string())
}

const SERVICES: [&str; 12] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
];

/// Routes of every kind that overlap in every way.
fn overlapping() -> Vec<Route> {
    vec![
        route("shop.example", "/", "s0", 0),
        route("shop.example", "/api", "s1", 0),
        route("shop.example", "/api/v1", "s2", 0),
        route("shop.example", "=/api/v1", "s3", 0),
        route("shop.example", "=/cart/", "s4", 0),
        route("*.example", "/", "s5", 0),
        route("*.b.example", "/only", "s6", 0),
        route("*.1.2.3.4.5.example", "/", "s7", 0),
        route("*", "/.well-known/acme-challenge", "s8", 10),
        route("*.b.example", "/.well-known", "s9", 5),
        route("*", "/fallback", "s10", 0),
        route("api.test", "/", "s11", 0),
        route("*.example", "/api/v1/early", "s9", 1),
    ]
}

const HOSTS: [&str; 12] = [
    "shop.example",
    "other.example",
    "x.b.example",
    "b.example",
    "deep.er.b.example",
    "0.1.2.3.4.5.example",
    "a.b.c.d.e.f.g.0.1.2.3.4.5.example",
    "1.2.3.4.5.example",
    "example",
    "api.test",
    "x.api.test",
    "unknown",
];

const PATHS: [&str; 24] = [
    "/",
    "/api",
    "/api/",
    "/apiary",
    "/api/v1",
    "/api/v1/",
    "/api/v1/x",
    "/api/v10",
    "/api/v1/early",
    "/api/v1/early/x",
    "/cart",
    "/cart/",
    "/cart/x",
    "/only",
    "/only/x",
    "/onlyx",
    "/.well-known",
    "/.well-known/x",
    "/.well-known/acme-challenge/token",
    "/.well-known/acme-challengex",
    "/fallback",
    "/fallback/x",
    "//api",
    "/x%2fapi/../api",
];

async fn check_all(browser: &mut Browser, routes: &[Route], when: &str) {
    for host in HOSTS {
        for path in PATHS {
            let answered = browser.ask(host, path).await;
            assert_eq!(
                answered,
                expected(routes, host, path),
                "{when}: {host} {path}"
            );
        }
    }
}

#[tokio::test]
async fn requests_go_where_the_routes_say() {
    for executable in executables() {
        let routes = overlapping();
        let map = compile_http(&routes, own_name).unwrap().map;
        let bed = Bed::start(&executable, &map, &SERVICES).await;
        let mut browser = Browser::connect(bed.http).await;
        check_all(&mut browser, &routes, "from the file").await;

        // I3: what was loaded from the file needs no command.
        let mut client = bed.client().await;
        assert!(bed.converge(&mut client, &map).await.is_none());

        for (host, path, answer) in [
            ("SHOP.Example:8080", "/api", "s1"),
            ("shop.example.", "/api?x=/api/v1", "s1"),
            ("shop.example.:80", "/", "s0"),
            ("[::1]:8080", "/fallback", "s10"),
            ("[::1]", "/", "404"),
            ("10.0.0.1:80", "/fallback", "s10"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{host} {path}");
        }
        let asterisk = "OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        assert_eq!(browser.send(asterisk).await, "s0");
        let absolute = "GET http://shop.example/api HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        assert_eq!(browser.send(absolute).await, "s1");
        let long = format!("/api/{}", "x".repeat(8000));
        assert_eq!(browser.ask("shop.example", &long).await, "s1");
        let without_host = "GET /fallback HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(browser.send(without_host).await, "s10");
        bed.haproxy.stop().await.unwrap();
    }
}

/// The state of routes that many small changes lead through, each checked by requests.
#[tokio::test]
async fn requests_follow_each_change() {
    for executable in executables() {
        let all = overlapping();
        let bed = Bed::start(&executable, &RouteMap::default(), &SERVICES).await;
        let mut client = bed.client().await;
        let mut browser = Browser::connect(bed.http).await;
        for skipped in 0..all.len() {
            // Each time other routes are left out, and the services move on by one.
            let routes: Vec<Route> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| at % (skipped + 2) != 0)
                .map(|(_, route)| route.clone())
                .collect();
            let map = compile_http(&routes, own_name).unwrap().map;
            bed.converge(&mut client, &map).await;
            assert!(bed.converge(&mut client, &map).await.is_none());
            let mut answered = Vec::new();
            for host in HOSTS {
                for path in ["/", "/api/v1", "/only/x", "/.well-known/acme-challenge/t"] {
                    answered.push((browser.ask(host, path).await, expected(&routes, host, path)));
                }
            }
            assert!(
                answered.iter().all(|(got, want)| got == want),
                "{answered:?}"
            );
        }
        let none = bed.converge(&mut client, &RouteMap::default()).await;
        assert!(!none.is_none());
        assert_eq!(browser.ask("shop.example", "/").await, "404");
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn known_routes_without_endpoints_answer_503_and_unknown_ones_404() {
    for executable in executables() {
        let routes = [
            route("*", "/served", "s0", 0),
            route("empty.example", "/", "empty", 0),
            route("none.example", "/", "none", 0),
            route("lost.example", "/", "lost", 0),
        ];
        let backend = |service: &Name| (service.as_str() != "none").then(|| service.clone());
        let map = compile_http(&routes, backend).unwrap().map;
        let bed = Bed::start(&executable, &map, &["s0"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer, why) in [
            ("x", "/served", "s0", "a backend that serves"),
            (
                "empty.example",
                "/served",
                "503",
                "a backend without a ready server",
            ),
            ("none.example", "/", "503", "a service without a backend"),
            (
                "lost.example",
                "/",
                "503",
                "a backend that HAProxy does not have",
            ),
            ("x", "/", "404", "no route"),
            ("served.example", "/serve", "404", "no route"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{why}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_map_of_services_is_kept_by_haproxy() {
    for executable in executables() {
        let bed = Bed::start(&executable, &RouteMap::default(), &["s0"]).await;
        let map: MapName = bed
            .routes
            .as_str()
            .replace("routes", "services")
            .parse()
            .unwrap();
        let mut services = ServiceMap::default();
        services.assign("shop".parse().unwrap(), "spare1".parse().unwrap());
        services.assign("a.b:c_d-e".parse().unwrap(), "spare2".parse().unwrap());
        let mut client = bed.client().await;
        let wanted = services.to_map();
        converge_map(&mut client, &map, &wanted, &bed.capabilities)
            .await
            .unwrap();
        let reply = client.exec(&Command::ShowMap(Some(map))).await.unwrap();
        let (read, faults) = ServiceMap::from_entries(&parse_map_entries(reply.text()).unwrap());
        assert_eq!((read, faults.len()), (services, 0));
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_map_that_haproxy_does_not_have_is_an_error() {
    for executable in executables() {
        let bed = Bed::start(&executable, &RouteMap::default(), &["s0"]).await;
        let mut client = bed.client().await;
        let map: MapName = "/nowhere.map".parse().unwrap();
        let result = converge_map(&mut client, &map, &RouteMap::default(), &bed.capabilities).await;
        assert!(
            matches!(result, Err(MapError::Refused { .. })),
            "{result:?}"
        );
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn doubled_entries_and_abandoned_transactions_do_not_stay_in_the_way() {
    for executable in executables() {
        let wanted = fleet(200, "s1");
        let bed = Bed::start(&executable, &wanted, &["s0", "s1", "s2"]).await;
        let mut client = bed.client().await;
        let mut browser = Browser::connect(bed.http).await;
        // Another hand adds an entry that exists, and one that nobody wants.
        for key in ["h1.example/p1/", "foreign.example/"] {
            let add = Command::AddMap {
                map: bed.routes.clone(),
                version: None,
                key: key.parse().unwrap(),
                value: "s2".parse().unwrap(),
            };
            assert!(client.exec(&add).await.unwrap().is_empty());
        }
        bed.converge(&mut client, &wanted).await;
        assert!(bed.converge(&mut client, &wanted).await.is_none());
        assert_eq!(browser.ask("h1.example", "/p1").await, "s1");
        assert_eq!(browser.ask("foreign.example", "/").await, "404");

        let next = fleet(200, "s2");
        if bed.capabilities.map_transactions {
            let show = Command::ShowMap(Some(bed.routes.clone()));
            let observed = client.exec(&show).await.unwrap();
            let observed = parse_map_entries(observed.text()).unwrap();
            let change = MapChange::new(&bed.routes, &observed, &next, &bed.capabilities);
            let [MapStage::Transaction(transaction)] = change.stages.as_slice() else {
                panic!("{change}, expected one transaction");
            };
            // One is left as a crash would leave it, one is given up.
            for give_up in [false, true] {
                let begin = transaction.begin();
                let reply = client.exec(&begin).await.unwrap();
                let Ok(Accepted::Version(version)) = verdict(&begin, &reply) else {
                    panic!("{reply:?}");
                };
                let mut commands = transaction.fill(version);
                commands.extend(give_up.then(|| transaction.abort(version)));
                for reply in client.exec_all(&commands).await {
                    assert!(reply.unwrap().is_empty());
                }
            }
            assert!(bed.converge(&mut client, &wanted).await.is_none());
            assert_eq!(browser.ask("h1.example", "/p1").await, "s1");
        }
        bed.converge(&mut client, &next).await;
        assert!(bed.converge(&mut client, &next).await.is_none());
        assert_eq!(browser.ask("h1.example", "/p1").await, "s2");
        bed.haproxy.stop().await.unwrap();
    }
}

/// `count` hosts; those with an even number always lead to `s0`, the others to `odd`.
fn fleet(count: usize, odd: &str) -> RouteMap {
    let routes: Vec<Route> = (0..count)
        .map(|n| {
            let service = if n % 2 == 0 { "s0" } else { odd };
            route(
                &format!("h{n}.example"),
                &format!("/p{}", n % 7),
                service,
                0,
            )
        })
        .collect();
    compile_http(&routes, own_name).unwrap().map
}

/// Users who ask for hosts of a fleet, all the time, and count.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    users: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    /// `right(n, answer)` says whether an answer for host `n` is right at any moment.
    fn start(
        http: SocketAddr,
        users: usize,
        request: impl Fn(usize) -> (String, String) + Clone + Send + 'static,
        right: impl Fn(usize, &str) -> bool + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let users = (0..users)
            .map(|user| {
                let (stop, asked) = (stop.clone(), asked.clone());
                let (request, right) = (request.clone(), right.clone());
                tokio::spawn(async move {
                    let mut browser = Browser::connect(http).await;
                    let mut wrong = Vec::new();
                    let mut n = user * 1_237;
                    while !stop.load(Ordering::Relaxed) && wrong.len() < 10 {
                        n += 7_919;
                        let (host, path) = request(n);
                        let answer = browser.ask(&host, &path).await;
                        if !right(n, &answer) {
                            wrong.push(format!("{host}{path}: {answer}"));
                        }
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    wrong
                })
            })
            .collect();
        Self { stop, asked, users }
    }

    /// Returns when so many more requests were answered.
    async fn go_on(&self, requests: u64) {
        let until = self.asked.load(Ordering::Relaxed) + requests;
        timeout(LONG, async {
            while self.asked.load(Ordering::Relaxed) < until
                && !self.users.iter().any(|user| user.is_finished())
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }

    /// Ends it; returns how many requests were answered, and which wrongly.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for user in self.users {
            wrong.extend(timeout(LONG, user).await.unwrap().unwrap());
        }
        (self.asked.load(Ordering::Relaxed), wrong)
    }
}

/// I1: with 10,000 routes replaced under load, every answer is the old or the new one, and those that are the same
/// before and after never differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_routes_are_replaced_without_a_wrong_answer() {
    const COUNT: usize = 10_000;
    let maps = ["s1", "s2"].map(|odd| fleet(COUNT, odd));
    for executable in executables() {
        let bed = Bed::start(&executable, &maps[0], &["s0", "s1", "s2"]).await;
        let mut client = bed.client().await;
        let load = Load::start(
            bed.http,
            4,
            |n| {
                (
                    format!("h{}.example", n % COUNT),
                    format!("/p{}/x", n % COUNT % 7),
                )
            },
            |n, answer| match n % COUNT % 2 {
                0 => answer == "s0",
                _ => answer == "s1" || answer == "s2",
            },
        );
        // Without transactions each of the 5,000 edits is a command of its own.
        let rounds = match bed.capabilities.map_transactions {
            true => 6,
            false => 2,
        };
        let mut browser = Browser::connect(bed.http).await;
        for round in 0..rounds {
            load.go_on(200).await;
            let odd = if round % 2 == 0 { "s2" } else { "s1" };
            let change = bed.converge(&mut client, &maps[(round + 1) % 2]).await;
            assert_eq!(
                matches!(change.stages.as_slice(), [MapStage::Transaction(_)]),
                bed.capabilities.map_transactions,
                "{change}"
            );
            for n in [1, 4_999, 9_999] {
                let answer = browser
                    .ask(&format!("h{n}.example"), &format!("/p{}", n % 7))
                    .await;
                assert_eq!(answer, odd, "after the change");
            }
        }
        load.go_on(200).await;
        let (asked, wrong) = load.end().await;
        assert!(wrong.is_empty(), "{wrong:?}");
        println!(
            "{:?}: {rounds} replacements, {asked} requests",
            bed.capabilities.version
        );
        bed.haproxy.stop().await.unwrap();
    }
}

/// I1, I12: routes that say the same in other words may be exchanged under load, edit by edit or at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_other_words_are_exchanged_without_a_wrong_answer() {
    const HOSTS: usize = 40;
    let by_host: Vec<Route> = (0..HOSTS)
        .map(|n| route(&format!("h{n}.w.example"), "/", "s0", 0))
        .chain((0..HOSTS).map(|n| route(&format!("h{n}.w.example"), "/a", "s1", 0)))
        .chain([route("*.example", "/", "s2", 0)])
        .collect();
    let by_path = [
        route("*.w.example", "/", "s0", 0),
        route("*.example", "/a", "s1", 5),
        route("*", "/", "s2", 0),
    ];
    for executable in executables() {
        let maps = [
            compile_http(&by_host, own_name).unwrap().map,
            compile_http(&by_path, own_name).unwrap().map,
        ];
        let bed = Bed::start(&executable, &maps[0], &["s0", "s1", "s2"]).await;
        let load = Load::start(
            bed.http,
            4,
            |n| {
                let path = if n % 3 == 0 { "/a/x" } else { "/b" };
                (format!("h{}.w.example", n % HOSTS), path.to_owned())
            },
            |n, answer| answer == if n % 3 == 0 { "s1" } else { "s0" },
        );
        let mut client = bed.client().await;
        let without = Capabilities::of(2, 2);
        for round in 0..24_usize {
            load.go_on(50).await;
            let wanted = &maps[(round + 1) % 2];
            // Both ways on every version that has both.
            let way = if round % 4 < 2 {
                &without
            } else {
                &bed.capabilities
            };
            converge_map(&mut client, &bed.routes, wanted, way)
                .await
                .unwrap();
        }
        let (asked, wrong) = load.end().await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(asked >= 1_200);
        bed.haproxy.stop().await.unwrap();
    }
}

/// The first message of a TLS handshake, as far as it takes to name a server.
fn client_hello(server_name: &str) -> Vec<u8> {
    let two = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut extensions = Vec::new();
    if !server_name.is_empty() {
        let length = server_name.len();
        extensions.extend([0, 0]);
        extensions.extend(two(length + 5));
        extensions.extend(two(length + 3));
        extensions.push(0);
        extensions.extend(two(length));
        extensions.extend(server_name.as_bytes());
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(two(extensions.len()));
    body.extend(extensions);
    let mut hello = vec![22, 3, 1];
    hello.extend(two(body.len() + 4));
    hello.extend([1, 0]);
    hello.extend(two(body.len()));
    hello.extend(body);
    hello
}

/// A TCP server that says its name to whoever has said something.
async fn tcp_server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = [0; 1024];
                if stream.read(&mut some).await.is_ok_and(|read| read > 0) {
                    // A client that is gone already is the test's own business.
                    let _gone = stream.write_all(name.as_bytes()).await;
                }
            });
        }
    });
    address
}

/// What answers to the first bytes of a connection; empty where it is closed.
async fn dial(address: SocketAddr, first: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as much of a close as an end.
        let _reset = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    timeout(LONG, exchange).await.unwrap()
}

#[tokio::test]
async fn connections_go_where_their_server_name_says() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let capabilities = Capabilities::of(version.major().into(), version.minor().into());
        let place = Place::new("");
        let dir = place.dir.path();
        let map: MapName = dir.join("sni.map").to_str().unwrap().parse().unwrap();
        let mut routes = vec![
            route("db.example", "/", "one", 0),
            route("*.example", "/", "two", 0),
            route("*.a.b.c.d.e.example", "/", "three", 0),
            route("none.example", "/", "none", 0),
        ];
        let backend = |service: &Name| (service.as_str() != "none").then(|| service.clone());
        let compiled = compile_sni(&routes, backend).unwrap().map;
        std::fs::write(map.as_str(), compiled.file_text()).unwrap();
        let port = free_port();
        let mut config = Config::new(place_path(&place, "admin.sock"));
        let bind = Bind::Tcp(([127, 0, 0, 1], port).into());
        let mut main = Frontend::new("main".parse().unwrap(), bind);
        main.mode = Mode::Tcp;
        main.route_map = Some(map.clone());
        config.frontends.push(main);
        let mut config = config.render(&version).unwrap();
        for name in ["one", "two", "three", "rest"] {
            let server = tcp_server(name).await;
            writeln!(config, "backend {name}\n  mode tcp\n  server s {server}").unwrap();
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(&executable).await;
        let front: SocketAddr = ([127, 0, 0, 1], port).into();
        let names = [
            ("db.example", "one"),
            ("DB.Example", "one"),
            ("x.db.example", "two"),
            ("other.example", "two"),
            ("x.a.b.c.d.e.example", "three"),
            ("1.2.3.4.5.6.7.a.b.c.d.e.example", "three"),
            ("a.b.c.d.e.example", "two"),
            ("none.example", ""),
        ];
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for unknown in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(unknown)).await, "", "{unknown}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "");

        routes.push(route("*", "/", "rest", 0));
        let wanted = compile_sni(&routes, backend).unwrap().map;
        let mut client = haproxy.connect().await.unwrap();
        converge_map(&mut client, &map, &wanted, &capabilities)
            .await
            .unwrap();
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for other in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(other)).await, "rest", "{other}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "rest", "no handshake");
        haproxy.stop().await.unwrap();
    }
}
