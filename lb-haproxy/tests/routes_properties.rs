//! Routes as maps, by properties: compiled maps against the order of the routes, changes against both of their ends.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end in a panic"
)]

use std::collections::BTreeSet;

use lb_core::{
    Name, PathMatch, Route, RouteHost,
    model::{Rank, withheld_tcp},
};
use lb_haproxy::{
    capability::Capabilities,
    proto::{Command, MapEntry, MapKey, MapName, MapValue, MapVersion, parse_map_entries},
    routes::{
        MAX_ENTRIES, MapChange, MapStage, RouteFault, RouteMap, Transaction, UNAVAILABLE,
        UNAVAILABLE_TCP, compile_http, compile_sni,
    },
};
use proptest::prelude::*;

/// The invariant: a compiled map finds, for every request, the route that takes it.
fn first_match<'a>(routes: &'a [Route], host: &str, path: &str) -> Option<&'a str> {
    Some(Route::taker(routes, host, path)?.service.as_str())
}

/// Returns `true` if every program reads the path in the same way.
fn is_normal(path: &str) -> bool {
    !path.contains("//")
}

fn labels(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "a", "b"]), 1..=most)
        .prop_map(|labels| labels.join("."))
}

fn host() -> impl Strategy<Value = RouteHost> {
    prop_oneof![
        2 => Just(RouteHost::Any),
        4 => labels(3).prop_map(|host| host.parse().unwrap()),
        4 => labels(2).prop_map(|domain| format!("*.{domain}").parse().unwrap()),
    ]
}

fn path_text(most: usize) -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["x", "x", "y", "xy", ""]);
    prop::collection::vec(segment, 0..=most).prop_map(|segments| format!("/{}", segments.join("/")))
}

/// The path of a route, which is in normal form.
fn normal_text(most: usize) -> impl Strategy<Value = String> {
    path_text(most).prop_map(|path| {
        let mut path = path;
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    })
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        1 => Just(PathMatch::any()),
        3 => normal_text(3).prop_map(|path| path.parse().unwrap()),
        2 => normal_text(3).prop_map(|path| format!("={path}").parse().unwrap()),
        2 => normal_text(3).prop_map(|path| format!("^{path}").parse().unwrap()),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    (host(), path(), 0..6_u8, standing()).prop_map(|(host, path, service, standing)| {
        let service = format!("s{service}").parse().unwrap();
        standing.of(Route::new(host, path, service))
    })
}

/// A priority, and a place among the routes of a scheme.
#[derive(Debug, Clone)]
struct Standing(i32, Option<Rank>);

impl Standing {
    fn of(self, mut route: Route) -> Route {
        route.rank = self.1;
        route.with_priority(self.0)
    }
}

fn standing() -> impl Strategy<Value = Standing> {
    let rank = (0..2_u8, 0..4_i32, 0..2_u8).prop_map(|(scheme, number, order)| {
        let scheme = format!("scheme-{scheme}").parse().unwrap();
        Rank::new(scheme, number).with_order(format!("{order}"))
    });
    prop_oneof![
        3 => (-1..=2_i32).prop_map(|priority| Standing(priority, None)),
        3 => rank.clone().prop_map(|rank| Standing(0, Some(rank))),
        // One that is lowered because of an earlier source.
        1 => rank.prop_map(|rank| Standing(-1, Some(rank))),
    ]
}

/// Few hosts and paths that lie in each other, so that many routes meet.
fn nested_route() -> impl Strategy<Value = Route> {
    let host = prop::sample::select(vec!["*", "*.a", "*.a.a", "a.a", "a.a.a"]);
    let path = prop::sample::select(vec!["/", "/x", "/x/x", "^/x", "^/x/x", "=/x", "=/x/x"]);
    (host, path, 0..6_u8, standing()).prop_map(|(host, path, service, standing)| {
        standing.of(route_of(host, path, &format!("s{service}"), 0))
    })
}

fn routes(most: usize) -> impl Strategy<Value = Vec<Route>> {
    prop_oneof![
        prop::collection::vec(route(), 0..most),
        prop::collection::vec(nested_route(), 0..most),
    ]
}

fn requests() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((labels(5), path_text(5)), 40)
}

/// Requests on the borders of what the routes name, where mistakes would be.
fn near(routes: &[Route]) -> Vec<(String, String)> {
    let hosts = routes.iter().flat_map(|route| match &route.host {
        RouteHost::Any => vec!["d".to_owned()],
        RouteHost::Exact(host) => vec![host.to_string(), format!("d.{host}")],
        RouteHost::Wildcard(domain) => vec![domain.to_string(), format!("d.{domain}")],
    });
    let paths: BTreeSet<String> = routes
        .iter()
        .flat_map(|route| {
            let text = route.path.to_string();
            let path = text.trim_start_matches(['=', '^']).to_owned();
            [
                format!("{path}/"),
                format!("{path}/d"),
                format!("{path}d"),
                path,
            ]
        })
        .collect();
    let hosts: BTreeSet<String> = hosts.collect();
    hosts
        .iter()
        .flat_map(|host| paths.iter().map(|path| (host.clone(), path.clone())))
        .collect()
}

fn own_name(service: &Name) -> Option<Name> {
    Some(service.clone())
}

fn map_name() -> MapName {
    "/etc/haproxy/routes.map".parse().unwrap()
}

fn observed(map: &RouteMap) -> Vec<MapEntry> {
    let dump: String = map
        .entries()
        .map(|(key, value)| format!("0x1 {key} {value}\n"))
        .collect();
    parse_map_entries(&dump).unwrap()
}

/// HAProxy's entries after a command; `del` takes all entries of a key, as before 3.4.
fn after(entries: &[(String, String)], command: &Command) -> Vec<(String, String)> {
    let mut entries = entries.to_vec();
    match command {
        Command::AddMap { key, value, .. } => {
            entries.push((key.to_string(), value.to_string()));
        }
        Command::SetMap { key, value, .. } => {
            let mut hit = false;
            for entry in entries.iter_mut().filter(|entry| entry.0 == key.as_str()) {
                entry.1 = value.to_string();
                hit = true;
            }
            assert!(hit, "set of the missing key {key}");
        }
        Command::DelMap { key, .. } => {
            let before = entries.len();
            entries.retain(|entry| entry.0 != key.as_str());
            assert!(entries.len() < before, "del of the missing key {key}");
        }
        other => panic!("no single edit: {other:?}"),
    }
    entries
}

fn pairs(map: &RouteMap) -> Vec<(String, String)> {
    map.entries()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// The entries that a transaction fills in.
fn transaction_entries(transaction: &Transaction) -> Vec<(String, String)> {
    let commands = transaction.fill(MapVersion::new(1));
    let mut pairs = Vec::new();
    for command in commands {
        match command {
            Command::AddMapEntries { entries, .. } => {
                pairs.extend(
                    entries
                        .iter()
                        .map(|(key, value)| (key.to_string(), value.to_string())),
                );
            }
            Command::AddMap { key, value, .. } => pairs.push((key.to_string(), value.to_string())),
            other => panic!("no entry: {other:?}"),
        }
    }
    pairs
}

/// The values that a request may find whose looks are made at moments that follow one another.
fn findable<'a>(moments: &[Vec<Option<&'a MapValue>>]) -> BTreeSet<Option<&'a MapValue>> {
    let mut found = BTreeSet::new();
    let mut earliest = 0;
    for look in 0..moments.first().map_or(0, Vec::len) {
        let now = moments.iter().enumerate().skip(earliest);
        let (hits, misses): (Vec<_>, Vec<_>) = now
            .map(|(moment, looks)| (moment, looks.get(look).copied().flatten()))
            .partition(|(_, value)| value.is_some());
        found.extend(hits.into_iter().map(|(_, value)| value));
        match misses.first() {
            Some((moment, _)) => earliest = *moment,
            None => return found,
        }
    }
    found.insert(None);
    found
}

fn as_map(entries: &[(String, String)]) -> RouteMap {
    RouteMap::new(
        entries
            .iter()
            .map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_compiled_map_finds_the_first_route_that_matches(routes in routes(14), random in requests()) {
        let compiled = compile_http(&routes, own_name);
        for (host, path) in near(&routes).into_iter().chain(random) {
            let sent = first_match(&routes, &host, &path);
            let found = compiled.map.lookup(&host, &path).map(|value| value.as_str());
            // One that has other readings is found as it was sent, or refused.
            let expected = if found.is_none() && !is_normal(&path) { None } else { sent };
            prop_assert_eq!(found, expected, "{} {}\n{}", host, path, compiled.map.file_text());
            let merged = path.replace("///", "/").replace("//", "/");
            let normal = first_match(&routes, &host, &merged);
            prop_assert!(found.is_none() || found == normal, "{host} {path}");
        }
    }

    #[test]
    fn a_route_without_effect_gets_no_request(routes in routes(14), random in requests()) {
        let compiled = compile_http(&routes, own_name);
        let idle: BTreeSet<&Route> = compiled.issues.iter().map(|issue| &issue.route).collect();
        for (host, path) in near(&routes).into_iter().chain(random) {
            let taker = Route::taker(&routes, &host, &path);
            prop_assert!(taker.is_none_or(|taker| !idle.contains(taker)), "{taker:?}");
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(routes in routes(14)) {
        let mut reversed = routes.clone();
        reversed.reverse();
        prop_assert_eq!(compile_http(&routes, own_name), compile_http(&reversed, own_name));
    }

    #[test]
    fn server_names_find_the_first_route_that_matches(
        hosts in prop::collection::vec((host(), 0..6_u8, standing()), 0..14),
        random in prop::collection::vec(labels(5), 20),
    ) {
        let routes: Vec<Route> = hosts
            .into_iter()
            .map(|(host, service, standing)| {
                standing.of(Route::new(host, PathMatch::any(), format!("s{service}").parse().unwrap()))
            })
            .collect();
        let compiled = compile_sni(&routes, own_name);
        for host in near(&routes).into_iter().map(|(host, _)| host).chain(random) {
            let found = compiled.map.lookup_sni(&host).map(|value| value.as_str());
            prop_assert_eq!(found, first_match(&routes, &host, "/"), "{}", host);
        }
    }

    /// I12 and I1: at every moment of a change each request finds what it found before or what it is to find.
    #[test]
    fn no_prefix_of_a_change_misroutes(
        before in routes(8),
        desired in routes(8),
        random in requests(),
        old in any::<bool>(),
        many in any::<bool>(),
    ) {
        let capabilities = if old { Capabilities::of(2, 2) } else { Capabilities::of(3, 2) };
        let mut requests = near(&before);
        requests.extend(near(&desired));
        requests.extend(random);
        // Each of many hosts changes too, so that single edits are too many.
        let hosts = |service: &str| -> Vec<Route> {
            let count = if many { 70 } else { 0 };
            (0..count).map(|n| route_of(&format!("h{n}.a"), "/", service, 0)).collect()
        };
        let before: Vec<Route> = before.into_iter().chain(hosts("s0")).collect();
        let desired: Vec<Route> = desired.into_iter().chain(hosts("s1")).collect();
        requests.extend(["h1.a", "h69.a", "h70.a"].map(|host| (host.to_owned(), "/x".to_owned())));
        let from = compile_http(&before, own_name).map;
        let to = compile_http(&desired, own_name).map;
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(host, path)| {
                let as_sent = |map: &RouteMap| map.looks(&host, &path).into_iter().flatten().next().cloned();
                let ends = [as_sent(&from), as_sent(&to)];
                (host, path, ends)
            })
            .collect();
        let change = MapChange::new(&map_name(), &observed(&from), &to, &capabilities);
        prop_assert!(change.left.is_empty());
        let mut entries = pairs(&from);
        for stage in &change.stages {
            // What the map has been since the stage began: a request may see the one at one look, a later one at the next.
            let mut moments = vec![as_map(&entries)];
            match stage {
                MapStage::Edits(commands) => {
                    for command in commands {
                        entries = after(&entries, command);
                        moments.push(as_map(&entries));
                    }
                }
                MapStage::Transaction(transaction) => {
                    entries = transaction_entries(transaction);
                    moments.push(as_map(&entries));
                }
                other => panic!("a stage that this test does not know: {other:?}"),
            }
            for (host, path, ends) in &requests {
                let looks: Vec<_> = moments.iter().map(|map| map.looks(host, path)).collect();
                for found in findable(&looks) {
                    prop_assert!(ends.contains(&found.cloned()), "{host} {path} finds {found:?} in {stage:?}");
                }
            }
        }
        prop_assert_eq!(as_map(&entries), to.clone());
        // I3: with the change made, nothing is left to do.
        prop_assert!(MapChange::new(&map_name(), &observed(&to), &to, &capabilities).is_none());
    }

    #[test]
    fn files_are_read_back_as_they_were_written(routes in routes(14)) {
        let map = compile_http(&routes, own_name).map;
        prop_assert_eq!(RouteMap::parse_file(&map.file_text()).unwrap(), map);
    }
}

fn route_of(host: &str, path: &str, service: &str, priority: i32) -> Route {
    Route::new(
        host.parse().unwrap(),
        path.parse().unwrap(),
        service.parse().unwrap(),
    )
    .with_priority(priority)
}

#[test]
fn a_service_without_backend_is_unavailable_and_no_other_gets_its_requests() {
    let routes = [
        route_of("*", "/", "rest", 0),
        route_of("shop.example", "/", "gone", 0),
    ];
    let compiled = compile_http(&routes, |service| {
        (service.as_str() != "gone").then(|| service.clone())
    });
    assert_eq!(
        compiled.map.lookup("shop.example", "/").unwrap().as_str(),
        UNAVAILABLE
    );
    assert_eq!(
        compiled.map.lookup("else.example", "/").unwrap().as_str(),
        "rest"
    );
}

#[test]
fn a_priority_that_goes_against_specificity_adds_only_what_it_needs() {
    let mut routes: Vec<Route> = (0..1000)
        .map(|n| route_of(&format!("h{n}.example"), "/", &format!("s{n}"), 0))
        .collect();
    assert_eq!(compile_http(&routes, own_name).map.len(), 1000);
    routes.push(route_of("*", "/.well-known/acme-challenge", "acme", 1));
    let compiled = compile_http(&routes, own_name);
    assert_eq!(compiled.map.len(), 2001);
    assert!(compiled.issues.is_empty());
}

/// S2: where a scheme ranks its routes, it takes no request of another's, and hosts that share no path need no more entries.
#[test]
fn case_s02_ranks_of_a_scheme_take_nothing_of_others() {
    let ranked = |host: &str, path: &str, service: &str, number| {
        let scheme = "traefik".parse().unwrap();
        route_of(host, path, service, 0).with_rank(Rank::new(scheme, number))
    };
    let mut routes: Vec<Route> = (0..100)
        .map(|n| route_of(&format!("h{n}.example"), "/", &format!("s{n}"), 0))
        .collect();
    routes.push(ranked("*", "^/.well-known/acme-challenge", "acme", 42));
    routes.push(ranked("shop.example", "/", "shop", 20));
    routes.push(route_of("shop.example", "/cart", "cart", 0));
    routes.push(ranked("*", "/cart", "carts", 99));
    routes.push(route_of("*", "/", "rest", 0));
    routes.push(ranked("*", "/", "catch", 999));
    let compiled = compile_http(&routes, own_name);
    for (host, path, service) in [
        ("h7.example", "/.well-known/acme-challenge/x", "s7"),
        ("shop.example", "/.well-known/acme-challenge/x", "catch"),
        ("shop.example", "/cart", "cart"),
        ("else.example", "/cart", "catch"),
        ("else.example", "/", "rest"),
    ] {
        let found = compiled.map.lookup(host, path).unwrap();
        assert_eq!(found.as_str(), service, "{host}{path}");
    }
    routes.retain(|route| route.service.as_str() != "catch");
    let compiled = compile_http(&routes, own_name);
    let acme = compiled
        .map
        .lookup("shop.example", "/.well-known/acme-challenge/x");
    assert_eq!(acme.unwrap().as_str(), "acme");
    assert_eq!(
        compiled.map.lookup("shop.example", "/").unwrap().as_str(),
        "shop"
    );
    assert_eq!(compiled.issues, []);
    assert!(compiled.map.len() < 110, "{}", compiled.map.file_text());
}

#[test]
fn entries_that_a_host_takes_over_keep_what_was_found_before() {
    let narrow = [
        route_of("b.a", "/x", "first", 2),
        route_of("*", "/x/y", "second", 1),
        route_of("b.a", "/", "third", 0),
    ];
    let wide = [
        route_of("*.a", "/x", "first", 2),
        route_of("*", "/x/y", "second", 1),
        route_of("b.a", "/", "third", 0),
    ];
    for routes in [narrow, wide] {
        let map = compile_http(&routes, own_name).map;
        for path in ["/", "/x", "/x/y", "/x/y/z", "/z"] {
            let found = map.lookup("b.a", path).map(|value| value.as_str());
            assert_eq!(found, first_match(&routes, "b.a", path), "{path}");
        }
    }
}

/// H7: the routes that need the entries are refused, and no others.
#[test]
fn case_h07_priorities_that_need_too_many_entries_are_refused_and_disturb_no_other() {
    let hosts = (0..1000).map(|n| route_of(&format!("h{n}.example"), "/", "host", 0));
    let paths = (0..1000).map(|n| route_of("*", &format!("/p{n}"), "path", 1));
    let small = route_of("*", "/.well-known", "acme", 1);
    let routes: Vec<Route> = hosts.chain(paths).chain([small]).collect();
    let compiled = compile_http(&routes, own_name);
    assert!(compiled.map.len() <= MAX_ENTRIES && compiled.map.len() > 10_000);
    assert!(!compiled.issues.is_empty());
    for issue in &compiled.issues {
        assert_eq!(issue.route.service.as_str(), "path", "{issue}");
        assert!(
            matches!(issue.reason, RouteFault::TooManyEntries { .. }),
            "{issue:?}"
        );
    }
    for n in [0, 999] {
        let found = |path: &str| compiled.map.lookup(&format!("h{n}.example"), path);
        assert_eq!(found("/").unwrap().as_str(), "host");
        assert_eq!(found("/.well-known/x").unwrap().as_str(), "acme");
    }
}

#[test]
fn a_route_that_cannot_be_met_is_named_and_disturbs_no_other() {
    let routes = [
        route_of("*.a.b.c.d.e.f.g", "/", "deep", 0),
        Route::new(
            "a.example".parse().unwrap(),
            PathMatch::Prefix("/x;y".into()),
            "semicolon".parse().unwrap(),
        ),
        route_of("a.example", "^/x", "strip", 0).with_strip_prefix(true),
        route_of("a.example", "/", "one", 0),
        route_of("a.example", "/", "two", 0),
        Route::new(
            RouteHost::Exact("a b".into()),
            PathMatch::any(),
            "raw".parse().unwrap(),
        ),
    ];
    let compiled = compile_http(&routes, own_name);
    assert_eq!(compiled.map.file_text(), "a.example/ one\n");
    let reason = |service: &str| {
        let issue = compiled
            .issues
            .iter()
            .find(|issue| issue.route.service.as_str() == service);
        &issue.unwrap().reason
    };
    assert_eq!(*reason("deep"), RouteFault::TooDeep { labels: 7 });
    assert!(matches!(reason("strip"), RouteFault::Option { .. }));
    assert!(matches!(reason("semicolon"), RouteFault::Invalid(_)));
    assert!(matches!(reason("raw"), RouteFault::Invalid(_)));
    assert!(matches!(reason("two"), RouteFault::Shadowed { by } if by.service.as_str() == "one"));

    let tcp = [route_of("a.example", "/x", "tcp", 0)];
    let compiled = compile_sni(&tcp, own_name);
    assert_eq!(compiled.issues.len(), 1);
    assert_eq!(
        compiled.issues.first().unwrap().reason,
        RouteFault::PathOfTcp
    );
}

/// S4: connections have no path. Those of a host that is asked for with one reach no wider route.
#[test]
fn case_s04_a_path_of_tcp_closes_its_host_unless_it_has_a_route() {
    let to = |host: &str, routes: &[Route]| {
        let compiled = compile_sni(routes, own_name);
        let found = compiled.map.lookup_sni(host).map(|value| value.to_string());
        let refused = compiled.issues.iter().map(|issue| &issue.route.path);
        (found, refused.cloned().collect::<Vec<PathMatch>>())
    };
    let wide = route_of("*", "/", "wide", 0);
    let path = |service: &str| route_of("db.example", "/x", service, 0);
    let refused = || vec![path("db").path];
    let closed = Some(UNAVAILABLE_TCP.to_owned());
    for narrow in [path("db"), path(withheld_tcp().as_str())] {
        let both = [wide.clone(), narrow.clone()];
        assert_eq!(to("db.example", &both), (closed.clone(), refused()));
        let other = to("else.example", &both);
        assert_eq!(other, (Some("wide".to_owned()), refused()));
        let own = [wide.clone(), narrow, route_of("db.example", "/", "own", 0)];
        assert_eq!(to("db.example", &own), (Some("own".to_owned()), refused()));
    }
}

#[test]
fn many_changes_are_one_transaction_where_there_are_transactions() {
    let routes = |service: &str| -> Vec<Route> {
        (0..500)
            .map(|n| route_of(&format!("h{n}.example"), "/", service, 0))
            .collect()
    };
    let from = compile_http(&routes("old"), own_name).map;
    let to = compile_http(&routes("new"), own_name).map;
    let change = |major, minor| {
        MapChange::new(
            &map_name(),
            &observed(&from),
            &to,
            &Capabilities::of(major, minor),
        )
    };
    let changed = change(2, 4);
    let [MapStage::Transaction(transaction)] = changed.stages.as_slice() else {
        panic!("{changed} on 2.4");
    };
    assert!(transaction.verify(&observed(&to)).is_ok());
    assert!(transaction.verify(&observed(&from)).is_err());
    let changed = change(2, 2);
    let [MapStage::Edits(commands)] = changed.stages.as_slice() else {
        panic!("{changed} on 2.2");
    };
    assert_eq!(commands.len(), 500);
    assert!(
        !commands
            .iter()
            .any(|c| matches!(c, Command::ClearMap { .. }))
    );
}

/// A pause is for requests that look for both: those of hosts that have nothing to do with each other need none.
#[test]
fn a_stage_begins_where_one_request_could_look_for_both_keys_and_nowhere_else() {
    let stages = |hosts: &[&str], capabilities: &Capabilities| {
        let routes: Vec<Route> = hosts
            .iter()
            .map(|host| route_of(host, "/", "web", 0))
            .collect();
        let to = compile_http(&routes, own_name).map;
        MapChange::new(&map_name(), &[], &to, capabilities)
            .stages
            .len()
    };
    for capabilities in [Capabilities::of(2, 2), Capabilities::of(3, 2)] {
        let stages = |hosts: &[&str]| stages(hosts, &capabilities);
        // A wildcard is not for its own domain.
        assert_eq!(
            stages(&[
                "one.example",
                "*.one.example",
                "two.example",
                "*.two.example"
            ]),
            1
        );
        assert_eq!(stages(&["a.one.example", "*.one.example"]), 2);
        assert_eq!(
            stages(&["a.one.example", "*.one.example", "*.a.one.example"]),
            2
        );
        assert_eq!(
            stages(&["b.a.one.example", "*.a.one.example", "*.one.example"]),
            3
        );
        assert_eq!(stages(&["one.example", "*"]), 2);
        assert_eq!(stages(&["*.one.example", "*.two.example", "*"]), 2);
    }
}

#[test]
fn entries_of_others_are_removed_by_a_transaction_or_named() {
    let to = RouteMap::parse_file("a.example/ a\n").unwrap();
    let found = parse_map_entries("0x1 a.example/ a\n0x2 b;c/ x\n").unwrap();
    let change = MapChange::new(&map_name(), &found, &to, &Capabilities::of(3, 0));
    assert!(matches!(
        change.stages.as_slice(),
        [MapStage::Transaction(_)]
    ));
    let change = MapChange::new(&map_name(), &found, &to, &Capabilities::of(2, 2));
    assert_eq!(change.left, ["b;c/"]);
    assert!(change.is_none());
}

#[test]
fn a_doubled_entry_is_made_single_or_made_harmless() {
    let to = RouteMap::parse_file("a.example/ a\n").unwrap();
    let doubled = parse_map_entries("0x1 a.example/ a\n0x2 a.example/ b\n").unwrap();
    let change = MapChange::new(&map_name(), &doubled, &to, &Capabilities::of(3, 4));
    assert!(matches!(
        change.stages.as_slice(),
        [MapStage::Transaction(_)]
    ));
    let change = MapChange::new(&map_name(), &doubled, &to, &Capabilities::of(2, 2));
    let [MapStage::Edits(commands)] = change.stages.as_slice() else {
        panic!("{change} on 2.2");
    };
    let key: MapKey = "a.example/".parse().unwrap();
    assert!(matches!(commands.as_slice(), [Command::SetMap { key: set, .. }] if *set == key));
}
