//! A HAProxy of route maps, a browser, and routes that overlap.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use lb_core::{Name, Route};
use lb_haproxy::{
    Client,
    capability::Capabilities,
    config::{Backend, Bind, Certificates, Config, ConfigPath, Frontend, Rule, Slots, TlsBind},
    driver::converge_map,
    process::{Executable, Haproxy},
    proto::MapName,
    routes::{MapChange, RouteMap},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Place, free_port};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A HAProxy whose backends answer with their own names.
pub(crate) struct Bed {
    pub(crate) haproxy: Haproxy,
    pub(crate) place: Place,
    pub(crate) http: SocketAddr,
    /// The address at which it speaks TLS, with a certificate for no host.
    pub(crate) https: SocketAddr,
    pub(crate) routes: MapName,
    pub(crate) capabilities: Capabilities,
}

impl Bed {
    pub(crate) async fn start(executable: &Executable, file: &RouteMap, backends: &[&str]) -> Self {
        Self::with(executable, file, backends, |_| {}).await
    }

    /// The same with other settings of the frontend.
    pub(crate) async fn with(
        executable: &Executable,
        file: &RouteMap,
        backends: &[&str],
        change: impl FnOnce(&mut Frontend),
    ) -> Self {
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
        let https: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        std::fs::write(dir.join("site.pem"), certificate()).unwrap();
        let pem = Certificates::At(place_path(&place, "site.pem"));
        main.binds.push(Bind::Tls(TlsBind::new(https, pem)));
        main.route_map = Some(routes.clone());
        if backends.contains(&"echo") {
            main.rules.push(Rule {
                host: "fixed.example".parse().unwrap(),
                path: "/in".parse().unwrap(),
                backend: "empty".parse().unwrap(),
            });
        }
        change(&mut main);
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
                "backend {name}\n  http-request return status 200 content-type text/plain lf-string {}",
                match name.starts_with("echo") {
                    true => "%[req.hdr(x-forwarded-prefix)]>%[pathq]",
                    false => name,
                }
            )
            .unwrap();
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(executable).await;
        Self {
            haproxy,
            place,
            http: ([127, 0, 0, 1], port).into(),
            https,
            routes,
            capabilities: Capabilities::of(version.major().into(), version.minor().into()),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        self.haproxy.connect().await.unwrap()
    }

    pub(crate) async fn converge(&self, client: &mut Client, wanted: &RouteMap) -> MapChange {
        converge_map(client, &self.routes, wanted, &self.capabilities)
            .await
            .unwrap()
    }
}

/// A certificate and its key.
fn certificate() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

pub(crate) fn place_path(place: &Place, file: &str) -> ConfigPath {
    let path = place.dir.path().join(file);
    path.to_str().unwrap().parse().unwrap()
}

/// A client connection that is kept.
pub(crate) struct Browser {
    pub(crate) stream: TcpStream,
    pub(crate) read: Vec<u8>,
}

impl Browser {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The answer: the body of a 200, else the status.
    pub(crate) async fn ask(&mut self, host: &str, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    pub(crate) async fn send(&mut self, request: &str) -> String {
        timeout(LONG, self.exchange(request)).await.unwrap()
    }

    pub(crate) async fn exchange(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.answer().await
    }

    /// The answers to many requests that are sent at once.
    pub(crate) async fn send_all(&mut self, requests: &[String]) -> Vec<String> {
        let all = requests.concat();
        let exchange = async {
            self.stream.write_all(all.as_bytes()).await.unwrap();
            let mut answers = Vec::new();
            for _ in requests {
                answers.push(self.answer().await);
            }
            answers
        };
        timeout(LONG, exchange).await.unwrap()
    }

    async fn answer(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let location = head
            .lines()
            .find_map(|line| line.strip_prefix("location: ").map(str::to_owned));
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
            status => match location {
                Some(location) => format!("{status} {location}"),
                None => status.to_owned(),
            },
        }
    }

    pub(crate) async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.read).await.unwrap();
        assert!(read > 0, "the connection ended within a response");
    }
}

pub(crate) fn route(host: &str, path: &str, service: &str, priority: i32) -> Route {
    Route::new(
        host.parse().unwrap(),
        path.parse().unwrap(),
        service.parse().unwrap(),
    )
    .with_priority(priority)
}

pub(crate) fn own_name(service: &Name) -> Option<Name> {
    Some(service.clone())
}

/// The service of the route that takes a request; 404 where none does.
pub(crate) fn expected(routes: &[Route], host: &str, path: &str) -> String {
    Route::taker(routes, host, path)
        .map_or_else(|| "404".to_owned(), |route| route.service.to_string())
}

pub(crate) const SERVICES: [&str; 12] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
];

/// Routes of every kind that overlap in every way.
pub(crate) fn overlapping() -> Vec<Route> {
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

pub(crate) const HOSTS: [&str; 12] = [
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

pub(crate) const PATHS: [&str; 24] = [
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
    "/x//y",
    "/x%2fapi/../y",
];

pub(crate) async fn check_all(browser: &mut Browser, routes: &[Route], when: &str) {
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
