//! `lb.*`: our own scheme. The table in the crate's documentation is its reference.

use std::collections::BTreeSet;

use lb_core::{Mode, Name, OnDown, PathMatch, RouteHost};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Subject,
    labels::{Port, Reader, flag},
    restricting::restricts,
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
    let mut found: Vec<(String, ServiceSpec)> = groups(&labels)
        .into_iter()
        .filter_map(|group| {
            let spec = spec(subject, &mut labels, &group, &mut diagnostics)?;
            Some((group, spec))
        })
        .collect();
    withhold(options, &mut labels, &mut found, &mut diagnostics);
    let services = found.into_iter().map(|(_, spec)| spec).collect();
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

/// Withholds what unknown labels seem to restrict: the service of their number, else all.
fn withhold(
    options: &Options,
    labels: &mut Reader<'_>,
    services: &mut [(String, ServiceSpec)],
    diagnostics: &mut Diagnostics<'_>,
) {
    for key in labels.keys() {
        let numbered = key
            .split_once('.')
            .filter(|(number, _)| number.parse::<u8>().is_ok());
        let name = numbered.map_or(key, |(_, rest)| rest);
        if !restricts(name) && !name.split('.').any(restricts) {
            continue;
        }
        labels.take(key);
        let full = labels.full(key);
        if options.allow_unprotected.allows(&[name, key, &full]) {
            diagnostics.warn_masked(
                &full,
                "not honoured: it seems to restrict who is served; allow_unprotected names it, so the service is served without it",
            );
            continue;
        }
        diagnostics.refuse_masked(
            &full,
            format!("unknown label that seems to restrict who is served: the routes are answered with 503, and a service of TCP or without routes has no endpoint here, unless allow_unprotected has {name:?}"),
        );
        let group = numbered.map(|(number, _)| format!("{number}."));
        let known = services.iter().any(|(own, _)| Some(own) == group.as_ref());
        for (own, spec) in &mut *services {
            if !known || Some(&*own) == group.as_ref() {
                spec.withhold();
                spec.without_endpoint |= spec.routes.is_empty();
            }
        }
    }
}

/// What stands before the key: nothing, or a number and a dot for a container that serves several services.
fn groups(labels: &Reader<'_>) -> BTreeSet<String> {
    labels
        .keys()
        .into_iter()
        .filter_map(|key| match key.split_once('.') {
            None => KEYS.contains(&key).then(String::new),
            Some((number, rest)) => {
                (number.parse::<u8>().is_ok() && KEYS.contains(&rest)).then(|| format!("{number}."))
            }
        })
        .collect()
}

fn spec(
    subject: &Subject<'_>,
    labels: &mut Reader<'_>,
    group: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<ServiceSpec> {
    let key = |name: &str| format!("{group}{name}");
    let mut valid = true;
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
                Err(error) => diagnostics.warn(&labels.full(&key("routes")), written, error),
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
    valid.then_some(spec)
}

/// A route's host and path, or why it is none.
pub type ParsedRoute = Result<(RouteHost, PathMatch), String>;

/// The routes in a list such as `shop.example/api, *.example, /static, shop.example=/health, shop.example^/admin`.
pub fn parse_routes(text: &str) -> impl Iterator<Item = (&str, ParsedRoute)> {
    text.split([',', ' ', '\n', '\t'])
        .filter(|route| !route.is_empty())
        .map(|route| (route, parse_route(route)))
}

fn parse_route(route: &str) -> ParsedRoute {
    let border = route
        .find("=/")
        .into_iter()
        .chain(route.find("^/"))
        .chain(route.find('/'))
        .min()
        .unwrap_or(route.len());
    let (host, path) = route.split_at_checked(border).unwrap_or((route, ""));
    let host = host
        .parse()
        .map_err(|e: lb_core::model::InvalidRoute| e.to_string())?;
    let path = if path.is_empty() {
        PathMatch::any()
    } else {
        path.parse()
            .map_err(|e: lb_core::model::InvalidRoute| e.to_string())?
    };
    Ok((host, path))
}

const KEYS: [&str; 13] = [
    "service",
    "port",
    "routes",
    "weight",
    "network",
    "check",
    "drain",
    "tcp",
    "exclusive",
    "on_down",
    "strip",
    "redirect_https",
    "spread",
];
