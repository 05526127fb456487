//! Containers that share a router, a middleware, a service's weights, a host or a name.

use lb_core::{Record, Severity, Update, model::nowhere};
use lb_schemes::LabelScheme;

use super::{book, container, labels, printed, with_variables};
use crate::{book::Book, narrow::Narrow};

#[test]
fn case_s09_two_containers_that_define_one_router_differently() {
    let mut book = book(LabelScheme::Traefik, Narrow::default());
    let router = |host: &str| {
        labels(&[
            ("traefik.http.routers.web.rule", &format!("Host(`{host}`)")),
            ("traefik.http.services.web.loadbalancer.server.port", "80"),
        ])
    };
    book.put(container(1, "front", &router("a.example")), None);
    let (records, diagnostics) = book.snapshot();
    assert_eq!(printed(&records), ["web 172.17.0.1:80 a.example/"]);
    assert_eq!(diagnostics, []);

    // The other one contradicts it: neither is used, and both are told.
    book.put(container(2, "front", &router("b.example")), None);
    let changes = book.changes().unwrap();
    assert_eq!(
        printed(&changes.set),
        ["web 172.17.0.1:80", "web 172.17.0.2:80"]
    );
    let told = changes.diagnostics();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|one| one.severity == Severity::Error
        && one.field.as_deref() == Some("traefik.http.routers.web")
        && one.message.contains("projects")));

    // When it is gone, the first has its router again, and nothing is wrong any more.
    book.forget(&format!("{:064x}", 2));
    let changes = book.changes().unwrap();
    assert_eq!(printed(&changes.set), ["web 172.17.0.1:80 a.example/"]);
    let resolved = changes
        .complaints
        .iter()
        .filter(|update| matches!(update, Update::Resolved { .. }));
    assert_eq!(resolved.count(), 2);
}

#[test]
fn case_s04_what_restricts_a_host_holds_for_all_its_containers() {
    let plain = |number, path: &str| {
        with_variables(
            number,
            &[("VIRTUAL_HOST", "a.example"), ("VIRTUAL_PATH", path)],
        )
    };
    for restriction in [
        ("NETWORK_ACCESS", "internal"),
        ("HTTPS_METHOD", "nohttp"),
        // What the container asks for beside it cannot be read, and its host is restricted all the same.
        ("VIRTUAL_PORT", "none"),
    ] {
        let mut book = book(LabelScheme::VirtualHost, Narrow::default());
        book.put(plain(1, "/"), None);
        let other = with_variables(2, &[("VIRTUAL_HOST", "b.example")]);
        book.put(other, None);
        let (records, diagnostics) = book.snapshot();
        assert_eq!(
            printed(&records),
            [
                "a.example 172.17.0.1:80 a.example/",
                "b.example 172.17.0.2:80 b.example/"
            ]
        );
        assert_eq!(diagnostics, []);

        // One more container of the host restricts it: the first is told why it is not served any more.
        let restricted = with_variables(
            3,
            &[
                ("NETWORK_ACCESS", "internal"),
                restriction,
                ("VIRTUAL_HOST", "a.example"),
                ("VIRTUAL_PATH", "/admin"),
            ],
        );
        book.put(restricted, None);
        let changes = book.changes().unwrap();
        let set = printed(&changes.set);
        assert!(
            set.iter()
                .any(|one| one.starts_with("a.example 172.17.0.1:80 503:a.example/")),
            "{restriction:?}: {set:?}"
        );
        let told = changes.diagnostics();
        assert!(
            told.iter().any(|one| one.object.contains("c1")
                && one.severity == Severity::Withheld
                && one.field.as_deref() == Some("VIRTUAL_HOST")),
            "{restriction:?}: {told:?}"
        );
        // Another host is not concerned, and one that comes later is.
        assert!(set.iter().all(|one| !one.contains("b.example")), "{set:?}");
        book.put(plain(4, "/later"), None);
        let set = printed(&book.changes().unwrap().set);
        assert!(
            set.iter().all(|one| one.contains(" 503:a.example")),
            "{set:?}"
        );

        // Where it is gone, the host is served again.
        book.forget(&format!("{:064x}", 3));
        let (records, diagnostics) = book.snapshot();
        assert!(
            printed(&records).iter().all(|one| !one.contains("503:")),
            "{restriction:?}"
        );
        assert_eq!(diagnostics, []);
    }
}

#[test]
fn case_s04_a_redirect_of_one_container_holds_for_the_host() {
    let mut book = book(LabelScheme::VirtualHost, Narrow::default());
    let redirects = |records: &[Record]| -> Vec<bool> {
        let routes = records.iter().flat_map(|record| record.routes.iter());
        let led = routes.filter(|route| route.service != nowhere());
        led.map(|route| route.redirect_https).collect()
    };
    book.put(with_variables(1, &[("VIRTUAL_HOST", "a.example")]), None);
    assert_eq!(redirects(&book.snapshot().0), [false]);
    let pairs = [
        ("VIRTUAL_HOST", "a.example"),
        ("VIRTUAL_PATH", "/x"),
        ("HTTPS_METHOD", "redirect"),
    ];
    book.put(with_variables(2, &pairs), None);
    assert_eq!(redirects(&book.snapshot().0), [true, true]);
    book.died(&format!("{:064x}", 2));
    let (records, _) = book.snapshot();
    assert!(redirects(&records).contains(&false), "{records:?}");
}

#[test]
fn case_h08_two_compose_services_that_make_one_name_do_not_share_it() {
    let of = |project: &str, service: &str| {
        labels(&[
            ("com.docker.compose.project", project),
            ("com.docker.compose.service", service),
            ("com.docker.compose.container-number", "1"),
            ("lb.port", "80"),
        ])
    };
    let mut book = book(LabelScheme::Lb, Narrow::default());
    book.put(container(1, "front", &of("shop-api", "web")), None);
    book.put(container(2, "front", &of("shop", "api-web")), None);
    book.put(container(3, "front", &of("shop-api", "web")), None);
    let (records, diagnostics) = book.snapshot();
    assert_eq!(
        printed(&records),
        ["shop-api-web 172.17.0.1:80", "shop-api-web 172.17.0.3:80"]
    );
    assert_eq!(diagnostics.len(), 1);
    assert!(
        diagnostics
            .iter()
            .all(|one| one.message.contains("service web of project shop-api"))
    );
    // The name is free when the last container of its owner is gone.
    book.forget(&format!("{:064x}", 1));
    book.forget(&format!("{:064x}", 3));
    let (records, diagnostics) = book.snapshot();
    assert_eq!(printed(&records), ["shop-api-web 172.17.0.2:80"]);
    assert_eq!(diagnostics, []);
}

#[test]
fn case_s06_weights_beyond_the_range_keep_their_proportion_over_containers() {
    let mut book = book(LabelScheme::Traefik, Narrow::default());
    let weighted = |weight: &str| {
        labels(&[
            ("traefik.http.routers.web.rule", "Host(`a.example`)"),
            ("traefik.http.services.web.loadbalancer.server.port", "80"),
            (
                "traefik.http.services.web.loadbalancer.server.weight",
                weight,
            ),
        ])
    };
    let weights = |book: &mut Book| -> Vec<u16> {
        let (mut records, _) = book.snapshot();
        records.sort_by_key(|record| record.endpoint.as_ref().map(|found| found.address));
        let endpoints = records.iter().filter_map(|record| record.endpoint.as_ref());
        endpoints.map(|found| found.weight.get()).collect()
    };
    book.put(container(1, "front", &weighted("10")), None);
    book.put(container(2, "front", &weighted("3")), None);
    assert_eq!(weights(&mut book), [10, 3]);
    book.forget(&format!("{:064x}", 2));
    book.put(container(3, "front", &weighted("990")), None);
    assert_eq!(weights(&mut book), [2, 198]);
    assert_eq!(book.snapshot().1, [], "the proportion is kept");

    // One that cannot be expressed is told of the object that asks for it.
    book.put(container(4, "front", &weighted("99000")), None);
    let diagnostics = book.snapshot().1;
    assert!(!diagnostics.is_empty());
    assert!(
        diagnostics.iter().all(
            |one| one.severity == Severity::Warning && one.message.contains("from 10 to 99000")
        ),
        "{diagnostics:?}"
    );
    book.forget(&format!("{:064x}", 4));
    book.forget(&format!("{:064x}", 3));
    assert_eq!(weights(&mut book), [10]);
    assert_eq!(book.snapshot().1, []);
}

#[test]
fn case_s04_a_middleware_of_another_container_counts_for_all() {
    let mut book = book(LabelScheme::Traefik, Narrow::default());
    let named = |name: &str| {
        labels(&[
            (
                "traefik.http.routers.web.rule",
                "Host(`a.example`) && PathPrefix(`/api`)",
            ),
            ("traefik.http.routers.web.middlewares", name),
            ("traefik.http.services.web.loadbalancer.server.port", "80"),
        ])
    };
    let defining = |kind: &str, value: &str| {
        let key = format!("traefik.http.middlewares.shared.{kind}");
        labels(&[
            ("traefik.http.services.other.loadbalancer.server.port", "80"),
            (&key, value),
        ])
    };
    let withheld = [
        "other 172.17.0.2:80",
        "web 172.17.0.1:80 503:a.example/api 503:a.example^/api",
    ];
    // Not defined by anyone: withheld, and it is said what helps.
    book.put(container(1, "front", &named("shared@docker")), None);
    let (records, told) = book.snapshot();
    assert_eq!(printed(&records), withheld[1..]);
    assert!(
        told[0].message.contains("no container or service defines"),
        "{told:?}"
    );

    // Defined by another one: its routers are honoured, with and without the suffix, until it goes.
    book.put(
        container(2, "front", &defining("stripprefix.prefixes", "/api")),
        None,
    );
    let stripped = [
        "other 172.17.0.2:80",
        "web 172.17.0.1:80 a.example/api 503:a.example^/api",
    ];
    assert_eq!(printed(&book.snapshot().0), stripped);
    book.put(container(1, "front", &named("shared")), None);
    let (records, _) = book.snapshot();
    assert_eq!(printed(&records), stripped);
    assert!(
        records
            .iter()
            .flat_map(|record| record.routes.iter())
            .any(|route| route.strip_prefix)
    );

    // One that restricts withholds, as before, and so do two that differ.
    book.put(
        container(2, "front", &defining("basicauth.users", "joe:s3cret")),
        None,
    );
    let (records, told) = book.snapshot();
    assert_eq!(printed(&records), withheld);
    assert!(
        told.iter().any(|one| one.message.contains("basicauth")),
        "{told:?}"
    );
    book.put(
        container(2, "front", &defining("redirectscheme.scheme", "https")),
        None,
    );
    let redirected = ["other 172.17.0.2:80", "web 172.17.0.1:80 a.example^/api"];
    assert_eq!(printed(&book.snapshot().0), redirected);
    book.put(
        container(3, "front", &defining("redirectscheme.scheme", "http")),
        None,
    );
    let (records, told) = book.snapshot();
    assert_eq!(printed(&records).last().unwrap(), withheld[1]);
    assert!(
        told.iter()
            .any(|one| one.message.contains("define differently")),
        "{told:?}"
    );
    assert!(!format!("{told:?}").contains("s3cret"));
    book.forget(&format!("{:064x}", 3));
    assert_eq!(printed(&book.snapshot().0), redirected);
    book.forget(&format!("{:064x}", 2));
    assert_eq!(printed(&book.snapshot().0), withheld[1..]);
}
