//! One grammar for one scheme: the same rules as labels and as keys come to the same routes, weights and diagnostics.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Diagnostic, Mode, Route, Weight};
use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
use lb_schemes::{EntryPoints, LabelScheme, Options, Subject, Unprotected};
use proptest::prelude::*;

/// The result of rules.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    routes: BTreeSet<(Mode, Route)>,
    weights: BTreeMap<String, Weight>,
    /// The key, the value, the message, and whether something is left out; keys with slashes.
    diagnostics: BTreeSet<(Option<String>, Option<String>, String, bool)>,
}

/// Pairs of key and value below the root, the keys with dots.
type Rules = BTreeMap<String, String>;

/// The configuration of a source: what is given up, and its entry points, as JSON.
type Setting = (Vec<String>, Option<&'static str>);

fn of_labels(rules: &Rules, (given_up, entrypoints): &Setting) -> Outcome {
    let labels: BTreeMap<String, String> = rules
        .iter()
        .map(|(key, value)| (format!("traefik.{key}"), value.clone()))
        .collect();
    let mut options = Options::new(&[LabelScheme::Traefik], &["etcd"]);
    options.allow_unprotected = Unprotected::from(given_up.clone());
    if let Some(points) = entrypoints {
        options.entrypoints = serde_json::from_str::<EntryPoints>(points).unwrap();
    }
    let exposed = BTreeSet::from([80]);
    let subject = Subject {
        object: "object",
        name: "object",
        labels: &labels,
        env: &[],
        compose: None,
        stack: None,
        exposed: &exposed,
    };
    let reading = lb_schemes::read(&options, &subject);
    let mut outcome = Outcome::default();
    for spec in reading.services {
        if !spec.without_endpoint {
            outcome
                .weights
                .insert(spec.service.to_string(), spec.weight);
        }
        let routes = spec.routes.into_iter().map(|route| (spec.mode, route));
        outcome.routes.extend(routes);
    }
    let told = reading.diagnostics.into_iter();
    outcome.diagnostics = told.map(plain).collect();
    outcome
}

fn of_keys(rules: &Rules, (given_up, entrypoints): &Setting) -> Outcome {
    let config = match entrypoints {
        None => serde_json::json!({ "traefik": { "allow_unprotected": given_up } }),
        Some(points) => {
            let points: serde_json::Value = serde_json::from_str(points).unwrap();
            serde_json::json!({ "traefik": { "allow_unprotected": given_up, "entrypoints": points } })
        }
    };
    let config: LayoutConfig = serde_json::from_value(config).unwrap();
    let mut view = View::new(Layout::new(&[config]).unwrap());
    let step = view.apply(rules.iter().map(|(key, value)| {
        // The address of a server is in its key, not known from the object.
        let (key, value) = match key.strip_suffix("server.port") {
            Some(service) if key.starts_with("http") => (
                format!("{service}servers.0.url"),
                format!("http://192.0.2.1:{value}"),
            ),
            Some(service) => (
                format!("{service}servers.0.address"),
                format!("192.0.2.1:{value}"),
            ),
            None => (
                key.replace("server.weight", "servers.0.weight"),
                value.clone(),
            ),
        };
        Change::put(format!("traefik/{}", key.replace('.', "/")), value)
    }));
    let mut outcome = Outcome::default();
    for record in view.records() {
        if let Some(endpoint) = &record.endpoint {
            outcome
                .weights
                .insert(record.key.service.to_string(), endpoint.weight);
        }
        let routes = record
            .routes
            .iter()
            .map(|route| (record.mode, route.clone()));
        outcome.routes.extend(routes);
    }
    // That a server is left out with its service is said of its keys, which labels have not.
    let told = step.diagnostics.into_iter();
    let of_rules = told.filter(|told| !told.object.contains("/servers/"));
    outcome.diagnostics = of_rules.map(plain).collect();
    outcome
}

/// Of two routes of one place the withheld one gets the requests, here in the reading, there in the merge.
fn settled(mut outcome: Outcome) -> Outcome {
    let place = |(mode, route): &(Mode, Route)| {
        (
            *mode,
            route.host.clone(),
            route.path.clone(),
            route.rank.clone(),
            route.priority,
        )
    };
    let withheld: Vec<_> = outcome
        .routes
        .iter()
        .filter(|(_, route)| route.service == lb_core::model::withheld())
        .map(place)
        .collect();
    outcome.routes.retain(|found| {
        found.1.service == lb_core::model::withheld() || !withheld.contains(&place(found))
    });
    outcome
}

fn plain(diagnostic: Diagnostic) -> (Option<String>, Option<String>, String, bool) {
    // Of a key that is no router's, the object is the key.
    let field = diagnostic.field.or(Some(diagnostic.object));
    (
        field.map(|field| field.replace('.', "/").to_lowercase()),
        diagnostic.value,
        diagnostic.message,
        diagnostic.severity == lb_core::Severity::Error,
    )
}

/// The rules whose places are known.
const KNOWN: [&str; 10] = [
    "Host(`a.example`)",
    "Host(`A.example`, `b.example`) && PathPrefix(`/x`)",
    "PathPrefix(`/`)",
    "PathPrefix(`/api/`)",
    "Host(`a.example`) || Path(`/y`)",
    "Host(`a.example`) && Method(`GET`)",
    "HostRegexp(`.+`)",
    "Host(`a.example`) && !PathPrefix(`/admin`)",
    "HostSNI(`*`)",
    "HostSNI(`a.example`)",
];

/// The keys of one router.
fn router(protocol: &'static str, name: &'static str) -> impl Strategy<Value = Rules> {
    let rules: &[&str] = match protocol {
        "http" => &[
            "Host(`a.example`)",
            "Host(`A.example`, `b.example`) && PathPrefix(`/x`)",
            "PathPrefix(`/`)",
            "PathPrefix(`/api/`)",
            "Host(`a.example`) || Path(`/y`)",
            "Host(``)",
            "Host(`a.example`) && Method(`GET`)",
            "HostRegexp(`.+`)",
            "HostRegexp(`^[a-z]+\\.c\\.example$`)",
            "Path(`/p/{id}`)",
            "Host(`a.example`) && !PathPrefix(`/admin`)",
            "nonsense",
        ],
        _ => &[
            "HostSNI(`*`)",
            "HostSNI(`a.example`)",
            "HostSNI(``)",
            "Host(`a.example`)",
            "HostSNIRegexp(`.+`)",
        ],
    };
    let services = match protocol {
        "http" => ["web", "Api", "web@etcd", "web@file"],
        _ => ["db", "DB", "db@etcd", "db@docker"],
    };
    let some = |values: &[&'static str]| {
        prop::option::weighted(0.4, prop::sample::select(values.to_vec()))
    };
    (
        prop::sample::select(rules.to_vec()),
        prop::sample::select(services.to_vec()),
        some(&["0", "1", "77", "-3", "99999999999"]),
        some(&[
            "auth",
            "strip",
            "https",
            "zip",
            "auth@file",
            "zip,chained",
            "none",
            "",
            ",zip",
            ",",
        ]),
        some(&[
            "web",
            "internal",
            "web,internal",
            "websecure",
            "web,websecure",
            "db",
        ]),
        some(&["true", "false"]),
        (
            any::<bool>(),
            some(&["middlewares", "entrypoints", "tls.options", "priority"]),
        ),
    )
        .prop_map(
            move |(rule, service, priority, middlewares, entrypoints, tls, (camel, misspelt))| {
                // Of an object, another provider's service may withhold all that it has; in etcd there is no object.
                let known =
                    KNOWN.contains(&rule) && (protocol == "tcp") == rule.starts_with("HostSNI");
                let service = match service.split_once('@') {
                    Some((own, _)) if !known => own,
                    _ => service,
                };
                let base = format!("{protocol}.routers.{name}");
                let entries = if camel { "entryPoints" } else { "entrypoints" };
                [
                    ("rule", Some(rule)),
                    ("service", Some(service)),
                    ("priority", priority),
                    ("middlewares", middlewares),
                    (entries, entrypoints),
                    ("tls", tls),
                ]
                .into_iter()
                .filter_map(|(key, value)| Some((format!("{base}.{key}"), value?.to_owned())))
                // A section that there is not.
                .chain(
                    misspelt.map(|key| (format!("{protocol}.router.{name}.{key}"), "1".to_owned())),
                )
                .collect()
            },
        )
}

fn rules() -> impl Strategy<Value = Rules> {
    let weight = || prop::option::of(0_u16..257);
    (
        router("http", "one"),
        router("http", "Two"),
        router("tcp", "three"),
        (weight(), weight(), weight()),
        prop::option::weighted(0.3, prop::sample::select(OF_SERVICES.to_vec())),
    )
        .prop_map(|(one, two, three, weights, of_service)| {
            let mut rules: Rules = [
                ("http.services.web.loadBalancer.server.port", "80"),
                ("http.services.api.loadbalancer.server.port", "80"),
                ("tcp.services.db.loadbalancer.server.port", "80"),
                ("http.middlewares.auth.basicAuth.users", "joe:s3cret"),
                ("http.middlewares.strip.stripPrefix.prefixes", "/x"),
                ("http.middlewares.https.redirectscheme.scheme", "https"),
                ("http.middlewares.zip.compress", "true"),
                ("http.middlewares.chained.chain.middlewares", "https,strip"),
            ]
            .into_iter()
            .map(|(key, value)| {
                (
                    key.replace("loadBalancer", "loadbalancer"),
                    value.to_owned(),
                )
            })
            .collect();
            for (service, weight) in [
                ("http.services.web", weights.0),
                ("http.services.api", weights.1),
                ("tcp.services.db", weights.2),
            ] {
                if let Some(weight) = weight {
                    rules.insert(
                        format!("{service}.loadbalancer.server.weight"),
                        weight.to_string(),
                    );
                }
            }
            rules.extend(of_service.map(|key| (key.to_owned(), "1".to_owned())));
            rules.extend(one);
            rules.extend(two);
            rules.extend(three);
            rules
        })
}

/// Keys of services that are not of their servers.
const OF_SERVICES: [&str; 5] = [
    "http.services.web.loadbalancer.middlewares",
    "http.services.web.loadbalancer.sticky.cookie.secure",
    "http.services.api.loadbalancer.healthcheck.method",
    "http.services.api.loadbalancer.auth.users",
    "tcp.services.db.loadbalancer.allowlist",
];

fn setting() -> impl Strategy<Value = Setting> {
    let names = [
        "tls",
        "middlewares",
        "basicauth",
        "auth",
        "auth@file",
        "http.router.one.middlewares",
        "loadbalancer.middlewares",
        "loadbalancer.allowlist",
    ];
    let given_up = prop::sample::subsequence(names.to_vec(), 0..3);
    let points = [
        r#"{"web": "http", "db": "tcp"}"#,
        r#"{"web": "https", "internal": "both"}"#,
        r#"{"websecure": "https_and_tcp"}"#,
    ];
    (
        given_up,
        prop::option::weighted(0.4, prop::sample::select(points.to_vec())),
    )
        .prop_map(|(given_up, points)| (given_up.into_iter().map(str::to_owned).collect(), points))
}

proptest! {
    /// S1 to S9: labels and keys come to the same routes, weights and diagnostics, whatever the options are.
    #[test]
    fn case_s09_labels_and_keys_come_to_the_same(rules in rules(), setting in setting()) {
        prop_assert_eq!(
            settled(of_labels(&rules, &setting)),
            settled(of_keys(&rules, &setting))
        );
    }
}
