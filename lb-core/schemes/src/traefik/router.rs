//! One router: from its keys to routes, or to why it has none.

use lb_core::{Name, PathMatch, Route, RouteHost, model::withheld};

use super::{
    Middleware, Middlewares, Protocol,
    keys::KEYS,
    middleware::{is_item, list, references},
    rule::{self, Alternative, Rule},
    service::own_service,
    typed::undecodable,
};
use crate::{
    Diagnostics, EntryPoint, Options,
    keys::{Effect, find},
    labels::flag,
    spec::{Rewrite, routes_of_place},
};

/// The keys of one router, with what they need to be read.
#[derive(Debug, Clone, Copy)]
pub struct RouterKeys<'a> {
    /// HTTP or TCP.
    pub protocol: Protocol,
    /// Its name.
    pub name: &'a str,
    /// Its keys without what names the router, in lower case (`rule`, `entrypoints`, `tls.options`), and their values. One
    /// that may be meant for the router, and that is [`misspelt`](super::misspelt), is whole below the root, after `@`.
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
    /// Its priority among the routers.
    pub priority: i32,
    /// The fate of its requests.
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
    /// What protects these cannot be honoured, or their service is another provider's: they are answered with 503, never
    /// by a wider route.
    Withheld(Vec<Alternative>),
    /// The same, and what the router may match beside these may be everything: no route of its service may be served.
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
        let Some(tls_only) = self.entrypoints(options, diagnostics) else {
            return router;
        };
        let foreign = self.service(options, &mut router);
        let decodable = self.is_decodable(diagnostics);
        let restricted = self.protection(options, middlewares, &mut router, diagnostics);
        // Where all its requests are redirected there, none reaches its service.
        let closed = foreign && decodable && !(router.redirect_https && self.is_plain(options));
        if foreign {
            self.report_foreign(closed || restricted, options, diagnostics);
        }
        let protected = restricted || closed;
        if !protected {
            self.tls(tls_only, options, &mut router, diagnostics);
        }
        let rule = self.value("rule").filter(|rule| !rule.is_empty());
        let parsed = match rule.or(self.default_rule) {
            Some(found) => {
                router.priority = self.priority(found, diagnostics);
                self.parse(found, rule.is_none(), (restricted, closed), diagnostics)
            }
            None => {
                diagnostics.refuse(
                    &self.full("rule"),
                    "",
                    match restricted {
                        true => "not set, expected a rule; the option default_rule gives one. The router is protected: no route of its service is served",
                        false => "not set, expected a rule; the option default_rule gives one",
                    },
                );
                restricted.then(Rule::unknown)
            }
        };
        let usable = decodable && !foreign;
        let Some(parsed) = parsed.filter(|_| protected || usable) else {
            return router;
        };
        router.outcome = match (protected, parsed.beyond) {
            // To withhold more than the rule must not take down all there is.
            (true, Some(_)) if parsed.alternatives.iter().any(is_everything) => {
                let mut known = parsed.alternatives;
                known.retain(|way| !is_everything(way));
                diagnostics.withhold(
                    &self.full("rule"),
                    "the rule may match any host and path: all requests of the router's service are withheld; those that other routers take are served, though the rule may match them",
                );
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
        (restricted, closed): (bool, bool),
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<Rule> {
        let protected = restricted || closed;
        let parsed = match rule::parse(self.protocol, rule) {
            Ok(parsed) => parsed,
            Err(error) => {
                let mut message = match of_default {
                    true => format!("default_rule: {error}"),
                    false => error.to_string(),
                };
                // Traefik refuses most of these rules: only the places that are known are closed.
                let known = match closed && !restricted {
                    true => rule::may_match(self.protocol, rule).map(|mut rule| {
                        rule.alternatives.retain(|way| !is_everything(way));
                        rule
                    }),
                    false => None,
                };
                if let Some(known) = known.filter(|rule| !rule.alternatives.is_empty()) {
                    message.push_str("; what it may match of known places is withheld");
                    diagnostics.refuse_masked(&self.full("rule"), message);
                    return Some(known);
                }
                if !restricted {
                    diagnostics.invalid_masked(&self.full("rule"), message);
                    return None;
                }
                message.push_str("; the router is protected: all that the rule may match is withheld, or no route of its service is served");
                diagnostics.refuse_masked(&self.full("rule"), message);
                return Some(rule::may_match(self.protocol, rule).unwrap_or_else(Rule::unknown));
            }
        };
        if let Some(beyond) = &parsed.beyond {
            let what = match (protected, self.protocol) {
                (true, Protocol::Http) => "the requests that it may match are answered with 503",
                (true, Protocol::Tcp) => "the connections that it may match are closed",
                (false, _) => "the router is left out",
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
        let any = |way: &Alternative| matches!(way.host, None | Some(RouteHost::Any));
        self.protocol == Protocol::Tcp && !self.has_tls() && !ways.iter().all(any)
    }

    fn has_tls(&self) -> bool {
        self.keys.iter().any(|(key, value)| match key.as_str() {
            "tls" => flag(value) != Some(false),
            key => key.starts_with("tls."),
        })
    }

    /// A router of HTTP with TLS is for requests with TLS: those without are redirected there, and never served.
    fn tls(
        &self,
        tls_only: bool,
        options: &Options,
        router: &mut Router,
        diagnostics: &mut Diagnostics<'_>,
    ) {
        if self.protocol == Protocol::Tcp || !(tls_only || self.has_tls()) {
            return;
        }
        let mut keys = self.keys.iter().map(|(key, _)| key.as_str());
        let key = match self.has_tls() {
            true => keys.find(|key| *key == "tls" || key.starts_with("tls.")),
            false => keys.find(|key| is_item(key, "entrypoints")),
        };
        let key = key.unwrap_or("entrypoints");
        let given_up = options.allow_unprotected.allows(&["tls"]);
        router.redirect_https |= !given_up;
        diagnostics.warn_masked(
            &self.full(key),
            match given_up {
                true => "the router is for requests with TLS; allow_unprotected names tls, so those without are served too",
                false => "the router is for requests with TLS: those without are redirected to https; where TLS ends before the target, allow_unprotected = [\"tls\"] serves them",
            },
        );
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.keys
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| *value)
    }

    /// The whole key. One that begins with `@` is whole below the root: no section of the grammar takes it.
    fn full(&self, key: &str) -> String {
        if let Some(whole) = key.strip_prefix('@') {
            return format!("{}{whole}", self.naming.prefix);
        }
        self.naming.full(self.protocol, "routers", self.name, key)
    }

    fn priority(&self, rule: &str, diagnostics: &mut Diagnostics<'_>) -> i32 {
        let default = rule::default_priority(self.protocol, rule);
        let Some(text) = self.value("priority") else {
            return default;
        };
        match text.parse::<i64>() {
            // One that cannot be decoded is told before.
            Ok(0) | Err(_) => default,
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
        }
    }

    /// Returns `true` if Traefik can decode all values of the router.
    fn is_decodable(&self, diagnostics: &mut Diagnostics<'_>) -> bool {
        let mut all = true;
        for (key, value) in self.keys {
            let whole = format!("{}.routers.*.{key}", self.protocol);
            if let Some(expected) = undecodable(&whole, value) {
                all = false;
                let message =
                    format!("{expected}: the router is left out, or withheld if it is protected");
                diagnostics.invalid(&self.full(key), value, message);
            }
        }
        all
    }

    /// Notes the service that it names; returns `true` if that is another provider's.
    fn service(&self, options: &Options, router: &mut Router) -> bool {
        let named = self.value("service").map(str::trim);
        let Some(text) = named.filter(|text| !text.is_empty()) else {
            return false;
        };
        if let Some(own) = own_service(text, options.providers) {
            router.service = Some(own);
            return false;
        }
        router.service = Some(text.to_ascii_lowercase());
        true
    }

    /// Reports the service of another provider: what the router has in Traefik must not go to a wider one.
    fn report_foreign(&self, closed: bool, options: &Options, diagnostics: &mut Diagnostics<'_>) {
        let expected = options.providers.first().copied().unwrap_or_default();
        let message =
            format!("it belongs to another provider, expected a service of @{expected}: ");
        let key = self.full("service");
        match (closed, self.protocol) {
            (true, Protocol::Http) => diagnostics.withhold(
                &key,
                message + "requests of the router are answered with 503, as no other service may have them",
            ),
            (true, Protocol::Tcp) => diagnostics.withhold(
                &key,
                message + "connections of the router are closed, as no other service may have them",
            ),
            (false, _) => {
                let text = self.value("service").unwrap_or_default();
                diagnostics.refuse(&key, text, message + "the router has no route here");
            }
        }
    }

    /// Returns `true` if all of its requests come without TLS.
    fn is_plain(&self, options: &Options) -> bool {
        let named = list(self.keys, "entrypoints");
        let mut served = named
            .iter()
            .filter_map(|name| options.entrypoints.get(name));
        !named.is_empty() && !self.has_tls() && served.all(|point| !point.is_tls())
    }

    /// Returns `Some` if one of its entry points is served here, with `true` if all of these are of TLS.
    fn entrypoints(&self, options: &Options, diagnostics: &mut Diagnostics<'_>) -> Option<bool> {
        let named = list(self.keys, "entrypoints");
        let fits = |point: EntryPoint| match self.protocol {
            Protocol::Http => point.is_http(),
            Protocol::Tcp => point.is_tcp(),
        };
        let mapped = |name: &str| options.entrypoints.get(name).filter(|point| fits(*point));
        if named.is_empty() {
            // It is on all of them.
            let mut all = options.entrypoints.iter().filter(|(_, point)| fits(*point));
            let first = all.next();
            return Some(
                first.is_some_and(|(_, point)| point.is_tls())
                    && all.all(|(_, point)| point.is_tls()),
            );
        }
        let served: Vec<EntryPoint> = named.iter().filter_map(|name| mapped(name)).collect();
        if let Some(first) = named.iter().find(|name| mapped(name).is_none()) {
            let help = format!(
                "the option entrypoints = {{ {} = \"{}\" }} would serve it here",
                plain(first),
                self.protocol
            );
            match served.is_empty() {
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
        (!served.is_empty()).then(|| served.iter().all(|point| point.is_tls()))
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
            if let Some(whole) = key.strip_prefix('@') {
                let name = whole.replace('/', ".");
                let note = "unknown key that may be meant to restrict the router";
                let named = format!("{name:?}");
                protected |= self.withhold(key, note, &named, &[&name], options, diagnostics);
                continue;
            }
            let quoted = format!("{key:?}");
            let base = key.split(['[', '.']).next().unwrap_or(key);
            match base {
                "rule" | "service" | "priority" | "rulesyntax" if key == base => continue,
                "entrypoints" | "middlewares" if is_item(key, base) => continue,
                // A list that cannot be read may restrict, and so may options that cannot.
                "entrypoints" | "middlewares" => {
                    let note = "unknown key of a router";
                    protected |=
                        self.withhold(key, note, &quoted, &[key, base], options, diagnostics);
                    continue;
                }
                "tls" if key.starts_with("tls.options") && key != "tls.options" => {
                    let note = "unknown key of a router";
                    let names = [key, "tls.options", base];
                    protected |= self.withhold(key, note, &quoted, &names, options, diagnostics);
                    continue;
                }
                // What it means for requests is said once.
                "tls" if self.protocol == Protocol::Http && key == "tls" => continue,
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
                    let names = [key.as_str(), base];
                    protected |=
                        self.withhold(key, entry.note, &quoted, &names, options, diagnostics);
                }
            }
        }
        protected | self.middlewares(options, middlewares, router, diagnostics)
    }

    /// Reports a key that protects the router; returns `false` if it is given up by one of `names`. `named` is what
    /// `allow_unprotected` must have for that, as it is shown.
    fn withhold(
        &self,
        key: &str,
        note: &str,
        named: &str,
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
        let consequence = match self.protocol {
            Protocol::Http => "requests of the router are answered with 503",
            Protocol::Tcp => "connections of the router are closed",
        };
        diagnostics.withhold(
            &self.full(key),
            format!(
                "cannot be honoured: {note}; {consequence} unless allow_unprotected has {named}"
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
        let mut left = references(self.keys, "middlewares");
        left.reverse();
        if self.value("middlewares").is_some_and(str::is_empty) {
            diagnostics.warn_masked(
                &self.full("middlewares"),
                "the list is empty, as an unset variable leaves it: the router is served without it",
            );
        }
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
                Some(name) if self.protocol == Protocol::Http && !name.is_empty() => {
                    known.get(name)
                }
                _ => None,
            };
            let kind = match found.clone() {
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
                Some(Middleware::RedirectHttps { permanent }) => {
                    router.redirect_https = true;
                    if !permanent {
                        diagnostics.warn_masked(
                            &self.full(key),
                            "redirectscheme is not permanent there; here clients are redirected for good (301, 308)",
                        );
                    }
                    continue;
                }
                Some(Middleware::StripPrefix(prefixes)) => {
                    // A second one takes more off.
                    if !router.strip_prefix && self.strips_its_own(&prefixes) {
                        router.strip_prefix = true;
                        diagnostics.warn_masked(
                            &self.full(key),
                            "stripprefix takes the prefix off at the border of a segment: requests that continue its last segment (/apix of /api) are answered with 503",
                        );
                        continue;
                    }
                    "stripprefix".to_owned()
                }
                Some(Middleware::Chain(_)) => "chain".to_owned(),
                Some(Middleware::Restricts { kind }) => kind,
                None => String::new(),
            };
            // What a reference is, is not shown: it is the value of a key that restricts.
            let (note, named) = match (own, kind.as_str()) {
                (None, _) => ("a middleware of another provider", None),
                (Some(""), _) => (
                    "an empty item of the list of middlewares, as an unset variable leaves it",
                    None,
                ),
                (Some(_), "") => match found.is_some() {
                    true => ("a middleware that cannot be read", None),
                    false => (known.unknown(bare), None),
                },
                (Some(_), kind) => (kind, Some(kind)),
            };
            let shown = match named {
                Some(kind) => format!("{kind:?}"),
                None if bare.is_empty() => "\"middlewares\"".to_owned(),
                None => "the name of the middleware, or \"middlewares\"".to_owned(),
            };
            let mut names = vec!["middlewares", reference.as_str(), bare];
            names.extend(named);
            names.retain(|name| !name.is_empty());
            protected |= self.withhold(key, note, &shown, &names, options, diagnostics);
        }
        protected
    }

    /// Returns `true` if of every alternative of the rule the middleware takes off exactly its prefix: of several prefixes
    /// the first that fits counts.
    fn strips_its_own(&self, prefixes: &[String]) -> bool {
        let rule = self.value("rule").unwrap_or_default();
        let Ok(rule) = rule::parse(self.protocol, rule) else {
            return false;
        };
        rule.alternatives.iter().all(|way| {
            let Some(path) = &way.path else {
                return false;
            };
            let own = path.text();
            let first = prefixes
                .iter()
                .find(|prefix| own.starts_with(prefix.as_str()) || prefix.starts_with(own));
            first.is_some_and(|first| match path {
                PathMatch::Exact(_) => false,
                // Of `/api` it takes nothing off with `/api/`.
                PathMatch::Beginning(_) if !own.ends_with('/') => first == own,
                PathMatch::Beginning(_) | PathMatch::Prefix(_) => {
                    first.trim_end_matches('/') == own.trim_end_matches('/')
                }
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
        let rewrite = match self.strip_prefix {
            true => Rewrite::Strip,
            false => Rewrite::Keep,
        };
        ways.iter()
            .flat_map(|way| {
                let (host, path) = (way.host.clone(), way.path.clone());
                let service = served.then_some(&service);
                routes_of_place(
                    &host.unwrap_or_default(),
                    &path.unwrap_or_default(),
                    service,
                    rewrite,
                )
            })
            .map(|route| {
                let https = self.redirect_https && route.service != withheld();
                route
                    .with_rank(super::rank(self.priority))
                    .with_redirect_https(https)
            })
            .collect()
    }
}

/// Returns `true` if a way has every request.
fn is_everything(way: &Alternative) -> bool {
    let every_path = |path: &PathMatch| *path == PathMatch::any();
    way.host.is_none() && way.path.as_ref().is_none_or(every_path)
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
