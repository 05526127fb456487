//! Traefik's tree of keys, by the grammar that its labels have too. Letter case does not count, as there.

use std::{str, sync::Arc};

use lb_core::{Mode, Name};
use lb_schemes::{
    Effect, EntryPoints, Options, Proportion, Unprotected,
    traefik::{
        KEYS, Misspelt, Naming, Protocol, misspelt, restricted_service, restricts_service, weight,
    },
};

use super::{
    fact::{Complaint, Fact, Facts},
    object,
    rules::{Reading, Subject},
    scalar,
};

/// The name that Traefik has for this kind of provider: `web@etcd` is the service `web`.
const PROVIDERS: &[&str] = &["etcd"];

/// The diagnostic of a key that may be meant to restrict a router, where there is none that it names.
pub(crate) const UNKNOWN_ROUTER: &str = "cannot be honoured: unknown key that may be meant to restrict a router, and there is no router that it names, expected http/routers/NAME/OPTION";

/// Begins the names under which services of TCP are kept.
pub(crate) const TCP: &str = "tcp:";

/// The middlewares whose keys are read; of others only the kind counts, and their values, which may be passwords, are not
/// kept.
const READ_MIDDLEWARES: [&str; 5] = [
    "buffering",
    "chain",
    "headers",
    "redirectscheme",
    "stripprefix",
];

/// The tree of keys below one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The place of the layout among others.
    index: usize,
    prefix: String,
    options: Options,
}

/// One key of a router or a middleware, without what names it, in lower case and with dots: `tls.options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeKey {
    pub(crate) key: Box<str>,
    pub(crate) value: Box<str>,
}

/// The router that a route is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouterName {
    pub(crate) protocol: Protocol,
    pub(crate) name: Box<str>,
    pub(crate) tree: Arc<Tree>,
}

impl Tree {
    pub(crate) fn new(
        index: usize,
        root: &str,
        entrypoints: &EntryPoints,
        allow_unprotected: &Unprotected,
    ) -> Self {
        let mut options = Options::new(&[], PROVIDERS);
        options.entrypoints = entrypoints.clone();
        options.allow_unprotected = allow_unprotected.clone();
        Self {
            index,
            prefix: format!("{root}/"),
            options,
        }
    }

    /// The text that every key of the tree begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name under which a middleware is kept.
    pub(crate) fn middleware(&self, name: &str) -> Name {
        super::rules::in_layout(self.index, Name::from_text(name))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn naming(&self) -> Naming<'_> {
        Naming {
            prefix: &self.prefix,
            separator: '/',
        }
    }

    /// The meaning of a key with its value; `None` if it is not below the root.
    pub(crate) fn read(self: &Arc<Self>, key: &str, value: &[u8]) -> Option<Reading> {
        let lower = key.strip_prefix(self.prefix.as_str())?.to_lowercase();
        // As Traefik does: a slash at the end names nothing.
        let lower = lower.trim_end_matches('/');
        let parts: Vec<&str> = lower.split('/').collect();
        let protocol = match parts.first() {
            Some(&"http") => Protocol::Http,
            Some(&"tcp") => Protocol::Tcp,
            _ => return Some(self.unknown(lower, value)),
        };
        Some(match parts.get(1..).unwrap_or_default() {
            ["routers", name, rest @ ..] if !rest.is_empty() && !name.is_empty() => {
                self.router(protocol, name, rest, value)
            }
            ["middlewares", name, rest @ ..] if !rest.is_empty() && !name.is_empty() => {
                match protocol {
                    Protocol::Http => middleware(self.middleware(name), rest, value),
                    // A router that names one is withheld, whatever it is.
                    Protocol::Tcp => Reading::Nothing,
                }
            }
            [
                "services",
                service,
                "loadbalancer",
                "servers",
                index,
                rest @ ..,
            ] if !service.is_empty() && !index.is_empty() => {
                let subject = Subject::Endpoint {
                    service: tree_service(protocol, service),
                    id: super::rules::endpoint_name(Name::from_text(index)),
                };
                server(protocol, subject, &rest.join("."), value)
            }
            ["services", service, rest @ ..] if !service.is_empty() => {
                self.service(protocol, service, &rest.join("."), lower, value)
            }
            _ => self.unknown(lower, value),
        })
    }

    /// A key of a service that is of none of its servers.
    fn service(
        &self,
        protocol: Protocol,
        service: &str,
        key: &str,
        lower: &str,
        value: &[u8],
    ) -> Reading {
        if !restricts_service(protocol, key) || self.options.allow_unprotected.allows(&[key]) {
            return unused(lower, value);
        }
        Reading::Said {
            subject: Subject::Service {
                service: tree_service(protocol, service),
            },
            facts: Facts {
                said: vec![Fact::Withheld, Fact::Mode(mode(protocol))],
                complaints: vec![
                    Complaint::value(restricted_service(key))
                        .withheld()
                        .secret(),
                ],
            },
        }
    }

    /// A key that no section takes. One that may be meant to restrict a router is kept with the router.
    fn unknown(self: &Arc<Self>, lower: &str, value: &[u8]) -> Reading {
        match misspelt(lower) {
            None => unused(lower, value),
            Some(Misspelt {
                protocol,
                router: Some(name),
            }) => self.about_router(protocol, &name, format!("@{lower}"), ""),
            Some(_) => Reading::Bad {
                subject: None,
                complaint: Complaint::value(UNKNOWN_ROUTER).secret(),
            },
        }
    }

    fn router(
        self: &Arc<Self>,
        protocol: Protocol,
        name: &str,
        rest: &[&str],
        value: &[u8],
    ) -> Reading {
        match text(value) {
            Err(complaint) => Reading::Bad {
                subject: Some(route(protocol, name)),
                complaint,
            },
            Ok(value) => self.about_router(protocol, name, router_key(rest), value),
        }
    }

    fn about_router(
        self: &Arc<Self>,
        protocol: Protocol,
        name: &str,
        key: String,
        value: &str,
    ) -> Reading {
        let router = RouterName {
            protocol,
            name: name.into(),
            tree: Arc::clone(self),
        };
        let key = TreeKey {
            key: key.into(),
            value: value.into(),
        };
        Reading::Said {
            subject: route(protocol, name),
            facts: Facts {
                said: vec![Fact::Router(Arc::new(router)), Fact::TreeKey(key)],
                complaints: Vec::new(),
            },
        }
    }
}

/// The route that is a router. One of HTTP and one of TCP may have the same name.
fn route(protocol: Protocol, name: &str) -> Subject {
    let id = match protocol {
        Protocol::Http => Name::from_text(name),
        Protocol::Tcp => Name::from_text(&format!("tcp:{name}")),
    };
    Subject::Route { id }
}

fn mode(protocol: Protocol) -> Mode {
    match protocol {
        Protocol::Http => Mode::Http,
        Protocol::Tcp => Mode::Tcp,
    }
}

/// The name under which the endpoints of a service are kept. A service of HTTP may have the name of one of TCP.
pub(crate) fn tree_service(protocol: Protocol, service: &str) -> Name {
    match protocol {
        Protocol::Http => Name::from_text(service),
        Protocol::Tcp => Name::from_text(&format!("{TCP}{service}")),
    }
}

/// A key of a router with dots.
fn router_key(rest: &[&str]) -> String {
    match rest.first() {
        Some(first) if first.starts_with("entrypoints") => listed(rest, "entrypoints"),
        _ => listed(rest, "middlewares"),
    }
}

/// A key with dots. One of this list that has no number in it, which Traefik refuses, keeps its slashes: it is a key that
/// the table does not have, and withholds.
fn listed(rest: &[&str], list: &str) -> String {
    let key = rest.join(".");
    let Some(index) = key.strip_prefix(list) else {
        return key;
    };
    let number = index.trim_matches(['.', '[', ']']);
    if index.is_empty() || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
        return key;
    }
    key.replace(['.', '[', ']'], "/")
}

fn middleware(name: Name, rest: &[&str], value: &[u8]) -> Reading {
    let subject = Subject::Middleware { name };
    let read = rest
        .first()
        .is_some_and(|kind| READ_MIDDLEWARES.contains(kind));
    let value = match text(value) {
        Ok(value) if read => value,
        Ok(_) => "",
        Err(complaint) => {
            return Reading::Bad {
                subject: Some(subject),
                complaint: complaint.secret(),
            };
        }
    };
    let fact = Fact::TreeKey(TreeKey {
        key: listed(rest, "chain.middlewares").into(),
        value: value.into(),
    });
    Reading::Said {
        subject,
        facts: fact.into(),
    }
}

/// A key of one server of a service.
fn server(protocol: Protocol, subject: Subject, key: &str, value: &[u8]) -> Reading {
    let facts = text(value).and_then(|text| {
        let mut facts = match (protocol, key) {
            (Protocol::Http, "url") => {
                if !text
                    .get(..7)
                    .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
                {
                    return Err(Complaint::value(
                        "expected http://ip:port; TLS to endpoints is the target's configuration",
                    ));
                }
                scalar::url(text)?
            }
            (Protocol::Tcp, "address") => Fact::Address(scalar::address(text)?).into(),
            (_, "weight") => match weight(text) {
                Ok((weight, note)) => Facts {
                    said: vec![match weight {
                        0..=256 => Fact::Weight(Proportion::default().weight(weight)),
                        beyond => Fact::WrittenWeight(beyond),
                    }],
                    complaints: note
                        .map(|note| Complaint {
                            found: Some(object::cut(text)),
                            ..Complaint::value(note).tolerated()
                        })
                        .into_iter()
                        .collect(),
                },
                Err(expected) => {
                    return Err(Complaint {
                        found: Some(object::cut(text)),
                        ..Complaint::value(expected)
                    });
                }
            },
            (Protocol::Http, "preservepath") | (Protocol::Tcp, "tls")
                if text.eq_ignore_ascii_case("false") || text == "0" =>
            {
                Facts::default()
            }
            (Protocol::Tcp, "tls") => {
                return Ok(Facts {
                    said: vec![Fact::Unusable],
                    complaints: vec![Complaint::value(
                        "cannot be honoured, the server is left out: TLS to endpoints is the target's configuration",
                    )],
                });
            }
            _ => Facts {
                said: Vec::new(),
                complaints: vec![
                    Complaint::value("not honoured: unknown key of a server")
                        .tolerated()
                        .secret(),
                ],
            },
        };
        facts.said.push(Fact::TreeServer);
        facts.said.push(Fact::Mode(mode(protocol)));
        Ok(facts)
    });
    match facts {
        Ok(facts) => Reading::Said { subject, facts },
        Err(complaint) => Reading::Bad {
            subject: Some(subject),
            complaint,
        },
    }
}

/// A key that has no effect, by the table of the scheme.
fn unused(key: &str, value: &[u8]) -> Reading {
    let dotted = key.replace('/', ".");
    let value = str::from_utf8(value).unwrap_or_default().trim();
    if dotted.ends_with(".loadbalancer.passhostheader") && value.eq_ignore_ascii_case("true") {
        return Reading::Nothing;
    }
    let entry = KEYS.iter().find(|entry| entry.is(&dotted));
    let is_middleware =
        dotted.starts_with("http.middlewares.") || dotted.starts_with("tcp.middlewares.");
    if is_middleware {
        return Reading::Nothing;
    }
    let note = entry
        .filter(|entry| entry.effect != Effect::Honoured)
        .map_or("unknown key", |entry| entry.note);
    Reading::Bad {
        subject: None,
        complaint: Complaint::value(format!("not honoured: {note}"))
            .tolerated()
            .secret(),
    }
}

fn text(value: &[u8]) -> Result<&str, Complaint> {
    if value.len() > object::MAX_LEN {
        return Err(Complaint::value(format!(
            "expected at most {} bytes, found {}",
            object::MAX_LEN,
            value.len()
        ))
        .secret());
    }
    let text = str::from_utf8(value).map_err(|_| Complaint::value("expected a value in UTF-8"))?;
    Ok(text.trim())
}
