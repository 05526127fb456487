//! New services at run time on every HAProxy: a spare backend, its slots and its route come in one plan, without a
//! reload; known routes answer 503 without an endpoint, unknown ones 404; a restarted `lb` finds what it assigned.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lb_core::{
    Driver as _, Endpoint, Mode, Name, Report, Route, Snapshot, UnmetReason, model::SnapshotEdit,
    testkit::free_port,
};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    config::{Backend, Bind, Config, Frontend, Slots},
    driver::Files,
    process::{Executable, Haproxy, HaproxyOptions},
};

const SLOTS: u32 = 6;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A HAProxy with one frontend that looks into maps, and two spare backends.
struct Subject {
    haproxy: Option<Haproxy>,
    options: HaproxyOptions,
    frontend: SocketAddr,
    folder: tempfile::TempDir,
}

impl Subject {
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
            let slots = Slots::new(name("slot"), SLOTS);
            config
                .backends
                .push(Backend::new(name(&format!("spare-http-{number}")), slots));
        }
        std::fs::write(at("state"), "").unwrap();
        config.global.server_state_file = Some(at("state").parse().unwrap());
        let version = executable.version().await.unwrap();
        std::fs::write(at("haproxy.cfg"), config.render(&version).unwrap()).unwrap();
        let options = HaproxyOptions::new(
            executable,
            at("haproxy.cfg"),
            at("admin.sock").parse().unwrap(),
            at("master.sock"),
        );
        let haproxy = Some(Haproxy::start(options.clone()).await.unwrap());
        Self {
            haproxy,
            options,
            frontend,
            folder,
        }
    }

    fn driver(&self) -> HaproxyDriver {
        let socket = self.folder.path().join("admin.sock").display().to_string();
        let files = Files::with_server_state(self.folder.path().join("state"));
        HaproxyDriver::new(
            TargetConfig::new(name("edge"), socket.parse().unwrap()).with_files(files),
        )
    }

    /// Ends HAProxy and starts it again.
    async fn restart(&mut self) {
        let options = self.options.clone();
        self.haproxy.take().unwrap().stop().await.unwrap();
        self.haproxy = Some(Haproxy::start(options).await.unwrap());
    }

    /// The endpoint that answered a request, or HAProxy's own status.
    fn get(&self, host: &str, path: &str) -> Result<SocketAddr, u16> {
        let mut stream = TcpStream::connect(self.frontend).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let endpoint = answer
            .lines()
            .find_map(|line| line.strip_prefix("x-endpoint: "));
        endpoint
            .map(|address| address.parse().unwrap())
            .ok_or(status)
    }
}

/// Passes until nothing is left to do.
async fn settle(driver: &mut HaproxyDriver, desired: &Arc<Snapshot>) -> Report {
    for _ in 0..1000 {
        let report = driver.converge(desired).await.unwrap();
        match report.again {
            None => return report,
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
    panic!("no end");
}

fn edited(desired: &Arc<Snapshot>, change: impl FnOnce(&mut SnapshotEdit)) -> Arc<Snapshot> {
    let mut edit = desired.edit();
    change(&mut edit);
    Arc::new(edit.commit().unwrap())
}

fn route(host: &str, path: &str, service: &str) -> Route {
    Route::new(host.parse().unwrap(), path.parse().unwrap(), name(service))
}

/// Killed together with `lb`, HAProxy alone comes back with the last known endpoints and routes.
async fn haproxy_alone_serves_the_last_known(executable: Executable) {
    let mut subject = Subject::start(executable.clone()).await;
    let mut driver = subject.driver();
    let shop = IdentityServer::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Arc::new(Oracle::new()),
    )
    .await
    .unwrap();
    let desired = edited(&Arc::new(Snapshot::default()), |edit| {
        edit.set_endpoint(&name("shop"), &name("1"), Endpoint::new(shop.address()));
        edit.add_route(route("shop.example", "/", "shop"));
    });
    settle(&mut driver, &desired).await;
    assert_eq!(subject.get("shop.example", "/"), Ok(shop.address()));
    drop(driver);
    subject.restart().await;
    assert_eq!(subject.get("shop.example", "/"), Ok(shop.address()));
    assert_eq!(subject.get("else.example", "/"), Err(404));
    // What comes back is adopted as it is.
    let mut driver = subject.driver();
    let adopted = settle(&mut driver, &desired).await;
    assert_eq!(
        (adopted.applied, driver.traffic().changes),
        (0, 0),
        "{adopted:?}"
    );
}

async fn new_services_come_and_go(executable: Executable) {
    let subject = Subject::start(executable).await;
    let mut driver = subject.driver();
    let oracle = Arc::new(Oracle::new());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let shop = IdentityServer::start(any, Arc::clone(&oracle))
        .await
        .unwrap();
    let api = IdentityServer::start(any, Arc::clone(&oracle))
        .await
        .unwrap();
    let blog = IdentityServer::start(any, oracle).await.unwrap();

    let empty = Arc::new(Snapshot::default());
    settle(&mut driver, &empty).await;
    assert_eq!(subject.get("shop.example", "/"), Err(404));

    // Two services that HAProxy's configuration does not know, in one desired state.
    let two = edited(&empty, |edit| {
        edit.set_endpoint(&name("shop"), &name("1"), Endpoint::new(shop.address()));
        edit.set_endpoint(&name("api"), &name("1"), Endpoint::new(api.address()));
        edit.add_route(route("shop.example", "/", "shop"));
        edit.add_route(route("*.example", "/api", "api"));
        edit.add_route(route("shop.example", "/api", "api"));
    });
    let first = driver.converge(&two).await.unwrap();
    assert!(
        first.converged && first.unmet.is_empty(),
        "one pass: {first:?}"
    );
    assert_eq!(subject.get("shop.example", "/cart"), Ok(shop.address()));
    assert_eq!(subject.get("SHOP.example:80", "/api/v1"), Ok(api.address()));
    assert_eq!(subject.get("other.example", "/api"), Ok(api.address()));
    assert_eq!(subject.get("shop.example", "/apiary"), Ok(shop.address()));
    assert_eq!(subject.get("other.example", "/apiary"), Err(404));
    settle(&mut driver, &two).await;

    // I3: a second pass writes nothing; a restarted lb adopts and changes nothing.
    let written = driver.traffic();
    driver.converge(&two).await.unwrap();
    assert_eq!(driver.traffic(), written);
    drop(driver);
    let mut driver = subject.driver();
    let adopted = settle(&mut driver, &two).await;
    assert_eq!(
        (adopted.applied, driver.traffic().changes),
        (0, 0),
        "{adopted:?}"
    );

    // A third service finds no spare backend: unmet, 503 on its route, and the others go on.
    let three = edited(&two, |edit| {
        edit.set_endpoint(&name("blog"), &name("1"), Endpoint::new(blog.address()));
        edit.add_route(route("blog.example", "/", "blog"));
    });
    let full = settle(&mut driver, &three).await;
    assert_eq!(
        full.unmet.first().map(|unmet| unmet.reason),
        Some(UnmetReason::NoSuchService)
    );
    assert_eq!(subject.get("blog.example", "/"), Err(503));
    assert_eq!(subject.get("shop.example", "/"), Ok(shop.address()));

    // A service whose last endpoint goes keeps its route, which answers 503.
    let down = edited(&three, |edit| {
        edit.remove_endpoint(&name("api"), &name("1"))
    });
    settle(&mut driver, &down).await;
    assert_eq!(subject.get("shop.example", "/api"), Err(503));

    // A service that goes gives its spare backend back; the one that waited gets it.
    let gone = edited(&down, |edit| {
        edit.remove_service(&name("shop"));
        edit.remove_route(&route("shop.example", "/", "shop"));
    });
    let end = settle(&mut driver, &gone).await;
    assert!(end.unmet.is_empty(), "{end:?}");
    assert_eq!(subject.get("shop.example", "/cart"), Err(404));
    assert_eq!(subject.get("blog.example", "/"), Ok(blog.address()));
    assert_eq!(end.counters.get("reloads"), Some(&0));
    assert_eq!(
        gone.service(&name("blog")).map(lb_core::Service::mode),
        Some(Mode::Http)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_with_a_new_route_answers_without_a_reload() {
    let listed = std::env::var("LB_HAPROXY_MATRIX").unwrap_or_default();
    let mut paths: Vec<Option<&Path>> = listed
        .split_whitespace()
        .map(|path| Some(Path::new(path)))
        .collect();
    if paths.is_empty() {
        paths.push(None);
    }
    for path in paths {
        let executable = Executable::find(path).unwrap();
        println!("routes: HAProxy {}", executable.version().await.unwrap());
        new_services_come_and_go(executable.clone()).await;
        haproxy_alone_serves_the_last_known(executable).await;
    }
}
