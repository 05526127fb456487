//! What labels of other programs come to in real HAProxy: each request is answered as the program that owns the scheme
//! would answer it, or not at all.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/routed.rs"]
mod routed;
#[path = "support/users.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use lb_core::{Driver as _, Endpoint, Name, Snapshot, testkit::free_port};
use lb_examples::traffic::{IdentityServer, Oracle};
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    driver::Files,
    process::{Executable, Haproxy, HaproxyOptions},
};
use lb_schemes::{LabelScheme, Options, Subject, read};

use crate::users::{executables, name};

/// A scheme, and the labels or variables of one object.
type Object = (LabelScheme, &'static [(&'static str, &'static str)]);

/// A request, and the service that answers it, or HAProxy's own status.
type Request = (&'static str, &'static str, Result<&'static str, u16>);

const TRAEFIK: &[Object] = &[
    // S1, S2: a catch-all of the lowest priority, and a path that is longer than any host.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.shop.rule", "Host(`shop.example`)"),
            ("traefik.http.services.shop.loadbalancer.server.port", "80"),
        ],
    ),
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.catch.rule", "PathPrefix(`/`)"),
            ("traefik.http.routers.catch.priority", "1"),
            ("traefik.http.services.catch.loadbalancer.server.port", "80"),
        ],
    ),
    (
        LabelScheme::Traefik,
        &[
            (
                "traefik.http.routers.acme.rule",
                "PathPrefix(`/.well-known/acme-challenge/`)",
            ),
            ("traefik.http.services.acme.loadbalancer.server.port", "80"),
        ],
    ),
    // S3: an unset variable.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.unset.rule", "Host(``)"),
            ("traefik.http.routers.unset.priority", "1000"),
            ("traefik.http.services.unset.loadbalancer.server.port", "80"),
        ],
    ),
    // S4: a protected path below an open host.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.app.rule", "Host(`app.example`)"),
            (
                "traefik.http.routers.admin.rule",
                "Host(`app.example`) && PathPrefix(`/admin`)",
            ),
            ("traefik.http.routers.admin.middlewares", "auth@file"),
            ("traefik.http.services.app.loadbalancer.server.port", "80"),
        ],
    ),
    // S11: a protected path whose program also protects what continues it.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.blog.rule", "Host(`blog.example`)"),
            (
                "traefik.http.routers.blogadmin.rule",
                "Host(`blog.example`) && PathPrefix(`/admin`)",
            ),
            ("traefik.http.routers.blogadmin.middlewares", "auth@file"),
            ("traefik.http.services.blog.loadbalancer.server.port", "80"),
        ],
    ),
    // S7: the provider's own suffix.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.git.rule", "Host(`git.example`)"),
            ("traefik.http.routers.git.service", "gitea@docker"),
            ("traefik.http.services.gitea.loadbalancer.server.port", "80"),
        ],
    ),
    // S4: a router with TLS, and one on the entry point of TLS, are never served without.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.tls.rule", "Host(`tls.example`)"),
            ("traefik.http.routers.tls.tls", "true"),
            (
                "traefik.http.routers.secure.rule",
                "Host(`secure.example`) && PathPrefix(`/x`)",
            ),
            ("traefik.http.routers.secure.entrypoints", "websecure"),
            ("traefik.http.services.tls.loadbalancer.server.port", "80"),
        ],
    ),
    // S4: a protection that is misspelt, in the section and in the separators.
    (
        LabelScheme::Traefik,
        &[
            ("traefik.http.routers.mis.rule", "Host(`mis.example`)"),
            (
                "traefik.http.routers.spelt.rule",
                "Host(`mis.example`) && PathPrefix(`/admin`)",
            ),
            ("traefik.http.router.spelt.middlewares", "auth"),
            ("traefik.http.routers.sep.rule", "Host(`sep.example`)"),
            ("traefik.http.routers/sep/middlewares", "auth"),
            ("traefik.http.services.mis.loadbalancer.server.port", "80"),
        ],
    ),
];

const OTHERS: &[Object] = &[
    // S4, S10: a domain without an index holds for the indexed destination; users protect.
    (
        LabelScheme::DockerFlow,
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "flow"),
            ("com.df.serviceDomain", "foo.example"),
            ("com.df.servicePath.1", "/"),
            ("com.df.port.1", "80"),
        ],
    ),
    (
        LabelScheme::DockerFlow,
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "users"),
            ("com.df.serviceDomain", "users.example"),
            ("com.df.port", "80"),
            ("com.df.users", "joe:secret"),
        ],
    ),
    // S11: path_beg, the default, beside a longer path of another service, whose rule goes first by its name.
    (
        LabelScheme::DockerFlow,
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "demo"),
            ("com.df.serviceDomain", "beg.example"),
            ("com.df.servicePath", "/demo"),
            ("com.df.port", "80"),
        ],
    ),
    (
        LabelScheme::DockerFlow,
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "dir"),
            ("com.df.aclName", "a-dir"),
            ("com.df.serviceDomain", "beg.example"),
            ("com.df.servicePath", "/demons"),
            ("com.df.pathType", "path_dir"),
            ("com.df.port", "80"),
        ],
    ),
    // S11: a location of nginx.
    (
        LabelScheme::VirtualHost,
        &[
            ("VIRTUAL_HOST", "location.example"),
            ("VIRTUAL_PATH", "/app"),
        ],
    ),
    // S12: a leading dot.
    (
        LabelScheme::VirtualHost,
        &[("VIRTUAL_HOST", ".dot.example")],
    ),
    (
        LabelScheme::VirtualHost,
        &[
            ("VIRTUAL_HOST", "inner.example"),
            ("NETWORK_ACCESS", "internal"),
        ],
    ),
    // S4: a port with TLS.
    (
        LabelScheme::EasyHaproxy,
        &[
            ("easyhaproxy.x.host", "easy.example"),
            ("easyhaproxy.x.port", "443"),
            ("easyhaproxy.x.ssl", "true"),
            ("easyhaproxy.y.host", "plain.example"),
        ],
    ),
];

const TRAEFIK_REQUESTS: &[Request] = &[
    ("shop.example", "/", Ok("shop")),
    ("shop.example", "/cart", Ok("shop")),
    ("else.example", "/", Ok("catch")),
    ("shop.example", "/.well-known/acme-challenge/x", Ok("acme")),
    ("else.example", "/.well-known/acme-challenge/x", Ok("acme")),
    ("app.example", "/", Ok("app")),
    ("app.example", "/admin", Err(503)),
    ("app.example", "/admin/users", Err(503)),
    ("git.example", "/", Ok("gitea")),
    ("blog.example", "/", Ok("blog")),
    ("blog.example", "/adm", Ok("blog")),
    ("blog.example", "/admin", Err(503)),
    ("blog.example", "/admin/", Err(503)),
    ("blog.example", "/admin/x", Err(503)),
    ("blog.example", "/admin.php", Err(503)),
    ("blog.example", "/administration/x", Err(503)),
    ("blog.example", "/x/admin.php", Ok("blog")),
    ("tls.example", "/", Err(301)),
    ("secure.example", "/x", Err(301)),
    ("secure.example", "/", Ok("catch")),
    ("mis.example", "/", Ok("mis")),
    ("mis.example", "/admin", Err(503)),
    ("sep.example", "/", Err(503)),
];

/// The service of `location.example` below `/app`: its name is made of host and path.
const LOCATION: &str = "location.example_app-2d7d53fcfdd9b19e";

const OTHER_REQUESTS: &[Request] = &[
    ("foo.example", "/", Ok("flow")),
    ("bar.example", "/", Err(404)),
    ("users.example", "/", Err(503)),
    ("beg.example", "/demo", Ok("demo")),
    ("beg.example", "/demo/x", Ok("demo")),
    ("beg.example", "/demonstration", Ok("demo")),
    ("beg.example", "/demons", Ok("dir")),
    ("beg.example", "/demons/x", Ok("dir")),
    ("beg.example", "/dem", Err(404)),
    ("location.example", "/app", Ok(LOCATION)),
    ("location.example", "/app.php", Ok(LOCATION)),
    ("location.example", "/ap", Err(404)),
    ("dot.example", "/", Ok(".dot.example")),
    ("a.dot.example", "/", Ok(".dot.example")),
    ("inner.example", "/", Err(503)),
    ("easy.example", "/", Err(301)),
    ("plain.example", "/", Ok("plain.example")),
];

/// The services of all objects with the servers that stand for them, as one desired state.
async fn desired(objects: &[Object]) -> (Arc<Snapshot>, BTreeMap<Name, IdentityServer>) {
    let oracle = Arc::new(Oracle::new());
    let mut servers = BTreeMap::new();
    let mut edit = Snapshot::default().edit();
    for (scheme, pairs) in objects {
        let all = || {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        };
        let (labels, env): (BTreeMap<String, String>, Vec<(String, String)>) =
            (all().collect(), all().collect());
        let exposed = BTreeSet::from([80]);
        let reading = read(
            &Options::new(&[*scheme], &["docker"]),
            &Subject {
                object: "container c",
                name: "c",
                labels: &labels,
                env: &env,
                compose: None,
                stack: None,
                exposed: &exposed,
            },
        );
        for spec in reading.services {
            let server =
                IdentityServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&oracle))
                    .await
                    .unwrap();
            let endpoint = Endpoint::new(server.address()).with_weight(spec.weight);
            edit.set_endpoint(&spec.service, &name("1"), endpoint);
            for route in spec.routes {
                edit.add_route(route);
            }
            servers.insert(spec.service, server);
        }
    }
    (Arc::new(edit.commit().unwrap()), servers)
}

/// The address that answered a request, or HAProxy's own status.
fn get(frontend: SocketAddr, host: &str, path: &str) -> Result<SocketAddr, u16> {
    let mut stream = TcpStream::connect(frontend).unwrap();
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
    answer
        .lines()
        .find_map(|line| line.strip_prefix("x-endpoint: "))
        .map(|address| address.parse().unwrap())
        .ok_or(status)
}

async fn requests_are_answered(executable: Executable, objects: &[Object], requests: &[Request]) {
    let folder = tempfile::tempdir().unwrap();
    let frontend = free_port().unwrap();
    let at = |file: &str| folder.path().join(file).display().to_string();
    let version = executable.version().await.unwrap();
    let config = routed::configuration(folder.path(), frontend);
    std::fs::write(at("haproxy.cfg"), config.render(&version).unwrap()).unwrap();
    let options = HaproxyOptions::new(
        executable,
        at("haproxy.cfg"),
        at("admin.sock").parse().unwrap(),
        at("master.sock"),
    );
    let haproxy = Haproxy::start(options).await.unwrap();
    let files = Files::with_server_state(folder.path().join("state"));
    let mut driver = HaproxyDriver::new(
        TargetConfig::new(name("edge"), at("admin.sock").parse().unwrap()).with_files(files),
    );
    let (desired, servers) = desired(objects).await;
    let report = loop {
        let report = driver.converge(&desired).await.unwrap();
        match report.again {
            None => break report,
            Some(pause) => tokio::time::sleep(pause).await,
        }
    };
    assert!(report.unmet.is_empty(), "{version}: {:?}", report.unmet);
    for (host, path, expected) in requests {
        let answer = tokio::task::block_in_place(|| get(frontend, host, path));
        let found = answer.map(|address| {
            let known = servers
                .iter()
                .find(|(_, server)| server.address() == address);
            known.map_or_else(|| panic!("{address}"), |(service, _)| service.to_string())
        });
        let expected = expected.map(ToOwned::to_owned);
        assert_eq!(found, expected, "{version}: {host}{path}");
    }

    haproxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_s01_s02_s03_s04_s07_s10_s11_s12_requests_go_where_their_scheme_says() {
    let runs: Vec<_> = executables()
        .into_iter()
        .flat_map(|executable| {
            [(TRAEFIK, TRAEFIK_REQUESTS), (OTHERS, OTHER_REQUESTS)].map(|(objects, requests)| {
                tokio::spawn(requests_are_answered(executable.clone(), objects, requests))
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
}
