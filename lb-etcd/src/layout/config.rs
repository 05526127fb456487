//! How a layout is written down in a configuration.

use std::collections::BTreeMap;

use lb_core::{Mode, ServiceOptions};
use lb_schemes::{EntryPoints, Unprotected};
use serde::Deserialize;

use super::object::JsonFields;

/// One layout of keys: a well-known one, or rules of your own.
///
/// Layouts are asked in order, and within a layout its rules in order; the first whose pattern matches a key
/// reads its value. In a configuration file: `{ confd = { prefix = "/proxy" } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LayoutConfig {
    /// `<prefix>/<service>/<endpoint>` = `ip:port`, as in the well-known example with confd; with `service`,
    /// `<prefix>/<endpoint>`. A value may also be an object as in [`Lb`](Self::Lb).
    Confd {
        /// The prefix of the keys, such as `/proxy`.
        prefix: String,
        /// The service of all endpoints, where the keys do not name it.
        #[serde(default)]
        service: Option<String>,
    },
    /// lb's own: `<prefix>/endpoints/<service>/<endpoint>` = `ip:port` or an object with `address` and maybe
    /// `weight`, `state`, `grace`, `check_port`, `mode`, `exclusive`, `on_down`, `routes`, `metadata`;
    /// `<prefix>/services/<service>` = an object with `mode`, `exclusive`, `on_down`, `routes`, `metadata`;
    /// `<prefix>/routes/<route>` = an object with `service`, `host`, `path`, `priority`, `strip_prefix`,
    /// `redirect_https`, `metadata`. Without `host` there is no route. Routes of an object with another field
    /// whose name restricts access, such as `auth` or `allow`, are withheld, of a service, and of an endpoint without
    /// routes, all routes of the service: their requests are answered with 503. Such an endpoint is left out. A route
    /// with any other unknown field is refused.
    Lb {
        /// The prefix of the keys.
        #[serde(default = "lb_prefix")]
        prefix: String,
    },
    /// Patroni: the members of each cluster below `<prefix>/<cluster>/members/`, by their `conn_url`, for TCP. The
    /// service `<cluster>` has the primary; it is exclusive, and a member serves only while the key
    /// `<prefix>/<cluster>/leader` names it. Without that key, and where it names no primary, none serves, which is
    /// reported. The service `<cluster>-replica` has the replicas, without those of the tag `noloadbalance`. A
    /// `standby_leader` is in neither service. A member serves while its `state` is `running` or `streaming`. Without a
    /// port in its URL, it is 5432. Of a Citus group, `<cluster>-<group>` takes the place of `<cluster>`.
    Patroni {
        /// The prefix of the keys.
        #[serde(default = "patroni_prefix")]
        prefix: String,
    },
    /// Registrator: `<prefix>/<service>/<host>:<container>:<port>` = `ip:port`. Those of UDP are left out.
    Registrator {
        /// The prefix of the keys, such as `/services`.
        prefix: String,
    },
    /// Rules of your own.
    Rules(Vec<RuleConfig>),
    /// SkyDNS and CoreDNS: `<prefix>/<domain, reversed>/<endpoint>` = `{"host", "port", "weight"}`. The service is
    /// the domain. A weight or port of 0 counts as none given; a priority other than 10, the default there, is reported and
    /// not used.
    Skydns {
        /// The prefix of the keys.
        #[serde(default = "skydns_prefix")]
        prefix: String,
        /// The port of records without one. Default: such records are reported and not used.
        #[serde(default)]
        port: Option<u16>,
    },
    /// Traefik's tree of keys, read by the grammar of its labels: routers and middlewares of HTTP, routers of TCP, and
    /// servers of load balancers. Letter case does not count. A router is withheld where something restricts it that
    /// cannot be honoured, such as a middleware `basicAuth`: its requests are answered with 503, never by a wider route.
    /// Requests without TLS for a router with TLS are redirected to https.
    Traefik {
        /// The prefix of the keys.
        #[serde(default = "traefik_root")]
        root: String,
        /// The entry points that this load balancer serves, such as `{ web = "http", secure = "https" }`. A router of
        /// others alone is left out. Default: `web` and `http` as `both`, `websecure` and `https` as `https_and_tcp`.
        #[serde(default)]
        entrypoints: EntryPoints,
        /// Keys that restrict a router and that are given up: the kind or the name of a middleware, `middlewares`, or a
        /// key such as `tls`. Default: none.
        #[serde(default)]
        allow_unprotected: Unprotected,
    },
    /// Vulcand: `<prefix>/backends/<service>/servers/<endpoint>` = `{"URL"}`, `<prefix>/frontends/<route>/frontend`
    /// = `{"BackendId", "Route"}`. A frontend with a key below `middlewares` is withheld: its requests are answered
    /// with 503, never by a wider route.
    Vulcand {
        /// The prefix of the keys.
        #[serde(default = "vulcand_prefix")]
        prefix: String,
        /// Middlewares to do without, by the name in their key: `auth1` of `middlewares/auth1`, or `middlewares` for
        /// all. Default: none.
        #[serde(default)]
        allow_unprotected: Vec<String>,
    },
}

/// One rule: keys like this have values like that.
///
/// In a pattern, `{name}` captures what is between slashes or up to the text after it, `{name...}` captures one or
/// more whole segments, `*` is a capture without a name. The captures `{service}`, `{endpoint}` and `{route}` say
/// what the key is about; where keys say it otherwise, templates make the names: `{name}` inserts a capture, its
/// segments joined by dots, `{name:reverse}` the same in reverse order.
///
/// A key with an endpoint is about that endpoint; else one with a route is about that route; else about the service.
///
/// ```
/// # use lb_etcd::layout::{LayoutConfig, Layout, RuleConfig, ValueKind};
/// let rule = RuleConfig::new("/apps/{app}/nodes/{endpoint}", ValueKind::Address).with_service("{app}-web");
/// let layout = Layout::new(&[LayoutConfig::Rules(vec![rule])])?;
/// # Ok::<(), lb_etcd::layout::InvalidLayout>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RuleConfig {
    /// The keys.
    pub pattern: String,
    /// The kind of their values.
    pub value: ValueKind,
    /// The service's name; default `{service}`.
    #[serde(default)]
    pub service: Option<String>,
    /// The endpoint's name within its service; default `{endpoint}`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The route's name; default `{route}`.
    #[serde(default)]
    pub route: Option<String>,
    /// The protocol in which the service's traffic is understood, where neither key nor value says it.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Of a rule about a route: the route's host; default `{host}` where the pattern captures it. A key with a host and
    /// without an endpoint is about a route, whose name defaults to `{host}`.
    #[serde(default)]
    pub host: Option<String>,
    /// Of a rule about a route: the route's path; default `{path}` where the pattern captures it, and then a route that
    /// has no name is named after its host and path. Segments stay apart: `{path...}` of `a/b` is `/a/b`.
    #[serde(default)]
    pub path: Option<String>,
    /// Of a rule about an endpoint: the port where the value says none.
    #[serde(default)]
    pub port: Option<u16>,
    /// Values that the rule takes, as JSON pointers with the texts to find there, separated by `|`:
    /// `{ "/role" = "master|primary" }`. Nothing found counts as an empty text. What no text fits is left to the rules
    /// after this one.
    #[serde(default)]
    pub only_if: BTreeMap<String, String>,
    /// If `true`, an endpoint serves only while the service's `leader` names it. Without a key that names a leader, no
    /// endpoint serves, which is reported. Defaults to `false`.
    #[serde(default)]
    pub elected: bool,
    /// The options of the service: `{ exclusive = true, on_down = "shutdown_sessions" }`. Default: none is stated.
    #[serde(default)]
    pub options: ServiceOptions,
}

impl RuleConfig {
    /// A rule whose pattern captures the names that are needed.
    #[must_use]
    pub fn new(pattern: impl Into<String>, value: ValueKind) -> Self {
        Self {
            pattern: pattern.into(),
            value,
            service: None,
            endpoint: None,
            route: None,
            mode: None,
            host: None,
            path: None,
            port: None,
            only_if: BTreeMap::new(),
            elected: false,
            options: ServiceOptions::default(),
        }
    }

    /// The same for values that have one of these texts, separated by `|`, at this JSON pointer.
    #[must_use]
    pub fn only_if(mut self, pointer: impl Into<String>, texts: impl Into<String>) -> Self {
        self.only_if.insert(pointer.into(), texts.into());
        self
    }

    /// The same for endpoints of which one is elected.
    #[must_use]
    pub fn elected(mut self) -> Self {
        self.elected = true;
        self
    }

    /// The same for a service with these options.
    #[must_use]
    pub fn with_options(mut self, options: ServiceOptions) -> Self {
        self.options = options;
        self
    }

    /// The same with a template for the route's host.
    #[must_use]
    pub fn with_host(mut self, template: impl Into<String>) -> Self {
        self.host = Some(template.into());
        self
    }

    /// The same with a port for endpoints whose value says none.
    #[must_use]
    pub fn with_port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// The same with a template for the service's name.
    #[must_use]
    pub fn with_service(mut self, template: impl Into<String>) -> Self {
        self.service = Some(template.into());
        self
    }

    /// The same with a template for the endpoint's name.
    #[must_use]
    pub fn with_endpoint(mut self, template: impl Into<String>) -> Self {
        self.endpoint = Some(template.into());
        self
    }

    /// The same for a service whose traffic is understood so.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }
}

/// The kind of a value, and so its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueKind {
    /// Of an endpoint: `ip:port`.
    Address,
    /// Of an endpoint: `ip:port`, or an object in lb's own form.
    Endpoint,
    /// Of an endpoint: its address without the port.
    Ip,
    /// Of an endpoint: the port of its address.
    Port,
    /// Of an endpoint: `pending`, `ready`, `draining` or `down`.
    State,
    /// Of an endpoint: its address as an URL of any scheme; the port may be left out with `http` and `https`.
    Url,
    /// Of an endpoint: 0 to 256.
    Weight,
    /// Of an endpoint or a route: a JSON object with facts at these places.
    Json(Box<JsonFields>),
    /// Of an endpoint or a service: `http` or `tcp`.
    Mode,
    /// Of a service: an object in lb's own form.
    Service,
    /// Of a route: an object in lb's own form.
    Route,
    /// Of a route: its host, `*` for every host. Where a layout has such keys, a route without one is not complete.
    Host,
    /// Of a route: its path.
    Path,
    /// Of a route: its priority.
    Priority,
    /// Of a route: its rule as Traefik writes it, whose length is its priority where no key has another.
    Rule,
    /// Of a route: the name of its service.
    ServiceName,
    /// Of a service: the name of the endpoint that leads it, where the rule of its endpoints has `elected`.
    Leader,
    /// Of a route: nothing more. The key itself says it all.
    Present,
    /// Nothing that matters here.
    Ignore,
    /// Something that its writer relies on and that cannot be honoured: told as a diagnostic.
    Unsupported,
    /// Of a route: something that restricts who may reach it, and that cannot be honoured. The route is withheld for as
    /// long as the key is there: its requests are answered with 503, never by a wider route. The value is never shown.
    Withhold,
}

fn lb_prefix() -> String {
    "/lb".to_owned()
}

fn patroni_prefix() -> String {
    "/service".to_owned()
}

fn skydns_prefix() -> String {
    "/skydns".to_owned()
}

fn traefik_root() -> String {
    "traefik".to_owned()
}

fn vulcand_prefix() -> String {
    "/vulcand".to_owned()
}

impl Default for LayoutConfig {
    fn default() -> Self {
        Self::Lb {
            prefix: lb_prefix(),
        }
    }
}
