//! A container as far as it matters here, out of a listing or an inspection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use lb_core::Diagnostic;
use lb_schemes::{Compose, Diagnostics};

use crate::{
    api::{InspectedContainer, ListedContainer, NetworkSettings},
    labels::Labels,
};

/// The facts known of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Without the slash in front.
    pub(crate) name: String,
    pub(crate) labels: Labels,
    /// If set, its labels and variables were not kept.
    pub(crate) excess: Option<Excess>,
    /// The environment; `None` from a listing, which does not tell.
    pub(crate) env: Option<Vec<(String, String)>>,
    pub(crate) phase: Phase,
    pub(crate) mode: NetworkMode,
    pub(crate) attachments: Vec<Attached>,
    /// The TCP ports that it exposes.
    pub(crate) exposed: BTreeSet<u16>,
    pub(crate) published: Vec<Published>,
    /// Only from an inspection.
    pub(crate) stop: Option<Stop>,
}

/// Why labels and variables were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// They are more than are read of one object.
    OfOne,
    /// With those of all objects, they are more than are kept.
    OfAll {
        /// The number of bytes they take.
        bytes: usize,
    },
}

/// The phase of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs and its own health check, if it has one, passes.
    Serving,
    /// It runs and its first health check has not passed yet.
    Starting,
    /// It runs and its health check fails.
    Unhealthy,
    /// It is frozen: it answers nothing, but keeps its connections.
    Paused,
    /// It does not run.
    Stopped,
}

/// Whose network a container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// Its own.
    Own,
    /// The engine's machine's.
    Host,
    /// Another container's, by id or name.
    Container(String),
    /// None at all.
    None,
}

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) network: String,
    pub(crate) network_id: String,
    pub(crate) v4: Option<IpAddr>,
    pub(crate) v6: Option<IpAddr>,
}

/// A port of the engine's machine that leads to a container's port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Published {
    pub(crate) port: u16,
    pub(crate) host_ip: IpAddr,
    pub(crate) host_port: u16,
}

/// The way a container is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) signal: i32,
    pub(crate) timeout: Option<Duration>,
}

impl Container {
    pub(crate) fn from_list(listed: ListedContainer) -> Self {
        let health = if listed.health.status.is_empty() {
            health_in_status(&listed.status)
        } else {
            listed.health.status.as_str()
        };
        let phase = phase(&listed.state, health);
        let (labels, excess) = kept(listed.labels);
        let labels = Labels::from(&labels);
        let tcp = || listed.ports.iter().filter(|port| is_tcp(&port.protocol));
        let exposed = tcp().map(|port| port.private_port).collect();
        let mut published: Vec<Published> = tcp()
            .filter_map(|port| {
                Some(Published {
                    port: port.private_port,
                    host_ip: host_ip(&port.ip)?,
                    host_port: port.public_port.filter(|port| *port != 0)?,
                })
            })
            .collect();
        published.sort();
        published.dedup();
        Self {
            name: listed
                .names
                .iter()
                // Links add names of the form `/other/alias`.
                .filter_map(|name| name.strip_prefix('/'))
                .find(|name| !name.contains('/'))
                .unwrap_or_else(|| short(&listed.id))
                .to_owned(),
            id: listed.id,
            labels,
            excess,
            env: None,
            phase,
            mode: NetworkMode::parse(&listed.host_config.network_mode),
            attachments: attachments(listed.network_settings),
            exposed,
            published,
            stop: None,
        }
    }

    pub(crate) fn from_inspect(inspected: InspectedContainer) -> Self {
        let phase = phase(&inspected.state.status, &inspected.state.health.status);
        let settings = inspected.network_settings;
        let (labels, many_labels) = kept(inspected.config.labels);
        let labels = Labels::from(&labels);
        let (env, many_variables) = variables(&inspected.config.env);
        let exposed = inspected
            .config
            .exposed_ports
            .keys()
            .chain(settings.ports.keys())
            .filter_map(|key| tcp_port(key))
            .collect();
        let mut published: Vec<Published> = settings
            .ports
            .iter()
            .flat_map(|(key, bindings)| {
                bindings.iter().flatten().filter_map(|binding| {
                    Some(Published {
                        port: tcp_port(key)?,
                        host_ip: host_ip(&binding.host_ip)?,
                        host_port: binding.host_port.parse().ok().filter(|port| *port != 0)?,
                    })
                })
            })
            .collect();
        published.sort();
        published.dedup();
        Self {
            name: inspected.name.trim_start_matches('/').to_owned(),
            id: inspected.id,
            labels,
            excess: many_labels.or(many_variables),
            env: Some(env),
            phase,
            mode: NetworkMode::parse(&inspected.host_config.network_mode),
            attachments: attachments(settings),
            exposed,
            published,
            stop: Some(Stop {
                signal: signal(&inspected.config.stop_signal),
                timeout: inspected
                    .config
                    .stop_timeout
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map(Duration::from_secs),
            }),
        }
    }

    /// Its place in a compose project, if it has one.
    pub(crate) fn compose(&self) -> Option<Compose<'_>> {
        compose(|key| self.labels.get(key))
    }

    /// Drops its variables, and its labels but those that say what it is.
    pub(crate) fn keep_little(&mut self) {
        self.labels = Labels::from(&few(self.labels.to_map()));
        self.env = self.env.is_some().then(Vec::new);
    }

    /// The text by which people find it: its name, and the beginning of its id.
    pub(crate) fn object(&self) -> String {
        format!("container {} ({})", self.name, short(&self.id))
    }
}

/// A place in a compose project, if these labels tell one.
pub(crate) fn compose<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Compose<'a>> {
    Some(Compose {
        project: get("com.docker.compose.project")?,
        service: get("com.docker.compose.service")?,
        number: get("com.docker.compose.container-number"),
        one_off: get("com.docker.compose.oneoff")
            .is_some_and(|value| value.eq_ignore_ascii_case("true")),
    })
}

/// The labels, or, where there are more than are kept, only those that say what the container is.
pub(crate) fn kept(labels: BTreeMap<String, String>) -> (BTreeMap<String, String>, Option<Excess>) {
    let bytes: usize = labels
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if labels.len() <= MAX_LABELS && bytes <= MAX_BYTES {
        return (labels, None);
    }
    (few(labels), Some(Excess::OfOne))
}

/// The labels that say what an object is.
pub(crate) fn few(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .filter(|(key, value)| key.starts_with("com.docker.") && value.len() <= 1024)
        .take(64)
        .collect()
}

/// The variables that concern us, unless there are more than are kept.
fn variables(env: &[String]) -> (Vec<(String, String)>, Option<Excess>) {
    let bytes: usize = env.iter().map(String::len).sum();
    if env.len() > MAX_LABELS || bytes > MAX_BYTES {
        return (Vec::new(), Some(Excess::OfOne));
    }
    let all = env
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    (all, None)
}

impl Excess {
    /// The diagnostic of what is left out, where the labels of all objects may take `most` bytes.
    pub(crate) fn diagnostic(self, object: &str, most: usize) -> Option<Diagnostic> {
        let message = match self {
            Self::OfOne => {
                "more labels or variables than are read (16384 with 1 MiB): none is read".to_owned()
            }
            Self::OfAll { bytes } => format!(
                "its labels and variables take {bytes} bytes, and with those of smaller objects more than the {most} \
                 bytes of max_label_bytes: none is read; give it fewer, or raise max_label_bytes"
            ),
        };
        let mut excess = Diagnostics::new(object);
        excess.refuse_masked("labels", message);
        excess.into_inner().pop()
    }
}

/// The most labels or variables of one container that are kept; those of one scheme are bounded more closely.
const MAX_LABELS: usize = 16_384;
/// The most bytes in them.
const MAX_BYTES: usize = 1 << 20;

/// The beginning of an id that people use.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl NetworkMode {
    fn parse(text: &str) -> Self {
        match text {
            "host" => Self::Host,
            "none" => Self::None,
            _ => match text.strip_prefix("container:") {
                Some(other) => Self::Container(other.to_owned()),
                None => Self::Own,
            },
        }
    }
}

fn phase(state: &str, health: &str) -> Phase {
    match (state, health) {
        ("paused", _) => Phase::Paused,
        ("running" | "stopping", "starting") => Phase::Starting,
        ("running" | "stopping", "unhealthy") => Phase::Unhealthy,
        ("running" | "stopping", _) => Phase::Serving,
        _ => Phase::Stopped,
    }
}

/// The health in texts such as `Up 3 seconds (health: starting)`.
fn health_in_status(status: &str) -> &'static str {
    if status.contains("(unhealthy)") {
        "unhealthy"
    } else if status.contains("(health: starting)") {
        "starting"
    } else {
        ""
    }
}

fn attachments(settings: NetworkSettings) -> Vec<Attached> {
    settings
        .networks
        .into_iter()
        .map(|(network, attachment)| Attached {
            network,
            network_id: attachment.network_id,
            v4: address(&attachment.ip_address),
            v6: address(&attachment.ipv6_address),
        })
        .collect()
}

/// An address with or without a mask; the unspecified one is none.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let text = text.split('/').next()?;
    text.parse()
        .ok()
        .filter(|address: &IpAddr| !address.is_unspecified())
}

/// The address of a binding; no text means any IPv4 address.
fn host_ip(text: &str) -> Option<IpAddr> {
    if text.is_empty() {
        return Some(IpAddr::from([0, 0, 0, 0]));
    }
    text.parse().ok()
}

fn is_tcp(protocol: &str) -> bool {
    matches!(protocol, "tcp" | "")
}

/// The port in `80/tcp`.
fn tcp_port(key: &str) -> Option<u16> {
    match key.split_once('/') {
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
        None => key.parse().ok(),
    }
}

/// A signal's number; SIGTERM where none or an unknown one is said.
fn signal(text: &str) -> i32 {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        "WINCH" => 28,
        _ => name.parse().unwrap_or(15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(json: &str) -> Container {
        Container::from_list(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_listing_tells_state_and_health() {
        for (state, status, expected) in [
            ("running", "Up 3 seconds", Phase::Serving),
            ("running", "Up 3 seconds (healthy)", Phase::Serving),
            ("running", "Up 3 seconds (unhealthy)", Phase::Unhealthy),
            (
                "running",
                "Up 3 seconds (health: starting)",
                Phase::Starting,
            ),
            ("paused", "Up 3 seconds (Paused)", Phase::Paused),
            ("restarting", "Restarting (1) 3 seconds ago", Phase::Stopped),
            ("exited", "Exited (0) 3 seconds ago", Phase::Stopped),
            ("levitating", "", Phase::Stopped),
        ] {
            let container = listed(&format!(
                r#"{{"Id":"a","State":"{state}","Status":"{status}"}}"#
            ));
            assert_eq!(container.phase, expected, "{state} {status}");
        }
        let newer =
            listed(r#"{"Id":"a","State":"running","Status":"Up","Health":{"Status":"unhealthy"}}"#);
        assert_eq!(newer.phase, Phase::Unhealthy);
    }

    #[test]
    fn host_ports_of_both_families_are_kept_apart() {
        let container = listed(
            r#"{"Id":"a","Names":["/b/alias","/web"],"Ports":[
                {"IP":"::","PrivatePort":80,"PublicPort":32786,"Type":"tcp"},
                {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":32793,"Type":"tcp"},
                {"PrivatePort":53,"Type":"udp"},{"PrivatePort":8080,"Type":"tcp"}]}"#,
        );
        assert_eq!(container.name, "web");
        assert_eq!(container.exposed, [80, 8080].into());
        let ports: Vec<_> = container
            .published
            .iter()
            .map(|published| (published.host_ip.to_string(), published.host_port))
            .collect();
        assert_eq!(
            ports,
            [("0.0.0.0".to_owned(), 32793), ("::".to_owned(), 32786)]
        );
    }

    #[test]
    fn stop_signals_are_numbers_or_names() {
        for (text, number) in [("", 15), ("SIGQUIT", 3), ("WINCH", 28), ("10", 10)] {
            assert_eq!(signal(text), number, "{text}");
        }
    }
}
