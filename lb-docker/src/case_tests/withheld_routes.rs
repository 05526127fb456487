//! Routes that are withheld because lb cannot do what restricts them.

use lb_core::{Severity, model::withheld};
use lb_schemes::LabelScheme;

use super::{book, container, labels, printed};
use crate::narrow::Narrow;

#[test]
fn case_s04_an_empty_item_of_a_list_of_middlewares_withholds_the_router() {
    for (list, served) in [(",cmp", false), ("cmp,", false), (",", false), ("", true)] {
        let mut book = book(LabelScheme::Traefik, Narrow::default());
        let pairs = [
            ("traefik.http.middlewares.cmp.compress", "true"),
            ("traefik.http.routers.a.middlewares", list),
            ("traefik.http.routers.a.rule", "Host(`a.example`)"),
            ("traefik.http.services.a.loadbalancer.server.port", "80"),
        ];
        book.put(container(1, "front", &labels(&pairs)), None);
        let (records, diagnostics) = book.snapshot();
        let mark = if served { "" } else { "503:" };
        let expected = format!("a 172.17.0.1:80 {mark}a.example/");
        assert_eq!(printed(&records), [expected], "{list:?}");
        let wanted = if served {
            Severity::Warning
        } else {
            Severity::Withheld
        };
        assert!(
            diagnostics.iter().any(|one| one.severity == wanted
                && one.field.as_deref() == Some("traefik.http.routers.a.middlewares")),
            "{list:?}: {diagnostics:?}"
        );
    }
}

/// The withheld routes of one container with these labels.
fn withheld_of(scheme: LabelScheme, pairs: &[(&str, &str)]) -> Vec<String> {
    let mut book = book(scheme, Narrow::default());
    book.put(container(1, "front", &labels(pairs)), None);
    let (records, diagnostics) = book.snapshot();
    let told = |one: &lb_core::Diagnostic| one.severity == Severity::Error;
    assert!(diagnostics.iter().any(told), "{pairs:?}: {diagnostics:?}");
    let routes = records.iter().flat_map(|record| record.routes.iter());
    routes
        .map(|route| {
            assert_eq!(route.service, withheld(), "{pairs:?}");
            format!("{}{}", route.host, route.path)
        })
        .collect()
}

#[test]
fn case_s04_a_protected_destination_that_cannot_be_read_withholds_all_that_it_may_match() {
    let users = ("com.df.users", "joe:s3cret");
    let admin = ("com.df.servicePath", "/admin");
    let beginning = &["m.example/admin", "m.example^/admin"][..];
    for (labels, expected) in [
        (
            [
                users,
                ("com.df.pathType", "path_reg"),
                ("com.df.servicePath", "^/admin"),
            ],
            beginning,
        ),
        (
            [
                users,
                ("com.df.pathType", "path_sub"),
                ("com.df.servicePath", "admin"),
            ],
            &["m.example/"],
        ),
        (
            [
                ("com.df.verifyClientSsl", "true"),
                ("com.df.pathType", "path_end"),
                admin,
            ],
            &["m.example/"],
        ),
        ([users, ("com.df.serviceHeader", "X:1"), admin], beginning),
        ([users, ("com.df.reqMode", "bogus"), admin], beginning),
        ([users, ("com.df.port", "abc"), admin], beginning),
    ] {
        let mut pairs = vec![
            ("com.df.notify", "true"),
            ("com.df.port", "80"),
            ("com.df.serviceDomain", "m.example"),
        ];
        pairs.extend(labels);
        assert_eq!(withheld_of(LabelScheme::DockerFlow, &pairs), expected);
    }
    let own = [
        ("lb.routes", "l28.example/admin"),
        ("lb.port", "abc"),
        ("lb.auth", "x"),
    ];
    assert_eq!(withheld_of(LabelScheme::Lb, &own), ["l28.example/admin"]);
}

#[test]
fn case_s04_a_protected_router_that_cannot_be_read_withholds_all_that_it_may_match() {
    for (rule, expected) in [
        (
            r"HostRegexp(`^k1[45]+\.ex$`) && PathPrefix(`/admin`)",
            &["*.ex/admin", "*.ex^/admin"][..],
        ),
        (r"HostRegexp(`^[a-z]+\.m1\.ex$`)", &["*.m1.ex/"]),
        ("HostRegexp(`{sub:[a-z]+}.m2.ex`)", &["*.m2.ex/"]),
        (
            r"HostRegexp(`^(.+\.)?m21\.ex$`) && Path(`/admin`)",
            &["m21.ex=/admin", "*.m21.ex=/admin"],
        ),
        ("PathRegexp(`^/m6(admin|secret)`)", &["*/m6", "*^/m6"]),
        (
            "!Host(`public.ex`) && PathPrefix(`/m25`)",
            &["*/m25", "*^/m25"],
        ),
        // That would be all there is.
        ("Query(`debug=1`)", &[]),
    ] {
        let pairs = [
            ("traefik.http.routers.a.middlewares", "auth@file"),
            ("traefik.http.routers.a.priority", "900"),
            ("traefik.http.routers.a.rule", rule),
            ("traefik.http.services.a.loadbalancer.server.port", "80"),
        ];
        assert_eq!(
            withheld_of(LabelScheme::Traefik, &pairs),
            expected,
            "{rule}"
        );
    }
}
