//! One service out of its keys.

use lb_core::{Mode, Name, Weight};

use super::{Naming, Protocol, keys::KEYS};
use crate::{
    Diagnostics, ServiceSpec,
    keys::{Effect, find},
    labels::flag,
};

/// The weight of a server that names none: 1, as there.
pub const DEFAULT_WEIGHT: u16 = 1;

/// The weight that a server's key says, or what is expected there.
///
/// # Errors
/// What was expected.
pub fn weight(text: &str) -> Result<Weight, &'static str> {
    text.trim()
        .parse::<u16>()
        .ok()
        .and_then(|number| Weight::new(number).ok())
        .ok_or("expected a weight of 0 to 256")
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

/// The service `name` out of its keys, in lower case.
pub(super) fn read(
    protocol: Protocol,
    name: &str,
    keys: &[(String, &str)],
    naming: Naming<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> ServiceSpec {
    let mut spec = ServiceSpec::new(Name::from_text(name));
    spec.weight = Weight::new(DEFAULT_WEIGHT).unwrap_or_default();
    if protocol == Protocol::Tcp {
        spec.mode = Mode::Tcp;
    }
    let full = |key: &str| naming.full(protocol, "services", name, key);
    for (key, value) in keys {
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
                Ok(weight) => spec.weight = weight,
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
    spec
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}
