//! Paths that programs read in different ways: `//`, `..`, codes and parameters.

use lb_core::{Name, model::withheld};
use lb_haproxy::{
    config::Rule,
    routes::{Answer, RouteMap, compile_http},
};

use crate::{bed::*, support::executables};

/// The answer of a frontend, by the model.
fn modelled(map: &RouteMap, host: &str, path: &str) -> String {
    match map.answer(host, path.split('?').next().unwrap()) {
        Answer::Found(value) => value.as_str().to_owned(),
        Answer::NotFound => "404".to_owned(),
        Answer::Refused => "400".to_owned(),
    }
}

/// S4, H14: whatever its spelling, a path below a withheld route reaches no wider one. What every program reads as a path
/// of one route is served, as it was sent.
#[tokio::test]
async fn case_s04_h14_no_spelling_of_a_path_reaches_a_wider_route() {
    let mut routes = vec![
        route("shop.example", "/", "echo", 0),
        route("shop.example", "/api", "s1", 0),
        route("shop.example", "/a", "s2", 0),
        route("plain.example", "/", "echo", 0),
        route("exact.example", "/", "s0", 0),
        route("exact.example", "=/", "s1", 0),
        route("exact.example", "=/in/", "s2", 0),
        route("below.example", "/only", "s3", 0),
        route("*", "/any", "s4", 9),
    ];
    for path in ["/admin", "^/admin"] {
        let mut route = route("shop.example", path, "echo", 0);
        route.service = withheld();
        routes.push(route);
    }
    let backend = |service: &Name| (*service != withheld()).then(|| service.clone());
    let map = compile_http(&routes, backend).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo", "s0", "s1", "s2", "s3", "s4"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer) in [
            ("shop.example", "/admin", "503"),
            ("shop.example", "/admin;x", "503"),
            ("shop.example", "/admin/%2e%2e/x", "400"),
            ("shop.example", "//admin", "400"),
            ("shop.example", "///admin/x?y", "400"),
            ("shop.example", "/%61dmin", "400"),
            ("shop.example", "/%61%64%6D%69%6e/x", "400"),
            ("shop.example", "/x/../admin", "400"),
            ("shop.example", "/x/%2e%2E/admin", "400"),
            ("shop.example", "/x/y/../../admin", "400"),
            ("shop.example", "/x%2f..%2fadmin", "400"),
            ("shop.example", "/x%2fy/../admin", "400"),
            ("shop.example", "/./admin", "400"),
            ("shop.example", "/.%2f.//admin", "400"),
            ("shop.example", "/x/..;y/admin", "400"),
            ("shop.example", "/;x/admin", "400"),
            ("shop.example", "/api;x", "400"),
            ("shop.example", "/api/../x", "400"),
            ("shop.example", "/x/../api", "400"),
            ("shop.example", "/a/b%00c", "400"),
            ("shop.example", "/b%", "400"),
            ("shop.example", "/b%zz", "400"),
            ("shop.example", "/../b", "400"),
            ("shop.example", "/%2561dmin", ">/%2561dmin"),
            (
                "shop.example",
                "/b//c/./d/../%65;x?//admin",
                ">/b//c/./d/../%65;x?//admin",
            ),
            (
                "shop.example",
                "/.well-known/%7euser",
                ">/.well-known/%7euser",
            ),
            ("shop.example", "/api/group%2Fproject//x;y", "s1"),
            ("shop.example", "/a%2db", ">/a%2db"),
            ("shop.example", "/a%2Fb", "400"),
            (
                "plain.example",
                "/x/../admin;y//%61%2fb",
                ">/x/../admin;y//%61%2fb",
            ),
            ("exact.example", "/x/..", "400"),
            ("exact.example", "/x/../", "400"),
            ("exact.example", "/in/.", "400"),
            ("exact.example", "/in//", "400"),
            ("exact.example", "/other/.", "s0"),
            ("below.example", "/only/../x", "400"),
            ("below.example", "/x/../only", "404"),
            ("below.example", "/only/x/..", "s3"),
            ("other.example", "/any/%61", "s4"),
            ("other.example", "//any", "404"),
            ("shop.example", "//any", "400"),
        ] {
            let version = &bed.capabilities.version;
            let answered = browser.ask(host, path).await;
            let known = modelled(&map, host, path);
            let known = match known.as_str() {
                "lb-unavailable" => "503".to_owned(),
                "echo" => format!(">{path}"),
                _ => known,
            };
            assert_eq!(answered, answer, "{version:?}: {host}{path}");
            assert_eq!(known, answer, "the model of {host}{path}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}

/// Rules that are fixed in the configuration are no easier to pass by.
#[tokio::test]
async fn case_h14_no_spelling_of_a_path_passes_a_fixed_rule_by() {
    let map = compile_http(&[route("*", "/", "s0", 0)], own_name).map;
    let rule = |host: &str, path: &str| Rule {
        host: host.parse().unwrap(),
        path: path.parse().unwrap(),
        // It has no server that is ready.
        backend: "empty".parse().unwrap(),
    };
    for executable in executables() {
        for with_map in [true, false] {
            let bed = Bed::with(&executable, &map, &["s0"], |main| {
                main.rules = vec![
                    rule("fixed.example", "/in"),
                    rule("*", "=/exact"),
                    rule("*", "^/be"),
                ];
                if !with_map {
                    main.route_map = None;
                    main.default_backend = None;
                }
            })
            .await;
            for (host, path, answer) in [
                ("fixed.example", "/in", "503"),
                ("fixed.example", "/in/x;y", "503"),
                ("fixed.example", "/inner", "s0"),
                ("fixed.example", "/x", "s0"),
                ("fixed.example", "/x//y/%61", "s0"),
                ("fixed.example", "//in", "400"),
                ("fixed.example", "/%69n", "400"),
                ("fixed.example", "/x/../in/y", "400"),
                ("fixed.example", "/in/../x", "400"),
                ("fixed.example", "/in;x", "400"),
                ("fixed.example", "/in%2fx", "400"),
                ("fixed.example", "/x/../exact", "400"),
                ("other.example", "//in", "s0"),
                ("other.example", "/exact", "503"),
                ("other.example", "/exact/.", "400"),
                ("other.example", "/bell//x", "503"),
                ("other.example", "/%62ell", "400"),
            ] {
                let mut browser = Browser::connect(bed.http).await;
                let answered = browser.ask(host, path).await;
                let version = &bed.capabilities.version;
                // Without a map there is nothing else to go to.
                let answer = if with_map || answer == "400" {
                    answer
                } else {
                    "503"
                };
                assert_eq!(
                    answered, answer,
                    "{version:?}, map {with_map}: {host}{path}"
                );
            }
            bed.haproxy.stop().await.unwrap();
        }
    }
}

/// A prefix is taken off the normal form, which is what other programs pass on; the rest keeps its codes.
#[tokio::test]
async fn case_h14_prefixes_are_taken_off_the_normal_form() {
    let routes = [
        route("shop.example", "/api", "echo", 0).with_strip_prefix(true),
        route("shop.example", "/a/b", "echo", 0).with_strip_prefix(true),
    ];
    let map = compile_http(&routes, own_name).map;
    for executable in executables() {
        let bed = Bed::start(&executable, &map, &["echo"]).await;
        let long = format!("/api/{}", "%2f".repeat(2000));
        for (path, answer) in [
            ("/api//v1?x//y", "/api>/v1?x//y"),
            ("/api/./v1/../%61/", "/api>/a/"),
            ("/api/x/../../api/v1", "/api>/v1"),
            (
                "/api/%2fapi%20x;y%0d%0a%C3%a9%25",
                "/api>/%2fapi%20x;y%0d%0a%C3%a9%25",
            ),
            ("/api/x/..", "/api>/"),
            ("/api/..", "400"),
            ("/api/../a/b/c", "400"),
            ("/a/./b/c", "404"),
            ("/a/b//", "/a/b>/"),
            (&long, "400"),
        ] {
            let mut browser = Browser::connect(bed.http).await;
            let version = &bed.capabilities.version;
            let answered = browser.ask("shop.example", path).await;
            assert_eq!(answered, answer, "{version:?}: {path}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}
