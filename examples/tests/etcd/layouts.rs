//! What keys of well-known layouts come to in real HAProxy, where a request decides: a route that is restricted is
//! answered with 503, and no wider route gets its requests.

use std::{net::SocketAddr, sync::Arc};

use lb_core::{Mode, Name, PathMatch, Record, RecordKey, Route, RouteHost};
use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_haproxy::process::Executable;

use crate::{
    edge::{Edge, get},
    handshake::{client_hello, dial, tcp_server},
    users::executables,
};

/// Asserts the status of each answer; 200 stands for any of an endpoint.
fn answers(edge: &Edge, expected: &[(&str, &str, u16)]) {
    for (host, path, status) in expected {
        let found = get(edge.http, host, path).map_or_else(|status| status, |_| 200);
        assert_eq!(found, *status, "{host}{path}");
    }
}

async fn restricted_routes_are_withheld(executable: Executable) {
    let mut edge = Edge::start(executable).await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = IdentityServer::start(any, Arc::new(Oracle::new()))
        .await
        .unwrap();
    let camel = IdentityServer::start(any, Arc::new(Oracle::new()))
        .await
        .unwrap();
    let url = format!("http://{}", server.address());
    let camel_url = format!("http://{}", camel.address());
    let view = |config: &str| {
        let config: LayoutConfig = serde_json::from_str(config).unwrap();
        View::new(Layout::new(&[config]).unwrap())
    };

    let mut traefik = view(r#"{"traefik": {}}"#);
    let t = |key: &str, value: &str| Change::put(format!("traefik/http/{key}"), value);
    traefik.apply([
        t("services/s/loadBalancer/servers/0/URL", &url),
        t("routers/wide/rule", "Host(`t.example`)"),
        t("routers/wide/service", "s"),
        t(
            "routers/admin/rule",
            "Host(`t.example`) && PathPrefix(`/admin`)",
        ),
        t("routers/admin/service", "s@etcd"),
        t("routers/admin/Middlewares/0", "auth"),
        t("middlewares/auth/basicAuth/users/0", "joe:s3cret"),
        t("routers/fallback/rule", "PathPrefix(`/`)"),
        t("routers/fallback/priority", "1"),
        t("routers/fallback/service", "s"),
        t("routers/inner/rule", "Host(`inner.example`)"),
        t("routers/inner/service", "s"),
        t("routers/inner/tls/options", "mtls"),
        // What routes cannot express is withheld for all that it may be.
        t("routers/every/rule", "PathRegexp(`^/m6(admin|secret)`)"),
        t("routers/every/priority", "900"),
        t("routers/every/service", "other"),
        t("routers/every/middlewares", "auth"),
        t(
            "routers/below/rule",
            r"HostRegexp(`^[a-z]+\.m1\.example$`) && PathPrefix(`/admin`)",
        ),
        t("routers/below/service", "other"),
        t("routers/below/middlewares", "auth"),
        t("routers/abc/rule", "Host(`abc.m1.example`)"),
        t("routers/abc/service", "s"),
        t("routers/camel/entryPoints/0", "web"),
        t("Routers/camel/Rule", "Host(`camel.example`)"),
        t("routers/camel/Service", "c"),
        t("Services/c/loadBalancer/Servers/0/Url", &camel_url),
        t("routers/hidden/entryPoints/0", "internal"),
        t("routers/hidden/rule", "Host(`hidden.example`)"),
        t("routers/hidden/service", "c"),
    ]);
    edge.show(traefik.records()).await;
    answers(
        &edge,
        &[
            ("t.example", "/", 200),
            ("t.example", "/admin", 503),
            ("T.EXAMPLE:80", "/admin/users", 503),
            ("t.example", "/administration", 503),
            ("else.example", "/admin", 200),
            ("inner.example", "/", 503),
            ("t.example", "/m6admin", 503),
            ("t.example", "/m5", 200),
            ("abc.m1.example", "/admin", 503),
            ("abc.m1.example", "/", 200),
        ],
    );
    // Keys ignore case, and an entry point that is not served leaves its router out.
    assert_eq!(get(edge.http, "camel.example", "/"), Ok(camel.address()));
    assert_eq!(get(edge.http, "hidden.example", "/"), Ok(server.address()));
    traefik.apply([Change::delete("traefik/http/routers/admin/Middlewares/0")]);
    edge.show(traefik.records()).await;
    answers(
        &edge,
        &[("t.example", "/admin", 200), ("inner.example", "/", 503)],
    );

    let mut vulcand = view(r#"{"vulcand": {}}"#);
    let v = |key: &str, value: &str| Change::put(format!("/vulcand/{key}"), value);
    let frontend = |rule: &str| format!(r#"{{"BackendId": "b", "Route": "{rule}"}}"#);
    vulcand.apply([
        v("backends/b/servers/1", &format!(r#"{{"URL": "{url}"}}"#)),
        v(
            "frontends/wide/frontend",
            &frontend("Host(`v.example`) && PathRegexp(`/.*`)"),
        ),
        v(
            "frontends/admin/frontend",
            &frontend("Host(`v.example`) && Path(`/admin`)"),
        ),
        v("frontends/admin/middlewares/auth1", "{}"),
    ]);
    edge.show(vulcand.records()).await;
    answers(
        &edge,
        &[
            ("v.example", "/", 200),
            ("v.example", "/admin", 503),
            ("v.example", "/admin/x", 200),
            ("t.example", "/", 404),
        ],
    );

    // What is restricted may be any path of the service: none is served.
    vulcand.apply([v(
        "frontends/admin/frontend",
        &frontend("Host(`v.example`) && PathRegexp(`/(admin|root)/.*`)"),
    )]);
    edge.show(vulcand.records()).await;
    answers(
        &edge,
        &[("v.example", "/", 503), ("v.example", "/admin/x", 503)],
    );

    // It is another backend's: narrower routes of this one are within what it may match.
    vulcand.apply([
        v(
            "frontends/admin/frontend",
            r#"{"BackendId": "other", "Route": "Host(`v.example`) && PathRegexp(`/(admin|root)/.*`)"}"#,
        ),
        v(
            "frontends/narrow/frontend",
            &frontend("Host(`v.example`) && Path(`/x/admin/y`)"),
        ),
        v("frontends/else/frontend", &frontend("Host(`w.example`)")),
    ]);
    edge.show(vulcand.records()).await;
    answers(
        &edge,
        &[
            ("v.example", "/", 503),
            ("v.example", "/x/admin/y", 503),
            ("w.example", "/admin/x", 200),
        ],
    );

    vulcand.apply([Change::delete("/vulcand/frontends/admin/middlewares/auth1")]);
    edge.show(vulcand.records()).await;
    answers(
        &edge,
        &[("v.example", "/", 200), ("v.example", "/admin", 200)],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_s08_keys_of_any_letter_case_serve_and_restrict_their_routes() {
    for executable in executables() {
        println!("layouts: HAProxy {}", executable.version().await.unwrap());
        restricted_routes_are_withheld(executable).await;
    }
}

/// Connections of a restricted TCP route are closed: no wider one gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_connections_of_restricted_tcp_keys_reach_no_wider_route() {
    let view = |config: &str, keys: &[(&str, &str)]| {
        let config: LayoutConfig = serde_json::from_str(config).unwrap();
        let mut view = View::new(Layout::new(&[config]).unwrap());
        view.apply(keys.iter().map(|(key, value)| Change::put(*key, *value)));
        view.records()
    };
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let mut edge = Edge::start(executable).await;
        let address = tcp_server("wide").await.to_string();
        let own = view(
            r#"{"lb": {}}"#,
            &[
                ("/lb/endpoints/db/1", &address),
                (
                    "/lb/services/db",
                    r#"{"mode": "tcp", "routes": [{"host": "*.s.example"}]}"#,
                ),
                (
                    "/lb/routes/admin",
                    r#"{"service": "db", "host": "adm.s.example", "whitelist": ["10.0.0.0/8"]}"#,
                ),
            ],
        );
        let traefik = view(
            r#"{"traefik": {}}"#,
            &[
                (
                    "traefik/tcp/services/t/loadBalancer/servers/0/address",
                    &address,
                ),
                ("traefik/tcp/routers/wide/rule", "HostSNI(`*`)"),
                ("traefik/tcp/routers/wide/service", "t"),
                ("traefik/tcp/routers/wide/tls/passthrough", "true"),
                ("traefik/tcp/routers/admin/rule", "HostSNI(`adm.s.example`)"),
                ("traefik/tcp/routers/admin/service", "t2"),
                ("traefik/tcp/routers/admin/tls/passthrough", "true"),
                ("traefik/tcp/routers/admin/middlewares/0", "office"),
            ],
        );
        for (layout, records) in [("lb", own), ("traefik", traefik)] {
            edge.show(records).await;
            let dial = async |name| dial(edge.tcp, &client_hello(name)).await;
            assert_eq!(dial("adm.s.example").await, "", "{version}: {layout}");
            assert_eq!(dial("else.s.example").await, "wide", "{version}: {layout}");
        }
    }
}

async fn addresses_and_hosts_are_taken_from_keys(executable: Executable) {
    let mut edge = Edge::start(executable).await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = IdentityServer::start(any, Arc::new(Oracle::new())).await;
        servers.push(server.unwrap());
    }
    let [primary, replica, web] = servers.as_slice() else {
        unreachable!("three were started")
    };
    let view = |config: &str| {
        let config: LayoutConfig = serde_json::from_str(config).unwrap();
        View::new(Layout::new(&[config]).unwrap())
    };

    // Members of Patroni have a URL of PostgreSQL.
    let mut patroni = view(r#"{"patroni": {}}"#);
    let member = |name: &str, address: SocketAddr, role: &str| {
        let value = format!(
            r#"{{"conn_url": "postgres://{address}/postgres", "state": "running", "role": "{role}"}}"#
        );
        Change::put(format!("/service/main/members/{name}"), value)
    };
    patroni.apply([
        Change::put("/service/main/leader", "pg1"),
        member("pg1", primary.address(), "primary"),
        member("pg2", replica.address(), "replica"),
    ]);
    let leads_to = |service: &str| {
        let service: Name = service.parse().unwrap();
        let route = Route::new(RouteHost::Any, PathMatch::any(), service.clone());
        let key = RecordKey::new(service, "route".parse().unwrap());
        Record::declare(key)
            .with_mode(Mode::Tcp)
            .with_routes(vec![route])
    };
    for (service, expected) in [("main", primary), ("main-replica", replica)] {
        let mut records = patroni.records();
        records.push(leads_to(service));
        edge.show(records).await;
        assert_eq!(
            get(edge.tcp, "db", "/"),
            Ok(expected.address()),
            "{service}"
        );
    }

    // The host is in the key, and nowhere else.
    let mut hosts = view(
        r#"{"rules": [{"pattern": "/vhosts/{host}/{path...}", "value": "service_name"}, {"pattern": "/servers/{service}/{endpoint}", "value": "address"}]}"#,
    );
    hosts.apply([
        Change::put("/vhosts/a.example/adm", "web"),
        Change::put("/servers/web/1", web.address().to_string()),
    ]);
    // Traefik's pattern of hosts means the same in keys as in labels.
    let mut traefik = view(r#"{"traefik": {}}"#);
    let url = format!("http://{}", web.address());
    traefik.apply([
        Change::put("traefik/http/services/s/loadbalancer/servers/0/url", url),
        Change::put(
            "traefik/http/routers/r/rule",
            "HostRegexp(`^.+\\.r\\.example$`)",
        ),
        Change::put("traefik/http/routers/r/service", "s"),
    ]);
    let mut records = hosts.records();
    records.extend(traefik.records());
    edge.show(records).await;
    answers(
        &edge,
        &[
            ("a.example", "/adm", 200),
            ("a.example", "/", 404),
            ("b.example", "/adm", 404),
            ("a.r.example", "/", 200),
            ("r.example", "/", 404),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s09_s13_addresses_and_hosts_of_keys_decide_where_requests_go() {
    for executable in executables() {
        println!("keys: HAProxy {}", executable.version().await.unwrap());
        addresses_and_hosts_are_taken_from_keys(executable).await;
    }
}
