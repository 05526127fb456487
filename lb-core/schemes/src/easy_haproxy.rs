//! `easyhaproxy.<definition>.*`. Containers that name the same host serve the same service.

use std::collections::BTreeSet;

use lb_core::{Mode, Name, PathMatch, RouteHost};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    labels::{Port, Reader},
};

pub(crate) const PREFIX: &str = "easyhaproxy.";

pub(crate) fn read(_options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let mut labels = Reader::new(subject.labels, PREFIX);
    let definitions: BTreeSet<&str> = labels
        .keys()
        .into_iter()
        .filter_map(|key| key.split_once('.').map(|(definition, _)| definition))
        .collect();
    let mut services: Vec<ServiceSpec> = Vec::new();
    for definition in definitions {
        for spec in self::definition(subject, definition, &mut labels, &mut diagnostics) {
            match services
                .iter_mut()
                .find(|other| other.service == spec.service && other.port == spec.port)
            {
                Some(_) => {}
                None => services.push(spec),
            }
        }
    }
    labels.finish(&mut diagnostics, |key| {
        match key.rsplit('.').next().unwrap_or(key) {
            "ssl" | "sslcert" | "ssl-check" | "certbot" | "redirect_ssl" | "clone_to_ssl"
            | "redirect" | "balance" | "proto" | "socket" | "health-check" => {
                "not honoured: it needs HAProxy's own configuration and a reload"
            }
            _ => "unknown label, expected easyhaproxy.DEFINITION.host, localport, port or mode",
        }
    });
    Reading {
        services,
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

fn definition(
    subject: &Subject<'_>,
    definition: &str,
    labels: &mut Reader<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<ServiceSpec> {
    let key = |name: &str| format!("{definition}.{name}");
    let hosts = labels.take(&key("host"));
    let local = labels.port(&key("localport"), diagnostics);
    let front = labels.port(&key("port"), diagnostics);
    let mode = match labels.take(&key("mode")) {
        None | Some("http") => Mode::Http,
        Some("tcp") => Mode::Tcp,
        Some(other) => {
            diagnostics.refuse(&labels.full(&key("mode")), other, "expected http or tcp");
            return Vec::new();
        }
    };
    if local == Port::Invalid || front == Port::Invalid {
        return Vec::new();
    }
    if let Port::Number(port) = front
        && !matches!(port, 80 | 443)
        && mode == Mode::Http
    {
        diagnostics.refuse(
            &labels.full(&key("port")),
            &port.to_string(),
            "not honoured: a port to listen on needs HAProxy's own configuration and a reload",
        );
        return Vec::new();
    }
    // The scheme's own default.
    let port = local.number().unwrap_or(80);
    let Some(hosts) = hosts else {
        if mode == Mode::Tcp {
            let mut spec = ServiceSpec::new(subject.default_service());
            spec.mode = mode;
            spec.port = Some(port);
            return vec![spec];
        }
        diagnostics.refuse(
            &labels.full(&key("host")),
            "",
            "not set, expected a host name",
        );
        return Vec::new();
    };
    hosts
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .filter_map(|text| match text.parse::<RouteHost>() {
            Ok(host) => {
                let mut spec = ServiceSpec::new(Name::from_text(&host.to_string()));
                spec.mode = mode;
                spec.port = Some(port);
                spec.route(host, PathMatch::any(), 0);
                Some(spec)
            }
            Err(error) => {
                diagnostics.refuse(&labels.full(&key("host")), text, error.to_string());
                None
            }
        })
        .collect()
}
