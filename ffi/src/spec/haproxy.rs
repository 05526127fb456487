//! A `haproxy.cfg`, as it is described in the agent's configuration.

use std::{fmt::Display, net::SocketAddr, path::Path, str::FromStr, time::Duration};

use lb_core::{Mode, Name, PathMatch, duration};
use lb_haproxy::{
    config::{
        Backend, Balance, Bind, Certificates, Check, Config, ConfigPath, Frontend, HashOn,
        HeaderName, HttpCheck, RateLimit, Slots, StatsPage, StickyCookie, TlsBind,
    },
    policy::HttpReuse,
    proto::{MapName, Version},
};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    error::SpecError,
    origin::{Format, Origin},
    parse,
};

/// The table `[haproxy]`: what HAProxy's own configuration is generated from.
///
/// Files are named as HAProxy is to find them. Lengths of time are seconds, or texts such as `"500ms"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HaproxySpec {
    /// The version that reads it, such as `2.6.12`. Default: that of the HAProxy that is installed.
    pub version: Option<String>,
    /// The path of the admin socket.
    #[serde(deserialize_with = "parsed")]
    pub socket: ConfigPath,
    /// The file that slots get their addresses back from.
    #[serde(default, deserialize_with = "maybe")]
    pub server_state_file: Option<ConfigPath>,
    /// The map that remembers which spare backend serves which service.
    #[serde(default, deserialize_with = "maybe")]
    pub service_map: Option<MapName>,
    /// The most connections. Default: HAProxy's own choice.
    pub maxconn: Option<u32>,
    /// The number of threads. Default: HAProxy's own choice.
    pub threads: Option<u32>,
    /// The time an old worker may live on for its last clients. Default 15 minutes.
    #[serde(default, with = "duration::optional")]
    pub hard_stop_after: Option<Duration>,
    /// The address of HAProxy's page of statistics. Default: none.
    pub stats: Option<SocketAddr>,
    /// The frontends: where clients connect.
    #[serde(default)]
    pub frontends: Vec<FrontendSpec>,
    /// The backends: where requests go.
    #[serde(default)]
    pub backends: Vec<BackendSpec>,
}

/// One frontend.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FrontendSpec {
    /// Its name.
    pub name: Name,
    /// The address on which it listens without TLS.
    pub bind: Option<SocketAddr>,
    /// The address on which it listens with TLS, and its certificates.
    pub tls: Option<TlsSpec>,
    /// `http` or `tcp`. Default `http`.
    #[serde(default)]
    pub mode: Mode,
    /// The backend of requests that no route and no rule matches.
    pub default_backend: Option<Name>,
    /// The map that sends requests where their host and path say.
    #[serde(default, deserialize_with = "maybe")]
    pub route_map: Option<MapName>,
    /// The most requests of one client address.
    pub rate_limit: Option<RateSpec>,
}

/// A listener with TLS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsSpec {
    /// The address on which it listens.
    pub bind: SocketAddr,
    /// A file with a certificate, those above it and its key, or a folder of such files.
    #[serde(deserialize_with = "parsed")]
    pub certificates: ConfigPath,
    /// If `true`, that file is a list of such files instead. Default false.
    #[serde(default)]
    pub list: bool,
    /// If `true`, clients may speak HTTP/2. Default true.
    #[serde(default = "yes")]
    pub http2: bool,
    /// If `true`, TLS 1.2 is refused. Default false.
    #[serde(default)]
    pub only_tls13: bool,
}

/// A limit on requests: the next ones get 429.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RateSpec {
    /// The number of requests.
    pub requests: u32,
    /// In which time.
    #[serde(with = "duration")]
    pub period: Duration,
}

/// One backend of slots.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BackendSpec {
    /// Its name.
    pub name: Name,
    /// The number of slots it has.
    pub slots: u32,
    /// The prefix of their names, before the number. Default `slot`.
    #[serde(default = "slot")]
    pub slot_prefix: Name,
    /// `http` or `tcp`. Default `http`.
    #[serde(default)]
    pub mode: Mode,
    /// Who gets the next request. Default `roundrobin`.
    #[serde(default, deserialize_with = "parsed")]
    pub balance: BalanceSpec,
    /// The connections to servers that are used again.
    #[serde(default)]
    pub http_reuse: HttpReuse,
    /// A response header that names the backend, the slot and the address that answered.
    #[serde(default, deserialize_with = "maybe")]
    pub server_header: Option<HeaderName>,
    /// A cookie that keeps users with their endpoint.
    pub cookie: Option<CookieSpec>,
    /// The check of servers. Default `false`.
    #[serde(default)]
    pub check: CheckSpec,
    /// The most connections to each server.
    pub maxconn: Option<u32>,
}

/// `roundrobin`, `leastconn`, `random`, `hash source`, `hash uri`, or `hash header NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BalanceSpec {
    /// `hash …`: consistent.
    Hash(HashOn),
    /// `leastconn`
    Leastconn,
    /// `random`
    Random,
    /// `roundrobin`
    #[default]
    Roundrobin,
}

impl FromStr for BalanceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["hash", "header", name] => Ok(Self::Hash(HashOn::Header(
                name.parse()
                    .map_err(|error: lb_haproxy::config::InvalidConfigValue| error.to_string())?,
            ))),
            ["hash", "source"] => Ok(Self::Hash(HashOn::Source)),
            ["hash", "uri"] => Ok(Self::Hash(HashOn::Uri)),
            ["leastconn"] => Ok(Self::Leastconn),
            ["random"] => Ok(Self::Random),
            ["roundrobin"] => Ok(Self::Roundrobin),
            _ => Err(format!(
                "{text:?}, expected roundrobin, leastconn, random, hash source, hash uri or hash header NAME"
            )),
        }
    }
}

/// A sticky cookie.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CookieSpec {
    /// Its name.
    #[serde(deserialize_with = "parsed")]
    pub name: HeaderName,
    /// The key its values are made with.
    #[serde(deserialize_with = "parsed")]
    pub key: HeaderName,
    /// If `true`, browsers send it over TLS only.
    #[serde(default)]
    pub secure: bool,
}

/// `true`, `false`, or a table that says how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum CheckSpec {
    /// By connecting, or not at all.
    Connect(bool),
    /// In this way.
    How(HowToCheck),
}

impl Default for CheckSpec {
    fn default() -> Self {
        Self::Connect(false)
    }
}

/// The health check of servers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HowToCheck {
    /// From one check to the next. Default 2 s.
    #[serde(default, with = "duration::optional")]
    pub inter: Option<Duration>,
    /// The number of failures that take a server down. Default 3.
    pub fall: Option<u32>,
    /// The number of successes that bring it up. Default 2.
    pub rise: Option<u32>,
    /// The path to ask for by HTTP. Default: a connection that opens is enough.
    #[serde(default, deserialize_with = "maybe")]
    pub path: Option<PathMatch>,
    /// The host to ask for.
    pub host: Option<Name>,
    /// The status that is a success. Default: 200 to 399.
    pub expect: Option<u16>,
}

impl HaproxySpec {
    /// Reads a description that stands alone.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] says where and what.
    pub fn parse(text: &str, format: Format) -> Result<Self, SpecError> {
        let origin = Origin {
            text: text.into(),
            format,
            file: None::<&Path>.map(Path::to_owned),
        };
        Ok(parse::read(&origin, std::marker::PhantomData::<Self>)?)
    }

    /// The configuration for this version: render it.
    #[must_use]
    pub fn config(&self, version: &Version) -> Config {
        let mut config = Config::new(self.socket.clone());
        config
            .global
            .server_state_file
            .clone_from(&self.server_state_file);
        config.global.maxconn = self.maxconn;
        config.global.nbthread = self.threads;
        if self.hard_stop_after.is_some() {
            config.global.hard_stop_after = self.hard_stop_after;
        }
        config.service_map.clone_from(&self.service_map);
        config.stats = self.stats.map(StatsPage::new);
        config.frontends = self.frontends.iter().map(FrontendSpec::frontend).collect();
        config.backends = self
            .backends
            .iter()
            .map(|backend| backend.backend(version))
            .collect();
        config
    }
}

impl FrontendSpec {
    fn frontend(&self) -> Frontend {
        let plain = self.bind.map(Bind::Tcp);
        let tls = self.tls.as_ref().map(|tls| Bind::Tls(tls.bind()));
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut frontend = Frontend::new(self.name.clone(), Bind::Tcp(unspecified));
        frontend.binds = plain.into_iter().chain(tls).collect();
        frontend.mode = self.mode;
        frontend.default_backend.clone_from(&self.default_backend);
        frontend.route_map.clone_from(&self.route_map);
        frontend.rate_limit = self
            .rate_limit
            .as_ref()
            .map(|limit| RateLimit::new(limit.requests, limit.period));
        frontend
    }
}

impl TlsSpec {
    fn bind(&self) -> TlsBind {
        let certificates = match self.list {
            true => Certificates::List(self.certificates.clone()),
            false => Certificates::At(self.certificates.clone()),
        };
        let mut bind = TlsBind::new(self.bind, certificates);
        bind.http2 = self.http2;
        bind.only_tls13 = self.only_tls13;
        bind
    }
}

impl BackendSpec {
    fn backend(&self, version: &Version) -> Backend {
        let mut slots = Slots::new(self.slot_prefix.clone(), self.slots);
        slots.check = self.check.check();
        slots.maxconn = self.maxconn;
        let mut backend = Backend::new(self.name.clone(), slots);
        backend.mode = self.mode;
        backend.http_reuse = self.http_reuse;
        backend.server_header.clone_from(&self.server_header);
        backend.cookie = self.cookie.as_ref().map(|cookie| {
            let mut sticky = StickyCookie::new(cookie.name.clone(), cookie.key.clone());
            sticky.secure = cookie.secure;
            sticky
        });
        backend.balance = match &self.balance {
            BalanceSpec::Hash(on) => Balance::Hash {
                on: on.clone(),
                by_address: version.major() >= 3,
            },
            BalanceSpec::Leastconn => Balance::LeastConn,
            BalanceSpec::Random => Balance::Random,
            BalanceSpec::Roundrobin => Balance::RoundRobin,
        };
        backend
    }
}

impl CheckSpec {
    fn check(&self) -> Option<Check> {
        match self {
            Self::Connect(wanted) => wanted.then(Check::default),
            Self::How(how) => {
                let mut check = Check::default();
                check.inter = how.inter.unwrap_or(check.inter);
                check.fall = how.fall.unwrap_or(check.fall);
                check.rise = how.rise.unwrap_or(check.rise);
                check.http = how.path.clone().map(|path| {
                    let mut http = HttpCheck::new(path);
                    http.host.clone_from(&how.host);
                    http.expect = how.expect;
                    http
                });
                Some(check)
            }
        }
    }
}

fn yes() -> bool {
    true
}

fn slot() -> Name {
    Name::from_text("slot")
}

fn parsed<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(input)?
        .parse()
        .map_err(D::Error::custom)
}

fn maybe<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed(input).map(Some)
}
