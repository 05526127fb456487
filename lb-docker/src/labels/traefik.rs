//! `traefik.*`: routers that match hosts and paths, and the services they lead to.
//!
//! `PathPrefix` counts as a prefix that ends on a segment border; Traefik's own also matches inside a segment.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Mode, Name, PathMatch, RouteHost};

use super::{
    Complaints, Subject, Wish, Wishes,
    reader::{Port, Reader},
    traefik_rule::{self, Condition},
};
use crate::config::Spread;

pub(super) const PREFIX: &str = "traefik.";

pub(super) fn wishes(subject: &Subject<'_>) -> Wishes {
    // Traefik does not tell upper from lower case in keys.
    let lowered: BTreeMap<String, String> = subject
        .labels
        .iter()
        .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
        .collect();
    let mut complaints = Complaints::new(subject.object);
    let mut labels = Reader::new(&lowered, PREFIX);
    let enabled = labels.flag("enable", &mut complaints);
    if enabled == Some(false) || (labels.is_empty() && enabled.is_none()) {
        return Wishes::default();
    }
    let network = ["docker.network", "swarm.network"]
        .iter()
        .filter_map(|key| labels.take(key))
        .next_back()
        .map(str::to_owned);
    let vip = ["docker.lbswarm", "swarm.lbswarm"]
        .iter()
        .filter_map(|key| labels.flag(key, &mut complaints))
        .next_back()
        .unwrap_or(false);

    let mut wishes = Vec::new();
    for (protocol, mode) in [("http", Mode::Http), ("tcp", Mode::Tcp)] {
        let part = Part {
            subject,
            protocol,
            mode,
            enabled: enabled == Some(true),
        };
        wishes.extend(part.wishes(&mut labels, &mut complaints));
    }
    for wish in &mut wishes {
        wish.network.clone_from(&network);
        wish.spread = vip.then_some(Spread::Vip);
    }
    labels.finish(&mut complaints, why_not);
    Wishes {
        wishes,
        complaints: complaints.into_inner(),
    }
}

/// The labels of one protocol.
struct Part<'a> {
    subject: &'a Subject<'a>,
    protocol: &'static str,
    mode: Mode,
    enabled: bool,
}

impl Part<'_> {
    fn wishes(&self, labels: &mut Reader<'_>, complaints: &mut Complaints<'_>) -> Vec<Wish> {
        let routers = names(labels, &format!("{}.routers.", self.protocol));
        let services = names(labels, &format!("{}.services.", self.protocol));
        let mut wishes: BTreeMap<String, Option<Wish>> = services
            .iter()
            .map(|name| (name.clone(), self.service(name, labels, complaints)))
            .collect();
        // A router without a service leads to the only one; without any, to one that bears our own name.
        let http = self.mode == Mode::Http;
        if services.is_empty() && (!routers.is_empty() || (http && self.enabled)) {
            let name = self.default_name();
            let mut wish = Wish::new(Name::from_text(&name));
            wish.mode = self.mode;
            wishes.insert(name, Some(wish));
        }
        let only = match wishes.len() {
            1 => wishes.keys().next().cloned(),
            _ => None,
        };
        for router in &routers {
            let Some((service, conditions, priority)) =
                self.router(router, only.as_deref(), labels, complaints)
            else {
                continue;
            };
            match wishes.get_mut(&service.to_ascii_lowercase()) {
                Some(Some(wish)) => {
                    for condition in conditions {
                        wish.route(
                            condition.host.unwrap_or_default(),
                            condition.path.unwrap_or_default(),
                            priority,
                        );
                    }
                }
                // Its service was already complained of.
                Some(None) => {}
                None => complaints.refuse(
                    &labels.full(&format!("{}.routers.{router}.service", self.protocol)),
                    &service,
                    "expected a service that the same object defines",
                ),
            }
        }
        if routers.is_empty() && http && self.enabled {
            for wish in wishes.values_mut().flatten() {
                if let Ok(host) = self.default_name().parse::<RouteHost>() {
                    wish.route(host, PathMatch::any(), 0);
                }
            }
        }
        wishes.into_values().flatten().collect()
    }

    /// Traefik's name of an object: `service-project` under compose.
    fn default_name(&self) -> String {
        let name = match self.subject.compose {
            Some(compose) => format!("{}-{}", compose.service, compose.project),
            None => self.subject.name.to_owned(),
        };
        name.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect()
    }

    fn service(
        &self,
        name: &str,
        labels: &mut Reader<'_>,
        complaints: &mut Complaints<'_>,
    ) -> Option<Wish> {
        let key = |rest: &str| format!("{}.services.{name}.loadbalancer.{rest}", self.protocol);
        let mut wish = Wish::new(Name::from_text(name));
        wish.mode = self.mode;
        let port = labels.port(&key("server.port"), complaints);
        wish.port = port.number();
        if let Some(weight) = labels.parse::<u16>(&key("server.weight"), complaints) {
            match weight.try_into() {
                Ok(weight) => wish.weight = weight,
                Err(error) => complaints.warn(
                    &labels.full(&key("server.weight")),
                    &weight.to_string(),
                    error.to_string(),
                ),
            }
        }
        if let Port::Number(port) = labels.port(&key("healthcheck.port"), complaints) {
            wish.check_port = Some(port);
        }
        if labels.flag(&key("passhostheader"), complaints) == Some(false) {
            complaints.warn(
                &labels.full(&key("passhostheader")),
                "false",
                "not honoured: the host is always passed on",
            );
        }
        let scheme_fits = match labels.take(&key("server.scheme")) {
            None | Some("http") => true,
            Some(other) => {
                complaints.refuse(
                    &labels.full(&key("server.scheme")),
                    other,
                    "not honoured: expected http",
                );
                false
            }
        };
        (scheme_fits && port != Port::Invalid).then_some(wish)
    }

    fn router(
        &self,
        router: &str,
        only: Option<&str>,
        labels: &mut Reader<'_>,
        complaints: &mut Complaints<'_>,
    ) -> Option<(String, Vec<Condition>, i32)> {
        let key = |rest: &str| format!("{}.routers.{router}.{rest}", self.protocol);
        let priority = labels
            .parse::<i32>(&key("priority"), complaints)
            .unwrap_or(0);
        let service = labels.take(&key("service")).map(str::to_owned);
        let passthrough = labels.flag(&key("tls.passthrough"), complaints) == Some(true);
        if passthrough && self.mode == Mode::Tcp {
            // The handshake is passed on unread but for its name: so is all TCP here.
            labels.take(&key("tls"));
        }
        let conditions = match labels.take(&key("rule")) {
            None => match self.default_name().parse() {
                Ok(host) if self.mode == Mode::Http => vec![Condition {
                    host: Some(host),
                    path: None,
                }],
                _ => {
                    complaints.refuse(&labels.full(&key("rule")), "", "not set, expected a rule");
                    return None;
                }
            },
            Some(rule) => match traefik_rule::parse(rule) {
                Ok(conditions) => conditions,
                Err(error) => {
                    complaints.refuse(&labels.full(&key("rule")), rule, error);
                    return None;
                }
            },
        };
        match service.or_else(|| only.map(str::to_owned)) {
            Some(service) => Some((service, conditions, priority)),
            None => {
                complaints.refuse(
                    &labels.full(&key("service")),
                    "",
                    "not set, expected one of the several services",
                );
                None
            }
        }
    }
}

/// The names that stand after `prefix` in the labels left.
fn names(labels: &Reader<'_>, prefix: &str) -> BTreeSet<String> {
    labels
        .keys()
        .into_iter()
        .filter_map(|key| key.strip_prefix(prefix)?.split_once('.'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn why_not(key: &str) -> &'static str {
    let configured = [
        ".middlewares",
        ".entrypoints",
        ".tls",
        ".sticky",
        ".healthcheck",
        ".observability",
    ];
    if key.starts_with("udp.") {
        "not supported: UDP"
    } else if key.contains(".middlewares.") || configured.iter().any(|part| key.contains(part)) {
        "not honoured: it needs HAProxy's own configuration and a reload"
    } else {
        "unknown or unsupported label"
    }
}
