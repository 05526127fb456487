//! Cases of containers together: what one does never disturbs another.

use std::{collections::BTreeMap, time::Instant};

use lb_core::{Record, Severity, Update, model::withheld};
use lb_schemes::{LabelScheme, Options};
use serde_json::json;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::InspectedContainer,
    book::Book,
    config::Family,
    container::Container,
    narrow::Narrow,
    translate::Rules,
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
            for route in record.routes.iter() {
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
