//! The labels of one object: all its routers and services.

use std::collections::BTreeMap;

use lb_core::{Mode, Name};

use super::{
    Middlewares, Naming, Outcome, Protocol, Router, RouterKeys, SharedMiddlewares, default_rule,
    keys::KEYS, misspelt, service, typed,
};
use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Spread, Subject,
    keys::find,
    labels::{flag, go_bool},
    spec::Definition,
};

pub(crate) const PREFIX: &str = "traefik.";

const NAMING: Naming<'static> = Naming {
    prefix: PREFIX,
    separator: '.',
};

/// Keys of one router or service, without what names it, in lower case.
type Keys<'a> = Vec<(String, &'a str)>;

/// An object's labels, sorted by what they are about. Made in one pass.
#[derive(Default)]
struct Sorted<'a> {
    enable: Option<bool>,
    /// If `true`, Traefik cannot read the object's switch and leaves it out.
    unreadable: bool,
    /// If `true`, Traefik cannot decode a value and leaves the object out.
    undecodable: bool,
    network: Option<&'a str>,
    vip: bool,
    /// Keys that may be meant to restrict a router, and say none that there is.
    suspect: Vec<(&'a str, String)>,
    http: Section<'a>,
    tcp: Section<'a>,
}

#[derive(Default)]
struct Section<'a> {
    routers: BTreeMap<String, Keys<'a>>,
    services: BTreeMap<String, Keys<'a>>,
    middlewares: Middlewares<'a>,
    has_middlewares: bool,
}

pub(crate) fn read(
    options: &Options,
    subject: &Subject<'_>,
    others: Option<&SharedMiddlewares>,
) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let Some(mut sorted) = sort(subject, &mut diagnostics) else {
        return Reading {
            diagnostics: diagnostics.into_inner(),
            ..Reading::default()
        };
    };
    let mut reading = Reading::default();
    if !sorted.undecodable {
        reading.middlewares = sorted.http.middlewares.definitions().collect();
    }
    if let Some(others) = others {
        sorted.http.middlewares.set_others(others);
    }
    let tcp_only = !(sorted.tcp.routers.is_empty() && sorted.tcp.services.is_empty())
        && sorted.http.routers.is_empty()
        && sorted.http.services.is_empty()
        && !sorted.http.has_middlewares;
    for (protocol, section) in [(Protocol::Http, &sorted.http), (Protocol::Tcp, &sorted.tcp)] {
        let nothing = section.routers.is_empty() && section.services.is_empty();
        // Traefik makes a service and a router for each object that names none, unless it is one of TCP.
        if nothing && (protocol == Protocol::Tcp || tcp_only) {
            continue;
        }
        let part = Part {
            options,
            subject,
            protocol,
            section,
            enabled: sorted.enable == Some(true),
        };
        part.read(&mut reading, &mut diagnostics);
    }
    reading.asked = sorted.http.middlewares.asked();
    for (whole, key) in &sorted.suspect {
        withhold_all(options, whole, key, &mut reading, &mut diagnostics);
    }
    if sorted.undecodable {
        leave_out(&mut reading);
    }
    for spec in &mut reading.services {
        spec.network = sorted.network.map(str::to_owned);
        spec.spread = sorted.vip.then_some(Spread::Vip);
        // Without a port label, Traefik takes the lowest.
        if spec.port.is_none() && subject.exposed.len() > 1 {
            spec.port = subject.exposed.first().copied();
        }
    }
    reading.malformed = diagnostics.is_only_invalid();
    reading.diagnostics = diagnostics.into_inner();
    reading
}

/// Leaves an object out as Traefik does. What it asks to be protected is withheld all the same.
fn leave_out(reading: &mut Reading) {
    let withheld = lb_core::model::withheld();
    reading.definitions.clear();
    reading.services.retain_mut(|spec| {
        spec.routes.retain(|route| route.service == withheld);
        spec.without_endpoint = true;
        !spec.routes.is_empty()
    });
}

/// Withholds all that an object asks for, as it is not known which router a key is meant to restrict.
fn withhold_all(
    options: &Options,
    whole: &str,
    key: &str,
    reading: &mut Reading,
    diagnostics: &mut Diagnostics<'_>,
) {
    const NOTE: &str = "unknown label that may be meant to restrict a router";
    if options.allow_unprotected.allows(&[key, whole]) {
        diagnostics.warn_masked(
            whole,
            format!("not honoured: {NOTE}; allow_unprotected names it, so the object is served without it"),
        );
        return;
    }
    diagnostics.withhold(
        whole,
        format!("cannot be honoured: {NOTE}; requests of the object are answered with 503 (TCP: closed) unless allow_unprotected has {key:?}"),
    );
    reading.services.iter_mut().for_each(ServiceSpec::withhold);
    for definition in &mut reading.definitions {
        definition.routes.clear();
    }
}

fn sort<'a>(subject: &Subject<'a>, diagnostics: &mut Diagnostics<'_>) -> Option<Sorted<'a>> {
    let mut sorted = Sorted::default();
    let mut any = false;
    let mut others: Vec<(&str, String)> = Vec::new();
    for (whole, value) in subject.labels {
        let Some(key) = whole
            .get(..PREFIX.len())
            .filter(|start| start.eq_ignore_ascii_case(PREFIX))
            .and_then(|_| whole.get(PREFIX.len()..))
        else {
            continue;
        };
        any = true;
        let key = key.to_ascii_lowercase();
        if let Some(expected) = typed::undecodable(&key, value) {
            sorted.undecodable = true;
            let message = format!("{expected}: the object is left out, as Traefik leaves it out");
            match key.contains(".middlewares.") {
                true => diagnostics.invalid_masked(whole, message),
                false => diagnostics.invalid(whole, value, message),
            }
            continue;
        }
        let mut parts = key.splitn(4, '.');
        let (first, kind, name) = (parts.next(), parts.next(), parts.next());
        let rest = parts.next().unwrap_or_default().to_owned();
        let section = match first {
            Some("http") => &mut sorted.http,
            Some("tcp") => &mut sorted.tcp,
            _ => {
                match key.as_str() {
                    "enable" => {
                        sorted.enable = go_bool(value);
                        if sorted.enable.is_none() {
                            sorted.unreadable = true;
                            diagnostics.refuse(
                                whole,
                                value,
                                "expected true or false: the object is left out, as Traefik leaves it out",
                            );
                        }
                    }
                    "docker.network" | "swarm.network" => sorted.network = Some(value),
                    "docker.lbswarm" | "swarm.lbswarm" => {
                        sorted.vip = flag(value) == Some(true);
                    }
                    // It is no key there either; what was to be left out must not be served.
                    "enabled" | "disable" | "disabled" => {
                        sorted.undecodable = true;
                        diagnostics.refuse(
                            whole,
                            value,
                            "no such label, expected traefik.enable: the object is left out, as Traefik leaves it out",
                        );
                    }
                    _ => others.push((whole, key)),
                }
                continue;
            }
        };
        match (kind, name) {
            (Some("routers"), Some(name)) => {
                let keys = section.routers.entry(name.to_owned()).or_default();
                keys.push((rest, value));
            }
            (Some("services"), Some(name)) => {
                let keys = section.services.entry(name.to_owned()).or_default();
                keys.push((rest, value));
            }
            (Some("middlewares"), Some(name)) => {
                section.has_middlewares = true;
                section.middlewares.add(name, &rest, value);
            }
            _ => others.push((whole, key)),
        }
    }
    if !any || sorted.unreadable || sorted.enable == Some(false) {
        return None;
    }
    for (whole, key) in others {
        let Some(found) = misspelt(&key) else {
            let note = find(KEYS, &key).map_or("unknown key", |entry| entry.note);
            diagnostics.warn_masked(whole, format!("not honoured: {note}"));
            continue;
        };
        let section = match found.protocol {
            Protocol::Http => &mut sorted.http,
            Protocol::Tcp => &mut sorted.tcp,
        };
        let router = found.router.and_then(|name| section.routers.get_mut(&name));
        match router {
            Some(keys) => keys.push((format!("@{key}"), "")),
            None => sorted.suspect.push((whole, key)),
        }
    }
    Some(sorted)
}

/// The labels of one protocol.
struct Part<'a> {
    options: &'a Options,
    subject: &'a Subject<'a>,
    protocol: Protocol,
    section: &'a Section<'a>,
    enabled: bool,
}

impl Part<'_> {
    fn read(&self, reading: &mut Reading, diagnostics: &mut Diagnostics<'_>) {
        let mut services: BTreeMap<String, ServiceSpec> = BTreeMap::new();
        // The services of which no route may be served.
        let mut unreachable: Vec<Name> = Vec::new();
        for (name, keys) in &self.section.services {
            let read = service::read(self.options, self.protocol, name, keys, NAMING, diagnostics);
            if read.restricted {
                unreachable.push(read.spec.service.clone());
            }
            services.insert(name.clone(), read.spec);
        }
        if services.is_empty() {
            let name = default_rule::name(self.subject).to_lowercase();
            services.insert(name.clone(), service::unnamed(self.protocol, &name));
        }
        let only = match services.len() {
            1 => services.keys().next().cloned(),
            _ => None,
        };
        let default_rule = self.default_rule(diagnostics);
        for (name, keys) in &self.section.routers {
            let router = RouterKeys {
                protocol: self.protocol,
                name,
                keys,
                naming: NAMING,
                default_rule: default_rule.as_deref(),
            }
            .read(self.options, &self.section.middlewares, diagnostics);
            self.place(
                name,
                keys,
                router,
                only.as_deref(),
                &mut services,
                reading,
                &mut unreachable,
                diagnostics,
            );
        }
        if self.section.routers.is_empty() && self.protocol == Protocol::Http {
            self.route_by_default(
                only.as_deref(),
                default_rule.as_deref(),
                &mut services,
                reading,
                diagnostics,
            );
        }
        // Nothing of a service is served of which an unknown part is protected.
        for spec in services.values_mut() {
            if unreachable.contains(&spec.service) {
                spec.withhold();
            }
        }
        reading.services.extend(services.into_values());
    }

    /// Gives a router's routes to its service.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one reading that a router changes"
    )]
    fn place(
        &self,
        name: &str,
        keys: &Keys<'_>,
        mut router: Router,
        only: Option<&str>,
        services: &mut BTreeMap<String, ServiceSpec>,
        reading: &mut Reading,
        unreachable: &mut Vec<Name>,
        diagnostics: &mut Diagnostics<'_>,
    ) {
        if router.outcome == Outcome::LeftOut {
            return;
        }
        let key = NAMING.full(self.protocol, "routers", name, "service");
        let named = router.service.clone().or_else(|| only.map(str::to_owned));
        if named.is_none() {
            diagnostics.refuse(&key, "", "not set, expected one of the several services");
        }
        let service = named.unwrap_or_default();
        let defined = services.contains_key(&service);
        // That of another provider is reported already.
        if !defined && !service.is_empty() && !service.contains('@') {
            let closed = match self.protocol {
                Protocol::Http => "requests of the router are answered with 503",
                Protocol::Tcp => "connections of the router are closed",
            };
            diagnostics.withhold(
                &key,
                format!("expected a service that the same object defines: {closed}, as no other service may have them"),
            );
            // A wider route would have them.
            if let Outcome::Served(ways) = router.outcome {
                router.outcome = Outcome::Withheld(ways);
            }
        }
        let withholds = matches!(
            router.outcome,
            Outcome::Withheld(_) | Outcome::WithheldService(_)
        );
        if !defined && !withholds {
            return;
        }
        if matches!(router.outcome, Outcome::WithheldService(_)) {
            let barred = services
                .iter()
                .filter(|(name, _)| !defined || **name == service);
            unreachable.extend(barred.map(|(_, spec)| spec.service.clone()));
        }
        // What is withheld leads to no service: any of the object's may state it.
        let stating = match defined {
            true => services.get_mut(&service),
            false => services.values_mut().next(),
        };
        let Some(spec) = stating else { return };
        let routes = router.routes(&spec.service);
        let mut content: Vec<String> = keys
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        content.push(format!("service={service}"));
        // A default rule is not among the keys.
        content.extend(
            routes
                .iter()
                .map(|route| format!("route={}{}@{:?}", route.host, route.path, route.rank)),
        );
        content.sort();
        content.dedup();
        reading.definitions.push(Definition {
            key: NAMING.full(self.protocol, "routers", name, ""),
            content: content.join("\n"),
            mode: match self.protocol {
                Protocol::Http => Mode::Http,
                Protocol::Tcp => Mode::Tcp,
            },
            routes: routes
                .iter()
                .filter(|route| route.service == spec.service)
                .cloned()
                .collect(),
        });
        spec.routes.extend(routes);
    }

    /// The rule of routers without one: the configured one, else Traefik's own where the object asks for it by
    /// `traefik.enable=true`.
    fn default_rule(&self, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
        if self.protocol == Protocol::Tcp {
            return None;
        }
        let template = match &self.options.default_rule {
            Some(template) => template.as_str(),
            None if self.enabled => default_rule::DEFAULT,
            None => return None,
        };
        match default_rule::render(template, self.subject) {
            Ok(rule) => Some(rule),
            Err(error) => {
                diagnostics.refuse("default_rule", template, error);
                None
            }
        }
    }

    /// Traefik gives a router to the only service of an object that names none.
    fn route_by_default(
        &self,
        only: Option<&str>,
        rule: Option<&str>,
        services: &mut BTreeMap<String, ServiceSpec>,
        reading: &mut Reading,
        diagnostics: &mut Diagnostics<'_>,
    ) {
        let key = "traefik.http.routers";
        let Some(only) = only else {
            diagnostics.warn(
                key,
                "",
                "no router, and several services: none is routed to, expected a router for each",
            );
            return;
        };
        let Some(rule) = rule else {
            diagnostics.warn(
                key,
                "",
                "no router: the service has no route; the option default_rule = \"Host(`{{ normalize .Name }}`)\" gives it the one that Traefik would, and so does traefik.enable=true",
            );
            return;
        };
        let keys: Keys<'_> = vec![("rule".to_owned(), rule)];
        let router = RouterKeys {
            protocol: Protocol::Http,
            name: only,
            keys: &keys,
            naming: NAMING,
            default_rule: None,
        }
        .read(self.options, &self.section.middlewares, diagnostics);
        self.place(
            only,
            &keys,
            router,
            Some(only),
            services,
            reading,
            &mut Vec::new(),
            diagnostics,
        );
    }
}
