//! lb's own objects: endpoints, services and routes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lb_core::{EndpointState, Name, PathMatch, RouteHost, ServiceOptions};
use lb_schemes::{Key, widen};
use serde_json::{Map, Value};

use super::{
    fact::{Complaint, Fact, Facts, RouteSpec},
    fields::{ENDPOINT, LISTED_ROUTE, METADATA, ROUTE, ROUTES, SERVICE},
    object::{in_field, in_place, parse, shown},
    protection::{self, Place},
    scalar,
};

/// The most routes that one object may ask for.
const MAX_ROUTES: usize = 256;

/// The most complaints about the fields of one object.
const MAX_COMPLAINTS: usize = 16;

/// An endpoint in lb's own form: `ip:port`, or an object with the fields of [`ENDPOINT`].
pub(crate) fn endpoint(text: &str) -> Result<Facts, Complaint> {
    if !text.trim_start().starts_with('{') {
        return Ok(Fact::Address(scalar::address(text.trim())?).into());
    }
    let object = Object::parse(text, ENDPOINT)?;
    let restricted = object.restricts();
    or_barred(restricted, object.endpoint())
}

/// A service in lb's own form: an object with the fields of [`SERVICE`].
pub(crate) fn service(text: &str) -> Result<Facts, Complaint> {
    let object = Object::parse(text, SERVICE)?;
    let restricted = object.restricts();
    or_barred(restricted, object.service())
}

/// A route in lb's own form: an object with the fields of [`ROUTE`].
pub(crate) fn route(text: &str) -> Result<Facts, Complaint> {
    let mut object = Object::parse(text, ROUTE)?;
    let restricted = object.restricts();
    let may_match = object.may_match();
    let service: Result<Name, Complaint> =
        object.take("service", scalar::service).and_then(|found| {
            found.ok_or_else(|| missing("service", "expected the name of a service"))
        });
    let mut facts = Facts::default();
    match service {
        Ok(service) => facts.said.push(Fact::RouteService(service)),
        // What it matches is withheld all the same: it is not for another route of that place.
        Err(complaint) if restricted => facts.complaints.push(complaint.secret()),
        Err(complaint) => return Err(complaint),
    }
    match object.route_fields(&mut facts.complaints)? {
        Some(spec) => {
            facts.said.extend(spec.host.map(Fact::RouteHost));
            facts.said.extend(spec.path.map(Fact::RoutePath));
            facts.said.extend(spec.priority.map(Fact::RoutePriority));
            facts.said.push(Fact::RouteEdits {
                strip_prefix: spec.strip_prefix,
                redirect_https: spec.redirect_https,
            });
            facts.said.extend(spec.withheld.then_some(Fact::Withheld));
        }
        None => {
            facts.said.extend([Fact::RuleUnusable, Fact::Withheld]);
            if !may_match.is_empty() {
                facts.said.push(Fact::RouteMatches(may_match.into()));
            }
        }
    }
    Ok(facts)
}

/// An object that restricts routes and that cannot be used says that no route of the service may be served: which ones
/// are meant is not known.
fn or_barred(restricted: bool, facts: Result<Facts, Complaint>) -> Result<Facts, Complaint> {
    match facts {
        Err(complaint) if restricted => {
            let secret = complaint.secret || complaint.found.is_none();
            let consequence = Complaint::value(
                "it has a field that restricts routes, and cannot be used: all routes of the service are answered with 503 (TCP: closed)",
            );
            Ok(Facts {
                said: vec![Fact::Withheld],
                complaints: vec![
                    Complaint {
                        secret,
                        ..complaint
                    },
                    consequence.withheld().secret(),
                ],
            })
        }
        other => other,
    }
}

/// Withholds all routes that an object asks for.
fn withhold_routes(facts: &mut Facts) {
    for fact in &mut facts.said {
        if let Fact::Routes(routes) = fact {
            let all = routes.iter().cloned().map(|route| RouteSpec {
                withheld: true,
                ..route
            });
            *routes = all.collect();
        }
    }
}

/// An object whose fields are taken one by one; what is left in the end was not understood.
struct Object {
    fields: Map<String, Value>,
    /// The only fields that mean something.
    known: &'static [Key],
}

/// The request of an object for one route.
struct RouteFields {
    host: Option<RouteHost>,
    path: Option<PathMatch>,
    priority: Option<i32>,
    strip_prefix: bool,
    redirect_https: bool,
    withheld: bool,
}

impl Object {
    fn parse(text: &str, known: &'static [Key]) -> Result<Self, Complaint> {
        Ok(Self::of(parse(text)?, known))
    }

    fn of(fields: Map<String, Value>, known: &'static [Key]) -> Self {
        let mut object = Self { fields, known };
        // For those who write and read it; nothing here depends on it.
        object.remove(METADATA.key);
        object
    }

    /// The value of a field, which is only there if the table of the object's fields has it.
    fn remove(&mut self, field: &str) -> Option<Value> {
        let is_known = self.known.iter().any(|key| key.key == field);
        is_known.then(|| self.fields.remove(field)).flatten()
    }

    fn endpoint(mut self) -> Result<Facts, Complaint> {
        let mut facts = Facts::default();
        let address: SocketAddr = self
            .remove("address")
            .filter(|found| !found.is_null())
            .map(|found| in_place("address", &found, scalar::address))
            .transpose()?
            .ok_or_else(|| missing("address", "expected ip:port"))?;
        facts.said.push(Fact::Address(address));
        let weight = self.take("weight", scalar::weight)?;
        facts.said.extend(weight.map(Fact::Weight));
        let check_port = self.take("check_port", scalar::port)?;
        facts.said.extend(check_port.map(Fact::CheckPort));
        let grace = self.take("grace", grace)?;
        let state = self.take("state", scalar::state)?;
        match (state, grace) {
            (Some(EndpointState::Draining { .. }), grace) => {
                facts
                    .said
                    .push(Fact::State(EndpointState::Draining { grace }));
            }
            (state, grace) => {
                facts.said.extend(state.map(Fact::State));
                if grace.is_some() {
                    let complaint = missing("state", "a grace is used only with draining");
                    facts.complaints.push(complaint.tolerated());
                }
            }
        }
        self.mode_and_routes(&mut facts)?;
        let has_routes = facts
            .said
            .iter()
            .any(|fact| matches!(fact, Fact::Routes(_)));
        let consequence = match has_routes {
            true => {
                "cannot be honoured, the object's routes are answered with 503 (TCP: closed) while it is there"
            }
            false => {
                "cannot be honoured, the endpoint is left out and all routes of the service are answered with 503 (TCP: closed) while it is there"
            }
        };
        if self.finish(&mut facts, consequence) {
            withhold_routes(&mut facts);
            if !has_routes {
                facts.said.extend([Fact::Unusable, Fact::Withheld]);
            }
        }
        Ok(facts)
    }

    fn service(mut self) -> Result<Facts, Complaint> {
        let mut facts = Facts::default();
        self.mode_and_routes(&mut facts)?;
        let consequence = "cannot be honoured, all routes of the service are answered with 503 (TCP: closed) while it is there";
        if self.finish(&mut facts, consequence) {
            facts.said.push(Fact::Withheld);
        }
        Ok(facts)
    }

    /// The hosts and paths that a route may be meant for of which a part cannot be read; none where that is all of them.
    fn may_match(&self) -> Vec<(RouteHost, PathMatch)> {
        let text = |field: &str| self.fields.get(field).and_then(Value::as_str);
        let mut hosts: Vec<RouteHost> = match text("host") {
            None => Vec::new(),
            Some(text) => match scalar::host(text) {
                Ok(host) => vec![host],
                Err(_) => widen::hosts_ending_in(text),
            },
        };
        let mut path = text("path").and_then(|text| match scalar::path(text) {
            Ok(path) => Some(path),
            Err(_) => widen::beginning(text.trim_start_matches(['=', '^'])),
        });
        let others = self.fields.keys().filter(|field| {
            !matches!(field.as_str(), "host" | "path") && protection::says_place(field)
        });
        for field in others.filter(|field| field.as_str() != "strip_prefix") {
            // What else says a host or a path is for more of them.
            match protection::place_of(field) {
                Place::Host => hosts.clear(),
                Place::Path => path = None,
                Place::Both => return Vec::new(),
            }
        }
        let path = path.filter(|path| *path != PathMatch::any());
        let hosts = match (hosts.is_empty(), &path) {
            (true, None) => return Vec::new(),
            (true, Some(_)) => vec![RouteHost::Any],
            (false, _) => hosts,
        };
        let path = path.unwrap_or_else(PathMatch::any);
        hosts.into_iter().map(|host| (host, path.clone())).collect()
    }

    /// Returns `true` if a field, here or further in, restricts who may reach a route.
    fn restricts(&self) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|(field, found)| protection::in_field(field, found))
    }

    /// One field, if it is there and not null.
    fn take<T>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Result<Option<T>, Complaint> {
        match self.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(found) => in_field(field, &found, parse).map(Some),
        }
    }

    /// One field that may be left out, and that narrows where it is there: null never widens.
    fn place<T>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Result<Option<T>, Complaint> {
        match self.remove(field) {
            None => Ok(None),
            Some(Value::Null) => Err(Complaint::field(
                field,
                "null",
                match field {
                    "host" => "expected a host, or * for every host",
                    _ => "expected a path, or / for every path",
                },
            )),
            Some(found) => in_place(field, &found, parse).map(Some),
        }
    }

    /// One field that is `true` or `false`, if it is there and not null.
    fn flag(&mut self, field: &str) -> Result<Option<bool>, Complaint> {
        match self.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(found) => Err(Complaint::field(
                field,
                shown(&found),
                "expected true or false",
            )),
        }
    }

    /// The route that the object asks for. An unknown field makes it useless: it may be meant to narrow. One that is
    /// restricted is withheld where it is known what it matches; `None`: it is restricted, and that is not known.
    fn route_fields(
        mut self,
        complaints: &mut Vec<Complaint>,
    ) -> Result<Option<RouteFields>, Complaint> {
        let mut wrong = Vec::new();
        let host = kept(self.place("host", scalar::host), &mut wrong);
        let is_host_read = wrong.is_empty();
        let path = self.place("path", scalar::path);
        // What it may match is any path of the host.
        let is_any_path = is_host_read && host.is_some() && path.is_err();
        let path = kept(path, &mut wrong);
        let mut is_placed = (wrong.is_empty() || is_any_path) && (host.is_some() || path.is_some());
        let priority = self.take("priority", scalar::priority);
        let strip_prefix = self.flag("strip_prefix");
        let redirect_https = self.flag("redirect_https");

        let mut withheld = false;
        for (field, found) in self.fields {
            let restricts = protection::in_field(&field, &found);
            withheld |= restricts;
            if protection::says_place(&field) && (!restricts || host.is_none()) {
                is_placed = false;
            }
            if complaints.len() + wrong.len() >= MAX_COMPLAINTS && (withheld || !wrong.is_empty()) {
                continue;
            }
            if restricts {
                let message = "cannot be honoured, requests of the route are answered with 503 (TCP: closed) while it is there";
                complaints.push(Complaint::field(&field, "", message).withheld().secret());
            } else if lb_schemes::restricts(&field) {
                complaints.push(unused(&field).tolerated());
            } else {
                let expected: Vec<&str> = LISTED_ROUTE.iter().map(|key| key.key).collect();
                let message = format!(
                    "no such field of a route, expected one of {}",
                    expected.join(", ")
                );
                wrong.push(Complaint::field(&field, "", message).secret());
            }
        }
        if wrong.is_empty() && !is_placed {
            wrong.push(Complaint::value("expected a host, a path or both"));
        }
        // Where a priority or a path cannot be read, no other route may come first.
        let is_ranked = priority.is_ok() && !is_any_path;
        let priority = kept(priority, &mut wrong);
        let strip_prefix = kept(strip_prefix, &mut wrong);
        let redirect_https = kept(redirect_https, &mut wrong);
        match withheld {
            true => complaints.extend(wrong.into_iter().map(|complaint| Complaint {
                // The whole object, in which the restriction is, is not shown.
                secret: complaint.secret || complaint.found.is_none(),
                ..complaint
            })),
            false => {
                if let Some(first) = wrong.into_iter().next() {
                    return Err(first);
                }
            }
        }
        Ok(is_placed.then(|| RouteFields {
            host,
            path,
            priority: if is_ranked { priority } else { Some(i32::MAX) },
            strip_prefix: strip_prefix.unwrap_or_default(),
            redirect_https: redirect_https.unwrap_or_default(),
            withheld,
        }))
    }

    fn mode_and_routes(&mut self, facts: &mut Facts) -> Result<(), Complaint> {
        let mode = self.take("mode", scalar::mode)?;
        facts.said.extend(mode.map(Fact::Mode));
        let options = ServiceOptions::default()
            .exclusive(self.flag("exclusive")?)
            .on_down(self.take("on_down", scalar::on_down)?);
        if !options.is_empty() {
            facts.said.push(Fact::Options(options));
        }
        let specs = match self.remove(ROUTES.key) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(specs)) if specs.len() <= MAX_ROUTES => specs,
            Some(_) => {
                return Err(Complaint {
                    field: Some("routes".to_owned()),
                    ..Complaint::value("expected an array of at most 256 routes")
                });
            }
        };
        let mut routes = Vec::with_capacity(specs.len());
        for (index, spec) in specs.into_iter().enumerate() {
            let place = |complaint: Complaint| Complaint {
                field: Some(match complaint.field {
                    Some(field) => format!("routes[{index}].{field}"),
                    None => format!("routes[{index}]"),
                }),
                ..complaint
            };
            let Value::Object(fields) = spec else {
                return Err(place(Complaint::value(
                    "expected an object with host, path or both",
                )));
            };
            let mut complaints = Vec::new();
            let object = Self::of(fields, LISTED_ROUTE);
            let may_match = object.may_match();
            let spec = object.route_fields(&mut complaints).map_err(place)?;
            let room = MAX_COMPLAINTS.saturating_sub(facts.complaints.len());
            let told = complaints.into_iter().take(room).map(place);
            facts.complaints.extend(told);
            if spec
                .as_ref()
                .is_some_and(|spec| spec.host.is_none() && !spec.withheld)
            {
                let message = "not set, expected a host, or * for every host";
                return Err(place(Complaint::field("host", "", message)));
            }
            match spec {
                Some(spec) => routes.push(RouteSpec {
                    host: spec.host.unwrap_or_default(),
                    path: spec.path.unwrap_or_default(),
                    priority: spec.priority.unwrap_or_default(),
                    rank: None,
                    strip_prefix: spec.strip_prefix,
                    redirect_https: spec.redirect_https,
                    withheld: spec.withheld,
                }),
                None => {
                    // What it may match goes before what is narrower.
                    routes.extend(may_match.into_iter().map(|(host, path)| RouteSpec {
                        host,
                        path,
                        priority: i32::MAX,
                        rank: None,
                        strip_prefix: false,
                        redirect_https: false,
                        withheld: true,
                    }));
                    let message = "it is restricted, and what it matches is not known: all routes of the service are answered with 503 (TCP: closed)";
                    facts
                        .complaints
                        .push(place(Complaint::value(message).withheld().secret()));
                    facts.said.push(Fact::Withheld);
                }
            }
        }
        facts.said.push(Fact::Routes(Arc::from(routes)));
        Ok(())
    }

    /// Reports the fields that are left. Returns `true` if one of them restricts who may reach a route.
    fn finish(self, facts: &mut Facts, consequence: &str) -> bool {
        let mut withheld = false;
        for (field, found) in self.fields {
            let restricts = protection::in_field(&field, &found);
            withheld |= restricts;
            if facts.complaints.len() >= MAX_COMPLAINTS {
                continue;
            }
            facts.complaints.push(if restricts {
                Complaint::field(&field, "", consequence)
                    .withheld()
                    .secret()
            } else {
                unused(&field).tolerated()
            });
        }
        withheld
    }
}

/// The parsed value; what was wrong goes to `wrong`.
fn kept<T>(parsed: Result<Option<T>, Complaint>, wrong: &mut Vec<Complaint>) -> Option<T> {
    parsed.unwrap_or_else(|complaint| {
        wrong.push(complaint);
        None
    })
}

/// Of what is not known, the value may be anything: it is not shown.
fn unused(field: &str) -> Complaint {
    Complaint::field(field, "", "no such field, it is not used").secret()
}

fn missing(field: &str, expected: &str) -> Complaint {
    Complaint {
        field: Some(field.to_owned()),
        ..Complaint::value(expected)
    }
}

fn grace(text: &str) -> Result<Duration, Complaint> {
    lb_core::duration::parse(text)
        .ok_or_else(|| Complaint::value("expected a length of time such as 500ms, 10s or 1m30s"))
}
