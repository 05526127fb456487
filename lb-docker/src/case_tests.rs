//! Cases of containers together: what one does never disturbs another.

use std::{collections::BTreeMap, time::Instant};

use lb_core::{
    Record, Severity, Update,
    model::{nowhere, withheld},
};
use lb_schemes::{LabelScheme, Options};
use serde_json::json;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::InspectedContainer,
    book::Book,
    config::{Family, MAX_LABEL_BYTES},
    container::Container,
    explain::Explanation,
    narrow::Narrow,
    translate::{Fate, Rules, translate},
};

fn networks() -> Networks {
    ["front", "back"]
        .map(|name| {
            let network = Network {
                name: name.to_owned(),
                driver: "bridge".to_owned(),
                internal: false,
                ingress: false,
            };
            (format!("{name}-id"), network)
        })
        .into()
}

fn book(scheme: LabelScheme, narrow: Narrow) -> Book {
    let rules = Rules {
        options: Options::new(&[scheme], &["docker"]),
        narrow,
        services: Vec::new(),
        one_off: false,
        own_project: None,
        max_label_bytes: MAX_LABEL_BYTES,
    };
    let reach = Reach {
        viewpoint: Viewpoint::Host,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    Book::new(rules, networks(), reach)
}

/// A running container as the engine shows it when asked for one.
fn container(number: u8, network: &str, labels: &BTreeMap<String, String>) -> Container {
    let answer = json!({
        "Id": format!("{number:064x}"),
        "Name": format!("/c{number}"),
        "State": { "Status": "running" },
        "Config": { "Labels": labels, "Env": [], "ExposedPorts": { "80/tcp": {} } },
        "NetworkSettings": { "Networks": { network: {
            "NetworkID": format!("{network}-id"), "IPAddress": format!("172.17.0.{number}"),
        } } },
    });
    let inspected: InspectedContainer = serde_json::from_value(answer).unwrap();
    Container::from_inspect(inspected)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Each record as `service address routes`.
fn printed(records: &[Record]) -> Vec<String> {
    let mut all: Vec<String> = records
        .iter()
        .map(|record| {
            let address = record.endpoint.as_ref().map(|endpoint| endpoint.address);
            let mut text = format!("{} {address:?}", record.key.service);
            let routes = record.routes.iter();
            for route in routes.filter(|route| route.service != nowhere()) {
                let mark = match route.service == withheld() {
                    true => "503:",
                    false => "",
                };
                text.push_str(&format!(" {mark}{}{}", route.host, route.path));
            }
            text.replace("Some(", "").replace(')', "")
        })
        .collect();
    all.sort();
    all
}

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
fn case_s16_a_source_is_narrowed_by_project_label_and_network() {
    let of = |project: &str, tier: &str| {
        labels(&[
            ("com.docker.compose.project", project),
            ("com.docker.compose.service", "web"),
            ("com.docker.compose.container-number", "1"),
            ("tier", tier),
            ("lb.routes", &format!("{project}.example")),
        ])
    };
    let all = || {
        [
            (1, "front", of("shop", "public")),
            (2, "front", of("blog", "public")),
            (3, "back", of("wiki", "draft")),
        ]
    };
    let narrows = [
        (Narrow::default(), vec!["blog", "shop", "wiki"]),
        (
            Narrow {
                projects: vec!["shop".to_owned()],
                ..Narrow::default()
            },
            vec!["shop"],
        ),
        (
            Narrow {
                constraints: Some("!Label(`tier`, `draft`)".parse().unwrap()),
                ..Narrow::default()
            },
            vec!["blog", "shop"],
        ),
        (
            Narrow {
                networks: vec!["back".to_owned()],
                ..Narrow::default()
            },
            vec!["wiki"],
        ),
    ];
    for (narrow, expected) in narrows {
        let mut book = book(LabelScheme::Lb, narrow.clone());
        for (number, network, labels) in all() {
            let pairs = labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            if book.rules().claims(pairs) {
                book.put(container(number, network, &labels), None);
            }
        }
        let (records, diagnostics) = book.snapshot();
        let projects: Vec<String> = printed(&records)
            .iter()
            .filter_map(|record| record.split('-').next().map(str::to_owned))
            .collect();
        assert_eq!(projects, expected, "{narrow:?}");
        assert_eq!(diagnostics, []);
    }
}

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

/// Where any label may be named, so many of one container are kept, and a container with more is reported.
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

/// A label of 600 KB, or one that is just small enough to be read, is cut in all that is reported, whatever its key; so is
/// a key.
#[test]
fn case_h10_a_label_of_600_kilobytes_is_cut_in_what_is_reported() {
    const KEYS: [&str; 16] = [
        "com.docker.compose.project",
        "com.docker.compose.service",
        "com.df.port",
        "com.df.serviceName",
        "com.df.servicePath",
        "easyhaproxy.x.host",
        "easyhaproxy.x.port",
        "lb.enable",
        "lb.port",
        "lb.routes",
        "lb.service",
        "lb.unknown",
        "traefik.enable",
        "traefik.http.routers.a.rule",
        "traefik.http.services.s.loadbalancer.server.port",
        "VIRTUAL_HOST",
    ];
    for scheme in [
        LabelScheme::Lb,
        LabelScheme::DockerFlow,
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::VirtualHost,
    ] {
        for bytes in [200_000, 600_000] {
            for key in KEYS {
                let junk = match key {
                    "traefik.http.routers.a.rule" => format!("Host(`{}`)", "x".repeat(bytes)),
                    _ => "x".repeat(bytes),
                };
                let long_key = format!("{key}{junk}");
                for (key, value) in [(key, junk.as_str()), (long_key.as_str(), "x")] {
                    let mut all = labels(&[
                        ("com.docker.compose.project", "shop"),
                        ("com.docker.compose.service", "web"),
                        ("com.df.notify", "true"),
                        ("lb.port", "80"),
                    ]);
                    all.insert(key.to_owned(), value.to_owned());
                    let mut one = container(1, "front", &all);
                    one.env = Some(vec![(key.to_owned(), value.to_owned())]);
                    let mut book = book(scheme, Narrow::default());
                    book.put(one, None);
                    let honest = labels(&[("lb.service", "honest"), ("lb.port", "80")]);
                    book.put(container(2, "front", &honest), None);
                    let (records, diagnostics) = book.snapshot();
                    let shown: usize = diagnostics.iter().map(|one| format!("{one:?}").len()).sum();
                    let what: String = key.chars().take(40).collect();
                    assert!(shown < 4000, "{scheme:?} {what}: {shown} bytes");
                    let named = records.iter().map(|record| record.key.to_string().len());
                    assert!(named.max() < Some(1000), "{scheme:?} {what}");
                    assert!(
                        scheme != LabelScheme::Lb
                            || records
                                .iter()
                                .any(|one| one.key.service.as_str() == "honest"),
                        "{what}"
                    );
                }
            }
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

/// No value of a key that protects something is in a diagnostic, whatever the scheme.
#[test]
fn case_s05_planted_secrets_are_never_told() {
    const SECRET: &str = "pl4nted";
    let all = [
        (
            "traefik.http.routers.a.rule",
            "Host(`a`) && Header(`X`, `pl4nted`)",
        ),
        ("traefik.http.routers.b.rule", "Host(`b`"),
        ("traefik.http.routers.b.middlewares", "pl4nted@file"),
        ("traefik.http.routers.b.middelwares", "pl4nted"),
        ("traefik.http.routers.b.tls.options", "pl4nted"),
        ("traefik.http.middlewares.m.basicauth.users", "joe:pl4nted"),
        (
            "traefik.http.middlewares.m.headers.customrequestheaders.Authorization",
            "pl4nted",
        ),
        (
            "traefik.tcp.middlewares.t.ipallowlist.sourcerange",
            "pl4nted",
        ),
        ("traefik.nonsense", "pl4nted"),
        (
            "traefik.http.services.s.loadbalancer.server.url",
            "http://joe:pl4nted@h",
        ),
        ("com.df.notify", "true"),
        ("com.df.servicePath", "/"),
        ("com.df.users", "joe:pl4nted"),
        ("com.df.Users", "joe:pl4nted"),
        ("com.df.usersSecret", "pl4nted"),
        ("com.df.serviceCert", "pl4nted"),
        ("com.df.setReqHeader", "X pl4nted"),
        ("com.df.addReqHeader", "X pl4nted"),
        ("com.df.backendExtra", "pl4nted"),
        ("com.df.nonsense", "pl4nted"),
        ("easyhaproxy.x.host", "a.example"),
        ("easyhaproxy.x.sslcert", "pl4nted"),
        ("easyhaproxy.x.plugins", "pl4nted"),
        ("easyhaproxy.x.plugin.jwt_validator.pubkey", "pl4nted"),
        ("easyhaproxy.x.nonsense", "pl4nted"),
        ("easyhaproxy.nonsense", "pl4nted"),
        ("lb.service", "web"),
        ("lb.nonsense", "pl4nted"),
        ("lb.routes", "joe:pl4nted@a.example"),
        ("VIRTUAL_HOST", "joe:pl4nted@a.example"),
        ("VIRTUAL_NONSENSE", "pl4nted"),
        ("CERT_NAME", "pl4nted"),
        (
            "com.github.nginx-proxy.nginx-proxy.ssl_verify_client",
            "pl4nted",
        ),
    ];
    for scheme in [
        LabelScheme::Lb,
        LabelScheme::DockerFlow,
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::VirtualHost,
    ] {
        let mut book = book(scheme, Narrow::default());
        let mut planted = container(1, "front", &labels(&all));
        planted.env = Some(
            all.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        );
        book.put(planted, None);
        let (records, diagnostics) = book.snapshot();
        assert!(!diagnostics.is_empty(), "{scheme:?}");
        for diagnostic in &diagnostics {
            let told = format!("{diagnostic} {diagnostic:?}");
            assert!(!told.contains(SECRET), "{told}");
        }
        assert!(!format!("{records:?}").contains(SECRET), "{scheme:?}");
    }
}

/// A container with these variables.
fn with_variables(number: u8, variables: &[(&str, &str)]) -> Container {
    let mut made = container(number, "front", &BTreeMap::new());
    made.env = Some(labels(variables).into_iter().collect());
    made
}

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
fn an_explanation_shows_routes_and_why_one_is_withheld() {
    let book = book(LabelScheme::Traefik, Narrow::default());
    let asked = labels(&[
        ("traefik.http.routers.a.rule", "Host(`a.example`)"),
        (
            "traefik.http.routers.b.rule",
            "Host(`b.example`) && PathPrefix(`/x`)",
        ),
        ("traefik.http.routers.b.middlewares", "lock"),
        (
            "traefik.http.middlewares.lock.basicauth.users",
            "joe:s3cret",
        ),
        ("traefik.http.services.web.loadbalancer.server.port", "80"),
    ]);
    let found = container(1, "front", &asked);
    let reach = Reach {
        viewpoint: Viewpoint::Host,
        network: None,
        node_address: None,
        family: Family::V4,
    };
    let translation = translate(
        &found,
        None,
        Fate::Stays,
        book.rules(),
        &networks(),
        &reach,
        None,
        |_| None,
    );
    let explained = Explanation::new(found.object(), "from here".to_owned(), translation);
    let text = explained.to_string();
    let routes: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("route"))
        .collect();
    assert_eq!(
        routes,
        [
            "route a.example/ to service web",
            "route b.example/x withheld: answered with 503 (TCP: closed) because of traefik.http.routers.b.middlewares",
            "route b.example^/x withheld: answered with 503 (TCP: closed) because of traefik.http.routers.b.middlewares",
        ],
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
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
