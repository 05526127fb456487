//! The variables `VIRTUAL_HOST`, `VIRTUAL_PORT` and `VIRTUAL_PATH`, as nginx-proxy has them. Containers that name
//! the same host and path serve the same service.

use std::collections::BTreeMap;

use lb_core::{Name, PathMatch, RouteHost};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    labels::{Port, Reader},
};

pub(crate) fn read(_options: &Options, subject: &Subject<'_>) -> Reading {
    let variables: BTreeMap<String, String> = subject
        .env
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .cloned()
        .collect();
    let mut diagnostics = Diagnostics::new(subject.object);
    let mut labels = Reader::new(&variables, "VIRTUAL_");
    let Some(hosts) = labels.take("HOST") else {
        return Reading::default();
    };
    let port = labels.port("PORT", &mut diagnostics);
    let path = match labels.take("PATH") {
        None => Some(PathMatch::any()),
        Some(text) => match text.parse::<PathMatch>() {
            Ok(path) => Some(path),
            Err(error) => {
                diagnostics.refuse("VIRTUAL_PATH", text, error.to_string());
                None
            }
        },
    };
    let protocol_fits = match labels.take("PROTO") {
        None | Some("http") => true,
        Some(other) => {
            diagnostics.refuse("VIRTUAL_PROTO", other, "expected http");
            false
        }
    };
    labels.finish(&mut diagnostics, |key| match key {
        "DEST" => "not honoured: paths are never rewritten",
        "HOST_MULTIPORTS" => "not supported, expected VIRTUAL_HOST and VIRTUAL_PORT",
        _ => "unknown variable, expected VIRTUAL_HOST, VIRTUAL_PORT or VIRTUAL_PATH",
    });
    let mut services = Vec::new();
    if let Some(path) = path
        && protocol_fits
        && port != Port::Invalid
    {
        for text in hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
        {
            match text.parse::<RouteHost>() {
                Ok(host) => {
                    let name = match path == PathMatch::any() {
                        true => host.to_string(),
                        false => format!("{host}{path}"),
                    };
                    let mut spec = ServiceSpec::new(Name::from_text(&name));
                    spec.port = port.number();
                    spec.route(host, path.clone(), 0);
                    services.push(spec);
                }
                Err(error) => diagnostics.refuse("VIRTUAL_HOST", text, error.to_string()),
            }
        }
    }
    Reading {
        services,
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

/// Returns `true` if an environment variable or label is one of the scheme's.
pub(crate) fn claims(key: &str) -> bool {
    key.starts_with("VIRTUAL_")
}
