//! What the middlewares of Traefik do to a router that names them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{Found, MiddlewareDefinition, SharedMiddlewares};
use crate::labels::go_bool;

/// What a middleware means for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Middleware {
    /// It calls others in turn.
    Chain(Vec<String>),
    /// It changes neither who is served nor what the service is sent; it has no effect here.
    Harmless {
        /// Its kind.
        kind: String,
    },
    /// It redirects requests without TLS to https.
    RedirectHttps {
        /// If `false`, clients ask again the next time.
        permanent: bool,
    },
    /// It restricts who is served, or changes what the service is sent, and cannot be honoured.
    Restricts {
        /// Its kind. Empty: it has none or several, and Traefik refuses it.
        kind: String,
    },
    /// It takes these prefixes off the path.
    StripPrefix(Vec<String>),
}

/// The kinds that leave alone who is served and what the service is sent.
const HARMLESS: [&str; 7] = [
    "buffering",
    "circuitbreaker",
    "compress",
    "contenttype",
    "errors",
    "grpcweb",
    "retry",
];

/// The definitions of middlewares, by name. Keys are compared without regard to letter case.
#[derive(Debug, Clone, Default)]
pub struct Middlewares<'a> {
    keys: BTreeMap<String, Vec<(String, &'a str)>>,
    /// Those of all objects of the source, where they are known.
    others: Option<&'a SharedMiddlewares>,
    /// The names that were looked for.
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Middlewares<'a> {
    /// Adds one key of a definition: `basicauth.users` of the middleware `name`.
    pub fn add(&mut self, name: &str, key: &str, value: &'a str) {
        self.keys
            .entry(name.to_ascii_lowercase())
            .or_default()
            .push((key.to_ascii_lowercase(), value));
    }

    /// Lets names mean what all objects of a source define.
    pub(crate) fn set_others(&mut self, others: &'a SharedMiddlewares) {
        self.others = Some(others);
    }

    /// The names that were looked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// The definitions here, for other objects of the source.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = MiddlewareDefinition> + '_ {
        let all = self.keys.iter();
        all.map(|(name, keys)| MiddlewareDefinition::new(name, keys))
    }

    /// The reason for which a middleware is not known.
    pub(crate) fn unknown(&self, name: &str) -> &'static str {
        let found = self
            .others
            .map(|others| others.find(&name.to_ascii_lowercase()));
        match found {
            None => "a middleware that the object does not define",
            Some(Found::Contested) => {
                "a middleware that several containers or services define differently, so none of these counts, as there"
            }
            Some(_) => {
                "a middleware that no container or service defines which this source reads; one of Traefik's file provider is to be defined as a label of one of these"
            }
        }
    }

    /// The meaning of the middleware `name`; `None` where it is not defined here, nor by one object or several alike.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Middleware> {
        let name = name.to_ascii_lowercase();
        self.asked.borrow_mut().insert(name.clone());
        let own = self.keys.get(&name);
        match (own, self.others.map(|others| others.find(&name))) {
            (_, Some(Found::Contested)) => None,
            (Some(keys), _) => Self::read(keys),
            (None, Some(Found::One(other))) => {
                let keys = other.keys.iter();
                let keys: Vec<_> = keys
                    .map(|(key, value)| (key.clone(), value.as_str()))
                    .collect();
                Self::read(&keys)
            }
            (None, _) => None,
        }
    }

    fn read(keys: &[(String, &str)]) -> Option<Middleware> {
        let kinds: BTreeSet<&str> = keys
            .iter()
            .map(|(key, _)| key.split(['.', '[']).next().unwrap_or(key))
            .collect();
        let value = |wanted: &str| {
            keys.iter()
                .find(|(key, _)| key == wanted)
                .map(|(_, value)| *value)
        };
        let list = |wanted: &str| list(keys, wanted);
        let mut kinds = kinds.into_iter();
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            // Traefik refuses a middleware of two kinds.
            return Some(Middleware::Restricts {
                kind: String::new(),
            });
        };
        let restricts = || Middleware::Restricts {
            kind: kind.chars().take(32).collect(),
        };
        Some(match kind {
            // What cannot be read of a chain may restrict.
            "chain"
                if keys
                    .iter()
                    .any(|(key, _)| !is_item(key, "chain.middlewares")) =>
            {
                restricts()
            }
            "chain" => Middleware::Chain(references(keys, "chain.middlewares")),
            "redirectscheme" => {
                let https = value("redirectscheme.scheme")
                    .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
                let port = value("redirectscheme.port").is_none_or(|port| port.trim() == "443");
                match https && port {
                    true => Middleware::RedirectHttps {
                        permanent: value("redirectscheme.permanent").and_then(go_bool)
                            == Some(true),
                    },
                    false => restricts(),
                }
            }
            "stripprefix" => Middleware::StripPrefix(list("stripprefix.prefixes")),
            "headers" if keys.iter().all(|(key, _)| is_harmless_header(key)) => {
                Middleware::Harmless {
                    kind: kind.to_owned(),
                }
            }
            // Longer requests are refused there.
            "buffering"
                if value("buffering.maxrequestbodybytes")
                    .is_some_and(|most| most.parse::<i64>() != Ok(0)) =>
            {
                restricts()
            }
            kind if HARMLESS.contains(&kind) => Middleware::Harmless {
                kind: kind.to_owned(),
            },
            _ => restricts(),
        })
    }
}

/// Headers of answers, and the one of requests that says how a client came here.
fn is_harmless_header(key: &str) -> bool {
    let key = key.strip_prefix("headers.").unwrap_or(key);
    match key.strip_prefix("customrequestheaders.") {
        Some(header) => header == "x-forwarded-proto",
        None => ![
            "allowedhosts",
            "hostsproxyheaders",
            "sslredirect",
            "ssltemporaryredirect",
            "sslhost",
            "sslforcehost",
            "sslproxyheaders",
        ]
        .iter()
        .any(|restricting| key.starts_with(restricting)),
    }
}

/// Returns `true` if `key` is the key of the list `wanted` or of one of its items, `key[0]` or `key.0`.
pub(super) fn is_item(key: &str, wanted: &str) -> bool {
    let Some(rest) = key.strip_prefix(wanted) else {
        return false;
    };
    let bracketed = rest
        .strip_prefix('[')
        .and_then(|index| index.strip_suffix(']'));
    match bracketed.or_else(|| rest.strip_prefix('.')) {
        Some(index) => !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()),
        None => rest.is_empty(),
    }
}

/// A list: `a,b` under its own key, or one value under each of `key[0]`, `key.0`.
pub(super) fn list(keys: &[(String, &str)], wanted: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in keys {
        if is_item(key, wanted) {
            all.extend(
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    all
}

/// The references in a list of middlewares. Where a value is split by commas or has an item of its own, an empty item is
/// a reference too, to a middleware that there cannot be: an unset variable leaves it, and Traefik does not serve such a
/// router. An empty list names none.
pub(super) fn references(keys: &[(String, &str)], wanted: &str) -> Vec<String> {
    keys.iter()
        .filter(|(key, value)| is_item(key, wanted) && !(key == wanted && value.is_empty()))
        .flat_map(|(_, value)| value.split(','))
        .map(|item| item.trim().to_owned())
        .collect()
}
