//! The view of keys as a whole: however changes come, it is what a fresh look at the same keys is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Record, RecordKey};
use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
use proptest::prelude::*;

/// Layouts side by side: of whole objects, of facts spread over keys, of keys that depend on other keys.
fn view() -> View {
    let configs: Vec<LayoutConfig> =
        serde_json::from_str(r#"[{"lb": {"prefix": "/lb"}}, {"traefik": {"root": "/t"}}, {"vulcand": {"prefix": "/v"}}, {"patroni": {"prefix": "/s"}}]"#)
            .unwrap();
    View::new(Layout::new(&configs).unwrap())
}

/// Keys and values that meet often, with some that mean nothing.
fn change() -> impl Strategy<Value = (String, Option<String>)> {
    let keys = [
        "/lb/endpoints/a/1",
        "/lb/endpoints/a/2",
        "/lb/endpoints/b/1",
        "/lb/services/a",
        "/lb/routes/r",
        "/t/http/services/a/loadbalancer/servers/9/url",
        "/t/http/services/a/loadbalancer/servers/9/weight",
        "/t/http/routers/r/rule",
        "/t/http/routers/r/service",
        "/t/http/routers/r/middlewares/0",
        "/t/http/routers/q/rule",
        "/t/tcp/services/a/loadbalancer/servers/9/address",
        "/t/tcp/routers/r/rule",
        "/t/tcp/routers/r/service",
        "/t/http/routers/q/service",
        "/t/http/middlewares/b/stripprefix/prefixes",
        "/v/frontends/f/frontend",
        "/v/frontends/f/middlewares/m",
        "/s/main/leader",
        "/s/main/members/b",
        "/s/main/members/7",
        "/elsewhere",
    ];
    let values = [
        "192.0.2.1:80",
        r#"{"address": "192.0.2.2:80", "weight": 3, "routes": [{"path": "/x"}]}"#,
        r#"{"mode": "tcp"}"#,
        r#"{"mode": "http", "routes": [{"host": "a.example"}]}"#,
        r#"{"service": "a", "host": "a.example"}"#,
        r#"{"service": "b", "path": "/b", "priority": 2}"#,
        "http://192.0.2.3",
        "7",
        "Host(`a.example`)",
        "HostRegexp(`(a|b)`)",
        "HostSNI(`*`)",
        "b",
        r#"{"BackendId": "a", "Route": "Host(`a.example`)"}"#,
        r#"{"BackendId": "a", "Route": "Method(`GET`)"}"#,
        r#"{"conn_url": "postgres://192.0.2.4:1/", "role": "primary", "state": "running"}"#,
        r#"{"conn_url": "postgres://192.0.2.4:1/", "role": "replica", "state": "running"}"#,
    ];
    let value = prop_oneof![
        1 => Just(None),
        3 => prop::sample::select(values.to_vec()).prop_map(|value| Some(value.to_owned())),
    ];
    (
        prop::sample::select(keys.to_vec()).prop_map(str::to_owned),
        value,
    )
}

fn by_key(records: Vec<Record>) -> BTreeMap<RecordKey, Record> {
    let count = records.len();
    let map: BTreeMap<_, _> = records
        .into_iter()
        .map(|record| (record.key.clone(), record))
        .collect();
    assert_eq!(map.len(), count, "each record once");
    map
}

proptest! {
    /// The steps told one after the other are what the view has; nothing is told that did not change.
    #[test]
    fn steps_add_up_to_the_view(steps in prop::collection::vec(prop::collection::vec(change(), 1..5), 1..30)) {
        let mut view = view();
        let mut told: BTreeMap<RecordKey, Record> = BTreeMap::new();
        for changes in steps {
            let step = view.apply(changes.into_iter().map(|(key, value)| Change {
                key: key.into_bytes(),
                value: value.map(String::into_bytes),
            }));
            let set: BTreeSet<_> = step.set.iter().map(|record| record.key.clone()).collect();
            prop_assert_eq!(set.len(), step.set.len(), "each record is set once");
            for key in step.remove {
                prop_assert!(told.remove(&key).is_some(), "{} was not there", key);
            }
            for record in step.set {
                prop_assert_ne!(told.insert(record.key.clone(), record.clone()), Some(record));
            }
            prop_assert_eq!(&told, &by_key(view.records()));
            prop_assert_eq!(told.len(), view.record_count());
        }
    }

    /// The order and the grouping of changes of different keys do not matter.
    #[test]
    fn only_the_last_values_matter(changes in prop::collection::vec(change(), 1..30), at_once in any::<bool>()) {
        // A value that cannot be used keeps what the key meant, so only keys that always had good values compare.
        let mut all = view();
        let mut bad = BTreeSet::new();
        let mut last = BTreeMap::new();
        for (key, value) in &changes {
            let step = all.apply([Change {
                key: key.clone().into_bytes(),
                value: value.clone().map(String::into_bytes),
            }]);
            if step.diagnostics.iter().any(|diagnostic| diagnostic.object == *key) {
                bad.insert(key.clone());
            }
            last.insert(key.clone(), value.clone());
        }
        let lasts = last.into_iter().filter_map(|(key, value)| Some(Change::put(key, value?)));
        let lasts: Vec<_> = lasts.collect();
        let mut fresh = view();
        if at_once {
            fresh.apply(lasts);
        } else {
            for change in lasts.into_iter().rev() {
                fresh.apply([change]);
            }
        }
        if bad.is_empty() {
            prop_assert_eq!(by_key(all.records()), by_key(fresh.records()));
            prop_assert_eq!(all.key_count(), fresh.key_count());
        }
    }

    /// Diagnostics end when their cause ends: what holds in the end is what a fresh look at the keys finds.
    #[test]
    fn diagnostics_end_with_their_cause(changes in prop::collection::vec(change(), 1..40)) {
        let mut all = view();
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for (key, value) in changes {
            let step = all.apply([Change {
                key: key.clone().into_bytes(),
                value: value.clone().map(String::into_bytes),
            }]);
            for object in step.resolved {
                prop_assert!(told.remove(&object).is_some(), "{} had diagnostics", object);
            }
            for diagnostic in step.diagnostics {
                told.entry(diagnostic.object.clone()).or_default().insert(diagnostic.to_string());
            }
            last.insert(key, value);
        }
        let lasts = last.into_iter().filter_map(|(key, value)| Some(Change::put(key, value?)));
        let mut fresh: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for diagnostic in view().apply(lasts.collect::<Vec<_>>()).diagnostics {
            fresh.entry(diagnostic.object.clone()).or_default().insert(diagnostic.to_string());
        }
        // A key with a bad value keeps what it meant, and says so: there a fresh look sees less.
        if !told.values().flatten().any(|told| told.ends_with("is kept")) {
            prop_assert_eq!(told, fresh);
        }
    }

    /// Any bytes as key and value end in a record, a diagnostic or nothing; deleting all keys leaves nothing.
    #[test]
    fn any_bytes_are_taken(keys in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..20)) {
        let mut view = view();
        for (key, value) in &keys {
            let mut whole = b"/lb/endpoints/".to_vec();
            whole.extend(key);
            view.apply([Change::put(whole, value.clone())]);
        }
        for (key, _) in &keys {
            let mut whole = b"/lb/endpoints/".to_vec();
            whole.extend(key);
            view.apply([Change::delete(whole)]);
        }
        prop_assert_eq!(view.key_count(), 0);
        prop_assert_eq!(view.records(), Vec::<Record>::new());
    }
}
