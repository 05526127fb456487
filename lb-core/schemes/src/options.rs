//! What a source is configured to take from labels and keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::LabelScheme;

/// The options of a source that decide what labels and keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The schemes that are read; of an object that uses several, the first one listed counts.
    pub schemes: Vec<LabelScheme>,
    /// The entry points of Traefik that this load balancer serves.
    pub entrypoints: EntryPoints,
    /// Traefik's default rule, for routers without a rule and services without a router.
    pub default_rule: Option<String>,
    /// If `false`, only objects with `lb.enable=true` or `traefik.enable=true` are read.
    pub exposed_by_default: bool,
    /// Keys that restrict who may reach a route and that are given up all the same.
    pub allow_unprotected: Unprotected,
    /// The names that Traefik has for a provider of this kind: `web@docker` is the service `web`.
    pub providers: &'static [&'static str],
}

impl Options {
    /// The defaults for these schemes.
    #[must_use]
    pub fn new(schemes: &[LabelScheme], providers: &'static [&'static str]) -> Self {
        Self {
            schemes: schemes.to_vec(),
            entrypoints: EntryPoints::default(),
            default_rule: None,
            exposed_by_default: true,
            allow_unprotected: Unprotected::default(),
            providers,
        }
    }
}

/// The entry points of Traefik that this load balancer serves, by name.
///
/// Defaults to `web` and `http` for HTTP and TCP, `websecure` and `https` for HTTP over TLS and TCP. What is configured
/// replaces the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryPoints(BTreeMap<String, EntryPoint>);

/// The frontend that an entry point of Traefik is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryPoint {
    /// The frontend that looks HTTP routes up.
    Http,
    /// The same, for requests with TLS only: those without are redirected to https.
    Https,
    /// The frontend that looks TCP routes up.
    Tcp,
    /// `http` and `tcp`.
    Both,
    /// `https` and `tcp`.
    HttpsAndTcp,
}

impl EntryPoint {
    /// Returns `true` if routers of HTTP are served there.
    #[must_use]
    pub fn is_http(self) -> bool {
        self != Self::Tcp
    }

    /// Returns `true` if routers of TCP are served there.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both | Self::HttpsAndTcp)
    }

    /// Returns `true` if only requests with TLS are served there.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::HttpsAndTcp)
    }
}

impl Default for EntryPoints {
    fn default() -> Self {
        let plain = ["web", "http"].map(|name| (name.to_owned(), EntryPoint::Both));
        let secure = ["websecure", "https"].map(|name| (name.to_owned(), EntryPoint::HttpsAndTcp));
        plain.into_iter().chain(secure).collect()
    }
}

impl EntryPoints {
    /// The frontend of the entry point `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<EntryPoint> {
        self.0.get(name).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, EntryPoint)> {
        self.0.iter().map(|(name, point)| (name.as_str(), *point))
    }
}

impl FromIterator<(String, EntryPoint)> for EntryPoints {
    fn from_iter<I: IntoIterator<Item = (String, EntryPoint)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

/// Keys that restrict who may reach a route, which this load balancer cannot honour, and which are given up all the same:
/// the routes are served without. Letter case does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Unprotected(BTreeSet<String>);

impl Unprotected {
    /// Returns `true` if one of `names` is given up.
    #[must_use]
    pub fn allows(&self, names: &[&str]) -> bool {
        !self.0.is_empty()
            && names
                .iter()
                .any(|name| self.0.contains(&name.to_ascii_lowercase()))
    }
}

impl From<Vec<String>> for Unprotected {
    fn from(all: Vec<String>) -> Self {
        Self(all.iter().map(|key| key.to_ascii_lowercase()).collect())
    }
}

impl From<Unprotected> for Vec<String> {
    fn from(all: Unprotected) -> Self {
        all.0.into_iter().collect()
    }
}
