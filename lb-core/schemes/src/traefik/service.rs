//! One service out of its keys.

use lb_core::{Mode, Name, Weight};

use super::{Naming, Protocol, keys::KEYS, misspelt::restricts_service};
use crate::{
    Diagnostics, Options, Proportion, ServiceSpec, WrittenWeight,
    keys::{Effect, find},
    labels::flag,
};

/// The weight of a server that names none: 1, as there.
pub const DEFAULT_WEIGHT: u16 = 1;

/// The weight that a server's key says, with a note where another one is used than it says. What it is among the servers
/// of its service, [`Proportion`](crate::Proportion) says.
///
/// # Errors
/// What was expected.
pub fn weight(text: &str) -> Result<(u64, Option<&'static str>), &'static str> {
    let number = text.trim().parse::<i64>();
    let number = number.map_err(|_| "expected a weight of at least 0")?;
    u64::try_from(number).map_or_else(
        |_| {
            let note = "expected a weight of at least 0, 0 is used: the server gets no traffic";
            Ok((0, Some(note)))
        },
        |weight| Ok((weight, None)),
    )
}

/// The name of a service that a key refers to, in lower case; `None` where it is another provider's.
#[must_use]
pub fn own_service(text: &str, providers: &[&str]) -> Option<String> {
    match text.trim().split_once('@') {
        None => Some(text.trim().to_ascii_lowercase()),
        Some((name, provider)) => providers
            .iter()
            .any(|own| own.eq_ignore_ascii_case(provider))
            .then(|| name.to_ascii_lowercase()),
    }
}

/// A service out of its keys.
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    /// If `true`, a key may restrict who is served: no route of it may be served.
    pub(super) restricted: bool,
}

/// The service of an object that names none.
pub(super) fn unnamed(protocol: Protocol, name: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::new(Name::from_text(name));
    spec.weight = Weight::new(DEFAULT_WEIGHT).unwrap_or_default();
    if protocol == Protocol::Tcp {
        spec.mode = Mode::Tcp;
    }
    spec
}

/// The diagnostic of an unknown key of a service that may restrict who is served.
#[must_use]
pub fn restricted_service(key: &str) -> String {
    format!(
        "cannot be honoured: unknown key that may be meant to restrict who is served; no route of the service is served unless allow_unprotected has {key:?}"
    )
}

/// The service `name` out of its keys, in lower case.
pub(super) fn read(
    options: &Options,
    protocol: Protocol,
    name: &str,
    keys: &[(String, &str)],
    naming: Naming<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Service {
    let mut spec = unnamed(protocol, name);
    let mut restricted = false;
    let full = |key: &str| naming.full(protocol, "services", name, key);
    for (key, value) in keys {
        if restricts_service(protocol, key) && !options.allow_unprotected.allows(&[key]) {
            diagnostics.withhold(&full(key), restricted_service(key));
            restricted = true;
            continue;
        }
        let Some(own) = key.strip_prefix("loadbalancer.") else {
            let message = "not honoured: unknown or unsupported kind of service";
            diagnostics.refuse_masked(&full(key), message);
            spec.without_endpoint = true;
            continue;
        };
        match own {
            "server.port" => match port(value) {
                Some(port) => spec.port = Some(port),
                None => {
                    diagnostics.invalid(&full(key), value, "expected a port from 1 to 65535");
                    spec.without_endpoint = true;
                }
            },
            "server.weight" => match weight(value) {
                Ok((weight, note)) => {
                    spec.weight = Proportion::of([weight]).weight(weight);
                    spec.written_weight = (weight > 256).then(|| WrittenWeight {
                        key: full(key),
                        weight,
                    });
                    if let Some(note) = note {
                        diagnostics.warn(&full(key), value, note);
                    }
                }
                Err(expected) => {
                    diagnostics.warn(&full(key), value, format!("{expected}, 1 is used"))
                }
            },
            "server.scheme" if value.trim().eq_ignore_ascii_case("http") => {}
            "server.scheme" => {
                diagnostics.refuse(
                    &full(key),
                    value,
                    "not honoured, expected http: the service has no endpoint here",
                );
                spec.without_endpoint = true;
            }
            "server.tls" if flag(value) == Some(false) => {}
            "server.url" | "server.tls" => {
                diagnostics
                    .refuse_masked(&full(key), "not honoured: the service has no endpoint here");
                spec.without_endpoint = true;
            }
            "healthcheck.port" => match port(value) {
                Some(port) => spec.check_port = Some(port),
                None => diagnostics.warn(&full(key), value, "expected a port from 1 to 65535"),
            },
            "passhostheader" if flag(value) == Some(true) => {}
            "passhostheader" => diagnostics.warn(
                &full(key),
                value,
                "not honoured: the host is always passed on",
            ),
            _ => {
                let entry = find(KEYS, &format!("{protocol}.services.*.{key}"));
                let note = entry.map_or("unknown key", |entry| entry.note);
                if entry.is_none_or(|entry| entry.effect != Effect::Honoured) {
                    diagnostics.warn_masked(&full(key), format!("not honoured: {note}"));
                }
            }
        }
    }
    Service { spec, restricted }
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}
