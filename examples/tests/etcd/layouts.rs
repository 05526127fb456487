//! What keys of well-known layouts come to in real HAProxy, where a request decides: a route that is restricted is
//! answered with 503, and no wider route gets its requests.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use lb_core::{Driver as _, Record, Route, Snapshot, testkit::free_port};
use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::{Backend, Bind, Config, Frontend, Slots},
    process::{Executable, Haproxy, HaproxyOptions},
};

use crate::users::{executables, name};

/// A HAProxy that looks routes up in maps, with spare backends for two services.
struct Edge {
    _haproxy: Haproxy,
    driver: HaproxyDriver,
    desired: Arc<Snapshot>,
    routes: Vec<Route>,
    frontend: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Edge {
    async fn start(executable: Executable) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |file: &str| folder.path().join(file).display().to_string();
        let frontend = free_port().unwrap();
        for map in ["lb-routes.map", "lb-services.map"] {
            std::fs::write(at(map), "").unwrap();
        }
        let mut config = Config::new(at("admin.sock").parse().unwrap());
        config.service_map = Some(at("lb-services.map").parse().unwrap());
        let mut http = Frontend::new(name("http"), Bind::Tcp(frontend));
        http.route_map = Some(at("lb-routes.map").parse().unwrap());
        config.frontends.push(http);
        for number in 1..=2 {
            let slots = Slots::new(name("slot"), 4);
            let spare = Backend::new(name(&format!("spare-http-{number}")), slots);
            config.backends.push(spare);
        }
        let version = executable.version().await.unwrap();
        std::fs::write(at("haproxy.cfg"), config.render(&version).unwrap()).unwrap();
        let socket = at("admin.sock");
        let options = HaproxyOptions::new(
            executable,
            at("haproxy.cfg"),
            socket.parse().unwrap(),
            at("master.sock"),
        );
        let haproxy = Haproxy::start(options).await.unwrap();
        let target = TargetConfig::new(name("edge"), socket.parse().unwrap());
        Self {
            _haproxy: haproxy,
            driver: HaproxyDriver::new(target),
            desired: Arc::default(),
            routes: Vec::new(),
            frontend,
            _folder: folder,
        }
    }

    /// Brings what keys come to into effect.
    async fn show(&mut self, view: &View) {
        let mut edit = self.desired.edit();
        for route in self.routes.drain(..) {
            edit.remove_route(&route);
        }
        for Record {
            key,
            endpoint,
            routes,
            mode,
            ..
        } in view.records()
        {
            assert_eq!(mode, lb_core::Mode::Http);
            if let Some(endpoint) = endpoint {
                edit.set_endpoint(&key.service, &key.id, endpoint);
            }
            for route in routes.iter() {
                edit.add_route(route.clone());
                self.routes.push(route.clone());
            }
        }
        // Without a change there is no later snapshot.
        if let Some(next) = edit.commit() {
            self.desired = Arc::new(next);
        }
        for _ in 0..1000 {
            match self.driver.converge(&self.desired).await.unwrap().again {
                None => return,
                Some(pause) => tokio::time::sleep(pause).await,
            }
        }
        panic!("it never ends");
    }

    fn answers(&self, expected: &[(&str, &str, u16)]) {
        for (host, path, status) in expected {
            assert_eq!(self.get(host, path), *status, "{host}{path}");
        }
    }

    /// The status of an answer; 200 stands for any of an endpoint.
    fn get(&self, host: &str, path: &str) -> u16 {
        let mut stream = TcpStream::connect(self.frontend).unwrap();
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.contains("x-endpoint: ") {
            return 200;
        }
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

async fn restricted_routes_are_withheld(executable: Executable) {
    let mut edge = Edge::start(executable).await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = IdentityServer::start(any, Arc::new(Oracle::new()))
        .await
        .unwrap();
    let url = format!("http://{}", server.address());
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
    ]);
    edge.show(&traefik).await;
    edge.answers(&[
        ("t.example", "/", 200),
        ("t.example", "/admin", 503),
        ("T.EXAMPLE:80", "/admin/users", 503),
        ("t.example", "/administration", 503),
        ("else.example", "/admin", 200),
        ("inner.example", "/", 503),
    ]);
    traefik.apply([Change::delete("traefik/http/routers/admin/Middlewares/0")]);
    edge.show(&traefik).await;
    edge.answers(&[("t.example", "/admin", 200), ("inner.example", "/", 503)]);

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
    edge.show(&vulcand).await;
    edge.answers(&[
        ("v.example", "/", 200),
        ("v.example", "/admin", 503),
        ("v.example", "/admin/x", 200),
        ("t.example", "/", 404),
    ]);

    // What is restricted may be any path of the service: none is served.
    vulcand.apply([v(
        "frontends/admin/frontend",
        &frontend("Host(`v.example`) && PathRegexp(`/(admin|root)/.*`)"),
    )]);
    edge.show(&vulcand).await;
    edge.answers(&[("v.example", "/", 503), ("v.example", "/admin/x", 503)]);

    vulcand.apply([Change::delete("/vulcand/frontends/admin/middlewares/auth1")]);
    edge.show(&vulcand).await;
    edge.answers(&[("v.example", "/", 200), ("v.example", "/admin", 200)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s04_keys_that_restrict_withhold_their_routes() {
    for executable in executables() {
        println!("layouts: HAProxy {}", executable.version().await.unwrap());
        restricted_routes_are_withheld(executable).await;
    }
}
