//! The labels and variables that are kept and read of containers, and how many.

use std::{collections::BTreeMap, time::Instant};

use lb_core::Severity;
use lb_schemes::LabelScheme;

use super::{book, container, labels, printed, with_variables};
use crate::{container::Container, narrow::Narrow};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "what a container costs is what is tested"
)]
fn case_h04_a_container_with_100_000_labels_blinds_nobody() {
    for (scheme, prefix) in [
        (LabelScheme::Lb, "lb."),
        (LabelScheme::Traefik, "traefik.http.routers."),
        (LabelScheme::DockerFlow, "com.df."),
        (LabelScheme::EasyHaproxy, "easyhaproxy."),
        (LabelScheme::Lb, "com.example."),
    ] {
        let many = match prefix {
            "traefik.http.routers." | "com.example." => 100_000,
            _ => 2000,
        };
        for count in [2000, many] {
            let begun = Instant::now();
            let mut book = book(scheme, Narrow::default());
            let mut many: BTreeMap<String, String> = (0..count)
                .map(|number| {
                    (
                        format!("{prefix}x{number}.rule"),
                        "Host(`a.example`)".to_owned(),
                    )
                })
                .collect();
            many.insert("lb.port".to_owned(), "80".to_owned());
            many.insert("com.df.notify".to_owned(), "true".to_owned());
            book.put(container(1, "front", &many), None);
            let honest = labels(&[
                ("lb.service", "web"),
                ("com.df.notify", "true"),
                ("com.df.serviceName", "web"),
                ("com.df.port", "80"),
                ("traefik.http.services.web.loadbalancer.server.port", "80"),
                ("easyhaproxy.web.host", "web"),
            ]);
            book.put(container(2, "front", &honest), None);
            let (records, diagnostics) = book.snapshot();
            assert!(
                printed(&records)
                    .iter()
                    .any(|record| record.starts_with("web 172.17.0.2:80")),
                "{prefix} {count} {records:?}"
            );
            let of_one = diagnostics.iter().filter(|one| one.object.contains("c1 "));
            assert!(of_one.count() <= 1, "{prefix} {count}: {diagnostics:?}");
            // Linear: a quadratic walk of 100,000 labels takes minutes.
            assert!(begun.elapsed().as_secs() < 20, "{prefix} {count}");
        }
    }
}

#[test]
fn case_h04_labels_that_nothing_reads_are_not_kept() {
    let many: BTreeMap<String, String> = (0..1000)
        .map(|number| (format!("com.example.{number}"), "junk".to_owned()))
        .chain(labels(&[
            ("lb.service", "web"),
            ("lb.unknown", "is reported"),
            ("com.docker.compose.project", "shop"),
        ]))
        .collect();
    let mut one = container(1, "front", &many);
    let narrow = Narrow {
        constraints: Some("Label(`com.example.7`, `junk`)".parse().unwrap()),
        ..Narrow::default()
    };
    book(LabelScheme::Lb, narrow).rules().drop_unread(&mut one);
    assert_eq!(one.labels.to_map(), many, "any may be named");
    let narrow = Narrow::default();
    // What switches an object on or off counts whatever schemes are read.
    book(LabelScheme::Traefik, narrow)
        .rules()
        .drop_unread(&mut one);
    let kept: Vec<&str> = one.labels.iter().map(|(key, _)| key).collect();
    assert_eq!(
        kept,
        ["com.docker.compose.project", "lb.service", "lb.unknown"]
    );
}

/// A bounded number of labels of one container is kept where any may be named, and a container with more is reported.
#[test]
fn case_h04_more_labels_than_are_read_of_one_container_are_not_kept() {
    let constraints = Some("!Label(`com.example.hidden`, `yes`)".parse().unwrap());
    let narrow = Narrow {
        constraints,
        ..Narrow::default()
    };
    let rules = book(LabelScheme::Lb, narrow);
    let of = |count: usize, bytes: usize| -> BTreeMap<String, String> {
        (0..count)
            .map(|number| (format!("com.example.{number}"), "x".repeat(bytes)))
            .chain(labels(&[
                ("lb.service", "web"),
                ("com.docker.compose.project", "shop"),
            ]))
            .collect()
    };
    for (count, bytes, kept) in [
        (16_000, 10, true),
        (16_385, 1, false),
        (10, 90_000, true),
        (10, 110_000, false),
    ] {
        let mut one = container(1, "front", &of(count, bytes));
        rules.rules().drop_unread(&mut one);
        let expected = if kept { count + 2 } else { 1 };
        assert_eq!(one.labels.iter().count(), expected, "{count} of {bytes}");
        assert_eq!(one.excess.is_none(), kept, "{count} of {bytes}");
    }
}

/// The labels of all containers of a source are bounded together: those of the largest are not read, each of these is
/// reported, and no other one is disturbed, in any order of arrival.
#[test]
fn case_h04_the_labels_of_all_containers_are_bounded_together() {
    const MOST: usize = 700_000;
    let large = |number: u8| {
        let junk = (0..10).map(|at| (format!("lb.x{at}"), "x".repeat(20_000)));
        let own = labels(&[("lb.service", &format!("large-{number}"))]);
        container(number, "front", &own.into_iter().chain(junk).collect())
    };
    let honest = || container(250, "front", &labels(&[("lb.service", "honest")]));
    let new = || {
        let mut book = book(LabelScheme::Lb, Narrow::default());
        book.limit_labels(MOST);
        book
    };
    let listed = |honest_first: bool| {
        let mut all: Vec<Container> = (1..=20).map(large).collect();
        match honest_first {
            true => all.insert(0, honest()),
            false => all.push(honest()),
        }
        all
    };
    for honest_first in [true, false] {
        let (mut followed, mut read) = (new(), new());
        for one in listed(honest_first) {
            followed.put(one, None);
            assert!(followed.label_bytes() <= MOST);
        }
        let all = listed(honest_first).into_iter().map(|one| (one, None));
        read.replace(all.collect());
        for book in [&mut followed, &mut read] {
            assert!(book.label_bytes() <= MOST);
            let (records, diagnostics) = book.snapshot();
            let services: Vec<&str> = records
                .iter()
                .map(|record| record.key.service.as_str())
                .collect();
            assert_eq!(services.len(), 4, "{services:?}");
            assert!(services.contains(&"honest"), "{services:?}");
            let left_out = diagnostics.iter().filter(|one| {
                one.severity == Severity::Error
                    && one.field.as_deref() == Some("labels")
                    && one.message.contains("max_label_bytes")
            });
            let left_out: Vec<&str> = left_out.map(|one| one.object.as_str()).collect();
            assert_eq!(left_out.len(), 17, "{left_out:?}");
            assert!(
                !left_out.iter().any(|one| one.contains("c250")),
                "{left_out:?}"
            );
            // Where one of those that are read goes, there is room for one that is not, which is to be read again.
            let gone = records
                .iter()
                .find(|record| record.key.service.as_str() != "honest");
            let gone: u8 = gone
                .and_then(|record| record.key.service.as_str().strip_prefix("large-"))
                .and_then(|number| number.parse().ok())
                .unwrap();
            assert_eq!(book.returning(), Vec::<String>::new());
            book.forget(&format!("{gone:064x}"));
            let returning = book.returning();
            assert_eq!(returning.len(), 1);
            let returning = u8::from_str_radix(&returning[0], 16).unwrap();
            book.put(large(returning), None);
            assert!(book.label_bytes() <= MOST);
            let services = book.snapshot().0.len();
            assert_eq!(services, 4);
            assert_eq!(book.returning(), Vec::<String>::new());
        }
    }
}

/// Variables are kept where a scheme reads them, and nowhere else: they are others' secrets.
#[test]
fn case_h04_variables_that_nothing_reads_are_not_kept() {
    for (scheme, kept) in [(LabelScheme::Lb, false), (LabelScheme::VirtualHost, true)] {
        let mut one = with_variables(1, &[("VIRTUAL_HOST", "a.example")]);
        book(scheme, Narrow::default())
            .rules()
            .drop_unread(&mut one);
        assert_eq!(one.env.map(|env| !env.is_empty()), Some(kept), "{scheme:?}");
    }
}
