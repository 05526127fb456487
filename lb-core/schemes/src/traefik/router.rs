//! One router: from its keys to routes, or to why it has none.

use lb_core::{Name, PathMatch, Route, RouteHost, model::withheld};

use super::{
    Middleware, Middlewares, Protocol,
    keys::KEYS,
    middleware::{is_item, list},
    rule::{self, Alternative, Rule},
    service::own_service,
};
use crate::{
    Diagnostics, Options,
    keys::{Effect, find},
    labels::flag,
    options::EntryPoint,
    spec::paths_of_routes,
};

/// The keys of one router, with what they need to be read.
#[derive(Debug, Clone, Copy)]
pub struct RouterKeys<'a> {
    /// HTTP or TCP.
    pub protocol: Protocol,
    /// Its name.
    pub name: &'a str,
    /// Its keys without what names the router, in lower case (`rule`, `entrypoints`, `tls.options`), and their values.
    pub keys: &'a [(String, &'a str)],
    /// How the whole key is written: labels have dots, etcd keys have slashes.
    pub naming: Naming<'a>,
    /// The rule where it has none.
    pub default_rule: Option<&'a str>,
}

/// How whole keys are written.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// What stands before the protocol: `traefik.`.
    pub prefix: &'a str,
    /// What stands between the parts.
    pub separator: char,
}

/// What a router comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The service it names, in lower case and without the provider's own suffix. None: it names none. That of another
    /// provider has its suffix: `web@file`.
    pub service: Option<String>,
    /// Its priority.
    pub priority: i32,
    /// What becomes of its requests.
    pub outcome: Outcome,
    /// If `true`, the matched prefix is taken off.
    pub strip_prefix: bool,
    /// If `true`, requests without TLS are redirected to https.
    pub redirect_https: bool,
}

/// What becomes of a router's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has no route. Its requests go where they would without it: so they do in Traefik, which would not use it
    /// either or would have it elsewhere, or what is lost is no protection.
    LeftOut,
    /// These are served.
    Served(Vec<Alternative>),
    /// What protects these cannot be honoured: they are answered with 503, never by a wider route.
    Withheld(Vec<Alternative>),
    /// The same, and what the router may match beside these is not known well enough: no route of its service may be
    /// served.
    WithheldService(Vec<Alternative>),
}

impl Naming<'_> {
    /// The whole key.
    #[must_use]
    pub fn full(&self, protocol: Protocol, kind: &str, name: &str, key: &str) -> String {
        let Self { prefix, separator } = self;
        let rest = match separator {
            '.' => key.to_owned(),
            separator => key.replace('.', &separator.to_string()),
        };
        let rest = match rest.is_empty() {
            true => String::new(),
            false => format!("{separator}{rest}"),
        };
        format!("{prefix}{protocol}{separator}{kind}{separator}{name}{rest}")
    }
}

impl RouterKeys<'_> {
    /// Reads the router.
    #[must_use]
    pub fn read(
        &self,
        options: &Options,
        middlewares: &Middlewares<'_>,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Router {
        let mut router = Router {
            service: None,
            priority: 0,
            outcome: Outcome::LeftOut,
            strip_prefix: false,
            redirect_https: false,
        };
        if !self.entrypoints(options, diagnostics) {
            return router;
        }
        let foreign = self.service(options, &mut router, diagnostics);
        let protected = self.protection(options, middlewares, &mut router, diagnostics);
        let rule = self.value("rule").filter(|rule| !rule.is_empty());
        let parsed = match rule.or(self.default_rule) {
            Some(found) => {
                router.priority = self.priority(found, diagnostics);
                self.parse(found, rule.is_none(), protected, diagnostics)
            }
            None => {
                diagnostics.refuse(
                    &self.full("rule"),
                    "",
                    match protected {
                        true => "not set, expected a rule; the option default_rule gives one. The router is protected: no route of its service is served",
                        false => "not set, expected a rule; the option default_rule gives one",
                    },
                );
                protected.then(Rule::unknown)
            }
        };
        let Some(parsed) = parsed.filter(|_| protected || !foreign) else {
            return router;
        };
        router.outcome = match (protected, parsed.beyond) {
            // To withhold more than the rule must not reach other hosts.
            (true, Some(_)) if parsed.alternatives.iter().any(|way| way.host.is_none()) => {
                let mut known = parsed.alternatives;
                known.retain(|way| way.host.is_some());
                Outcome::WithheldService(known)
            }
            (true, _) => Outcome::Withheld(parsed.alternatives),
            (false, Some(_)) => Outcome::LeftOut,
            (false, None) if self.needs_tls(&parsed.alternatives) => {
                diagnostics.refuse_masked(
                    &self.full("rule"),
                    "HostSNI of a host without tls: Traefik refuses the router, and so it is left out; tls.passthrough=true serves it",
                );
                Outcome::LeftOut
            }
            (false, None) => Outcome::Served(parsed.alternatives),
        };
        router
    }

    /// The ways of the rule, or of what it may match where it protects and is not understood.
    fn parse(
        &self,
        rule: &str,
        of_default: bool,
        protected: bool,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<Rule> {
        let parsed = match rule::parse(self.protocol, rule) {
            Ok(parsed) => parsed,
            Err(error) => {
                let mut message = match of_default {
                    true => format!("default_rule: {error}"),
                    false => error.to_string(),
                };
                if !protected {
                    diagnostics.invalid_masked(&self.full("rule"), message);
                    return None;
                }
                message.push_str("; the router is protected: all that the rule may match is withheld, or no route of its service is served");
                diagnostics.refuse_masked(&self.full("rule"), message);
                return Some(rule::may_match(self.protocol, rule).unwrap_or_else(Rule::unknown));
            }
        };
        if let Some(beyond) = &parsed.beyond {
            let what = match protected {
                true => "the requests that it may match are answered with 503",
                false => "the router is left out",
            };
            diagnostics.refuse_masked(
                &self.full("rule"),
                format!("{beyond} cannot be expressed by routes: {what}"),
            );
        }
        Some(parsed)
    }

    /// Returns `true` if Traefik refuses the rule: a host is only known of connections with TLS.
    fn needs_tls(&self, ways: &[Alternative]) -> bool {
        let has_tls = self.keys.iter().any(|(key, value)| match key.as_str() {
            "tls" => flag(value) != Some(false),
            key => key.starts_with("tls."),
        });
        let any = |way: &Alternative| matches!(way.host, None | Some(RouteHost::Any));
        self.protocol == Protocol::Tcp && !has_tls && !ways.iter().all(any)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.keys
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| *value)
    }

    fn full(&self, key: &str) -> String {
        self.naming.full(self.protocol, "routers", self.name, key)
    }

    fn priority(&self, rule: &str, diagnostics: &mut Diagnostics<'_>) -> i32 {
        let default = rule::default_priority(self.protocol, rule);
        let Some(text) = self.value("priority") else {
            return default;
        };
        match text.trim().parse::<i64>() {
            Ok(0) => default,
            Ok(number) => i32::try_from(number).unwrap_or_else(|_| {
                diagnostics.warn(
                    &self.full("priority"),
                    text,
                    "expected a number of 32 bits, the nearest one is used",
                );
                match number > 0 {
                    true => i32::MAX,
                    false => i32::MIN,
                }
            }),
            Err(_) => {
                diagnostics.warn(
                    &self.full("priority"),
                    text,
                    "expected a whole number, the length of the rule is used",
                );
                default
            }
        }
    }

    /// Notes the service that it names; returns `true` if that is another provider's.
    fn service(
        &self,
        options: &Options,
        router: &mut Router,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let named = self.value("service").map(str::trim);
        let Some(text) = named.filter(|text| !text.is_empty()) else {
            return false;
        };
        if let Some(own) = own_service(text, options.providers) {
            router.service = Some(own);
            return false;
        }
        router.service = Some(text.to_ascii_lowercase());
        diagnostics.refuse(
            &self.full("service"),
            text,
            format!(
                "it belongs to another provider, expected a service of @{}: the router has no route here; one that is protected is withheld",
                options.providers.first().copied().unwrap_or_default()
            ),
        );
        true
    }

    /// Returns `true` if one of its entry points is served here.
    fn entrypoints(&self, options: &Options, diagnostics: &mut Diagnostics<'_>) -> bool {
        let named = list(self.keys, "entrypoints");
        if named.is_empty() {
            return true;
        }
        let fits = |point: EntryPoint| match self.protocol {
            Protocol::Http => matches!(point, EntryPoint::Http | EntryPoint::Both),
            Protocol::Tcp => matches!(point, EntryPoint::Tcp | EntryPoint::Both),
        };
        let (mapped, unmapped): (Vec<&String>, Vec<&String>) = named
            .iter()
            .partition(|name| options.entrypoints.get(name).is_some_and(fits));
        if let Some(first) = unmapped.first() {
            let help = format!(
                "the option entrypoints = {{ {} = \"{}\" }} would serve it here",
                plain(first),
                self.protocol
            );
            match mapped.is_empty() {
                true => diagnostics.refuse(
                    &self.full("entrypoints"),
                    &named.join(","),
                    format!("no entry point of these is mapped, the router is left out; {help}"),
                ),
                false => diagnostics.warn(
                    &self.full("entrypoints"),
                    &named.join(","),
                    format!("{} is not mapped; {help}", plain(first)),
                ),
            }
        }
        !mapped.is_empty()
    }

    /// Returns `true` if something protects it that cannot be honoured and is not given up. Reports every key that has
    /// no effect.
    fn protection(
        &self,
        options: &Options,
        middlewares: &Middlewares<'_>,
        router: &mut Router,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let mut protected = false;
        let passthrough = self.value("tls.passthrough").and_then(flag) == Some(true);
        for (key, value) in self.keys {
            let base = key.split(['[', '.']).next().unwrap_or(key);
            match base {
                "rule" | "service" | "priority" | "rulesyntax" if key == base => continue,
                "entrypoints" | "middlewares" if is_item(key, base) => continue,
                // A list that cannot be read may restrict, and so may options that cannot.
                "entrypoints" | "middlewares" => {
                    let note = "unknown key of a router";
                    protected |= self.withhold(key, note, &[key, base], options, diagnostics);
                    continue;
                }
                "tls" if key.starts_with("tls.options") && key != "tls.options" => {
                    let note = "unknown key of a router";
                    let names = [key, "tls.options", base];
                    protected |= self.withhold(key, note, &names, options, diagnostics);
                    continue;
                }
                "tls" if self.protocol == Protocol::Tcp && passthrough => continue,
                // `tls=false` is no TLS.
                "tls" if key == "tls" && flag(value) == Some(false) => continue,
                "tls" if key == "tls.options" && value.trim().eq_ignore_ascii_case("default") => {
                    continue;
                }
                _ => {}
            }
            let whole = match (self.protocol, base) {
                // Without passthrough, each key of this section means that TLS ends at the proxy.
                (Protocol::Tcp, "tls") => "tcp.routers.*.tls".to_owned(),
                _ => format!("{}.routers.*.{key}", self.protocol),
            };
            let Some(entry) = find(KEYS, &whole) else {
                continue;
            };
            match entry.effect {
                Effect::Honoured => {}
                Effect::Reported => diagnostics
                    .warn_masked(&self.full(key), format!("not honoured: {}", entry.note)),
                Effect::Withheld => {
                    protected |= self.withhold(key, entry.note, &[key, base], options, diagnostics);
                }
            }
        }
        protected | self.middlewares(options, middlewares, router, diagnostics)
    }

    /// Reports a key that protects the router; returns `false` if it is given up.
    fn withhold(
        &self,
        key: &str,
        note: &str,
        names: &[&str],
        options: &Options,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        if options.allow_unprotected.allows(names) {
            diagnostics.warn_masked(
                &self.full(key),
                format!("not honoured: {note}; allow_unprotected names it, so the router is served without it"),
            );
            return false;
        }
        diagnostics.refuse_masked(
            &self.full(key),
            format!(
                "cannot be honoured: {note}; requests of the router are answered with 503 unless allow_unprotected has {:?}",
                names.first().copied().unwrap_or_default()
            ),
        );
        true
    }

    fn middlewares(
        &self,
        options: &Options,
        known: &Middlewares<'_>,
        router: &mut Router,
        diagnostics: &mut Diagnostics<'_>,
    ) -> bool {
        let mut protected = false;
        let mut left = list(self.keys, "middlewares");
        left.reverse();
        let key = self
            .keys
            .iter()
            .map(|(key, _)| key.as_str())
            .find(|key| is_item(key, "middlewares"))
            .unwrap_or("middlewares");
        let mut steps = 0;
        while let Some(reference) = left.pop() {
            steps += 1;
            let own =
                reference
                    .split_once('@')
                    .map_or(Some(reference.as_str()), |(name, provider)| {
                        options
                            .providers
                            .iter()
                            .any(|own| own.eq_ignore_ascii_case(provider))
                            .then_some(name)
                    });
            let bare = reference.split('@').next().unwrap_or_default();
            let found = match own {
                Some(name) if self.protocol == Protocol::Http => known.get(name),
                _ => None,
            };
            let kind = match found {
                Some(Middleware::Chain(inner)) if steps <= MAX_CHAIN && !inner.is_empty() => {
                    left.extend(inner.into_iter().rev());
                    continue;
                }
                Some(Middleware::Harmless { kind }) => {
                    diagnostics.warn_masked(
                        &self.full(key),
                        format!("not honoured: the middleware {kind} has no effect here"),
                    );
                    continue;
                }
                Some(Middleware::RedirectHttps) => {
                    router.redirect_https = true;
                    continue;
                }
                Some(Middleware::StripPrefix(prefixes)) => {
                    if self.strips_its_own(&prefixes) {
                        router.strip_prefix = true;
                        continue;
                    }
                    "stripprefix".to_owned()
                }
                Some(Middleware::Chain(_)) => "chain".to_owned(),
                Some(Middleware::Restricts { kind }) => kind,
                None if own.is_none() => "a middleware of another provider".to_owned(),
                None => "a middleware that the object does not define".to_owned(),
            };
            let names = [kind.as_str(), "middlewares", reference.as_str(), bare];
            protected |= self.withhold(key, &kind, &names, options, diagnostics);
        }
        protected
    }

    /// Returns `true` if every alternative of the rule is a prefix that is among these.
    fn strips_its_own(&self, prefixes: &[String]) -> bool {
        let rule = self.value("rule").unwrap_or_default();
        let Ok(rule) = rule::parse(self.protocol, rule) else {
            return false;
        };
        !prefixes.is_empty()
            && rule.alternatives.iter().all(|way| {
                way.path.as_ref().is_some_and(|path| {
                    let own = path.text();
                    !matches!(path, PathMatch::Exact(_))
                        && prefixes
                            .iter()
                            .any(|prefix| prefix.trim_end_matches('/') == own)
                })
            })
    }
}

impl Router {
    /// Its routes to `service`; withheld ones lead to none.
    #[must_use]
    pub fn routes(&self, service: &Name) -> Vec<Route> {
        let (ways, service, served) = match &self.outcome {
            Outcome::LeftOut => return Vec::new(),
            Outcome::Served(ways) => (ways, service.clone(), true),
            Outcome::Withheld(ways) | Outcome::WithheldService(ways) => (ways, withheld(), false),
        };
        let strip = served && self.strip_prefix;
        ways.iter()
            .flat_map(|way| {
                let paths = paths_of_routes(way.path.clone().unwrap_or_default(), strip, !served);
                paths.map(|path| (way.host.clone().unwrap_or_default(), path))
            })
            .map(|(host, path)| {
                Route::new(host, path, service.clone())
                    .with_priority(self.priority)
                    .with_strip_prefix(strip)
                    .with_redirect_https(served && self.redirect_https)
            })
            .collect()
    }
}

/// A name as it is shown in a sentence: nothing that is not of a name.
fn plain(name: &str) -> String {
    name.chars()
        .take(64)
        .map(|c| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
            true => c,
            false => '?',
        })
        .collect()
}

/// How many middlewares one router may reach through chains.
const MAX_CHAIN: usize = 64;
