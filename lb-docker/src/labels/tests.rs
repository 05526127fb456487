//! Every scheme, as tables of labels, the wishes they make and what is complained of.

use std::collections::BTreeMap;

use lb_core::{Mode, Severity};
use proptest::prelude::*;

use super::{Subject, Wishes, claims, wishes};
use crate::config::LabelScheme;

const ALL: [LabelScheme; 5] = [
    LabelScheme::Lb,
    LabelScheme::DockerFlow,
    LabelScheme::Traefik,
    LabelScheme::EasyHaproxy,
    LabelScheme::VirtualHost,
];

fn read(scheme: LabelScheme, pairs: &[(&str, &str)]) -> Wishes {
    let labels: BTreeMap<String, String> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let env: Vec<(String, String)> = labels.clone().into_iter().collect();
    let subject = Subject {
        object: "container web-1 (abc)",
        name: "shop_web",
        labels: &labels,
        env: &env,
        compose: None,
        stack: Some("shop"),
    };
    wishes(&[scheme], &subject)
}

/// Each wish as `service:port mode weight routes`.
fn printed(wishes: &Wishes) -> Vec<String> {
    wishes
        .wishes
        .iter()
        .map(|wish| {
            let mut text = wish.service.to_string();
            if let Some(port) = wish.port {
                text.push_str(&format!(":{port}"));
            }
            if wish.mode == Mode::Tcp {
                text.push_str(" tcp");
            }
            if wish.weight.get() != 100 {
                text.push_str(&format!(" w{}", wish.weight));
            }
            for route in &wish.routes {
                assert_eq!(route.service, wish.service);
                text.push_str(&format!(" {}{}", route.host, route.path));
                if route.priority != 0 {
                    text.push_str(&format!("@{}", route.priority));
                }
            }
            text
        })
        .collect()
}

/// Each complaint's key, marked where it is an error.
fn complaints(wishes: &Wishes) -> Vec<String> {
    wishes
        .complaints
        .iter()
        .map(|complaint| {
            assert_eq!(complaint.object, "container web-1 (abc)");
            let mark = match complaint.severity {
                Severity::Error => "!",
                Severity::Warning => "",
            };
            format!("{mark}{}", complaint.field.as_deref().unwrap_or_default())
        })
        .collect()
}

type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);

fn check(scheme: LabelScheme, rows: &[Row<'_>]) {
    for (labels, expected, complained) in rows {
        let found = read(scheme, labels);
        assert_eq!(
            printed(&found),
            *expected,
            "{labels:?} {:?}",
            found.complaints
        );
        assert_eq!(complaints(&found), *complained, "{labels:?}");
    }
}

#[test]
fn our_own_labels() {
    check(
        LabelScheme::Lb,
        &[
            (&[], &[], &[]),
            (&[("lb.port", "8080")], &["shop_web:8080"], &[]),
            (
                &[
                    ("lb.service", "web"),
                    ("lb.port", "80"),
                    ("lb.routes", "a.example/x, *.b.example =/only c.example=/y"),
                    ("lb.weight", "7"),
                    ("lb.check", "81"),
                    ("lb.drain", "30s"),
                    ("lb.network", "back"),
                ],
                &["web:80 w7 a.example/x *.b.example/ *=/only c.example=/y"],
                &[],
            ),
            (
                &[
                    ("lb.service", "db"),
                    ("lb.tcp", "true"),
                    ("lb.routes", "db.example"),
                ],
                &["db tcp db.example/"],
                &[],
            ),
            (
                &[
                    ("lb.port", "80"),
                    ("lb.2.service", "admin"),
                    ("lb.2.port", "81"),
                ],
                &["shop_web:80", "admin:81"],
                &[],
            ),
            (
                &[
                    ("lb.service", "web"),
                    ("lb.sevrice", "x"),
                    ("lb.weight", "999"),
                    ("lb.drain", "long"),
                ],
                &["web"],
                &["lb.weight", "lb.drain", "lb.sevrice"],
            ),
            (&[("lb.port", "http")], &[], &["!lb.port"]),
            (&[("lb.service", "a b")], &[], &["!lb.service"]),
            (
                &[
                    ("lb.service", "web"),
                    ("lb.routes", "ok.example bad_host!/ /fine"),
                ],
                &["web ok.example/ */fine"],
                &["lb.routes"],
            ),
            (
                &[("lb.service", "a"), ("lb.1.service", "a")],
                &["a"],
                &["!service"],
            ),
        ],
    );
}

#[test]
fn docker_flow_labels() {
    check(
        LabelScheme::DockerFlow,
        &[
            (
                // The blog post's own service.
                &[
                    ("com.df.notify", "true"),
                    ("com.df.distribute", "true"),
                    ("com.df.servicePath", "/demo"),
                    ("com.df.port", "8080"),
                ],
                &["shop_web:8080 */demo"],
                &[],
            ),
            (
                &[("com.df.port", "80"), ("com.df.servicePath", "/")],
                &[],
                &["com.df.notify"],
            ),
            (
                &[("com.df.notify", "false"), ("com.df.port", "80")],
                &[],
                &[],
            ),
            (
                &[
                    ("com.df.notify", "true"),
                    ("com.df.shortName", "true"),
                    ("com.df.serviceDomain", "a.example,*.b.example"),
                    ("com.df.port", "80"),
                    ("com.df.isDefaultBackend", "true"),
                ],
                &["web:80 a.example/ *.b.example/ */@-1"],
                &[],
            ),
            (
                &[
                    ("com.df.notify", "true"),
                    ("com.df.port.1", "80"),
                    ("com.df.servicePath.1", "/a,/b"),
                    ("com.df.port.2", "81"),
                    ("com.df.servicePath.2", "/c"),
                    ("com.df.port.4", "82"),
                ],
                &["shop_web:80 */a */b", "shop_web-2:81 */c"],
                &["com.df.port.4"],
            ),
            (
                &[
                    ("com.df.notify", "true"),
                    ("com.df.port", "80"),
                    ("com.df.servicePath", "/x"),
                    ("com.df.pathType", "path_reg"),
                ],
                &[],
                &["!com.df.pathType"],
            ),
            (
                &[
                    ("com.df.notify", "true"),
                    ("com.df.port", "80"),
                    ("com.df.servicePath", "relative"),
                ],
                // Nothing readable never widens to everything.
                &["shop_web:80"],
                &["com.df.servicePath"],
            ),
            (
                &[
                    ("com.df.notify", "true"),
                    ("com.df.port", "80"),
                    ("com.df.reqMode", "tcp"),
                    ("com.df.backendExtra", "mode http"),
                    ("com.df.sessionType", "sticky-server"),
                    ("com.df.nonsense", "1"),
                ],
                &["shop_web:80 tcp"],
                &[
                    "com.df.backendExtra",
                    "com.df.nonsense",
                    "com.df.sessionType",
                ],
            ),
        ],
    );
}

#[test]
fn traefik_labels() {
    check(
        LabelScheme::Traefik,
        &[
            (
                &[
                    ("traefik.enable", "false"),
                    ("traefik.http.routers.a.rule", "x"),
                ],
                &[],
                &[],
            ),
            (&[("traefik.enable", "true")], &["shop-web shop-web/"], &[]),
            (
                &[
                    (
                        "traefik.http.routers.web.rule",
                        "Host(`a.example`) && PathPrefix(`/x`)",
                    ),
                    ("traefik.http.routers.web.entrypoints", "https"),
                    ("traefik.http.routers.web.priority", "9"),
                    (
                        "traefik.http.services.front.loadBalancer.server.port",
                        "8080",
                    ),
                    (
                        "traefik.http.services.front.loadBalancer.server.weight",
                        "3",
                    ),
                ],
                &["front:8080 w3 a.example/x@9"],
                &["traefik.http.routers.web.entrypoints"],
            ),
            (
                &[
                    ("traefik.http.routers.a.rule", "Host(`a.example`)"),
                    ("traefik.http.routers.a.service", "one"),
                    ("traefik.http.routers.b.rule", "Host(`b.example`)"),
                    ("traefik.http.services.one.loadbalancer.server.port", "1"),
                    ("traefik.http.services.two.loadbalancer.server.port", "2"),
                ],
                &["one:1 a.example/", "two:2"],
                &["!traefik.http.routers.b.service"],
            ),
            (
                &[
                    ("traefik.http.routers.a.rule", "Host(`a.example`)"),
                    ("traefik.http.routers.a.service", "api@internal"),
                    ("traefik.http.services.one.loadbalancer.server.port", "1"),
                ],
                &["one:1"],
                &["!traefik.http.routers.a.service"],
            ),
            (
                &[("traefik.http.routers.a.rule", "Method(`GET`)")],
                &["shop-web"],
                &["!traefik.http.routers.a.rule"],
            ),
            (
                &[
                    ("traefik.tcp.routers.db.rule", "HostSNI(`db.example`)"),
                    ("traefik.tcp.routers.db.tls.passthrough", "true"),
                    ("traefik.tcp.services.db.loadbalancer.server.port", "5432"),
                    ("traefik.http.middlewares.m.stripprefix.prefixes", "/x"),
                ],
                &["db:5432 tcp db.example/"],
                &["traefik.http.middlewares.m.stripprefix.prefixes"],
            ),
            (
                &[
                    ("traefik.http.routers.a.rule", "Host(`a.example`)"),
                    ("traefik.http.services.s.loadbalancer.server.port", "443"),
                    (
                        "traefik.http.services.s.loadbalancer.server.scheme",
                        "https",
                    ),
                ],
                &[],
                &["!traefik.http.services.s.loadbalancer.server.scheme"],
            ),
        ],
    );
}

#[test]
fn easy_haproxy_labels() {
    check(
        LabelScheme::EasyHaproxy,
        &[
            (
                &[
                    ("easyhaproxy.http.host", "a.example,b.example"),
                    ("easyhaproxy.http.localport", "8080"),
                ],
                &["a.example:8080 a.example/", "b.example:8080 b.example/"],
                &[],
            ),
            (
                &[
                    ("easyhaproxy.x.host", "a.example"),
                    ("easyhaproxy.x.ssl", "true"),
                ],
                &["a.example:80 a.example/"],
                &["easyhaproxy.x.ssl"],
            ),
            (
                &[
                    ("easyhaproxy.x.host", "a.example"),
                    ("easyhaproxy.x.port", "8443"),
                ],
                &[],
                &["!easyhaproxy.x.port"],
            ),
            (
                &[
                    ("easyhaproxy.db.mode", "tcp"),
                    ("easyhaproxy.db.localport", "5432"),
                    ("easyhaproxy.db.port", "5432"),
                ],
                &["shop_web:5432 tcp"],
                &[],
            ),
        ],
    );
}

#[test]
fn virtual_host_variables() {
    check(
        LabelScheme::VirtualHost,
        &[
            (&[("PATH", "/bin")], &[], &[]),
            (&[("VIRTUAL_HOST", "")], &[], &[]),
            (
                &[
                    ("VIRTUAL_HOST", "a.example, *.b.example"),
                    ("VIRTUAL_PORT", "8080"),
                ],
                &[
                    "a.example:8080 a.example/",
                    "_.b.example-b03090f498e044c9:8080 *.b.example/",
                ],
                &[],
            ),
            (
                &[("VIRTUAL_HOST", "~^www"), ("VIRTUAL_DEST", "/")],
                &[],
                &["VIRTUAL_DEST", "!VIRTUAL_HOST"],
            ),
            (
                &[("VIRTUAL_HOST", "a.example"), ("VIRTUAL_PROTO", "uwsgi")],
                &[],
                &["!VIRTUAL_PROTO"],
            ),
        ],
    );
}

#[test]
fn the_first_scheme_that_an_object_uses_counts() {
    let labels: BTreeMap<String, String> = [
        ("lb.service".to_owned(), "own".to_owned()),
        ("traefik.enable".to_owned(), "true".to_owned()),
    ]
    .into();
    let subject = Subject {
        object: "container web-1 (abc)",
        name: "web",
        labels: &labels,
        env: &[],
        compose: None,
        stack: None,
    };
    for (schemes, service) in [
        ([LabelScheme::Lb, LabelScheme::Traefik], "own"),
        ([LabelScheme::Traefik, LabelScheme::Lb], "web"),
    ] {
        let found = wishes(&schemes, &subject);
        assert_eq!(found.wishes.len(), 1);
        assert_eq!(found.wishes[0].service.as_str(), service);
    }
    assert!(claims(
        &[LabelScheme::Lb],
        labels.keys().map(String::as_str)
    ));
    assert!(!claims(
        &[LabelScheme::EasyHaproxy],
        labels.keys().map(String::as_str)
    ));
}

proptest! {
    /// Whatever is written in labels, every key under a claimed prefix is either understood or complained of,
    /// and what comes out is made of valid names and routes only.
    #[test]
    fn i6_no_label_is_ignored_and_none_breaks_anything(
        keys in proptest::collection::vec(
            ("(lb|com\\.df|traefik|easyhaproxy)\\.([a-z]{1,6}\\.){0,3}[a-zA-Z]{1,9}", ".{0,20}"), 0..6),
        known in proptest::sample::subsequence(vec![
            "lb.port", "lb.routes", "lb.service", "com.df.notify", "com.df.port", "com.df.servicePath",
            "traefik.enable", "traefik.http.routers.a.rule", "easyhaproxy.a.host", "VIRTUAL_HOST",
        ], 0..10),
        value in ".{0,30}",
    ) {
        let mut pairs: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        pairs.extend(known.iter().map(|key| (*key, value.as_str())));
        for scheme in ALL {
            let found = read(scheme, &pairs);
            for wish in &found.wishes {
                prop_assert!(wish.service.as_str().parse::<lb_core::Name>().is_ok());
                for route in &wish.routes {
                    prop_assert!(route.host.to_string().parse::<lb_core::RouteHost>().is_ok());
                    prop_assert!(route.path.to_string().parse::<lb_core::PathMatch>().is_ok());
                }
            }
            for complaint in &found.complaints {
                prop_assert!(complaint.value.as_ref().is_none_or(|value| value.len() <= 1100));
            }
        }
    }

    /// A key that no scheme knows is complained of by the scheme that claims it.
    #[test]
    fn unknown_keys_are_named(key in "zz[a-z]{1,8}") {
        for (scheme, prefix, gate) in [
            (LabelScheme::Lb, "lb.", ("lb.service", "web")),
            (LabelScheme::DockerFlow, "com.df.", ("com.df.notify", "true")),
            (LabelScheme::Traefik, "traefik.", ("traefik.enable", "true")),
            (LabelScheme::EasyHaproxy, "easyhaproxy.a.", ("easyhaproxy.a.host", "a.example")),
        ] {
            let full = format!("{prefix}{key}");
            let found = read(scheme, &[gate, (&full, "1")]);
            prop_assert!(complaints(&found).contains(&full), "{full}");
        }
    }
}
