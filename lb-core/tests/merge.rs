//! The merge, against a fold of all records from scratch; and its rules, by example.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeMap, sync::Arc};

use lb_core::{
    Endpoint, EndpointState, Mode, Name, OnDown, Record, RecordKey, Route, RouteHost,
    ServiceOptions, Snapshot, Weight,
    merge::{Merge, RecordChange, SourceId},
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(service: &str, id: &str) -> RecordKey {
    RecordKey::new(name(service), name(id))
}

fn record(service: &str, id: &str, port: u16) -> Record {
    Record::new(
        key(service, id),
        Endpoint::new(([127, 0, 0, 1], port).into()),
    )
}

fn route(host: &str, service: &str) -> Route {
    Route::new(
        host.parse::<RouteHost>().unwrap(),
        Default::default(),
        name(service),
    )
}

/// A merge with its sources and the snapshot that its changes made.
struct World {
    merge: Merge,
    sources: Vec<SourceId>,
    snapshot: Snapshot,
}

impl World {
    fn new(sources: usize) -> Self {
        let mut merge = Merge::default();
        let ids = (0..sources)
            .map(|n| merge.add_source(name(&format!("s{n}"))))
            .collect();
        Self {
            merge,
            sources: ids,
            snapshot: Snapshot::default(),
        }
    }

    /// Applies one change; returns whether it was urgent.
    fn apply(&mut self, source: usize, key: RecordKey, record: Option<Record>) -> bool {
        let mut edit = self.snapshot.edit();
        let change = RecordChange {
            key,
            record: record.map(Arc::new),
        };
        let urgent = self.merge.apply(self.sources[source], change, &mut edit);
        if let Some(next) = edit.commit() {
            self.snapshot = next;
        }
        urgent
    }

    fn set(&mut self, source: usize, record: Record) -> bool {
        self.apply(source, record.key.clone(), Some(record))
    }

    fn remove(&mut self, source: usize, key: RecordKey) -> bool {
        self.apply(source, key, None)
    }

    fn port(&self, service: &str, id: &str) -> Option<u16> {
        let service = self.snapshot.service(&name(service))?;
        service
            .endpoint(&name(id))
            .map(|endpoint| endpoint.address.port())
    }

    fn routes(&self) -> Vec<String> {
        self.snapshot
            .routes()
            .map(|route| format!("{}>{}", route.host, route.service))
            .collect()
    }
}

#[test]
fn the_earlier_source_wins_while_it_has_the_record_and_the_later_comes_back() {
    let mut world = World::new(3);
    world.set(1, record("web", "a", 1));
    world.set(2, record("web", "a", 2));
    assert_eq!(
        (world.port("web", "a"), world.merge.conflict_count()),
        (Some(1), 1)
    );
    world.set(0, record("web", "a", 0));
    assert_eq!(world.port("web", "a"), Some(0));
    let told = world.merge.conflicts(9);
    assert_eq!(
        told[0].to_string(),
        "web/a: reported by several sources: s0 wins, s1, s2 wait"
    );
    world.remove(0, key("web", "a"));
    world.remove(1, key("web", "a"));
    assert_eq!(
        (world.port("web", "a"), world.merge.conflict_count()),
        (Some(2), 0)
    );
    world.remove(2, key("web", "a"));
    assert_eq!(world.snapshot.services().count(), 0);
}

#[test]
fn a_service_lives_while_any_record_declares_it() {
    let mut world = World::new(2);
    world.set(0, Record::declare(key("web", "d")));
    assert!(world.snapshot.service(&name("web")).unwrap().is_empty());
    world.set(1, record("web", "a", 1));
    world.remove(0, key("web", "d"));
    assert_eq!(world.port("web", "a"), Some(1));
    // A record may lose its endpoint and stay.
    world.set(1, Record::declare(key("web", "a")));
    assert!(world.snapshot.service(&name("web")).unwrap().is_empty());
    world.remove(1, key("web", "a"));
    assert!(world.snapshot.service(&name("web")).is_none());
}

/// A TCP service that is withheld closes connections of its server name, and no HTTP request is answered by it.
#[test]
fn case_s04_a_withheld_route_takes_the_requests_of_its_own_mode() {
    let withheld = |service: &str, id: &str, mode: Mode| {
        let routes = vec![Route::new(
            "a.example".parse().unwrap(),
            Default::default(),
            lb_core::model::withheld(),
        )];
        let record = Record::declare(key(service, id));
        record.with_mode(mode).with_routes(routes)
    };
    let (http, tcp) = ("a.example>-withheld", "a.example>-withheld-tcp");
    let mut world = World::new(1);
    let wide = record("web", "w", 1).with_routes(vec![route("a.example", "web")]);
    world.set(0, wide);
    world.set(0, withheld("db", "x", Mode::Tcp));
    assert_eq!(world.routes(), [tcp, "a.example>web"]);
    world.set(0, withheld("db", "x", Mode::Http));
    assert_eq!(world.routes(), [http]);
    // Another record of the service says that it is one of HTTP: the route may be meant to protect either.
    let mut world = World::new(1);
    world.set(0, withheld("db", "x", Mode::Tcp));
    assert_eq!(world.routes(), [tcp]);
    world.set(0, record("db", "d", 2));
    assert_eq!(world.routes(), [http, tcp]);
    world.remove(0, key("db", "d"));
    assert_eq!(world.routes(), [tcp]);
    world.remove(0, key("db", "x"));
    assert_eq!(world.routes(), [""; 0]);
}

#[test]
fn modes_follow_precedence_and_disagreement_is_told() {
    let mut world = World::new(2);
    let mode = |world: &World| world.snapshot.service(&name("db")).unwrap().mode();
    world.set(1, record("db", "a", 1).with_mode(Mode::Http));
    world.set(0, record("db", "b", 1).with_mode(Mode::Tcp));
    assert_eq!((mode(&world), world.merge.conflict_count()), (Mode::Tcp, 1));
    assert!(
        world.merge.conflicts(9)[0]
            .to_string()
            .contains("Tcp from s0 wins")
    );
    world.remove(0, key("db", "b"));
    assert_eq!(
        (mode(&world), world.merge.conflict_count()),
        (Mode::Http, 0)
    );
}

#[test]
fn routes_are_counted_and_one_place_belongs_to_one_service() {
    let mut world = World::new(2);
    let with = |service: &str, id: &str| {
        record(service, id, 1).with_routes(vec![route("x.example", service)])
    };
    world.set(1, with("a", "1"));
    world.set(1, with("a", "2"));
    world.set(0, with("z", "1"));
    assert_eq!(
        world.routes(),
        ["x.example>z"],
        "the earlier source has the place"
    );
    assert_eq!(world.merge.conflict_count(), 1);
    world.remove(0, key("z", "1"));
    assert_eq!(world.routes(), ["x.example>a"]);
    world.remove(1, key("a", "1"));
    assert_eq!(
        world.routes(),
        ["x.example>a"],
        "another record asks for it"
    );
    world.remove(1, key("a", "2"));
    assert!(world.routes().is_empty());
    // HTTP and TCP routes of one host do not meet.
    world.set(0, with("h", "1"));
    world.set(1, with("t", "1").with_mode(Mode::Tcp));
    assert_eq!((world.routes().len(), world.merge.conflict_count()), (2, 0));
}

#[test]
fn what_takes_traffic_away_is_urgent() {
    let mut world = World::new(1);
    let state = |state| {
        let mut record = record("web", "a", 1);
        record.endpoint = record.endpoint.map(|endpoint| endpoint.with_state(state));
        record
    };
    assert!(!world.set(0, state(EndpointState::Pending)));
    assert!(!world.set(0, state(EndpointState::Ready)));
    assert!(world.set(0, state(EndpointState::Draining { grace: None })));
    assert!(world.set(0, state(EndpointState::Down)));
    assert!(!world.set(0, state(EndpointState::Ready)));
    assert!(world.remove(0, key("web", "a")));
    assert!(!world.remove(0, key("web", "a")));
}

#[test]
fn case_p06_exclusive_is_never_widened_by_a_record_that_says_less() {
    let mut world = World::new(2);
    let service = |world: &World| world.snapshot.service(&name("db")).unwrap().clone();
    world.set(0, record("db", "a", 1));
    assert!(!service(&world).is_exclusive());
    // A record that states nothing does not speak against one that does, of whatever source.
    world.set(1, record("db", "b", 2).with_exclusive(true));
    assert!(service(&world).is_exclusive());
    assert_eq!(world.merge.conflict_count(), 0);
    // The earlier source's word counts, and within it the one that narrows.
    world.set(0, record("db", "a", 1).with_exclusive(false));
    assert!(!service(&world).is_exclusive());
    assert_eq!(world.merge.conflict_count(), 1);
    world.set(0, record("db", "c", 3).with_exclusive(true));
    assert!(service(&world).is_exclusive());
    let told = &world.merge.conflicts(1)[0];
    assert_eq!(told.field.as_deref(), Some("exclusive"));
    assert_eq!(
        told.message,
        "records disagree: exclusive = true from s0 wins"
    );
    world.remove(0, key("db", "a"));
    assert_eq!(world.merge.conflict_count(), 0);
}

#[test]
fn case_p05_the_earliest_source_says_what_becomes_of_sessions() {
    let mut world = World::new(2);
    let on_down = |world: &World| world.snapshot.service(&name("db")).unwrap().on_down();
    world.set(0, record("db", "a", 1));
    assert_eq!(on_down(&world), OnDown::Keep);
    world.set(
        1,
        record("db", "b", 2).with_on_down(OnDown::ShutdownSessions),
    );
    assert_eq!(on_down(&world), OnDown::ShutdownSessions);
    world.set(0, record("db", "a", 1).with_on_down(OnDown::Keep));
    assert_eq!(on_down(&world), OnDown::Keep);
    assert_eq!(world.merge.conflict_count(), 1);
}

/// The options of a service that records state, each by its source.
type Stated = (Vec<(usize, bool)>, Vec<(usize, OnDown)>);

/// The result of the rules for all records, without any bookkeeping.
fn from_scratch(records: &BTreeMap<RecordKey, BTreeMap<usize, Record>>) -> Snapshot {
    let winners: Vec<(usize, &Record)> = records
        .values()
        .filter_map(|claims| claims.first_key_value())
        .map(|(source, record)| (*source, record))
        .collect();
    let mut edit = Snapshot::default().edit();
    let mut modes: BTreeMap<&Name, (usize, Mode)> = BTreeMap::new();
    let mut options: BTreeMap<&Name, Stated> = BTreeMap::new();
    let mut places: BTreeMap<(Mode, i32, String, String), (usize, Route)> = BTreeMap::new();
    for (source, record) in &winners {
        let mode = (*source, record.mode);
        modes
            .entry(&record.key.service)
            .and_modify(|known| *known = (*known).min(mode))
            .or_insert(mode);
        let (exclusive, on_down) = options.entry(&record.key.service).or_default();
        exclusive.extend(record.options.exclusive.map(|stated| (*source, stated)));
        on_down.extend(record.options.on_down.map(|stated| (*source, stated)));
    }
    for (source, record) in &winners {
        for route in record.routes.iter() {
            let place = (
                modes
                    .get(&route.service)
                    .map_or(Mode::Http, |(_, mode)| *mode),
                route.priority,
                route.host.to_string(),
                route.path.to_string(),
            );
            let claim = (*source, route.clone());
            let known = places.entry(place).or_insert_with(|| claim.clone());
            if (claim.0, &claim.1.service) < (known.0, &known.1.service) {
                *known = claim;
            }
        }
    }
    for (service, (_, mode)) in modes {
        edit.set_service(service, mode);
    }
    for (service, (exclusive, on_down)) in options {
        edit.set_exclusive(service, strictest(exclusive));
        edit.set_on_down(service, strictest(on_down));
    }
    for (_, record) in &winners {
        if let Some(endpoint) = &record.endpoint {
            edit.set_endpoint(&record.key.service, &record.key.id, endpoint.clone());
        }
    }
    for (_, route) in places.into_values() {
        edit.add_route(route);
    }
    edit.commit().unwrap_or_default()
}

/// Of the earliest source, what narrows.
fn strictest<T: Ord + Copy + Default>(stated: Vec<(usize, T)>) -> T {
    let first = stated.iter().map(|(source, _)| *source).min();
    let of_first = stated.iter().filter(|(source, _)| Some(*source) == first);
    of_first.map(|(_, value)| *value).max().unwrap_or_default()
}

fn any_options() -> impl Strategy<Value = ServiceOptions> {
    (
        prop::option::of(any::<bool>()),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(exclusive, closes)| {
            let on_down = closes.map(|closes| match closes {
                true => OnDown::ShutdownSessions,
                false => OnDown::Keep,
            });
            ServiceOptions::default()
                .exclusive(exclusive)
                .on_down(on_down)
        })
}

fn any_record() -> impl Strategy<Value = Record> {
    let service = prop::sample::select(vec!["a", "b", "c"]);
    let id = prop::sample::select(vec!["1", "2", "3"]);
    let routes = prop::collection::vec((0..2_usize, 0..3_usize, 0..2_i32), 0..3);
    (
        service,
        id,
        prop::option::of(0..4_u16),
        any::<bool>(),
        any_options(),
        routes,
    )
        .prop_map(|(service, id, port, tcp, options, routes)| {
            let key = key(service, id);
            let record = match port {
                Some(port) => Record::new(
                    key,
                    Endpoint::new(([127, 0, 0, 1], port).into()).with_weight(Weight::MAX),
                ),
                None => Record::declare(key),
            };
            let routes: Vec<Route> = routes
                .into_iter()
                .map(|(host, service, priority)| {
                    route(["x.example", "y.example"][host], ["a", "b", "c"][service])
                        .with_priority(priority)
                })
                .collect();
            record
                .with_mode(if tcp { Mode::Tcp } else { Mode::Http })
                .with_options(options)
                .with_routes(routes)
        })
}

proptest! {
    /// However changes of several sources come, the snapshot is what all records together say.
    #[test]
    fn the_merge_of_changes_is_the_fold_of_all_records(
        changes in prop::collection::vec((0..3_usize, any_record(), 0..10_u8), 1..80)
    ) {
        let mut world = World::new(3);
        let mut records: BTreeMap<RecordKey, BTreeMap<usize, Record>> = BTreeMap::new();
        for (source, record, removes) in changes {
            let claims = records.entry(record.key.clone()).or_default();
            if removes < 4 {
                claims.remove(&source);
                world.remove(source, record.key);
            } else {
                claims.insert(source, record.clone());
                world.set(source, record);
            }
            prop_assert_eq!(&world.snapshot, &from_scratch(&records));
        }
        for (key, claims) in records {
            for source in claims.into_keys() {
                world.remove(source, key.clone());
            }
        }
        prop_assert_eq!(&world.snapshot, &Snapshot::default());
        prop_assert_eq!(world.merge.conflict_count(), 0);
    }
}

/// Of two records of one service that differ in a route's options only, the stricter is in effect, whichever came first.
#[test]
fn a_route_that_redirects_goes_before_the_same_route_that_does_not() {
    let plain = route("shop.example", "shop");
    let strict = plain
        .clone()
        .with_redirect_https(true)
        .with_strip_prefix(true);
    for first in [&plain, &strict] {
        let second = if *first == plain { &strict } else { &plain };
        let mut world = World::new(1);
        for (id, route) in [("a", first), ("b", second)] {
            world.set(0, record("shop", id, 1).with_routes(vec![route.clone()]));
        }
        assert_eq!(world.snapshot.routes().collect::<Vec<_>>(), [&strict]);
        assert_eq!(
            world.merge.conflicts(9)[0].to_string(),
            "shop.example/: routes: wanted by several services: shop with redirect_https with strip_prefix from s0 wins, shop \
             do not get it",
        );
    }
    let json = serde_json::to_value(&plain).unwrap();
    assert_eq!(
        json.get("redirect_https"),
        None,
        "said only where it is set"
    );
}
