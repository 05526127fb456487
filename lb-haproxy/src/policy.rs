//! What a target's owner decides: names, time limits, and how its HAProxy is configured.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

pub(crate) use lb_core::duration as seconds;
use lb_core::{Name, duration::optional as optional_seconds};
use serde::{Deserialize, Serialize};

/// The policy for one target. Every field has a default that is right for most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Policy {
    /// Backends of services that are not named like their service. No other service gets such a backend.
    pub backends: BTreeMap<Name, Name>,
    /// The prefix of a backend's name, before its service's name.
    pub backend_prefix: String,
    /// Name prefix of slot servers, e.g. `slot` for `slot1` to `slot20` of `server-template slot 1-20`. A server of
    /// another name is fixed: it is shown and never changed. See also `slot_prefixes` and
    /// [`TargetConfig::config_file`](crate::TargetConfig::config_file). Defaults to `slot`.
    pub slot_prefix: String,
    /// Further name prefixes of slot servers, for backends whose `server-template` has another one. Defaults to none.
    pub slot_prefixes: Vec<String>,
    /// The time requests in flight may keep a leaving endpoint, where its source sets no limit.
    #[serde(with = "seconds")]
    pub drain_timeout: Duration,
    /// If `true`, sessions still open at the end of a drain are shut down. If not, their slot stays occupied until they
    /// end.
    pub cut_at_deadline: bool,
    /// The time for which an old endpoint is kept for a new one to pass its first check.
    #[serde(with = "seconds")]
    pub admission_timeout: Duration,
    /// The time after `lb` began for which a service found serving is kept that the sources would empty.
    #[serde(with = "seconds")]
    pub adoption_hold: Duration,
    /// The time a slot rests between its last sign of use and its next tenant; by default as the HAProxy version
    /// and `http_reuse` need it.
    #[serde(with = "optional_seconds")]
    pub reuse_grace: Option<Duration>,
    /// The backends' `http-reuse`, as configured. HAProxy does not tell it at run time.
    pub http_reuse: HttpReuse,
    /// If `true`, the backends keep users with their endpoint, by a cookie or a stick table. HAProxy does not tell it
    /// at run time, and lets such users come back to a server that is drained: with this, one that leaves goes straight
    /// to maintenance. What is in flight ends either way.
    pub persistence: bool,
    /// The time a kept client connection may idle (`timeout http-keep-alive`, or else `timeout http-request` or
    /// `timeout client`): where HAProxy can keep a client on a server that left, slots rest this long.
    #[serde(with = "seconds")]
    pub keep_alive_timeout: Duration,
    /// The rule for servers made at run time when a backend has no free slot.
    pub dynamic_servers: DynamicServers,
    /// The prefix of the names of servers made at run time, before the address.
    pub dynamic_prefix: String,
    /// The settings of servers made at run time. HAProxy does not give them those of `default-server` or of the
    /// slots, so what the slots have must be said here.
    pub server: ServerSettings,
    /// The rule for backends made at run time (3.4+) for services without one. They vanish when HAProxy is reloaded or
    /// restarted, and are then made anew.
    pub dynamic_backends: DynamicBackends,
    /// The named `defaults` section that such a backend is made from. Without it none is made.
    pub backend_defaults: Option<Name>,
    /// The prefix of the name of such a backend, before the service. Where such backends are made, no other service may
    /// have a backend whose name begins so, unless [`backends`](Self::backends) maps it.
    pub dynamic_backend_prefix: String,
    /// The prefix of the names of spare backends, before the number: HTTP ones that belong to no service yet and are
    /// given to services without a backend of their own. A service whose own backend would have such a name gets none,
    /// unless [`backends`](Self::backends) maps it.
    pub spare_http: String,
    /// The same for spare TCP backends.
    pub spare_tcp: String,
    /// The file name, without folders, of the map in which frontends look up HTTP routes.
    pub route_map: String,
    /// The same for TCP routes, by the server name of the TLS handshake.
    pub sni_map: String,
    /// The same for the map that remembers which spare backend serves which service.
    pub service_map: String,
    /// The interval at which everything is read again to notice changes made by others.
    #[serde(with = "seconds")]
    pub resync: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backends: BTreeMap::new(),
            backend_prefix: String::new(),
            slot_prefix: "slot".to_owned(),
            slot_prefixes: Vec::new(),
            drain_timeout: Duration::from_secs(60),
            cut_at_deadline: true,
            admission_timeout: Duration::from_secs(10),
            adoption_hold: Duration::from_secs(10),
            reuse_grace: None,
            http_reuse: HttpReuse::default(),
            persistence: false,
            keep_alive_timeout: Duration::from_secs(60),
            dynamic_servers: DynamicServers::default(),
            dynamic_prefix: "dyn-".to_owned(),
            server: ServerSettings::default(),
            dynamic_backends: DynamicBackends::default(),
            backend_defaults: None,
            dynamic_backend_prefix: "dyn-".to_owned(),
            spare_http: "spare-http-".to_owned(),
            spare_tcp: "spare-tcp-".to_owned(),
            route_map: "lb-routes.map".to_owned(),
            sni_map: "lb-sni.map".to_owned(),
            service_map: "lb-services.map".to_owned(),
            resync: Duration::from_secs(30),
        }
    }
}

impl Policy {
    /// The backend of a service.
    #[must_use]
    pub fn backend_of(&self, service: &Name) -> Name {
        match self.backends.get(service) {
            Some(backend) => backend.clone(),
            None if self.backend_prefix.is_empty() => service.clone(),
            None => Name::from_text(&format!("{}{service}", self.backend_prefix)),
        }
    }

    /// The name of a server made at run time for an address.
    #[must_use]
    pub fn dynamic_name(&self, address: SocketAddr) -> Name {
        Name::from_text(&format!(
            "{}{}:{}",
            self.dynamic_prefix,
            address.ip(),
            address.port()
        ))
    }

    /// The name of a backend made at run time for a service.
    #[must_use]
    pub fn dynamic_backend_of(&self, service: &Name) -> Name {
        Name::from_text(&format!("{}{service}", self.dynamic_backend_prefix))
    }

    /// Returns `true` if a backend may have been made at run time.
    #[must_use]
    pub fn is_dynamic_backend_name(&self, backend: &Name) -> bool {
        backend.as_str().starts_with(&self.dynamic_backend_prefix)
    }

    /// Returns `true` if a server was made at run time: its name is the prefix and an address.
    #[must_use]
    pub fn is_dynamic_name(&self, server: &Name) -> bool {
        server
            .as_str()
            .strip_prefix(self.dynamic_prefix.as_str())
            .is_some_and(is_address)
    }

    /// Returns `true` if a server's name is a slot prefix and a number.
    #[must_use]
    pub fn is_slot_name(&self, server: &Name) -> bool {
        std::iter::once(&self.slot_prefix)
            .chain(&self.slot_prefixes)
            .filter_map(|prefix| server.as_str().strip_prefix(prefix.as_str()))
            .any(is_number)
    }
}

/// The rule for servers made at run time when a backend has no free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynamicServers {
    /// Wherever HAProxy can, known-bad versions too.
    Always,
    /// On, where HAProxy can and is not known to do it badly.
    #[default]
    Auto,
    /// Nowhere.
    Never,
}

/// The rule for backends made at run time for services without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynamicBackends {
    /// Rather than giving away a spare one.
    Always,
    /// On, when no spare one is left: spare ones outlive a restart of HAProxy.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// The settings of a server made at run time. What is not set is HAProxy's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServerSettings {
    /// If `true`, its health is checked; by default as that of the backend's slots.
    pub check: Option<bool>,
    /// Failed checks in a row that take it down.
    pub fall: Option<u16>,
    /// Passed checks in a row that bring it up.
    pub rise: Option<u16>,
    /// The time between two checks, in seconds.
    #[serde(with = "optional_seconds")]
    pub inter: Option<Duration>,
    /// The time it takes to reach its full weight after it came up, in seconds.
    #[serde(with = "optional_seconds")]
    pub slowstart: Option<Duration>,
    /// The most connections to it at a time.
    pub maxconn: Option<u32>,
    /// The most idle connections kept to it.
    pub pool_max_conn: Option<u32>,
}

/// HAProxy's `http-reuse`: which requests may share a server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpReuse {
    /// Every request may.
    Aggressive,
    /// Every request may, the first of a session too.
    Always,
    /// None: a server connection belongs to one client connection.
    Never,
    /// All but the first of a session: HAProxy's default.
    #[default]
    Safe,
}

/// The name's prefix and number, if it is like those of `server-template`.
pub(crate) fn numbered(server: &Name) -> Option<(&str, u32)> {
    let name = server.as_str();
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(prefix.len()..)?;
    // A template writes no leading zero.
    (!number.starts_with('0')).then(|| Some((prefix, number.parse().ok()?)))?
}

/// Returns `true` for `IP:PORT`, with the number that makes a name unique or without it.
fn is_address(text: &str) -> bool {
    let Some((ip, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port = match port.split_once('-') {
        Some((port, number)) if is_number(number) => port,
        Some(_) => return false,
        None => port,
    };
    ip.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
