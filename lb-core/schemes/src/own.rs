//! `lb.*`: our own scheme. The table in the crate's documentation is its reference.

use std::collections::BTreeSet;

use lb_core::{Mode, Name, OnDown, PathMatch, RouteHost, model};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    keys::Key,
    labels::{Port, Reader, flag, misspelt_prefix, with_misspelt_prefix},
    restricting::{plain_name, restricts},
    widen,
};
use lb_core::duration;

use crate::Spread;

pub(crate) const PREFIX: &str = "lb.";

pub(crate) fn read(options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let mut labels = Reader::new(subject.labels, PREFIX);
    if let Some(text) = labels.take("enable") {
        match flag(text) {
            Some(true) => {}
            Some(false) => return Reading::default(),
            None => {
                diagnostics.refuse(
                    &labels.full("enable"),
                    text,
                    "expected true or false: the object is left out",
                );
                return Reading {
                    diagnostics: diagnostics.into_inner(),
                    ..Reading::default()
                };
            }
        }
    }
    let mut found: Vec<Found> = groups(&labels)
        .into_iter()
        .map(|group| spec(subject, &mut labels, group, &mut diagnostics))
        .collect();
    withhold(options, subject, &mut labels, &mut found, &mut diagnostics);
    let services = found.into_iter().filter_map(Found::used).collect();
    labels.finish(&mut diagnostics, |_| {
        "unknown label, expected lb.KEY or lb.NUMBER.KEY with KEY service, port, routes, weight, network, check, drain, tcp, exclusive, on_down, strip, redirect_https or spread"
    });
    Reading {
        services,
        malformed: diagnostics.is_only_invalid(),
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

/// The service of the labels with one number, or without one.
struct Found {
    /// The prefix of their keys.
    group: String,
    spec: ServiceSpec,
    /// If `false`, a value without which it cannot be served is none.
    valid: bool,
    /// The routes that cannot be read.
    unread: Vec<String>,
    withheld: bool,
}

impl Found {
    /// Withholds all that it may match.
    fn withhold(&mut self) {
        self.withheld = true;
        for route in std::mem::take(&mut self.unread) {
            // What it may match goes before what is narrower.
            for (host, path) in may_match(&route) {
                self.spec.route(host, path, i32::MAX);
            }
        }
        self.spec.withhold();
        self.spec.without_endpoint |= self.spec.routes.is_empty() || !self.valid;
    }

    /// The service that is served or withheld of it.
    fn used(self) -> Option<ServiceSpec> {
        (self.valid || (self.withheld && !self.spec.routes.is_empty())).then_some(self.spec)
    }
}

/// The hosts and paths that a route may be meant for which cannot be read; none where that is all of them.
fn may_match(route: &str) -> Vec<(RouteHost, PathMatch)> {
    let (host, path) = match route.find(['/', '=', '^']) {
        Some(at) => route.split_at(at),
        None => (route, ""),
    };
    let path = widen::beginning(path.trim_start_matches(['=', '^']));
    let hosts = match host.parse() {
        Ok(host) => vec![host],
        Err(_) => widen::hosts_ending_in(host),
    };
    if hosts.is_empty() {
        return path
            .map(|path| (RouteHost::Any, path))
            .into_iter()
            .collect();
    }
    let path = path.unwrap_or_else(PathMatch::any);
    hosts.into_iter().map(|host| (host, path.clone())).collect()
}

/// Withholds what unknown labels seem to restrict: the service of their number, else all.
fn withhold(
    options: &Options,
    subject: &Subject<'_>,
    labels: &mut Reader<'_>,
    services: &mut [Found],
    diagnostics: &mut Diagnostics<'_>,
) {
    let own = labels.keys().into_iter().map(|key| (key, None));
    // Letter case of a prefix counts; one that was to restrict must not be lost by it.
    let misspelt = with_misspelt_prefix(subject.labels, PREFIX);
    let all: Vec<(&str, Option<&str>)> = own
        .chain(misspelt.map(|(full, key)| (key, Some(full))))
        .collect();
    for (key, misspelt) in all {
        let numbered = key
            .split_once('.')
            .filter(|(number, _)| number.parse::<u8>().is_ok());
        let name = numbered.map_or(key, |(_, rest)| rest);
        let narrows = |part: &str| match misspelt {
            Some(_) => may_narrow(part) || NARROWING.contains(&plain_name(part).as_str()),
            None => may_narrow(part),
        };
        if !name.split('.').chain([name]).any(narrows) {
            if let Some(full) = misspelt {
                diagnostics.warn_masked(full, misspelt_prefix(PREFIX));
            }
            continue;
        }
        let full = match misspelt {
            Some(full) => full.to_owned(),
            None => {
                labels.take(key);
                labels.full(key)
            }
        };
        if options.allow_unprotected.allows(&[name, key, &full]) {
            diagnostics.warn_masked(
                &full,
                "not honoured: it seems to restrict who is served; allow_unprotected names it, so the service is served without it",
            );
            continue;
        }
        diagnostics.withhold(
            &full,
            format!("unknown label that seems to restrict who is served: the routes are answered with 503, and a service of TCP or without routes has no endpoint here, unless allow_unprotected has {name:?}"),
        );
        let group = numbered.map(|(number, _)| format!("{number}."));
        let is_of = |found: &Found| Some(&found.group) == group.as_ref();
        let known = services.iter().any(is_of);
        for found in &mut *services {
            if !known || is_of(found) {
                found.withhold();
            }
        }
    }
}

/// Returns `true` if an unknown label of this name may be meant to restrict who is served: by its name, or as what a route
/// matches, or as a misspelt one of those that narrow.
fn may_narrow(name: &str) -> bool {
    let plain = plain_name(name);
    let is_known = KEYS.iter().any(|known| known.key == name);
    !is_known
        && (restricts(name)
            || (plain != "stripprefix" && PLACES.iter().any(|word| plain.contains(word)))
            || plain.starts_with("disable")
            || NARROWING.iter().any(|known| is_near(&plain, known)))
}

/// Returns `true` if two texts differ in at most one letter.
fn is_near(one: &str, other: &str) -> bool {
    let begin = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let end = |text: &str| text.len().saturating_sub(begin);
    let (left, right) = (end(one), end(other));
    let same = |a: usize, b: usize| one.get(begin + a..) == other.get(begin + b..);
    match left.abs_diff(right) {
        0 => left == 0 || same(1, 1),
        1 if left > right => same(1, 0),
        1 => same(0, 1),
        _ => false,
    }
}

/// The prefixes of keys: nothing, or a number and a dot for a container that serves several services.
fn groups(labels: &Reader<'_>) -> BTreeSet<String> {
    labels
        .keys()
        .into_iter()
        .filter_map(|key| match key.split_once('.') {
            None => makes_service(key).then(String::new),
            Some((number, rest)) => {
                (number.parse::<u8>().is_ok() && makes_service(rest)).then(|| format!("{number}."))
            }
        })
        .collect()
}

/// Returns `true` if a key says something of a service.
fn makes_service(key: &str) -> bool {
    key != ENABLE && KEYS.iter().any(|known| known.key == key)
}

fn spec(
    subject: &Subject<'_>,
    labels: &mut Reader<'_>,
    group: String,
    diagnostics: &mut Diagnostics<'_>,
) -> Found {
    let key = |name: &str| format!("{group}{name}");
    let (mut valid, mut unread) = (true, Vec::new());
    let service = match labels.take(&key("service")) {
        None => subject.default_service(),
        Some(text) => match text.parse::<Name>() {
            Ok(name) => name,
            Err(error) => {
                diagnostics.invalid(&labels.full(&key("service")), text, error.to_string());
                valid = false;
                subject.default_service()
            }
        },
    };
    let mut spec = ServiceSpec::new(service);
    let port = labels.port(&key("port"), diagnostics);
    valid &= port != Port::Invalid;
    spec.port = port.number();
    if let Some(text) = labels.take(&key("routes")) {
        for (written, parsed) in parse_routes(text) {
            match parsed {
                Ok((host, path)) => spec.route(host, path, 0),
                Err(error) => {
                    diagnostics.warn(&labels.full(&key("routes")), written, error);
                    unread.push(written.to_owned());
                }
            }
        }
    }
    if let Some(weight) = labels.parse::<u16>(&key("weight"), diagnostics) {
        match weight.try_into() {
            Ok(weight) => spec.weight = weight,
            Err(error) => diagnostics.warn(
                &labels.full(&key("weight")),
                &weight.to_string(),
                error.to_string(),
            ),
        }
    }
    spec.network = labels.take(&key("network")).map(str::to_owned);
    if let Port::Number(port) = labels.port(&key("check"), diagnostics) {
        spec.check_port = Some(port);
    }
    if let Some(text) = labels.take(&key("drain")) {
        spec.drain = duration::parse(text);
        if spec.drain.is_none() {
            diagnostics.warn(
                &labels.full(&key("drain")),
                text,
                "expected a duration such as 500ms, 30s or 2m",
            );
        }
    }
    if labels.flag(&key("tcp"), diagnostics) == Some(true) {
        spec.mode = Mode::Tcp;
    }
    let exclusive = key("exclusive");
    if labels.keys().contains(&exclusive.as_str()) {
        // What is no value narrows: two that serve at once cost more than one that waits.
        let stated = labels.flag(&exclusive, diagnostics).unwrap_or(true);
        spec.options = spec.options.exclusive(stated);
    }
    if let Some(text) = labels.take(&key("on_down")) {
        match text.trim() {
            "keep" => spec.options = spec.options.on_down(OnDown::Keep),
            "shutdown_sessions" => spec.options = spec.options.on_down(OnDown::ShutdownSessions),
            _ => diagnostics.warn(
                &labels.full(&key("on_down")),
                text,
                "expected keep or shutdown_sessions",
            ),
        }
    }
    let strip = labels.flag(&key("strip"), diagnostics) == Some(true);
    let https = labels.flag(&key("redirect_https"), diagnostics) == Some(true);
    for route in &mut spec.routes {
        route.strip_prefix = strip;
        route.redirect_https = https;
    }
    if let Some(text) = labels.take(&key("spread")) {
        match text {
            "tasks" => spec.spread = Some(Spread::Tasks),
            "vip" => spec.spread = Some(Spread::Vip),
            "nodes" => spec.spread = Some(Spread::Nodes),
            _ => diagnostics.warn(
                &labels.full(&key("spread")),
                text,
                "expected tasks, vip or nodes",
            ),
        }
    }
    Found {
        group,
        spec,
        valid,
        unread,
        withheld: false,
    }
}

/// A route's host and path, or why it is none.
pub type ParsedRoute = Result<(RouteHost, PathMatch), String>;

/// The routes in a list such as `shop.example/api, *.example, */static, shop.example=/health, shop.example^/admin`.
///
/// An empty item of it is none, as an unset variable leaves it behind.
pub fn parse_routes(text: &str) -> impl Iterator<Item = (&str, ParsedRoute)> {
    text.split(',').flat_map(|item| {
        let empty = item.trim().is_empty().then(|| {
            let why = "an item of the list is empty, as an unset variable leaves it: no route";
            ("", Err(why.to_owned()))
        });
        let routes = item.split_whitespace().map(|route| {
            let parsed = model::parse_route(route).map_err(|error| error.to_string());
            (route, parsed)
        });
        empty.into_iter().chain(routes)
    })
}

/// The keys below `lb.`, or below `lb.NUMBER.`.
pub(crate) const KEYS: &[Key] = &[
    Key::honoured(
        ENABLE,
        "`false`: the object is left out; without a number only",
    ),
    Key::honoured(
        "service",
        "the service's name; without it, that of the compose or Swarm service, else of the container",
    ),
    Key::honoured(
        "port",
        "the port of the container; without it, the only one that it exposes",
    ),
    Key::honoured(
        "routes",
        "a list of routes: `shop.example/api`, `*.example`, `*/static` for every host, `shop.example=/health` for one path, `shop.example^/admin` for a prefix that may end inside a segment",
    ),
    Key::honoured("weight", "0 to 256"),
    Key::honoured("network", "the network to use, by name or id"),
    Key::honoured("check", "the port of the target's health check"),
    Key::honoured(
        "drain",
        "how long an endpoint that leaves may end its requests: `30s`",
    ),
    Key::honoured("tcp", "`true`: the service's traffic is TCP"),
    Key::honoured(
        "exclusive",
        "`true`: at most one endpoint of the service can get traffic; what is no value counts as `true`",
    ),
    Key::honoured(
        "on_down",
        "`keep` or `shutdown_sessions`: what becomes of the sessions of an endpoint that is down",
    ),
    Key::honoured("strip", "`true`: the path of the route is taken off"),
    Key::honoured(
        "redirect_https",
        "`true`: requests without TLS are redirected",
    ),
    Key::honoured(
        "spread",
        "`tasks`, `vip` or `nodes`: the endpoints of a Swarm service",
    ),
];

/// Words of labels that say what a route matches; here `routes` says it.
pub(crate) const PLACES: [&str; 12] = [
    "domain", "fqdn", "host", "location", "match", "path", "pattern", "prefix", "rule", "sni",
    "uri", "url",
];

/// The keys that narrow what is served, as letters and digits.
pub(crate) const NARROWING: [&str; 3] = ["enable", "exclusive", "redirecthttps"];

/// The key that counts for the whole object.
const ENABLE: &str = "enable";
