//! `easyhaproxy.<definition>.*`. Containers that name the same host serve the same service.

use std::collections::BTreeSet;

use lb_core::{Mode, Name, PathMatch, RouteHost};

use super::{
    Complaints, Subject, Wish, Wishes,
    reader::{Port, Reader},
};

pub(super) const PREFIX: &str = "easyhaproxy.";

pub(super) fn wishes(subject: &Subject<'_>) -> Wishes {
    let mut complaints = Complaints::new(subject.object);
    let mut labels = Reader::new(subject.labels, PREFIX);
    let definitions: BTreeSet<&str> = labels
        .keys()
        .into_iter()
        .filter_map(|key| key.split_once('.').map(|(definition, _)| definition))
        .collect();
    let mut wishes: Vec<Wish> = Vec::new();
    for definition in definitions {
        for wish in self::definition(subject, definition, &mut labels, &mut complaints) {
            match wishes
                .iter_mut()
                .find(|other| other.service == wish.service && other.port == wish.port)
            {
                Some(_) => {}
                None => wishes.push(wish),
            }
        }
    }
    labels.finish(&mut complaints, |key| {
        match key.rsplit('.').next().unwrap_or(key) {
            "ssl" | "sslcert" | "ssl-check" | "certbot" | "redirect_ssl" | "clone_to_ssl"
            | "redirect" | "balance" | "proto" | "socket" | "health-check" => {
                "not honoured: it needs HAProxy's own configuration and a reload"
            }
            _ => "unknown label, expected easyhaproxy.DEFINITION.host, localport, port or mode",
        }
    });
    Wishes {
        wishes,
        complaints: complaints.into_inner(),
    }
}

fn definition(
    subject: &Subject<'_>,
    definition: &str,
    labels: &mut Reader<'_>,
    complaints: &mut Complaints<'_>,
) -> Vec<Wish> {
    let key = |name: &str| format!("{definition}.{name}");
    let hosts = labels.take(&key("host"));
    let local = labels.port(&key("localport"), complaints);
    let front = labels.port(&key("port"), complaints);
    let mode = match labels.take(&key("mode")) {
        None | Some("http") => Mode::Http,
        Some("tcp") => Mode::Tcp,
        Some(other) => {
            complaints.refuse(&labels.full(&key("mode")), other, "expected http or tcp");
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
        complaints.refuse(
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
            let mut wish = Wish::new(subject.default_service());
            wish.mode = mode;
            wish.port = Some(port);
            return vec![wish];
        }
        complaints.refuse(
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
                let mut wish = Wish::new(Name::from_text(&host.to_string()));
                wish.mode = mode;
                wish.port = Some(port);
                wish.route(host, PathMatch::any(), 0);
                Some(wish)
            }
            Err(error) => {
                complaints.refuse(&labels.full(&key("host")), text, error.to_string());
                None
            }
        })
        .collect()
}
