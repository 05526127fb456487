//! Precedence between sources that do not share services: no number of a later source takes anything of an earlier one.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{net::SocketAddr, sync::Arc};

use lb_core::{
    Descriptor, Endpoint, Mode, Name, Record, RecordKey, Route, Snapshot, Weight,
    merge::{Merge, RecordChange, SourceId},
    model::Rank,
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(service: &str, id: &str, address: &str) -> Record {
    let key = RecordKey::new(name(service), name(id));
    Record::new(key, Endpoint::new(address.parse().unwrap()))
}

fn route(host: &str, path: &str, priority: i32, service: &str) -> Route {
    Route::new(host.parse().unwrap(), path.parse().unwrap(), name(service)).with_priority(priority)
}

/// Sources by their trust, in the order of precedence.
struct World {
    merge: Merge,
    sources: Vec<SourceId>,
    snapshot: Snapshot,
}

impl World {
    fn new(trusts: &[&str]) -> Self {
        let mut merge = Merge::default();
        let described = |(number, trust): (usize, &&str)| {
            let descriptor = Descriptor::new(name(&format!("s{number}")), "test");
            let descriptor = match trust.strip_prefix("local-") {
                Some(trust) => descriptor.with_trust(name(trust)).with_local_ids(),
                None => descriptor.with_trust(name(trust)),
            };
            merge.add_described(&descriptor)
        };
        let sources = trusts.iter().enumerate().map(described).collect();
        Self {
            merge,
            sources,
            snapshot: Snapshot::default(),
        }
    }

    fn change(&mut self, source: usize, key: RecordKey, record: Option<Record>) -> bool {
        let mut edit = self.snapshot.edit();
        let record = record.map(Arc::new);
        let source = *self.sources.get(source).unwrap();
        let urgent = self
            .merge
            .apply(source, RecordChange { key, record }, &mut edit);
        if let Some(next) = edit.commit() {
            self.snapshot = next;
        }
        urgent
    }

    fn set(&mut self, source: usize, record: Record) -> bool {
        self.change(source, record.key.clone(), Some(record))
    }

    fn remove(&mut self, source: usize, service: &str, id: &str) -> bool {
        self.change(source, RecordKey::new(name(service), name(id)), None)
    }

    /// `service/id=address`, all of them.
    fn endpoints(&self) -> Vec<String> {
        let services = self.snapshot.services();
        services
            .flat_map(|(service, known)| {
                known
                    .endpoints()
                    .map(move |(id, endpoint)| format!("{service}/{id}={}", endpoint.address))
            })
            .collect()
    }

    /// The service that a request goes to.
    fn takes(&self, host: &str, path: &str) -> Option<String> {
        Some(
            Route::taker(self.snapshot.routes(), host, path)?
                .service
                .to_string(),
        )
    }

    fn told(&self) -> Vec<String> {
        let conflicts = self.merge.conflicts(99);
        assert_eq!(conflicts.len(), self.merge.conflict_count());
        conflicts.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn case_h06_an_endpoint_in_anothers_service_gets_nothing() {
    let mut world = World::new(&["a", "b"]);
    let mut intruder = record("pay", "0", "10.0.9.9:80");
    intruder.endpoint = intruder.endpoint.map(|e| e.with_weight(Weight::MAX));
    // Before the victim is there, the service belongs to the later source; then it changes hands.
    world.set(1, intruder.clone());
    assert_eq!(world.endpoints(), ["pay/0=10.0.9.9:80"]);
    assert!(world.set(0, record("pay", "1", "10.0.0.1:80")));
    assert_eq!(world.endpoints(), ["pay/1=10.0.0.1:80"]);
    assert_eq!(
        world.told(),
        [
            "pay: service is that of source s0: 1 records of source s1 are not in effect; give both sources the same `trust` \
          to let them share services"
        ]
    );
    // The same key as the victim's.
    world.set(1, record("pay", "1", "10.0.9.9:80"));
    assert_eq!(world.endpoints(), ["pay/1=10.0.0.1:80"]);
    world.remove(0, "pay", "1");
    assert_eq!(
        world.endpoints(),
        ["pay/0=10.0.9.9:80", "pay/1=10.0.9.9:80"]
    );
    assert_eq!(world.told(), [""; 0]);
    world.remove(1, "pay", "0");
    world.remove(1, "pay", "1");
    assert_eq!(world.snapshot.services().count(), 0);
}

#[test]
fn case_h06_the_address_of_an_earlier_source_is_not_in_a_later_ones_service() {
    let mut world = World::new(&["a", "b"]);
    let mut intruder = record("evil", "0", "10.0.0.1:80");
    intruder.endpoint = intruder
        .endpoint
        .map(|e| e.with_weight(Weight::new(0).unwrap()));
    world.set(1, intruder);
    world.set(1, record("evil", "2", "10.0.0.2:80"));
    assert_eq!(world.endpoints().len(), 2);
    assert!(world.set(0, record("pay", "1", "10.0.0.1:80")));
    assert_eq!(
        world.endpoints(),
        ["evil/2=10.0.0.2:80", "pay/1=10.0.0.1:80"]
    );
    let told = world.told();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with(
            "evil/0: address = \"10.0.0.1:80\": address is that of pay/1 of source s0"
        ),
        "{told:?}"
    );
    // The earlier source moves away, and comes back.
    world.set(0, record("pay", "1", "10.0.0.3:80"));
    assert_eq!(world.endpoints().len(), 3);
    assert_eq!(world.told(), [""; 0]);
    world.set(0, record("pay", "1", "10.0.0.2:80"));
    assert_eq!(
        world.endpoints(),
        ["evil/0=10.0.0.1:80", "pay/1=10.0.0.2:80"]
    );
    world.remove(0, "pay", "1");
    assert_eq!(world.endpoints().len(), 2);
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn case_h06_no_priority_takes_a_host_of_an_earlier_source() {
    let victim = || {
        record("pay", "1", "10.0.0.1:80").with_routes(vec![
            route("pay.example", "/", 0, "pay"),
            route("*.wild.example", "/", -5, "pay"),
        ])
    };
    for (host, path, priority) in [
        ("pay.example", "/", 1),
        ("pay.example", "/", 0),
        ("pay.example", "/", -1),
        ("pay.example", "/login", 0),
        ("pay.example", "=/", 9),
        ("*", "/", i32::MAX),
        ("*", "=/", i32::MAX),
        ("*", "/login", i32::MAX),
        ("*.example", "/", 7),
        ("*.wild.example", "/", 3),
        ("*.wild.example", "/", -4),
    ] {
        for first in [0, 1] {
            let mut world = World::new(&["a", "b"]);
            let intruder = record("evil", "1", "10.0.9.9:80")
                .with_routes(vec![route(host, path, priority, "evil")]);
            let mut both = [(0, victim()), (1, intruder)];
            both.rotate_left(first);
            for (source, record) in both {
                world.set(source, record);
            }
            for (asked, path) in [
                ("pay.example", "/"),
                ("pay.example", "/login"),
                ("x.wild.example", "/login"),
            ] {
                assert_eq!(
                    world.takes(asked, path).as_deref(),
                    Some("pay"),
                    "{asked}{path} beside {host}{path} {priority}"
                );
            }
            assert_eq!(
                world.told().len(),
                1,
                "{host}{path} {priority}: {:?}",
                world.told()
            );
            world.remove(0, "pay", "1");
            assert_eq!(world.told(), [""; 0]);
            let route = world.snapshot.routes().next().unwrap();
            assert_eq!(route.priority, priority, "it counts again as it was meant");
        }
    }
}

/// S2, H6: the length of a rule counts among the rules of sources that share services, and takes nothing of others.
#[test]
fn case_s02_h06_a_rank_counts_among_the_routes_of_its_scheme_and_trust() {
    let ranked = |host: &str, path: &str, number, service: &str| {
        route(host, path, 0, service).with_rank(Rank::new(name("traefik"), number))
    };
    let rules = |evil: &str| {
        record(evil, "1", "10.0.9.9:80").with_routes(vec![
            ranked("*", "^/acme", 42, evil),
            ranked("shop.example", "/", 20, &format!("{evil}-shop")),
        ])
    };
    let plain = record("docs", "1", "10.0.0.2:80").with_routes(vec![
        route("docs.example", "/", 0, "docs"),
        route("low.example", "/", -5, "docs"),
        route("shop.example", "/api", 0, "docs"),
    ]);
    // Before or after the one of another scheme: its own order holds within what it has. What is below a path of the
    // earlier source's host is that source's.
    for (order, api) in [([0, 1], "rules-shop"), ([1, 0], "docs")] {
        let mut world = World::new(&["a", "b"]);
        world.set(order[0], rules("rules"));
        world.set(order[1], plain.clone());
        for (host, path, service) in [
            ("docs.example", "/acme", "docs"),
            ("low.example", "/x", "docs"),
            ("shop.example", "/acme", "rules"),
            ("shop.example", "/api/x", api),
            ("shop.example", "/x", "rules-shop"),
            ("else.example", "/acme", "rules"),
        ] {
            let taker = world.takes(host, path);
            assert_eq!(taker.as_deref(), Some(service), "{host}{path}, {order:?}");
        }
    }
    // Two that share nothing, of one scheme: no number of the later takes a host of the earlier.
    let mut world = World::new(&["a", "b"]);
    world.set(0, rules("first"));
    let later = vec![
        ranked("*", "^/acme/x", 999, "later"),
        ranked("*", "/", 998, "later"),
    ];
    world.set(
        1,
        record("later", "1", "10.0.9.8:80").with_routes(later.clone()),
    );
    assert_eq!(
        world.takes("shop.example", "/acme/x").as_deref(),
        Some("first")
    );
    assert_eq!(
        world.takes("shop.example", "/x").as_deref(),
        Some("first-shop")
    );
    // Where they share services, it does.
    let mut world = World::new(&["a", "a"]);
    world.set(0, rules("first"));
    world.set(1, record("later", "1", "10.0.9.8:80").with_routes(later));
    assert_eq!(
        world.takes("shop.example", "/acme/x").as_deref(),
        Some("later")
    );
    assert_eq!(world.takes("shop.example", "/x").as_deref(), Some("later"));
}

#[test]
fn case_h06_a_record_of_tcp_takes_no_http_route_of_an_earlier_source() {
    let victim =
        || record("pay", "1", "10.0.0.1:80").with_routes(vec![route("pay.example", "/", 0, "pay")]);
    // The record is of TCP; the service that its route leads to is of HTTP: another record says so, or there is none.
    let intruder = |leads: &str| {
        record("evil", "2", "10.0.9.8:80")
            .with_mode(Mode::Tcp)
            .with_routes(vec![route("pay.example", "/", i32::MAX, leads)])
    };
    for leads in ["evil", "none"] {
        let all = [
            (0, victim()),
            (1, record("evil", "1", "10.0.9.9:80")),
            (1, intruder(leads)),
        ];
        for turn in 0..all.len() {
            let mut all = all.clone();
            all.rotate_left(turn);
            let mut world = World::new(&["a", "b"]);
            for (source, record) in all {
                world.set(source, record);
            }
            let taker = world.takes("pay.example", "/");
            assert_eq!(taker.as_deref(), Some("pay"), "{leads}, turn {turn}");
            assert_eq!(world.snapshot.route_count(), 1, "{leads}, turn {turn}");
        }
    }
    // Once its service is of TCP alone, its route is for another kind of frontend.
    let mut world = World::new(&["a", "b"]);
    world.set(0, victim());
    world.set(1, record("evil", "1", "10.0.9.9:80"));
    world.set(1, intruder("evil"));
    world.remove(1, "evil", "1");
    assert_eq!(world.snapshot.route_count(), 2);
    world.set(1, record("evil", "1", "10.0.9.9:80"));
    assert_eq!(world.snapshot.route_count(), 1);
}

#[test]
fn case_h06_what_an_earlier_source_leaves_is_a_later_ones() {
    let mut world = World::new(&["a", "b"]);
    world.set(
        0,
        record("web", "1", "10.0.0.1:80").with_routes(vec![
            route("*", "/", 0, "web"),
            route("shop.example", "/api", 0, "web"),
        ]),
    );
    world.set(
        1,
        record("docs", "1", "10.0.0.2:80").with_routes(vec![
            route("docs.example", "/", 9, "docs"),
            route("docs.example", "/old", 3, "docs"),
            route("shop.example", "/", 0, "docs"),
        ]),
    );
    assert_eq!(world.told(), [""; 0]);
    for (host, path, service) in [
        ("docs.example", "/", "docs"),
        ("shop.example", "/api/v1", "web"),
        ("shop.example", "/other", "docs"),
        ("else.example", "/", "web"),
    ] {
        assert_eq!(
            world.takes(host, path).as_deref(),
            Some(service),
            "{host}{path}"
        );
    }
}

#[test]
fn case_h06_no_route_of_another_source_leads_to_a_service() {
    let mut world = World::new(&["a", "b"]);
    let door =
        record("evil", "1", "10.0.9.9:80").with_routes(vec![route("door.example", "/", 0, "pay")]);
    world.set(1, door);
    assert_eq!(
        world.takes("door.example", "/").as_deref(),
        Some("pay"),
        "no such service yet"
    );
    world.set(0, record("pay", "1", "10.0.0.1:80"));
    assert_eq!(world.takes("door.example", "/"), None);
    let told = world.told();
    assert!(
        told[0].contains("route leads to pay, a service of source s0"),
        "{told:?}"
    );
    world.remove(0, "pay", "1");
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn sources_of_one_trust_share_services() {
    let mut world = World::new(&["a", "b", "a"]);
    world.set(0, record("web", "1", "10.0.0.1:80"));
    world.set(1, record("web", "2", "10.0.0.2:80"));
    world.set(2, record("web", "3", "10.0.0.3:80"));
    assert_eq!(
        world.endpoints(),
        ["web/1=10.0.0.1:80", "web/3=10.0.0.3:80"]
    );
    // The same trust may have one address in two services.
    world.set(2, record("other", "1", "10.0.0.1:80"));
    assert_eq!(world.endpoints().len(), 3);
    assert_eq!(world.told().len(), 1);
}

#[test]
fn case_p18_containers_of_one_name_on_two_engines_both_serve() {
    let mut world = World::new(&["local-docker", "local-docker"]);
    world.set(0, record("shop-web", "shop-web-1", "10.0.0.1:80"));
    world.set(1, record("shop-web", "shop-web-1", "10.0.1.1:80"));
    assert_eq!(
        world.endpoints(),
        [
            "shop-web/s1:shop-web-1=10.0.1.1:80",
            "shop-web/shop-web-1=10.0.0.1:80"
        ]
    );
    assert_eq!(world.told(), [""; 0]);
    // The same endpoint, seen through both: it serves once.
    world.set(1, record("shop-web", "shop-web-1", "10.0.0.1:80"));
    assert_eq!(world.endpoints(), ["shop-web/shop-web-1=10.0.0.1:80"]);
    world.set(1, record("shop-web", "shop-web-1", "10.0.1.1:80"));
    world.remove(0, "shop-web", "shop-web-1");
    assert_eq!(world.endpoints(), ["shop-web/shop-web-1=10.0.1.1:80"]);
    world.remove(1, "shop-web", "shop-web-1");
    assert_eq!(world.snapshot.services().count(), 0);
}

fn any_route() -> impl Strategy<Value = Route> {
    let host = prop::sample::select(vec!["a.x", "b.x", "*.x", "*"]);
    let path = prop::sample::select(vec!["/", "/p", "/p/q", "=/p"]);
    let service = prop::sample::select(vec!["one", "two", "three"]);
    let rank = prop::option::of((0..2_u8, 0..40_i32));
    (host, path, -2..3_i32, rank, service).prop_map(|(host, path, priority, rank, service)| {
        let Some((scheme, number)) = rank else {
            return route(host, path, priority, service);
        };
        let scheme = name(&format!("scheme-{scheme}"));
        route(host, path, 0, service).with_rank(Rank::new(scheme, number))
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let service = prop::sample::select(vec!["one", "two", "three"]);
    let id = prop::sample::select(vec!["1", "2"]);
    let routes = prop::collection::vec(any_route(), 0..3);
    (service, id, prop::option::of(0..3_u8), routes).prop_map(|(service, id, address, routes)| {
        let mut record = record(service, id, "10.0.0.0:80");
        record.endpoint =
            address.map(|address| Endpoint::new(SocketAddr::from(([10, 0, 0, address], 80))));
        record.with_routes(routes)
    })
}

proptest! {
    /// Whatever later sources say, the first source's services, endpoints and requests for its hosts are as without them.
    #[test]
    fn case_h06_nothing_of_the_first_source_changes_because_of_later_ones(
        changes in prop::collection::vec((0..3_usize, any_record(), 0..10_u8), 1..40)
    ) {
        let mut world = World::new(&["a", "b", "c"]);
        let mut alone = World::new(&["a"]);
        for (source, record, removes) in changes {
            let key = record.key.clone();
            let record = (removes >= 4).then_some(record);
            if source == 0 {
                alone.change(0, key.clone(), record.clone());
            }
            world.change(source, key, record);
            for (service, known) in alone.snapshot.services() {
                let now = world.snapshot.service(service).unwrap();
                prop_assert_eq!(now, known, "{}", service);
            }
            for host in ["a.x", "b.x", "c.x"] {
                for path in ["/", "/p", "/p/q", "/z"] {
                    let Some(taker) = Route::taker(alone.snapshot.routes(), host, path) else { continue };
                    let mine = world.takes(host, path);
                    // A more specific host may stand out of a wildcard or of any host; nothing else may.
                    let exact = matches!(taker.host, lb_core::RouteHost::Exact(_));
                    if exact {
                        prop_assert_eq!(mine, Some(taker.service.to_string()), "{}{}", host, path);
                    }
                }
            }
        }
        for service in ["one", "two", "three"] {
            for id in ["1", "2"] {
                for source in 0..3 {
                    world.remove(source, service, id);
                }
            }
        }
        prop_assert_eq!(&world.snapshot, &Snapshot::default());
        prop_assert_eq!(world.told(), [""; 0]);
    }
}
