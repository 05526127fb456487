//! What a source asks for beyond its limits is left out and reported; the rest goes on.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use lb_core::{
    Cursor, Descriptor, Endpoint, Limits, Name, Record, RecordKey, Route, Time, Update,
    condition::ConditionKind,
    engine::{Engine, EngineConfig},
    merge::SourceId,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(service: &str, id: &str, address: &str) -> Record {
    let key = RecordKey::new(name(service), name(id));
    Record::new(key, Endpoint::new(address.parse().unwrap()))
}

fn routed(service: &str, id: &str, hosts: &[&str]) -> Record {
    let routes: Vec<Route> = hosts
        .iter()
        .map(|host| Route::new(host.parse().unwrap(), "/".parse().unwrap(), name(service)))
        .collect();
    record(service, id, "10.0.0.1:80").with_routes(routes)
}

/// An engine with one source of these limits.
struct World {
    engine: Engine,
    source: SourceId,
    revision: u64,
}

impl World {
    fn new(limits: &str) -> Self {
        let limits: Limits = serde_json::from_str(limits).unwrap();
        let mut engine = Engine::new(EngineConfig::default(), Time::ZERO);
        let descriptor = Descriptor::new(name("tenant"), "test").with_limits(limits);
        let source = engine.add_source(Time::ZERO, descriptor).unwrap();
        Self {
            engine,
            source,
            revision: 0,
        }
    }

    fn at(&mut self) -> Cursor {
        self.revision += 1;
        Cursor::new("test", self.revision)
    }

    fn say(&mut self, update: Update) {
        self.engine
            .source_update(Time::ZERO, self.source, update, Time::ZERO);
        self.engine.flush(Time::ZERO);
    }

    fn reset(&mut self, records: Vec<Record>) {
        let at = self.at();
        self.say(Update::Reset { at, records });
    }

    fn batch(&mut self, set: Vec<Record>, remove: Vec<RecordKey>) {
        let at = self.at();
        self.say(Update::Batch { at, set, remove });
    }

    fn endpoints(&self) -> Vec<String> {
        let services = self.engine.snapshot().services();
        services
            .flat_map(|(service, known)| {
                known
                    .endpoints()
                    .map(move |(id, _)| format!("{service}/{id}"))
            })
            .collect()
    }

    fn hosts(&self) -> Vec<String> {
        let routes = self.engine.snapshot().routes();
        routes.map(|route| route.host.to_string()).collect()
    }

    /// The objects that are refused, each with the limits that it is beyond.
    fn refused(&self) -> Vec<(String, String)> {
        let conditions = self.engine.not_allowed();
        assert_eq!(
            self.engine
                .status(Time::ZERO)
                .sources
                .first()
                .unwrap()
                .refused,
            conditions.len()
        );
        conditions
            .into_iter()
            .map(|condition| {
                assert_eq!(condition.kind, ConditionKind::NotAllowed);
                assert_eq!(condition.source, Some(name("tenant")));
                let limits = condition.detail.split('`').skip(1).step_by(2);
                let limits: Vec<&str> = limits.collect();
                (condition.object.unwrap(), limits.join(" "))
            })
            .collect()
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn case_h06_a_source_gets_what_it_is_allowed_and_no_more() {
    let mut world = World::new(
        r#"{"allow": {"services": ["shop-*"], "hosts": ["*.shop.example"], "addresses": ["10.0.0.0/8"],
                      "ports": [80, "8000-8999"]}}"#,
    );
    let mut checked = record("shop-web", "check", "10.0.0.1:80");
    checked.endpoint = checked
        .endpoint
        .map(|endpoint| endpoint.with_check_port(Some(22)));
    let foreign = Route::new(
        "a.shop.example".parse().unwrap(),
        "/".parse().unwrap(),
        name("pay"),
    );
    world.reset(vec![
        record("pay", "1", "10.0.0.1:80"),
        record("shop-web", "far", "192.0.2.1:80"),
        record("shop-web", "ssh", "10.0.0.1:22"),
        checked,
        record("shop-web", "good", "10.0.0.1:8080"),
        routed(
            "shop-web",
            "hosts",
            &[
                "a.shop.example",
                "b.shop.example",
                "shop.example",
                "*",
                "*.example",
            ],
        ),
        record("shop-web", "other", "10.0.0.2:80").with_routes(vec![foreign]),
    ]);
    assert_eq!(
        world.endpoints(),
        ["shop-web/good", "shop-web/hosts", "shop-web/other"]
    );
    assert_eq!(world.hosts(), ["a.shop.example", "b.shop.example"]);
    assert_eq!(
        world.refused(),
        pairs(&[
            ("pay/1", "allow.services"),
            ("shop-web/check", "allow.ports"),
            ("shop-web/far", "allow.addresses"),
            ("shop-web/hosts", "allow.hosts allow.hosts allow.hosts"),
            ("shop-web/other", "allow.services"),
            ("shop-web/ssh", "allow.ports"),
        ])
    );
    // An endpoint that moves to where it must not be no longer serves; its condition ends with it.
    world.batch(vec![record("shop-web", "good", "10.0.0.1:22")], vec![]);
    assert_eq!(world.endpoints(), ["shop-web/hosts", "shop-web/other"]);
    let keys = ["check", "far", "good", "hosts", "other", "ssh"];
    let keys = keys.map(|id| RecordKey::new(name("shop-web"), name(id)));
    world.batch(vec![record("shop-web", "fine", "10.0.0.1:80")], keys.into());
    assert_eq!(world.refused(), pairs(&[("pay/1", "allow.services")]));
}

#[test]
fn case_h07_what_exceeds_a_bound_waits_and_takes_nothing_from_the_others() {
    let mut world =
        World::new(r#"{"max_endpoints": 3, "max_routes": 4, "max_routes_per_object": 2}"#);
    world.reset(vec![
        routed("a", "1", &["a1", "a2"]),
        routed("b", "1", &["b1"]),
        routed("c", "1", &["c1", "c2", "c3"]),
    ]);
    assert_eq!(world.hosts(), ["a1", "a2", "b1"]);
    assert_eq!(world.refused(), pairs(&[("c/1", "max_routes_per_object")]));
    // What is new takes nobody's place, whatever its name; it is admitted when there is room.
    world.batch(vec![routed("0", "1", &["x1", "x2"])], vec![]);
    assert_eq!(world.endpoints(), ["a/1", "b/1", "c/1"]);
    assert_eq!(
        world.refused(),
        pairs(&[("0/1", "max_endpoints"), ("c/1", "max_routes_per_object")])
    );
    world.reset(vec![
        routed("0", "1", &["x1", "x2"]),
        routed("a", "1", &["a1", "a2"]),
        routed("b", "1", &["b1"]),
        routed("c", "1", &["c1", "c2"]),
    ]);
    assert_eq!(world.endpoints(), ["a/1", "b/1", "c/1"]);
    assert_eq!(world.hosts(), ["a1", "a2", "b1"]);
    assert_eq!(
        world.refused(),
        pairs(&[("0/1", "max_endpoints"), ("c/1", "max_routes")])
    );
    world.batch(vec![], vec![RecordKey::new(name("a"), name("1"))]);
    assert_eq!(world.endpoints(), ["0/1", "b/1", "c/1"]);
    assert_eq!(world.hosts().len(), 3, "one of the two finds room");
    world.batch(vec![], vec![RecordKey::new(name("b"), name("1"))]);
    assert_eq!(world.hosts(), ["c1", "c2", "x1", "x2"]);
    assert_eq!(world.refused(), pairs(&[]));
}

#[test]
fn case_h07_one_label_of_too_many_routes_is_refused_by_default() {
    let mut world = World::new("{}");
    let flood: Vec<Route> = (0..100_100)
        .map(|number| {
            let host = format!("h{number}.example").parse().unwrap();
            Route::new(host, "/".parse().unwrap(), name("flood"))
        })
        .collect();
    world.reset(vec![
        record("flood", "1", "10.0.0.9:80").with_routes(flood),
        routed("web", "1", &["web.example"]),
    ]);
    assert_eq!(world.hosts(), ["web.example"]);
    assert_eq!(
        world.refused(),
        pairs(&[("flood/1", "max_routes_per_object")])
    );
}
