//! The book under random stories: whatever happened, what was told is what a fresh listing says.

use std::collections::BTreeMap;

use crate::narrow::Narrow;
use lb_core::{EndpointState, Record, RecordKey};
use lb_schemes::Options;
use proptest::prelude::*;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    book::Book,
    config::{ComposeService, Family, LabelScheme, MAX_LABEL_BYTES},
    container::{Attached, Container, NetworkMode, Phase},
    labels::Labels,
    translate::Rules,
};

const BRIDGE: &str = "bridge-id";

fn book() -> Book {
    let rules = Rules {
        options: Options::new(&[LabelScheme::Lb], &["docker"]),
        narrow: Narrow::default(),
        services: vec![ComposeService::new("echo")],
        one_off: false,
        own_project: None,
        max_label_bytes: MAX_LABEL_BYTES,
    };
    let networks: Networks = [(
        BRIDGE.to_owned(),
        Network {
            name: "bridge".to_owned(),
            driver: "bridge".to_owned(),
            internal: false,
            ingress: false,
        },
    )]
    .into();
    let reach = Reach {
        viewpoint: Viewpoint::Host,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    Book::new(rules, networks, reach)
}

fn container(id: &str, address: u8, labels: &[(&str, &str)]) -> Container {
    Container {
        id: id.to_owned(),
        name: format!("name-{id}"),
        labels: Labels::from(
            &labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        ),
        env: None,
        excess: None,
        phase: Phase::Serving,
        mode: NetworkMode::Own,
        attachments: vec![Attached {
            network: "bridge".to_owned(),
            network_id: BRIDGE.to_owned(),
            v4: Some([172, 17, 0, address].into()),
            v6: None,
        }],
        exposed: [80].into(),
        published: Vec::new(),
        stop: None,
    }
}

fn web(id: &str, address: u8) -> Container {
    container(id, address, &[("lb.service", "web")])
}

fn replica(id: &str, project: &str, number: &str) -> Container {
    container(
        id,
        9,
        &[
            ("com.docker.compose.project", project),
            ("com.docker.compose.service", "echo"),
            ("com.docker.compose.container-number", number),
        ],
    )
}

#[derive(Default)]
struct Store(BTreeMap<RecordKey, Record>);

impl Store {
    fn hear(&mut self, book: &mut Book) {
        if let Some(changes) = book.changes() {
            for key in changes.remove {
                assert!(self.0.remove(&key).is_some(), "{key} was not there");
            }
            for record in changes.set {
                let old = self.0.insert(record.key.clone(), record.clone());
                assert_ne!(old, Some(record), "said twice");
            }
        }
    }

    fn keys(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

#[test]
fn i2_a_second_project_never_takes_a_service_over_while_the_first_has_it() {
    let (mut book, mut store) = (book(), Store::default());
    book.put(replica("a", "shop", "1"), None);
    book.put(replica("b", "bakery", "1"), None);
    store.hear(&mut book);
    assert_eq!(store.keys(), ["echo/shop-echo-1"]);
    book.forget("a");
    store.hear(&mut book);
    assert_eq!(store.keys(), ["echo/bakery-echo-1"]);
}

#[test]
fn replicas_of_one_number_are_all_served() {
    let (mut book, mut store) = (book(), Store::default());
    book.put(replica("b", "shop", "1"), None);
    book.put(replica("a", "shop", "1"), None);
    store.hear(&mut book);
    assert_eq!(store.keys(), ["echo/shop-echo-1", "echo/shop-echo-1-b"]);
    book.forget("a");
    store.hear(&mut book);
    assert_eq!(store.keys(), ["echo/shop-echo-1"]);
}

#[test]
fn p14_an_address_that_another_container_has_now_makes_the_old_one_suspect() {
    let mut book = book();
    assert!(book.put(web("a", 2), None).is_empty());
    assert_eq!(book.put(web("b", 2), None), ["a"]);
    book.died("a");
    assert!(
        book.put(web("b", 2), None).is_empty(),
        "the dead have no address"
    );
}

#[test]
fn i8_one_told_to_stop_stays_draining_until_it_died_or_lost_patience() {
    let (mut book, mut store) = (book(), Store::default());
    let draining = |store: &Store| {
        store.0.values().all(|record| {
            let state = record.endpoint.as_ref().unwrap().state;
            matches!(state, EndpointState::Draining { grace: Some(_) })
        })
    };
    book.put(web("a", 2), None);
    book.leaves("a");
    store.hear(&mut book);
    assert!(draining(&store));
    book.replace(vec![(web("a", 2), None)]);
    store.hear(&mut book);
    assert!(
        draining(&store),
        "a listing cannot tell that it was told to stop"
    );
    book.stays("a");
    store.hear(&mut book);
    assert!(!draining(&store));
}

#[test]
fn i4_a_change_of_one_among_ten_thousand_tells_one() {
    let mut book = book();
    let all = (0..10_000).map(|number| {
        let mut container = web(&format!("{number:05}"), 2);
        container.attachments[0].v4 = Some(std::net::IpAddr::from(
            (0x0a00_0000u32 + number).to_be_bytes(),
        ));
        (container, None)
    });
    book.replace(all.collect());
    assert_eq!(book.snapshot().0.len(), 10_000);
    book.died("04711");
    let changes = book.changes().unwrap();
    assert_eq!((changes.set.len(), changes.remove.len()), (1, 0));
    assert_eq!(book.changes(), None);
}

#[derive(Debug, Clone)]
enum Happening {
    Put(usize, Phase, u8),
    Dies(usize),
    Leaves(usize),
    Goes(usize),
    Relist,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let phase = prop_oneof![
        Just(Phase::Serving),
        Just(Phase::Starting),
        Just(Phase::Unhealthy),
        Just(Phase::Paused),
        Just(Phase::Stopped),
    ];
    let one = prop_oneof![
        4 => (0usize..6, phase, 2u8..9).prop_map(|(which, phase, address)| {
            Happening::Put(which, phase, address)
        }),
        1 => (0usize..6).prop_map(Happening::Dies),
        1 => (0usize..6).prop_map(Happening::Leaves),
        1 => (0usize..6).prop_map(Happening::Goes),
        1 => Just(Happening::Relist),
    ];
    proptest::collection::vec(one, 0..40)
}

proptest! {
    /// P1, P5 and P12: after any story, followed one change at a time, what was told is what a fresh listing of
    /// the same containers says; and saying it again says nothing.
    #[test]
    fn p1_what_was_followed_is_what_a_fresh_listing_says(story in happenings()) {
        let all = [
            web("a", 2), web("b", 3), replica("c", "shop", "1"), replica("d", "shop", "1"),
            replica("e", "bakery", "2"), container("f", 4, &[("lb.port", "none"), ("lb.routes", "*/f")]),
        ];
        let (mut book, mut store) = (book(), Store::default());
        let mut there: BTreeMap<String, Container> = BTreeMap::new();
        let relist = |there: &BTreeMap<String, Container>| {
            there.values().map(|container| (container.clone(), None)).collect::<Vec<_>>()
        };
        for happening in story {
            match happening {
                Happening::Put(which, phase, address) => {
                    let mut container = all[which].clone();
                    container.phase = phase;
                    container.attachments[0].v4 = Some([172, 17, 0, address].into());
                    book.put(container.clone(), None);
                    there.insert(container.id.clone(), container);
                }
                Happening::Dies(which) => {
                    book.died(&all[which].id);
                    store.hear(&mut book);
                    if let Some(container) = there.get_mut(&all[which].id) {
                        container.phase = Phase::Stopped;
                        book.put(container.clone(), None);
                    }
                }
                Happening::Leaves(which) => book.leaves(&all[which].id),
                Happening::Goes(which) => {
                    book.forget(&all[which].id);
                    there.remove(&all[which].id);
                }
                Happening::Relist => book.replace(relist(&there)),
            }
            store.hear(&mut book);
        }
        for container in all {
            book.stays(&container.id);
        }
        book.replace(relist(&there));
        store.hear(&mut book);
        prop_assert_eq!(book.changes(), None);
        let told: Vec<Record> = store.0.into_values().collect();
        let mut snapshot = book.snapshot().0;
        snapshot.sort_by(|a, b| a.key.cmp(&b.key));
        prop_assert_eq!(&told, &snapshot);
        // Which of two projects has a service depends on who came first; all else does not.
        let mut fresh = self::book();
        fresh.replace(relist(&there));
        let of_web = |records: &[Record]| records
            .iter()
            .filter(|record| record.key.service.as_str() != "echo")
            .cloned()
            .collect::<Vec<_>>();
        let mut listed = fresh.snapshot().0;
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        prop_assert_eq!(of_web(&told), of_web(&listed));
    }
}
