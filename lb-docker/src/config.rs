//! What a user says about an engine and what to read from it.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use lb_core::{Name, Weight, duration::optional as optional_duration};
use lb_schemes::{Constraint, EntryPoints, Options, Unprotected};
pub use lb_schemes::{LabelScheme, Spread};
use serde::{Deserialize, Serialize};

use crate::{duration, narrow::Narrow};

/// Settings of a [`DockerSource`](crate::DockerSource).
///
/// ```
/// use lb_docker::DockerConfig;
///
/// // One service of a compose project, with no label at all.
/// let config: DockerConfig = serde_json::from_str(
///     r#"{ "services": [ { "compose_service": "echo", "port": 9090, "routes": ["echo.example/"] } ] }"#,
/// )
/// .unwrap();
/// assert_eq!(config.services[0].port, Some(9090));
/// assert!(serde_json::from_str::<DockerConfig>(r#"{ "servces": [] }"#).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DockerConfig {
    /// The source's name. Default `docker`.
    pub name: Name,
    /// The connection to the engine. Default: that of the `docker` command.
    pub connection: ConnectionConfig,
    /// The label schemes that are read; of a container that carries several, the first listed here counts.
    /// Default `["lb"]`.
    pub labels: Vec<LabelScheme>,
    /// Traefik's default rule: the rule of routers without one, and of the only service of an object without routers.
    /// Default: Traefik's own for objects with `traefik.enable=true`, none for others.
    pub default_rule: Option<String>,
    /// If `false`, only objects with the label `lb.enable=true` or `traefik.enable=true` count. Default `true`.
    pub exposed_by_default: bool,
    /// The entry points of Traefik that the target serves, each as `"http"`, `"tcp"` or `"both"`; a router of others is
    /// left out. Default `web`, `websecure`, `http` and `https`, each `"both"`.
    pub entrypoints: EntryPoints,
    /// If not empty, only containers of these compose projects are read by their labels. Default all.
    pub projects: Vec<String>,
    /// If set, only objects whose labels it holds for are read: ``Label(`tier`, `public`) && !Label(`draft`)``. Default all.
    pub constraints: Option<Constraint>,
    /// If not empty, only objects on one of these networks are read by their labels; by name (with or without the
    /// project's prefix) or id. Default all.
    pub networks: Vec<String>,
    /// Keys that restrict who may reach a route, such as `"basicauth"` or `"users"`, which cannot be honoured and are
    /// given up: their routes are served without them. Default none: such routes answer 503.
    pub allow_unprotected: Unprotected,
    /// Services chosen by their compose service, without any label. Default none.
    pub services: Vec<ComposeService>,
    /// From where the load balancer reaches containers.
    pub reach: ReachConfig,
    /// If `true`, containers of `docker compose run` count too. Default `false`.
    pub one_off: bool,
    /// The most bytes that the labels, and the variables that are read, of all containers take together; of more, those
    /// of the largest containers are not read, and each of these is reported. A label counts 64 bytes beside its key and
    /// value. Default 33554432 (32 MiB).
    pub max_label_bytes: usize,
    /// The interval at which the engine is asked whether it still answers. Default `3s`.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// The interval at which everything is listed again, against events that the engine lost. Default `60s`.
    #[serde(with = "duration")]
    pub resync_interval: Duration,
}

/// Settings of a [`SwarmSource`](crate::SwarmSource).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SwarmConfig {
    /// The source's name. Default `swarm`.
    pub name: Name,
    /// The connections to the managers, in the order of preference; an attempt goes to the first that answers as
    /// a manager, beginning with the next one after each failure. Default: one, as the `docker` command would.
    pub managers: Vec<ConnectionConfig>,
    /// The label schemes that are read; of a service that carries several, the first listed here counts.
    /// Default `["lb"]`.
    pub labels: Vec<LabelScheme>,
    /// Traefik's default rule: the rule of routers without one, and of the only service of an object without routers.
    /// Default: Traefik's own for objects with `traefik.enable=true`, none for others.
    pub default_rule: Option<String>,
    /// If `false`, only objects with the label `lb.enable=true` or `traefik.enable=true` count. Default `true`.
    pub exposed_by_default: bool,
    /// The entry points of Traefik that the target serves, each as `"http"`, `"tcp"` or `"both"`; a router of others is
    /// left out. Default `web`, `websecure`, `http` and `https`, each `"both"`.
    pub entrypoints: EntryPoints,
    /// If not empty, only services of these stacks are read by their labels. Default all.
    pub projects: Vec<String>,
    /// If set, only objects whose labels it holds for are read: ``Label(`tier`, `public`) && !Label(`draft`)``. Default all.
    pub constraints: Option<Constraint>,
    /// If not empty, only objects on one of these networks are read by their labels; by name (with or without the
    /// project's prefix) or id. Default all.
    pub networks: Vec<String>,
    /// Keys that restrict who may reach a route, such as `"basicauth"` or `"users"`, which cannot be honoured and are
    /// given up: their routes are served without them. Default none: such routes answer 503.
    pub allow_unprotected: Unprotected,
    /// From where the load balancer reaches tasks.
    pub reach: ReachConfig,
    /// The kind of a service's endpoints where its labels do not say. Default `tasks`.
    pub spread: Spread,
    /// The interval at which tasks are listed while a service is changing. Default `100ms`.
    #[serde(with = "duration")]
    pub converge_interval: Duration,
    /// The interval at which everything is listed while nothing seems to change. Default `5s`.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// The most bytes that the labels of all services take together; of more, those of the largest services are not
    /// read, and each of these is reported. A label counts 64 bytes beside its key and value. Default 33554432 (32 MiB).
    pub max_label_bytes: usize,
    /// The interval at which the manager is asked whether it still answers. Default `3s`.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
}

/// The connection to one engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// `unix:///run/docker.sock`, `tcp://10.0.0.1:2376`, `ssh://user@host`, or `podman` for podman's socket.
    /// Default: `DOCKER_HOST`, then the context, then the first local socket that exists.
    pub host: Option<String>,
    /// A context of the `docker` command. Default: `DOCKER_CONTEXT`, then the current one.
    pub context: Option<String>,
    /// If `true`, TLS is used over TCP. Default: whether `DOCKER_TLS_VERIFY` is set and not empty.
    pub tls: Option<bool>,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem`. Default: `DOCKER_CERT_PATH`, then `~/.docker`.
    pub cert_path: Option<PathBuf>,
    /// The time one answer may take. Default `10s`.
    #[serde(with = "optional_duration")]
    pub timeout: Option<Duration>,
}

/// From where the load balancer reaches containers and tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReachConfig {
    /// The place where the load balancer runs. Default `auto`.
    pub from: ReachFrom,
    /// The container the load balancer runs in, by name or id. Default: this program's own, if it is in one.
    pub container: Option<String>,
    /// The network to use where a label names none, by name or id.
    pub network: Option<String>,
    /// The engine's own address, for published ports and containers in its network namespace. Default:
    /// loopback on the engine's machine, the engine's address where that is an IP address.
    pub node_address: Option<IpAddr>,
    /// The family of addresses that is preferred. Default `v4`.
    pub family: Family,
}

/// The place where the load balancer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReachFrom {
    /// In a container if this program is in one that the engine knows; else on the engine's machine if the
    /// engine is reached through a socket file; else elsewhere.
    #[default]
    Auto,
    /// On the engine's machine: bridge addresses and published ports, never overlay addresses.
    Host,
    /// In a container: the networks that it shares.
    Container,
    /// On another machine: published ports only.
    Elsewhere,
}

/// The family of addresses that is preferred where there are both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// IPv4, else IPv6.
    #[default]
    V4,
    /// IPv6, else IPv4.
    V6,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
}

/// A service whose endpoints are the containers of a compose service, with no label needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ComposeService {
    /// The compose service.
    pub compose_service: String,
    /// The compose project. Default: this program's own if it runs in one, else the only project that has
    /// such a service; where several have, the first one found is used until it is gone.
    #[serde(default)]
    pub project: Option<String>,
    /// The service's name. Default: the compose service's.
    #[serde(default)]
    pub service: Option<Name>,
    /// The container's port. Default: the only one that it exposes.
    #[serde(default)]
    pub port: Option<u16>,
    /// Routes, each written `host/path`, as in the label `lb.routes`.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The endpoints' weight. Default 100.
    #[serde(default)]
    pub weight: Weight,
    /// The network to use, by name (with or without the project's prefix) or id.
    #[serde(default)]
    pub network: Option<String>,
    /// If `true`, its traffic is TCP rather than HTTP. Default `false`.
    #[serde(default)]
    pub tcp: bool,
}

impl ComposeService {
    /// The containers of `compose_service`, under its own name, without routes.
    #[must_use]
    pub fn new(compose_service: impl Into<String>) -> Self {
        Self {
            compose_service: compose_service.into(),
            project: None,
            service: None,
            port: None,
            routes: Vec::new(),
            weight: Weight::default(),
            network: None,
            tcp: false,
        }
    }
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            name: Name::from_text("docker"),
            connection: ConnectionConfig::default(),
            labels: vec![LabelScheme::Lb],
            default_rule: None,
            exposed_by_default: true,
            entrypoints: EntryPoints::default(),
            projects: Vec::new(),
            constraints: None,
            networks: Vec::new(),
            allow_unprotected: Unprotected::default(),
            services: Vec::new(),
            reach: ReachConfig::default(),
            one_off: false,
            max_label_bytes: MAX_LABEL_BYTES,
            ping_interval: Duration::from_secs(3),
            resync_interval: Duration::from_secs(60),
        }
    }
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            name: Name::from_text("swarm"),
            managers: vec![ConnectionConfig::default()],
            labels: vec![LabelScheme::Lb],
            default_rule: None,
            exposed_by_default: true,
            entrypoints: EntryPoints::default(),
            projects: Vec::new(),
            constraints: None,
            networks: Vec::new(),
            allow_unprotected: Unprotected::default(),
            reach: ReachConfig::default(),
            spread: Spread::default(),
            converge_interval: Duration::from_millis(100),
            poll_interval: Duration::from_secs(5),
            max_label_bytes: MAX_LABEL_BYTES,
            ping_interval: Duration::from_secs(3),
        }
    }
}

/// The most that the labels of all objects take unless a configuration says otherwise: those of some thousand
/// containers.
pub(crate) const MAX_LABEL_BYTES: usize = 32 << 20;

impl DockerConfig {
    /// The options by which labels are read.
    pub(crate) fn options(&self) -> Options {
        Options {
            schemes: self.labels.clone(),
            entrypoints: self.entrypoints.clone(),
            default_rule: self.default_rule.clone(),
            exposed_by_default: self.exposed_by_default,
            allow_unprotected: self.allow_unprotected.clone(),
            providers: &["docker"],
        }
    }

    /// The rule for the objects that are taken.
    pub(crate) fn narrow(&self) -> Narrow {
        Narrow {
            projects: self.projects.clone(),
            constraints: self.constraints.clone(),
            networks: self.networks.clone(),
        }
    }
}

impl SwarmConfig {
    /// The options by which labels are read.
    pub(crate) fn options(&self) -> Options {
        Options {
            schemes: self.labels.clone(),
            entrypoints: self.entrypoints.clone(),
            default_rule: self.default_rule.clone(),
            exposed_by_default: self.exposed_by_default,
            allow_unprotected: self.allow_unprotected.clone(),
            // Before Traefik 3, Swarm was a mode of the provider of Docker.
            providers: &["swarm", "docker"],
        }
    }

    /// The rule for the objects that are taken.
    pub(crate) fn narrow(&self) -> Narrow {
        Narrow {
            projects: self.projects.clone(),
            constraints: self.constraints.clone(),
            networks: self.networks.clone(),
        }
    }
}

impl ConnectionConfig {
    /// The engine at `host`, whatever the environment says.
    #[must_use]
    pub fn at(host: impl Into<String>) -> Self {
        Self {
            host: Some(host.into()),
            ..Self::default()
        }
    }

    /// The time one answer may take.
    #[must_use]
    pub fn answer_time(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(10))
    }
}
