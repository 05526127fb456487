//! The page `LAYOUTS.md`, made of the tables and rules that the code uses.

use std::{borrow::Cow, fmt::Write as _, fs, path::Path};

use lb_schemes::{Effect, Row, markdown};

use super::{
    config::{LayoutConfig, RuleConfig, ValueKind},
    fields,
    object::JsonFields,
    preset,
};

const HEAD: &str = "# Layouts of keys in etcd

What lb makes of the keys of each layout, with the default prefix. This page is made of the rules and tables that the code uses
(`UPDATE_GOLDEN=1 cargo test -p lb-etcd page`); examples of each layout are in the documentation of `lb_etcd::layout`.

- **honoured**: it means what it means there.
- **reported**: it has no effect; a diagnostic names it.
- **withheld**: it restricts who may reach a route, and lb cannot do that. Requests of the route are answered with 503, never by a
  wider route. A diagnostic names the key, never its value.

A key that no pattern matches is reported. Of a key or field that is not known, the value is never shown.

Names of fields that restrict are those that restrict [in labels](../lb-core/schemes/SCHEMES.md#lb).
";

const ABOUT: [(&str, &str, &str); 6] = [
    (
        "lb",
        r#"{ "lb": {} }"#,
        "An unknown field is reported; a route with one is refused. One whose name restricts withholds the route, the routes of the \
         endpoint, or all routes of the service.",
    ),
    (
        "confd",
        r#"{ "confd": { "prefix": "/proxy" } }"#,
        "The well-known example with confd. An endpoint is `ip:port` or an object as in [lb](#lb). With `service`, the keys are \
         `/proxy/{endpoint}`.",
    ),
    (
        "registrator",
        r#"{ "registrator": { "prefix": "/services" } }"#,
        "",
    ),
    (
        "skydns",
        r#"{ "skydns": {} }"#,
        "SkyDNS and CoreDNS. A weight or port of 0 counts as none given; the option `port` is the port of records without one. \
         Letter case of fields does not count.",
    ),
    (
        "vulcand",
        r#"{ "vulcand": {} }"#,
        "`allow_unprotected` gives middlewares up by name. Letter case of fields does not count.",
    ),
    (
        "patroni",
        r#"{ "patroni": {} }"#,
        "The service of a cluster has its primary, is exclusive and TCP; `{cluster}-replica` has its replicas. A member serves while its \
         `state` is `running` or `streaming`, the primary only while `leader` names it. Without that key no member is the primary: \
         a member that calls itself so is down, its sessions are shut down, and it is reported until a leader is named. The key goes \
         with its lease when the primary loses etcd, also in a cluster that is paused, or whose failsafe mode lets the primary go on \
         without its lock; where lb cannot read etcd either, the last state is kept. Replicas are served with or without a leader. \
         A replica with the tag `noloadbalance` is in no service, and so is a `standby_leader` or a member that is `demoted`, `promoted` \
         (without the lock yet) or `uninitialized`; these are ordinary and not reported.",
    ),
];

const TRAEFIK: &str = "
## traefik

Traefik's tree below `traefik/`, read by the grammar of its labels: [its table](../lb-core/schemes/SCHEMES.md#traefik) with `/`
between the parts of keys, and `servers/N/url` and `servers/N/weight` in place of `server.port` and `server.weight`.
";

/// The effect of the values of a rule.
fn effect(value: &ValueKind) -> (Effect, &'static str) {
    match value {
        ValueKind::Address => (
            Effect::Honoured,
            "an endpoint: `ip:port`; names are not resolved",
        ),
        ValueKind::Endpoint => (Effect::Honoured, "an endpoint: `ip:port`, or an object"),
        ValueKind::Ignore => (
            Effect::Honoured,
            "nothing that matters here, and nothing is reported",
        ),
        ValueKind::Json(_) => (Effect::Honoured, "an object"),
        ValueKind::Leader => (
            Effect::Honoured,
            "the name of the endpoint that leads the service",
        ),
        ValueKind::Route => (Effect::Honoured, "a route: an object"),
        ValueKind::Service => (Effect::Honoured, "a service: an object"),
        ValueKind::Unsupported => (Effect::Reported, "it cannot be honoured"),
        ValueKind::Withhold => (
            Effect::Withheld,
            "it restricts the route; the value is never shown",
        ),
        other => panic!("no well-known layout has {other:?}"),
    }
}

fn rows(rule: &RuleConfig) -> Vec<Row<'static>> {
    let key = &rule.pattern;
    let (effect, note) = effect(&rule.value);
    let mut note = note.to_owned();
    if let Some(service) = &rule.service {
        write!(note, " of the service `{service}`").unwrap();
    }
    for (field, texts) in &rule.only_if {
        let texts = texts.replace('|', "` or `").replace("``", "no value");
        write!(note, ", where `{field}` is `{texts}`").unwrap();
    }
    let mut rows: Vec<Row<'static>> = vec![(key.clone().into(), effect, note.into())];
    let own = match &rule.value {
        ValueKind::Endpoint => fields::ENDPOINT,
        ValueKind::Route => fields::ROUTE,
        ValueKind::Service => fields::SERVICE,
        _ => &[],
    };
    rows.extend(own.iter().map(|field| field.row(&format!("{key} /"))));
    if let ValueKind::Json(fields) = &rule.value {
        rows.extend(json_rows(key, fields));
    }
    rows
}

fn json_rows(key: &str, fields: &JsonFields) -> Vec<Row<'static>> {
    let named = [
        (&fields.address, "the address as `ip:port`"),
        (
            &fields.url,
            "the address as an URL of any scheme; names are not resolved",
        ),
        (
            &fields.host,
            "the address without its port; names are not resolved",
        ),
        (&fields.port, "the port"),
        (
            &fields.weight,
            "0 to 256; more counts as 256, with a diagnostic",
        ),
        (&fields.state, "the state"),
        (&fields.service, "the service that the route leads to"),
        (&fields.rule, "the rule, as Traefik writes it"),
        (
            &fields.route,
            "`Host`, `Path`, and `HostRegexp` and `PathRegexp` of one host, one domain or one path with all below it, joined by `&&`; \
             another rule leaves the route out; where the route is restricted, all requests of its service and all that can be read of what the rule may match are withheld, the latter unless that is every host and path. \
             An expression that is not bound by `^` and `$` is compared with the whole text, which is reported; of a restricted route all that it may match is withheld",
        ),
    ];
    let honoured = named.into_iter().filter_map(|(place, note)| {
        let place = place.as_ref()?;
        Some((
            format!("{key} {place}").into(),
            Effect::Honoured,
            note.into(),
        ))
    });
    let reported = fields.unsupported.iter().map(|(place, harmless)| {
        let note = format!(
            "it is not honoured; not reported where it is `{}`",
            harmless.replace('|', "` or `")
        );
        (
            format!("{key} {place}").into(),
            Effect::Reported,
            Cow::from(note),
        )
    });
    honoured.chain(reported).collect()
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, config, about) in ABOUT {
        let config: LayoutConfig = serde_json::from_str(config).unwrap();
        let rules = preset::rules(&config);
        let rows: Vec<Row<'_>> = rules.iter().flat_map(rows).collect();
        writeln!(page, "\n## {title}\n").unwrap();
        if !about.is_empty() {
            writeln!(page, "{about}\n").unwrap();
        }
        page.push_str(&markdown(&rows));
    }
    page + TRAEFIK
}

#[test]
fn the_page_says_what_the_rules_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("LAYOUTS.md");
    let made = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&path).is_ok_and(|found| found == made),
        "LAYOUTS.md is not what the rules say; UPDATE_GOLDEN=1 writes it"
    );
}
