//! Random rules and random requests: what HAProxy answers is what a matcher says that knows nothing of maps.

use lb_core::{Name, Route};
use lb_haproxy::{
    config::{Bind, Config, Frontend},
    driver::converge_map,
    process::Executable,
    proto::MapName,
    routes::{RouteMap, compile_http, compile_sni},
};

use crate::{bed::*, server_names::*, support::*};

/// Numbers that repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// A router of Traefik as its documentation tells it: the rule's length is the priority where none is set, the greatest
/// goes first, and the first that matches gets the request.
struct Router {
    host: Option<&'static str>,
    path: Option<(&'static str, &'static str)>,
    priority: i32,
    service: usize,
}

impl Router {
    fn random(random: &mut Random, service: usize) -> Self {
        let host = random.one(&[
            "",
            "shop.example",
            "api.shop.example",
            "b.example",
            "a.b.c.d.e.f.g.example",
            "*.example",
            "*.shop.example",
            "*.c.d.e.f.g.example",
        ]);
        let path = random.one(&[
            "",
            "/",
            "/api",
            "/api/v1",
            "/ap",
            "/a/b/c",
            "//x",
            "/x%2fy",
            "/.well-known/acme-challenge",
            "/a/../b",
        ]);
        let kind = random.one(&["Path", "PathPrefix", "PathPrefix"]);
        let mut router = Self {
            host: (!host.is_empty()).then_some(host),
            path: (!path.is_empty()).then_some((kind, path)),
            priority: 0,
            service,
        };
        if router.host.is_none() && router.path.is_none() {
            router.path = Some(("PathPrefix", "/"));
        }
        router.priority = match random.below(4) {
            0 => i32::try_from(1 + random.below(60)).unwrap(),
            _ => i32::try_from(router.rule().len()).unwrap(),
        };
        router
    }

    fn rule(&self) -> String {
        let host = self.host.map(|host| match host.strip_prefix("*.") {
            Some(domain) => format!("HostRegexp(`^.+\\.{}$`)", domain.replace('.', "\\.")),
            None => format!("Host(`{host}`)"),
        });
        let path = self.path.map(|(kind, path)| format!("{kind}(`{path}`)"));
        let both: Vec<String> = host.into_iter().chain(path).collect();
        both.join(" && ")
    }

    fn matches(&self, host: &str, path: &str) -> bool {
        let host_fits = match self.host {
            None => true,
            Some(own) => match own.strip_prefix('*') {
                Some(end) => {
                    host.len() > end.len() && host.ends_with(end) && !host.starts_with('.')
                }
                None => host == own,
            },
        };
        let path_fits = match self.path {
            None | Some(("PathPrefix", "/")) => true,
            Some(("Path", own)) => path == own,
            Some((_, own)) => path.starts_with(own),
        };
        host_fits && path_fits
    }

    fn route(&self) -> Route {
        let (host, path) = (
            self.host.unwrap_or("*"),
            match self.path {
                Some(("Path", path)) => format!("={path}"),
                Some((_, path)) => format!("^{path}"),
                None => "/".to_owned(),
            },
        );
        route(host, &path, &format!("s{}", self.service), self.priority)
    }
}

/// A host as some client writes it, and as it is meant; none where it is no host.
fn host(random: &mut Random) -> (String, String) {
    let name = random.one(&[
        "shop.example",
        "api.shop.example",
        "x.api.shop.example",
        "b.example",
        "x.b.example",
        "example",
        "a.b.c.d.e.f.g.example",
        "x.c.d.e.f.g.example",
        "1.2.3.4.a.b.c.d.e.f.g.example",
        "other",
        "10.0.0.1",
        "ashop.example",
        "x..shop.example",
    ]);
    let mixed: String = name
        .chars()
        .map(|c| match random.below(3) {
            0 => c.to_ascii_uppercase(),
            _ => c,
        })
        .collect();
    match random.below(8) {
        0 => (format!("{mixed}."), name.to_owned()),
        1 => (format!("{mixed}:8080"), name.to_owned()),
        2 => (format!("{mixed}.:80"), name.to_owned()),
        3 => (format!(".{mixed}"), String::new()),
        4 => (format!("{mixed}.."), format!("{name}..")),
        5 => (name.to_owned(), name.to_owned()),
        _ => (mixed, name.to_owned()),
    }
}

fn path(random: &mut Random) -> String {
    let mut path = String::new();
    if random.below(3) == 0 {
        path.push_str(random.one(&[
            "/api",
            "/api/v1",
            "/a/b/c",
            "//x",
            "/x%2fy",
            "/.well-known/acme-challenge",
            "/a/../b",
        ]));
    }
    for _ in 0..random.below(4) {
        path.push('/');
        path.push_str(random.one(&[
            "api", "v1", "", "..", ".", "x%2fy", "x;y=1", "a", "b", "c", "apiary", "%61pi", "API",
        ]));
    }
    match path.is_empty() {
        true => "/".to_owned(),
        false => path,
    }
}

/// S1, S2, H14: rules of Traefik, hosts in any form, paths with `//`, `..`, `%2f` and `;`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s01_s02_h14_haproxy_answers_as_a_matcher_of_traefiks_rules() {
    let tests = executables()
        .into_iter()
        .map(|executable| tokio::spawn(compare(executable)));
    for test in tests.collect::<Vec<_>>() {
        test.await.unwrap();
    }
}

async fn compare(executable: Executable) {
    const SETS: usize = 50;
    const REQUESTS: usize = 200;
    let version = executable.version().await.unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let bed = Bed::start(&executable, &RouteMap::default(), &SERVICES).await;
    let mut client = bed.client().await;
    let mut browser = Browser::connect(bed.http).await;
    for set in 0..SETS {
        let count = 1 + random.below(12);
        let mut routers: Vec<Router> = (0..count)
            .map(|service| Router::random(&mut random, service))
            .collect();
        let routes: Vec<Route> = routers.iter().map(Router::route).collect();
        bed.converge(&mut client, &compile_http(&routes, own_name).map)
            .await;
        // Of equal priorities Traefik says nothing: lb's order is taken.
        routers.sort_by_key(Router::route);
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..REQUESTS {
            let ((written, meant), path) = (host(&mut random), path(&mut random));
            let first = routers.iter().find(|router| router.matches(&meant, &path));
            expected.push(
                first.map_or_else(|| "404".to_owned(), |router| format!("s{}", router.service)),
            );
            requests.push(match random.below(6) {
                // A whole URL goes before the header, which says the same.
                0 => format!("GET http://{written}{path} HTTP/1.1\r\nHost: {written}\r\n\r\n"),
                1 => format!("GET {path}?x=/api HTTP/1.1\r\nhost:   {written}\r\n\r\n"),
                _ => format!("GET {path} HTTP/1.1\r\nHost: {written}\r\n\r\n"),
            });
        }
        let answers = browser.send_all(&requests).await;
        for ((request, expected), answer) in requests.iter().zip(&expected).zip(&answers) {
            let rules: Vec<String> = routers
                .iter()
                .map(|its| format!("{} {} s{}", its.priority, its.rule(), its.service))
                .collect();
            assert_eq!(
                answer, expected,
                "{version}, set {set}: {request:?} of {rules:#?}"
            );
        }
    }
    bed.haproxy.stop().await.unwrap();
}

/// H14: a URL as the target counts more than no header at all.
#[tokio::test]
async fn case_h14_the_host_of_a_whole_url_counts() {
    let routes = [
        route("*", "/", "s0", 0),
        route("shop.example", "/", "s1", 0),
        route("*.shop.example", "/", "s2", 0),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &SERVICES).await;
        for (request, answer) in [
            ("GET http://shop.example/x HTTP/1.1\r\n\r\n", "s1"),
            ("GET http://shop.example HTTP/1.1\r\n\r\n", "s1"),
            (
                "GET HTTPS://Shop.Example.:443/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "s1",
            ),
            ("GET http://a.shop.example/x HTTP/1.1\r\n\r\n", "s2"),
            (
                "GET http://.shop.example/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "s0",
            ),
            ("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "s0"),
            (
                "GET /http://shop.example/ HTTP/1.1\r\nHost: other\r\n\r\n",
                "s0",
            ),
            ("GET /x HTTP/1.1\r\nHost: .shop.example\r\n\r\n", "s0"),
            ("GET /x HTTP/1.1\r\nHost: ..shop.example\r\n\r\n", "s0"),
            ("GET /x HTTP/1.1\r\nHost: shop.example..\r\n\r\n", "s0"),
            ("GET /x HTTP/1.1\r\nHost: .\r\n\r\n", "s0"),
            ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", "s0"),
        ] {
            let mut browser = Browser::connect(bed.http).await;
            let answered = browser.send(request).await;
            let version = &bed.capabilities.version;
            // Newer ones refuse some of them themselves: nobody is served.
            assert!(
                answered == answer || answered == "400",
                "{version:?}: {request:?}: {answered}"
            );
        }
        bed.haproxy.stop().await.unwrap();
    }
}

/// H14: the names of TLS handshakes, in any form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h14_haproxy_and_the_model_agree_on_server_names() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = Place::new("");
        let map: MapName = place_path(&place, "sni.map").to_string().parse().unwrap();
        std::fs::write(map.as_str(), "").unwrap();
        let port = free_port();
        let bind = Bind::Tcp(([127, 0, 0, 1], port).into());
        let mut main = Frontend::new(Name::from_text("main"), bind);
        main.mode = lb_core::Mode::Tcp;
        main.route_map = Some(map.clone());
        let mut config = Config::new(place_path(&place, "admin.sock"));
        config.frontends.push(main);
        let mut config = config.render(&version).unwrap();
        for name in ["s0", "s1", "s2", "s3"] {
            let server = tcp_server(name).await;
            config.push_str(&format!(
                "backend {name}\n  mode tcp\n  server s {server}\n"
            ));
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(&executable).await;
        let routes = [
            route("shop.example", "/", "s1", 0),
            route("*.example", "/", "s2", 0),
            route("*.shop.example", "/", "s3", 0),
            route("*", "/", "s0", 0),
        ];
        let compiled = compile_sni(&routes, own_name).map;
        let capabilities = lb_haproxy::capability::Capabilities::of(
            version.major().into(),
            version.minor().into(),
        );
        let mut client = haproxy.connect().await.unwrap();
        converge_map(&mut client, &map, &compiled, &capabilities)
            .await
            .unwrap();
        let mut random = Random(7);
        for _ in 0..100 {
            let (written, meant) = host(&mut random);
            let model = compiled.lookup_sni(&written).unwrap().as_str();
            let first = routes
                .iter()
                .find(|route| route.host.matches(&meant))
                .unwrap();
            let mut by_order: Vec<&Route> = routes.iter().collect();
            by_order.sort();
            let first = by_order
                .iter()
                .find(|route| route.host.matches(&meant))
                .unwrap_or(&first);
            assert_eq!(model, first.service.as_str(), "{written}");
            let front = ([127, 0, 0, 1], port).into();
            let answered = dial(front, &client_hello(&written)).await;
            assert_eq!(answered, model, "{version}: {written}");
        }
    }
}
