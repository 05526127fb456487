//! Few routes: what is answered, and what cannot be met.

use lb_core::{Name, Route};
use lb_haproxy::{
    driver::{MapError, converge_map},
    proto::{Accepted, Command, MapName, parse_map_entries, verdict},
    routes::{MapChange, MapStage, RouteMap, ServiceMap, compile_http},
};

use crate::{bed::*, load::*, support::executables};

#[tokio::test]
async fn requests_go_where_the_routes_say() {
    for executable in executables() {
        let routes = overlapping();
        let map = compile_http(&routes, own_name).map;
        let bed = Bed::start(&executable, &map, &SERVICES).await;
        let mut browser = Browser::connect(bed.http).await;
        check_all(&mut browser, &routes, "from the file").await;

        // I3: what was loaded from the file needs no command.
        let mut client = bed.client().await;
        assert!(bed.converge(&mut client, &map).await.is_none());

        for (host, path, answer) in [
            ("SHOP.Example:8080", "/api", "s1"),
            ("shop.example.", "/api?x=/api/v1", "s1"),
            ("shop.example.:80", "/", "s0"),
            ("[::1]:8080", "/fallback", "s10"),
            ("[::1]", "/", "404"),
            ("10.0.0.1:80", "/fallback", "s10"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{host} {path}");
        }
        let asterisk = "OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        assert_eq!(browser.send(asterisk).await, "s0");
        let absolute = "GET http://shop.example/api HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        assert_eq!(browser.send(absolute).await, "s1");
        let long = format!("/api/{}", "x".repeat(8000));
        assert_eq!(browser.ask("shop.example", &long).await, "s1");
        let without_host = "GET /fallback HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(browser.send(without_host).await, "s10");
        bed.haproxy.stop().await.unwrap();
    }
}

/// The state of routes that many small changes lead through, each checked by requests.
#[tokio::test]
async fn requests_follow_each_change() {
    for executable in executables() {
        let all = overlapping();
        let bed = Bed::start(&executable, &RouteMap::default(), &SERVICES).await;
        let mut client = bed.client().await;
        let mut browser = Browser::connect(bed.http).await;
        for skipped in 0..all.len() {
            // Each time other routes are left out, and the services move on by one.
            let routes: Vec<Route> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| at % (skipped + 2) != 0)
                .map(|(_, route)| route.clone())
                .collect();
            let map = compile_http(&routes, own_name).map;
            bed.converge(&mut client, &map).await;
            assert!(bed.converge(&mut client, &map).await.is_none());
            let mut answered = Vec::new();
            for host in HOSTS {
                for path in ["/", "/api/v1", "/only/x", "/.well-known/acme-challenge/t"] {
                    answered.push((browser.ask(host, path).await, expected(&routes, host, path)));
                }
            }
            assert!(
                answered.iter().all(|(got, want)| got == want),
                "{answered:?}"
            );
        }
        let none = bed.converge(&mut client, &RouteMap::default()).await;
        assert!(!none.is_none());
        assert_eq!(browser.ask("shop.example", "/").await, "404");
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn known_routes_without_endpoints_answer_503_and_unknown_ones_404() {
    for executable in executables() {
        let routes = [
            route("*", "/served", "s0", 0),
            route("empty.example", "/", "empty", 0),
            route("none.example", "/", "none", 0),
            route("lost.example", "/", "lost", 0),
        ];
        let backend = |service: &Name| (service.as_str() != "none").then(|| service.clone());
        let map = compile_http(&routes, backend).map;
        let bed = Bed::start(&executable, &map, &["s0"]).await;
        let mut browser = Browser::connect(bed.http).await;
        for (host, path, answer, why) in [
            ("x", "/served", "s0", "a backend that serves"),
            (
                "empty.example",
                "/served",
                "503",
                "a backend without a ready server",
            ),
            ("none.example", "/", "503", "a service without a backend"),
            (
                "lost.example",
                "/",
                "503",
                "a backend that HAProxy does not have",
            ),
            ("x", "/", "404", "no route"),
            ("served.example", "/serve", "404", "no route"),
        ] {
            assert_eq!(browser.ask(host, path).await, answer, "{why}");
        }
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_map_of_services_is_kept_by_haproxy() {
    for executable in executables() {
        let bed = Bed::start(&executable, &RouteMap::default(), &["s0"]).await;
        let map: MapName = bed
            .routes
            .as_str()
            .replace("routes", "services")
            .parse()
            .unwrap();
        let mut services = ServiceMap::default();
        services.assign("shop".parse().unwrap(), "spare1".parse().unwrap());
        services.assign("a.b:c_d-e".parse().unwrap(), "spare2".parse().unwrap());
        let mut client = bed.client().await;
        let wanted = services.to_map();
        converge_map(&mut client, &map, &wanted, &bed.capabilities)
            .await
            .unwrap();
        let reply = client.exec(&Command::ShowMap(Some(map))).await.unwrap();
        let (read, faults) = ServiceMap::from_entries(&parse_map_entries(reply.text()).unwrap());
        assert_eq!((read, faults.len()), (services, 0));
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_map_that_haproxy_does_not_have_is_an_error() {
    for executable in executables() {
        let bed = Bed::start(&executable, &RouteMap::default(), &["s0"]).await;
        let mut client = bed.client().await;
        let map: MapName = "/nowhere.map".parse().unwrap();
        let result = converge_map(&mut client, &map, &RouteMap::default(), &bed.capabilities).await;
        assert!(
            matches!(result, Err(MapError::Refused { .. })),
            "{result:?}"
        );
        bed.haproxy.stop().await.unwrap();
    }
}

#[tokio::test]
async fn case_p13_doubled_entries_and_abandoned_transactions_do_not_stay_in_the_way() {
    for executable in executables() {
        let wanted = fleet(200, "s1");
        let bed = Bed::start(&executable, &wanted, &["s0", "s1", "s2"]).await;
        let mut client = bed.client().await;
        let mut browser = Browser::connect(bed.http).await;
        // Another hand adds an entry that exists, and one that nobody wants.
        for key in ["h1.example/p1/", "foreign.example/"] {
            let add = Command::AddMap {
                map: bed.routes.clone(),
                version: None,
                key: key.parse().unwrap(),
                value: "s2".parse().unwrap(),
            };
            assert!(client.exec(&add).await.unwrap().is_empty());
        }
        bed.converge(&mut client, &wanted).await;
        assert!(bed.converge(&mut client, &wanted).await.is_none());
        let show = Command::ShowMap(Some(bed.routes.clone()));
        let observed = client.exec(&show).await.unwrap();
        let doubled = observed.text().matches(" h1.example/p1/ ").count();
        // Without transactions a second entry stays where the first one has the value: no request finds it.
        let expected = if bed.capabilities.map_transactions {
            1
        } else {
            2
        };
        assert_eq!(doubled, expected, "{}", observed.text());
        assert_eq!(browser.ask("h1.example", "/p1").await, "s1");
        assert_eq!(browser.ask("foreign.example", "/").await, "404");

        let next = fleet(200, "s2");
        if bed.capabilities.map_transactions {
            let show = Command::ShowMap(Some(bed.routes.clone()));
            let observed = client.exec(&show).await.unwrap();
            let observed = parse_map_entries(observed.text()).unwrap();
            let change = MapChange::new(&bed.routes, &observed, &next, &bed.capabilities);
            let [MapStage::Transaction(transaction)] = change.stages.as_slice() else {
                panic!("{change}, expected one transaction");
            };
            // One is left as a crash would leave it, one is given up.
            for give_up in [false, true] {
                let begin = transaction.begin();
                let reply = client.exec(&begin).await.unwrap();
                let Ok(Accepted::Version(version)) = verdict(&begin, &reply) else {
                    panic!("{reply:?}");
                };
                let mut commands = transaction.fill(version);
                commands.extend(give_up.then(|| transaction.abort(version)));
                for reply in client.exec_all(&commands).await {
                    assert!(reply.unwrap().is_empty());
                }
            }
            assert!(bed.converge(&mut client, &wanted).await.is_none());
            assert_eq!(browser.ask("h1.example", "/p1").await, "s1");
        }
        bed.converge(&mut client, &next).await;
        assert!(bed.converge(&mut client, &next).await.is_none());
        assert_eq!(browser.ask("h1.example", "/p1").await, "s2");
        bed.haproxy.stop().await.unwrap();
    }
}
