//! What labels of other programs come to in real HAProxy where weights, ports or TCP decide, on every version.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/edge.rs"]
mod edge;
#[path = "../../../lb-haproxy/tests/support/handshake.rs"]
mod handshake;
#[path = "../support/routed.rs"]
mod routed;
#[path = "../support/users.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod users;
mod withheld_tcp;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use lb_core::{Endpoint, Name, Record, RecordKey};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_schemes::{LabelScheme, Options, Reading, Subject, read};

use crate::{
    edge::{Edge, get},
    users::executables,
};

/// The reading of one object with these labels, which are its variables too.
fn reading(scheme: LabelScheme, exposed: &[u16], pairs: &[(&str, &str)]) -> Reading {
    let all = || {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned)
    };
    let (labels, env): (BTreeMap<_, _>, Vec<_>) = (all().collect(), all().collect());
    read(
        &Options::new(&[scheme], &["docker"]),
        &Subject {
            object: "container c",
            name: "c",
            labels: &labels,
            env: &env,
            compose: None,
            stack: None,
            exposed: &exposed.iter().copied().collect::<BTreeSet<_>>(),
        },
    )
}

/// Servers that tell their addresses, in the place of the ports of containers.
#[derive(Default)]
struct Servers(BTreeMap<(String, u16), IdentityServer>);

impl Servers {
    /// The address of a container's port.
    async fn at(&mut self, container: &str, port: u16) -> SocketAddr {
        let key = (container.to_owned(), port);
        if !self.0.contains_key(&key) {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let oracle = Arc::new(Oracle::new());
            let server = IdentityServer::start(any, oracle).await.unwrap();
            self.0.insert(key.clone(), server);
        }
        self.0.get(&key).unwrap().address()
    }

    /// The container and the port that answered.
    fn named(&self, answer: Result<SocketAddr, u16>) -> Result<(&str, u16), u16> {
        let address = answer?;
        let mut all = self.0.iter();
        let found = all.find(|(_, server)| server.address() == address);
        let ((container, port), _) = found.unwrap_or_else(|| panic!("{address}"));
        Ok((container, *port))
    }

    /// The records of a container; a service whose port the scheme does not say has the only one that is exposed.
    async fn records(&mut self, container: &str, only: Option<u16>, all: Reading) -> Vec<Record> {
        let mut records = Vec::new();
        for spec in all.services {
            let key = RecordKey::new(spec.service, Name::from_text(container));
            let record = match spec.without_endpoint {
                true => Record::declare(key),
                false => {
                    let port = spec.port.or(only).unwrap();
                    let address = self.at(container, port).await;
                    Record::new(key, Endpoint::new(address).with_weight(spec.weight))
                }
            };
            let routes = spec.routes;
            records.push(record.with_mode(spec.mode).with_routes(routes));
        }
        records
    }
}

/// Of two servers, one without weight and one with weight 3, the second gets three of four requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s06_weights_share_requests_one_to_three() {
    let rule = ("traefik.http.routers.w.rule", "Host(`w.example`)");
    let port = ("traefik.http.services.w.loadbalancer.server.port", "80");
    let weight = ("traefik.http.services.w.loadbalancer.server.weight", "3");
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let light = reading(LabelScheme::Traefik, &[80], &[rule, port]);
        let heavy = reading(LabelScheme::Traefik, &[80], &[rule, port, weight]);
        let mut records = servers.records("light", None, light).await;
        records.extend(servers.records("heavy", None, heavy).await);
        edge.show(records).await;

        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..400 {
            let answer = tokio::task::block_in_place(|| get(edge.http, "w.example", "/"));
            let (container, _) = servers.named(answer).unwrap();
            *counts.entry(container.to_owned()).or_default() += 1;
        }
        let of = |container: &str| counts.get(container).copied().unwrap_or_default();
        assert!(of("light").abs_diff(100) <= 4, "{version}: {counts:?}");
        assert!(of("heavy").abs_diff(300) <= 4, "{version}: {counts:?}");
    }
}

/// Of several exposed ports and no label that names one, each program has its own rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s12_the_scheme_chooses_among_several_exposed_ports() {
    let traefik = [
        ("traefik.enable", "true"),
        ("traefik.http.routers.p.rule", "Host(`p.example`)"),
    ];
    let nginx = [("VIRTUAL_HOST", "n.example")];
    let multiports = [(
        "VIRTUAL_HOST_MULTIPORTS",
        "m.example:\n  /:\n    port: 7000\n  /api:\n    port: 9000\n",
    )];
    let anyone = [("VIRTUAL_HOST", "_")];
    let exposed = [9000, 7000, 80];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let mut records = Vec::new();
        for (container, scheme, pairs, exposed) in [
            (
                "traefik",
                LabelScheme::Traefik,
                traefik.as_slice(),
                &exposed[..2],
            ),
            ("nginx", LabelScheme::VirtualHost, &nginx, &exposed),
            ("multi", LabelScheme::VirtualHost, &multiports, &exposed),
            ("anyone", LabelScheme::VirtualHost, &anyone, &exposed),
        ] {
            let found = reading(scheme, exposed, pairs);
            records.extend(servers.records(container, None, found).await);
        }
        edge.show(records).await;
        for (host, path, expected) in [
            ("p.example", "/", Ok(("traefik", 7000))),
            ("n.example", "/", Ok(("nginx", 80))),
            ("m.example", "/", Ok(("multi", 7000))),
            ("m.example", "/api/x", Ok(("multi", 9000))),
        ] {
            let answer = tokio::task::block_in_place(|| get(edge.http, host, path));
            assert_eq!(servers.named(answer), expected, "{version}: {host}{path}");
        }
        // There, `_` is a server name that no request has; no other host reaches it.
        let answer = tokio::task::block_in_place(|| get(edge.http, "else.example", "/"));
        assert!(answer.is_err(), "{version}: {answer:?}");
    }
}

/// An HTTP and a TCP router of one container with one service name are both served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s14_an_http_and_a_tcp_router_of_one_service_name_both_serve() {
    let pairs = [
        ("traefik.http.routers.both.rule", "Host(`both.example`)"),
        ("traefik.http.services.both.loadbalancer.server.port", "80"),
        ("traefik.tcp.routers.both.rule", "HostSNI(`*`)"),
        ("traefik.tcp.services.both.loadbalancer.server.port", "5432"),
    ];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let found = reading(LabelScheme::Traefik, &[80, 5432], &pairs);
        assert_eq!(found.diagnostics, [], "{version}");
        let records = servers.records("c", None, found).await;
        edge.show(records).await;
        for (frontend, port) in [(edge.http, 80), (edge.tcp, 5432)] {
            let answer = tokio::task::block_in_place(|| get(frontend, "both.example", "/"));
            assert_eq!(servers.named(answer), Ok(("c", port)), "{version}");
        }
    }
}

/// A definition of TCP listens at its port there. No listener here is that one: it is reported, and no request reaches it
/// by another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s15_a_tcp_port_of_easyhaproxy_is_reported_and_reached_by_no_other_way() {
    let database = [
        ("easyhaproxy.db.host", "db.example"),
        ("easyhaproxy.db.mode", "tcp"),
        ("easyhaproxy.db.port", "3306"),
        ("easyhaproxy.db.localport", "3306"),
    ];
    let web = [("easyhaproxy.web.host", "web.example")];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let found = reading(LabelScheme::EasyHaproxy, &[3306], &database);
        let told: Vec<String> = found.diagnostics.iter().map(ToString::to_string).collect();
        let is_told = |line: &String| line.contains("easyhaproxy.db.port") && line.contains("3306");
        assert!(told.iter().any(is_told), "{version}: {told:?}");
        let mut records = servers.records("db", None, found).await;
        let found = reading(LabelScheme::EasyHaproxy, &[80], &web);
        records.extend(servers.records("web", Some(80), found).await);
        edge.show(records).await;
        for (frontend, host, expected) in [
            (edge.http, "web.example", Some(Ok(("web", 80)))),
            (edge.http, "db.example", Some(Err(404))),
        ] {
            let answer = tokio::task::block_in_place(|| get(frontend, host, "/"));
            assert_eq!(Some(servers.named(answer)), expected, "{version}: {host}");
        }
    }
}

/// Traefik: a service alone has the default rule where it is enabled, and no route else; a path with a pattern has none, and
/// `HostRegexp` of what is below a domain is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s09_default_rules_and_patterns_answer_as_traefik_does() {
    let port = ("traefik.http.services.w.loadbalancer.server.port", "80");
    let enabled = [("traefik.enable", "true"), port];
    let pattern = [
        (
            "traefik.http.routers.p.rule",
            "Host(`p.example`) && Path(`/p/{id}`)",
        ),
        ("traefik.http.services.p.loadbalancer.server.port", "81"),
    ];
    let below = [
        (
            "traefik.http.routers.r.rule",
            "HostRegexp(`^.+\\.r\\.example$`)",
        ),
        ("traefik.http.services.r.loadbalancer.server.port", "82"),
    ];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let asks = |edge: &Edge, host: &str, path: &str| {
            tokio::task::block_in_place(|| get(edge.http, host, path))
        };
        let alone = reading(LabelScheme::Traefik, &[80], &[port]);
        assert!(!alone.diagnostics.is_empty(), "{version}: it is not said");
        edge.show(servers.records("alone", None, alone).await).await;
        assert_eq!(asks(&edge, "c", "/"), Err(404), "{version}");

        let mut records = Vec::new();
        for (container, pairs) in [
            ("enabled", enabled.as_slice()),
            ("pattern", &pattern),
            ("below", &below),
        ] {
            let found = reading(LabelScheme::Traefik, &[80], pairs);
            let is_told = !found.diagnostics.is_empty();
            assert_eq!(is_told, container == "pattern", "{version}: {found:?}");
            records.extend(servers.records(container, None, found).await);
        }
        edge.show(records).await;
        for (host, path, expected) in [
            ("c", "/", Ok(("enabled", 80))),
            ("p.example", "/p/7", Err(404)),
            ("p.example", "/p/{id}", Err(404)),
            ("p.example", "/", Err(404)),
            ("a.r.example", "/", Ok(("below", 82))),
            ("r.example", "/", Err(404)),
        ] {
            let answer = asks(&edge, host, path);
            assert_eq!(servers.named(answer), expected, "{version}: {host}{path}");
        }
    }
}

/// A protected router of any host and path goes before the routers that Traefik would have it go before: none of these is
/// a way around it, in the same scheme or in another, and those before it are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_a_protected_router_of_any_host_and_path_has_no_fallback() {
    let protected = [
        ("traefik.http.routers.all.rule", "PathPrefix(`/`)"),
        ("traefik.http.routers.all.priority", "5"),
        ("traefik.http.routers.all.middlewares", "lock"),
        ("traefik.http.middlewares.lock.basicauth.users", "joe:x"),
        ("traefik.http.services.all.loadbalancer.server.port", "80"),
    ];
    let before = [
        ("traefik.http.routers.own.rule", "Host(`own.example`)"),
        ("traefik.http.services.own.loadbalancer.server.port", "81"),
    ];
    let after = [
        ("traefik.http.routers.low.rule", "PathPrefix(`/`)"),
        ("traefik.http.routers.low.priority", "1"),
        ("traefik.http.services.low.loadbalancer.server.port", "82"),
    ];
    let other = [
        ("com.df.notify", "true"),
        ("com.df.serviceName", "flow"),
        ("com.df.isDefaultBackend", "true"),
        ("com.df.serviceDomain", "flow.example"),
        ("com.df.port", "83"),
    ];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = Servers::default();
        let mut records = Vec::new();
        for (container, scheme, pairs) in [
            ("protected", LabelScheme::Traefik, protected.as_slice()),
            ("before", LabelScheme::Traefik, &before),
            ("after", LabelScheme::Traefik, &after),
            ("other", LabelScheme::DockerFlow, &other),
        ] {
            let found = reading(scheme, &[80], pairs);
            records.extend(servers.records(container, None, found).await);
        }
        edge.show(records).await;
        for (host, path, expected) in [
            ("own.example", "/x", Ok(("before", 81))),
            ("flow.example", "/", Ok(("other", 83))),
            ("any.example", "/", Err(503)),
            ("any.example", "/admin", Err(503)),
        ] {
            let answer = tokio::task::block_in_place(|| get(edge.http, host, path));
            assert_eq!(servers.named(answer), expected, "{version}: {host}{path}");
        }
    }
}
