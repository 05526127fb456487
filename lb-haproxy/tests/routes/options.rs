//! What routes ask a frontend to do before a request goes to their service.

use std::sync::Arc;

use lb_core::Route;
use lb_haproxy::routes::{RouteFault, compile_http, compile_sni};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::{bed::*, support::executables};

fn stripping(path: &str) -> Route {
    route("shop.example", path, "echo", 0).with_strip_prefix(true)
}

/// A route takes its own prefix off, and nothing else.
#[tokio::test]
async fn routes_take_their_prefix_off() {
    let routes = [
        stripping("/api"),
        stripping("/a/b/c"),
        stripping("/1/2/3/4/5/6/7/8"),
        stripping("=/exact/path"),
        stripping("/"),
        route("shop.example", "/api/whole", "echo", 0),
        route("*.wild.example", "/w", "echo", 0).with_strip_prefix(true),
        route("*", "/any", "echo", 9).with_strip_prefix(true),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer) in [
            ("shop.example", "/api", "/api>/"),
            ("shop.example", "/api/", "/api>/"),
            ("shop.example", "/api?q=/api/1", "/api>/?q=/api/1"),
            ("shop.example", "/api/v1/api?x", "/api>/v1/api?x"),
            ("shop.example", "/api/whole/v1", ">/api/whole/v1"),
            ("shop.example", "/apiary", ">/apiary"),
            ("shop.example", "/a/b/c/d", "/a/b/c>/d"),
            ("shop.example", "/a/b", ">/a/b"),
            ("shop.example", "/1/2/3/4/5/6/7/8/9", "/1/2/3/4/5/6/7/8>/9"),
            ("shop.example", "/exact/path", "/exact/path>/"),
            ("shop.example", "/exact/path/x", ">/exact/path/x"),
            ("a.wild.example", "/w/x", "/w>/x"),
            ("shop.example", "/any/x", "/any>/x"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{host}{path}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}

/// Without TLS a request is redirected, before anything else; with TLS it is served.
#[tokio::test]
async fn routes_redirect_to_https() {
    let routes = [
        route("shop.example", "/", "echo", 0).with_redirect_https(true),
        route("shop.example", "/api", "echo", 0)
            .with_redirect_https(true)
            .with_strip_prefix(true),
        route("shop.example", "/plain", "echo", 0),
        route("*", "/.well-known/acme-challenge", "acme", 5),
        route("gone.example", "/", "gone", 0).with_redirect_https(true),
        route("*", "/", "echo", 0).with_redirect_https(true),
    ];
    let backend = |service: &lb_core::Name| (service.as_str() != "gone").then(|| service.clone());
    let map = compile_http(&routes, backend).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo", "acme"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer) in [
            ("shop.example", "/", "301 https://shop.example/"),
            (
                "Shop.Example.:8080",
                "/x?y=1",
                "301 https://shop.example/x?y=1",
            ),
            (
                "shop.example",
                "/api/v1?q",
                "301 https://shop.example/api/v1?q",
            ),
            (
                "shop.example",
                "//evil.example/",
                "301 https://shop.example//evil.example/",
            ),
            ("shop.example", "/plain/x", ">/plain/x"),
            ("shop.example", "/.well-known/acme-challenge/t", "acme"),
            ("gone.example", "/", "301 https://gone.example/"),
            ("other.example", "/x", "301 https://other.example/x"),
            ("[::1]", "/x", "308 https://[::1]/x"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{host}{path}");
        }
        let post = "POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(browser.send(post).await, "308 https://shop.example/x");
        assert_eq!(over_tls(&bed, "/api/v1").await, "/api>/v1");
        assert_eq!(over_tls(&bed, "/v1").await, ">/v1");
        bed.haproxy.stop().await.unwrap();
    }
}

/// Rules that are fixed in the configuration go first, and see paths as they were sent.
#[tokio::test]
async fn fixed_rules_are_asked_before_a_route_changes_anything() {
    let routes = [
        route("*", "/x", "echo", 0).with_strip_prefix(true),
        route("fixed.example", "/in", "echo", 9).with_redirect_https(true),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer) in [
            ("fixed.example", "/in/y", "503"),
            ("FIXED.example.:80", "/in", "503"),
            ("fixed.example", "/x/in", "/x>/in"),
            ("other.example", "/x/in", "/x>/in"),
            ("other.example", "/in", "404"),
            (".fixed.example", "/in", "404"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{host}{path}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}

/// The answer for shop.example over TLS.
async fn over_tls(bed: &Bed, path: &str) -> String {
    let pem = std::fs::read(bed.place.dir.path().join("site.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("site.example").unwrap();
    let exchange = async {
        let stream = TcpStream::connect(bed.https).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // How the connection ends is another matter.
        let _end = stream.read_to_string(&mut answer).await;
        answer
    };
    let answer = timeout(LONG, exchange).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

/// A frontend of former lines finds no backend of such a name: a request is never served without the option.
#[tokio::test]
async fn a_frontend_that_knows_no_options_serves_no_route_that_has_one() {
    let routes = [
        route("shop.example", "/", "s0", 0),
        route("shop.example", "/safe", "s0", 0).with_redirect_https(true),
        route("shop.example", "/api", "s0", 0).with_strip_prefix(true),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let mut bed = Bed::start(&executable, &map, &["s0"]).await;
        let config = std::fs::read_to_string(&bed.place.config).unwrap();
        let former: Vec<&str> = config
            .lines()
            .filter(|line| !line.contains("redirect") && !line.contains("lb_strip"))
            .collect();
        let former = former.join("\n").replace(
            "set-var(txn.lb_backend) var(txn.lb_route),field(1,|)",
            "set-var(txn.lb_backend) var(txn.lb_route)",
        );
        std::fs::write(&bed.place.config, former + "\n").unwrap();
        bed.haproxy.reload().await.unwrap();
        let mut browser = Browser::connect(bed.http).await;
        assert_eq!(browser.ask("shop.example", "/").await, "s0");
        assert_eq!(browser.ask("shop.example", "/safe").await, "503");
        assert_eq!(browser.ask("shop.example", "/api").await, "503");
    }
}

/// An option that a frontend does not have is refused with its name.
#[test]
fn options_that_no_frontend_has_are_refused() {
    let deep = stripping("/1/2/3/4/5/6/7/8/9");
    let issues = compile_http([&deep], own_name).issues;
    assert!(
        matches!(
            issues[0].reason,
            RouteFault::Option {
                option: "strip_prefix",
                ..
            }
        ),
        "{issues:?}"
    );
    let tcp = route("db.example", "/", "db", 0).with_redirect_https(true);
    let issues = compile_sni([&tcp], own_name).issues;
    assert!(
        matches!(
            issues[0].reason,
            RouteFault::Option {
                option: "redirect_https",
                ..
            }
        ),
        "{issues:?}"
    );
    // Two routes of one place: the stricter is in effect, and the other is no harmless double.
    let plain = route("shop.example", "/", "s0", 0);
    let strict = plain.clone().with_redirect_https(true);
    let compiled = compile_http([&plain, &strict], own_name);
    assert_eq!(compiled.map.file_text(), "shop.example/ s0|https|0\n");
    assert!(!compiled.issues[0].is_harmless());
}
