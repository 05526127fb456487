//! The host of a request, in every form that a client may write it.

use lb_core::Name;
use lb_haproxy::{
    capability::Capabilities,
    config::{Bind, Config, Frontend},
    driver::converge_map,
    proto::MapName,
    routes::{compile_http, compile_sni},
};

use crate::{
    bed::*,
    handshake::{client_hello, dial, tcp_server},
    http2::Http2,
    random::{Random, host},
    support::*,
};

/// Returns `true` if no backend is asked: some versions refuse what is no host.
pub(crate) fn is_refused(answer: &str) -> bool {
    matches!(answer, "400" | "reset")
}

pub(crate) fn is_host(meant: &str) -> bool {
    !meant.is_empty() && meant.split('.').all(|label| !label.is_empty())
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

/// H14: over HTTP/2, `:authority` counts, and the header only where there is none.
#[tokio::test]
async fn case_h14_the_authority_of_http2_counts() {
    let routes = [
        route("*", "/", "s0", 0),
        route("shop.example", "/", "s1", 0),
        route("*.wild.example", "/", "s2", 0),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &SERVICES).await;
        let mut client = Http2::connect(bed.http).await;
        let version = executable.version().await.unwrap();
        for (authority, host, answer) in [
            ("Shop.Example.:443", "", "s1"),
            ("", "Shop.Example.:443", "s1"),
            ("shop.example", "shop.example", "s1"),
            ("a.wild.example", "", "s2"),
            (".wild.example", "", "s0"),
            ("", ".wild.example", "s0"),
            ("..wild.example", "", "s0"),
            ("shop.example..", "", "s0"),
            ("wild.example", "", "s0"),
            ("", "", "s0"),
        ] {
            let fields = [(":authority", authority), ("host", host)];
            let given: Vec<(&str, &str)> = fields
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect();
            let answered = client.ask("/x", &given).await;
            assert!(
                answered == answer || (is_refused(&answered) && answer == "s0"),
                "{version}: {given:?}: {answered}, expected {answer}"
            );
        }
        // Two hosts in one request: the authority's, or none.
        let fields = [(":authority", "shop.example"), ("host", "a.wild.example")];
        let answered = client.ask("/x", &fields).await;
        assert!(
            answered == "s1" || is_refused(&answered),
            "{version}: {answered}"
        );
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
        let capabilities = Capabilities::of(version.major().into(), version.minor().into());
        let mut client = haproxy.connect().await.unwrap();
        let mut random = Random(7);
        for set in 0..12 {
            let mut routes = vec![route("*", "/", "s0", 0)];
            for service in ["s1", "s2", "s3"] {
                let host = random.one(&[
                    "shop.example",
                    "api.shop.example",
                    "b.example",
                    "*.example",
                    "*.shop.example",
                    "*.c.d.e.f.g.example",
                    "other",
                ]);
                routes.push(route(host, "/", service, 0));
            }
            routes.sort();
            let compiled = compile_sni(&routes, own_name).map;
            converge_map(&mut client, &map, &compiled, &capabilities)
                .await
                .unwrap();
            for _ in 0..25 {
                let (written, meant) = host(&mut random);
                let model = compiled.lookup_sni(&written).unwrap().as_str();
                let first = routes.iter().find(|route| route.host.matches(&meant));
                assert_eq!(model, first.unwrap().service.as_str(), "{written}");
                let front = ([127, 0, 0, 1], port).into();
                let answered = dial(front, &client_hello(&written)).await;
                assert_eq!(answered, model, "{version}, set {set}: {written}");
            }
        }
        haproxy.stop().await.unwrap();
    }
}
