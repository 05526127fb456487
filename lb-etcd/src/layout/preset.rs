//! The well-known layouts as rules.

use super::{
    config::{LayoutConfig, RuleConfig, ValueKind},
    object::JsonFields,
    patroni, vulcand,
};

/// The rules of a layout, in the order in which they are asked.
pub(crate) fn rules(config: &LayoutConfig) -> Vec<RuleConfig> {
    match config {
        LayoutConfig::Confd { prefix, service } => confd(base(prefix), service.as_deref()),
        LayoutConfig::Lb { prefix } => lb(base(prefix)),
        LayoutConfig::Patroni { prefix } => patroni::rules(base(prefix)),
        LayoutConfig::Registrator { prefix } => registrator(base(prefix)),
        LayoutConfig::Rules(rules) => rules.clone(),
        LayoutConfig::Skydns { prefix, port } => skydns(base(prefix), *port),
        // It is no list of rules.
        LayoutConfig::Traefik { .. } => Vec::new(),
        LayoutConfig::Vulcand {
            prefix,
            allow_unprotected,
        } => vulcand::rules(base(prefix), allow_unprotected),
    }
}

/// `/proxy` and `/proxy/` are the same.
fn base(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

fn confd(base: &str, service: Option<&str>) -> Vec<RuleConfig> {
    vec![match service {
        Some(service) => RuleConfig::new(format!("{base}/{{endpoint}}"), ValueKind::Endpoint)
            .with_service(service),
        None => RuleConfig::new(
            format!("{base}/{{service}}/{{endpoint}}"),
            ValueKind::Endpoint,
        ),
    }]
}

fn lb(base: &str) -> Vec<RuleConfig> {
    vec![
        RuleConfig::new(
            format!("{base}/endpoints/{{service}}/{{endpoint}}"),
            ValueKind::Endpoint,
        ),
        RuleConfig::new(format!("{base}/services/{{service}}"), ValueKind::Service),
        RuleConfig::new(format!("{base}/routes/{{route}}"), ValueKind::Route),
    ]
}

fn registrator(base: &str) -> Vec<RuleConfig> {
    vec![
        RuleConfig::new(
            format!("{base}/{{service}}/{{host}}:{{container}}:{{port}}:udp"),
            ValueKind::Ignore,
        ),
        RuleConfig::new(
            format!("{base}/{{service}}/{{endpoint}}"),
            ValueKind::Address,
        ),
    ]
}

fn skydns(base: &str, port: Option<u16>) -> Vec<RuleConfig> {
    let fields = JsonFields {
        host: Some("/host".to_owned()),
        port: Some("/port".to_owned()),
        weight: Some("/weight".to_owned()),
        zero_weight_is_unset: true,
        zero_port_is_unset: true,
        ignore_case: true,
        unsupported: [("/priority", "10|0"), ("/group", "")]
            .map(|(field, harmless)| (field.to_owned(), harmless.to_owned()))
            .into(),
        ..JsonFields::default()
    };
    vec![
        // The names of addresses.
        RuleConfig::new(format!("{base}/arpa/{{rest...}}"), ValueKind::Ignore),
        RuleConfig::new(
            format!("{base}/{{domain...}}/{{endpoint}}"),
            ValueKind::Json(fields.into()),
        )
        .with_service("{domain:reverse}")
        .with_port(port),
    ]
}
