//! Connections of a TCP route that is restricted are closed, and no wider route gets them.

use std::net::SocketAddr;

use lb_core::{Endpoint, Mode, Name, Record, RecordKey};
use lb_schemes::{LabelScheme, Reading};

use crate::{
    edge::{Edge, get},
    handshake::{client_hello, dial, tcp_server},
    reading,
    users::executables,
};

type Labels = &'static [(&'static str, &'static str)];

/// A scheme, the labels of the restricted object and those of the wider one, a server name that must be closed, and one
/// that the wider one serves.
type Case = (
    LabelScheme,
    Labels,
    Labels,
    &'static str,
    Option<&'static str>,
);

const GUARD: (&str, &str) = ("traefik.tcp.routers.guarded.middlewares", "office");
const GUARD_TLS: (&str, &str) = ("traefik.tcp.routers.guarded.tls.passthrough", "true");
const GUARD_PORT: (&str, &str) = (
    "traefik.tcp.services.guarded.loadbalancer.server.port",
    "443",
);
const WIDE_TLS: (&str, &str) = ("traefik.tcp.routers.wide.tls.passthrough", "true");
const WIDE_PORT: (&str, &str) = ("traefik.tcp.services.wide.loadbalancer.server.port", "443");
const WIDE_LB: Labels = &[
    ("lb.service", "wide"),
    ("lb.tcp", "true"),
    ("lb.port", "443"),
    ("lb.routes", "*"),
];

macro_rules! guarded {
    ($rule:literal $(, $more:expr)*) => {
        &[GUARD, GUARD_TLS, GUARD_PORT, ("traefik.tcp.routers.guarded.rule", $rule) $(, $more)*]
    };
}

macro_rules! wide {
    ($rule:literal) => {
        &[
            WIDE_TLS,
            WIDE_PORT,
            ("traefik.tcp.routers.wide.rule", $rule),
        ]
    };
}

const PRIORITY: (&str, &str) = ("traefik.tcp.routers.guarded.priority", "900");

const CASES: &[Case] = &[
    (
        LabelScheme::Traefik,
        guarded!("HostSNI(`a.example`)"),
        wide!("HostSNI(`*`)"),
        "a.example",
        Some("else.example"),
    ),
    (
        LabelScheme::Traefik,
        guarded!("HostSNI(`adm.b.example`)", PRIORITY),
        wide!("HostSNIRegexp(`^.+\\.b\\.example$`)"),
        "adm.b.example",
        Some("else.b.example"),
    ),
    (
        LabelScheme::Traefik,
        guarded!("HostSNI(`c.example`)", PRIORITY),
        wide!("HostSNI(`c.example`)"),
        "c.example",
        None,
    ),
    (
        LabelScheme::Traefik,
        guarded!("HostSNI(`d.example`) || HostSNI(`also.d.example`)"),
        wide!("HostSNI(`d.example`)"),
        "d.example",
        None,
    ),
    (
        LabelScheme::Traefik,
        guarded!("HostSNI(`e.example`) && ClientIP(`10.0.0.0/8`)"),
        wide!("HostSNI(`e.example`)"),
        "e.example",
        None,
    ),
    (
        LabelScheme::DockerFlow,
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "guarded"),
            ("com.df.serviceDomain", "f.example"),
            ("com.df.reqMode", "sni"),
            ("com.df.port", "443"),
            ("com.df.srcPort", "443"),
            ("com.df.verifyClientSsl", "true"),
        ],
        WIDE_LB,
        "f.example",
        Some("else.example"),
    ),
    (
        LabelScheme::Lb,
        &[
            ("lb.service", "guarded"),
            ("lb.tcp", "true"),
            ("lb.port", "443"),
            ("lb.routes", "g.example"),
            ("lb.auth", "x"),
        ],
        WIDE_LB,
        "g.example",
        Some("else.example"),
    ),
];

/// The records of a container whose services all listen at `address`.
fn records(container: &str, address: SocketAddr, all: Reading) -> Vec<Record> {
    let record = |spec: lb_schemes::ServiceSpec| {
        let key = RecordKey::new(spec.service, Name::from_text(container));
        let record = match spec.without_endpoint {
            true => Record::declare(key),
            false => Record::new(key, Endpoint::new(address)),
        };
        record.with_mode(spec.mode).with_routes(spec.routes)
    };
    all.services.into_iter().map(record).collect()
}

fn scheme_of(labels: Labels) -> LabelScheme {
    match labels.iter().any(|(key, _)| key.starts_with("traefik.")) {
        true => LabelScheme::Traefik,
        false => LabelScheme::Lb,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_connections_of_a_restricted_tcp_route_reach_no_wider_one() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let (guarded, wide) = (tcp_server("guarded").await, tcp_server("wide").await);
        for (scheme, restricted, wider, closed, served) in CASES {
            let found = reading(*scheme, &[443], restricted);
            assert_ne!(found.diagnostics, [], "{closed}");
            let mut all = records("guarded", guarded, found);
            let found = reading(scheme_of(wider), &[443], wider);
            assert_eq!(found.diagnostics, [], "{closed}");
            all.extend(records("wide", wide, found));
            edge.show(all).await;
            let dial = async |name| dial(edge.tcp, &client_hello(name)).await;
            assert_eq!(dial(closed).await, "", "{version}: {closed}");
            if let Some(served) = served {
                assert_eq!(dial(served).await, "wide", "{version}: {served}");
            }
        }
    }
}

/// A router of TCP restricts connections: HTTP requests of its host go where they would without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_a_restricted_tcp_route_takes_no_http_request() {
    let web: Labels = &[
        ("traefik.http.routers.web.rule", "Host(`h.example`)"),
        ("traefik.http.services.web.loadbalancer.server.port", "80"),
    ];
    let restricted: [Labels; 2] = [guarded!("HostSNI(`h.example`)"), guarded!("HostSNI(`*`)")];
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let mut servers = crate::Servers::default();
        let guarded = tcp_server("guarded").await;
        for labels in restricted {
            let found = reading(LabelScheme::Traefik, &[443], labels);
            let mut all = records("guarded", guarded, found);
            assert!(all.iter().all(|record| record.mode == Mode::Tcp));
            let found = reading(LabelScheme::Traefik, &[80], web);
            all.extend(servers.records("web", None, found).await);
            edge.show(all).await;
            let answer = tokio::task::block_in_place(|| get(edge.http, "h.example", "/"));
            assert_eq!(servers.named(answer), Ok(("web", 80)), "{version}");
            let closed = dial(edge.tcp, &client_hello("h.example")).await;
            assert_eq!(closed, "", "{version}");
        }
    }
}
