//! Values that are JSON objects.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use lb_core::{EndpointState, Name, PathMatch, RouteHost, ServiceOptions, Weight};
use lb_schemes::traefik::{Protocol, default_priority, parse_rule};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    fact::{Complaint, Fact, Facts, RouteWish},
    protection, scalar,
};

/// The longest value that is looked at, in bytes: what describes an endpoint or a route is short.
pub(crate) const MAX_LEN: usize = 64 * 1024;

/// The most routes that one object may ask for.
const MAX_ROUTES: usize = 256;

/// Where in a JSON object the facts of an endpoint are, as JSON pointers (RFC 6901): `/port`, `/meta/weight`.
///
/// The address is `address` (`ip:port`), or `url`, or `host` with `port`. What is not named is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JsonFields {
    /// The address as `ip:port`.
    pub address: Option<String>,
    /// The address as an URL.
    pub url: Option<String>,
    /// The address without its port.
    pub host: Option<String>,
    /// The port, a number or its text.
    pub port: Option<String>,
    /// The weight, a number or its text. More than 256 counts as 256.
    pub weight: Option<String>,
    /// Whether a weight of 0 means that none was given, as in the records of SkyDNS.
    pub zero_weight_is_unset: bool,
    /// The state: `pending`, `ready`, `draining` or `down`, or what `states` has for it.
    pub state: Option<String>,
    /// The state for each text found at `state`; `*` stands for every other text.
    pub states: BTreeMap<String, String>,
    /// The service that a route is for.
    pub service: Option<String>,
    /// The rule of a route, as Traefik writes it.
    pub rule: Option<String>,
    /// The rule of a route, as vulcand writes it.
    pub route: Option<String>,
    /// Places whose values are reported as not honoured, each with the texts, separated by `|`, that change nothing.
    pub unsupported: BTreeMap<String, String>,
}

/// The facts at the places that `fields` names.
pub(crate) fn mapped(text: &str, fields: &JsonFields) -> Result<Facts, Complaint> {
    let value = Value::Object(parse(text)?);
    let mut facts = Facts::default();
    let at = |pointer: &Option<String>| {
        let pointer = pointer.as_deref()?;
        let found = value.pointer(pointer).filter(|found| !found.is_null())?;
        Some((pointer.to_owned(), found.clone()))
    };

    if let Some((field, found)) = at(&fields.address) {
        let address = in_field(&field, &found, scalar::address)?;
        facts.said.push(Fact::Address(address));
    }
    if let Some((field, found)) = at(&fields.url) {
        let Facts { said, complaints } = in_field(&field, &found, scalar::url)?;
        facts.said.extend(said);
        facts.complaints.extend(complaints);
    }
    if let Some((field, found)) = at(&fields.host) {
        let host = in_field(&field, &found, |text| {
            text.parse()
                .map_err(|_| Complaint::value("expected an IP address; names are not resolved"))
        })?;
        facts.said.push(Fact::Host(host));
    }
    if let Some((field, found)) = at(&fields.port) {
        let port = in_field(&field, &found, scalar::port)?;
        facts.said.push(Fact::Port(port));
    }
    if let Some((field, found)) = at(&fields.weight) {
        let given = in_field(&field, &found, |text| {
            text.parse::<u32>()
                .map_err(|_| Complaint::value("expected a weight of 0 to 256"))
        })?;
        match u16::try_from(given)
            .ok()
            .and_then(|small| Weight::new(small).ok())
        {
            Some(_) if given == 0 && fields.zero_weight_is_unset => {}
            Some(weight) => facts.said.push(Fact::Weight(weight)),
            None => {
                facts.said.push(Fact::Weight(Weight::MAX));
                let complaint = Complaint::field(
                    &field,
                    given.to_string(),
                    "expected at most 256, used as 256",
                );
                facts.complaints.push(complaint.tolerated());
            }
        }
    }
    if let Some((field, found)) = at(&fields.state) {
        let state = in_field(&field, &found, |text| fields.state(text))?;
        facts.said.push(Fact::State(state));
    }
    if let Some((field, found)) = at(&fields.service) {
        let service = in_field(&field, &found, scalar::service)?;
        facts.said.push(Fact::RouteService(service));
    }
    if let Some((field, found)) = at(&fields.rule) {
        rule_in_field(&mut facts, in_field(&field, &found, traefik_rule));
    }
    if let Some((field, found)) = at(&fields.route) {
        let matches = in_field(&field, &found, super::vulcand::matches);
        rule_in_field(
            &mut facts,
            matches.map(|all| Fact::RouteMatches(all).into()),
        );
    }
    if facts.said.is_empty() {
        return Err(Complaint::value(
            "expected a JSON object with the fields that the layout names",
        ));
    }
    for (field, harmless) in &fields.unsupported {
        if let Some((field, found)) = at(&Some(field.clone()))
            && !harmless.split('|').any(|text| text == shown(&found))
        {
            let complaint = Complaint::field(&field, shown(&found), "it is not honoured");
            facts.complaints.push(Complaint {
                secret: protection::may_hold_secret(&shown(&found)),
                ..complaint.tolerated()
            });
        }
    }
    Ok(facts)
}

/// A rule that cannot be used leaves its route out, and the rest of the value is known: something may restrict the route.
fn rule_in_field(facts: &mut Facts, rule: Result<Facts, Complaint>) {
    match rule {
        Ok(rule) => {
            facts.said.extend(rule.said);
            facts.complaints.extend(rule.complaints);
        }
        Err(complaint) => {
            facts.said.push(Fact::RuleUnusable);
            facts.complaints.push(complaint);
        }
    }
}

/// The hosts, paths and priority of a rule as Traefik writes it.
pub(crate) fn traefik_rule(text: &str) -> Result<Facts, Complaint> {
    let protocol = if text.contains("HostSNI") {
        Protocol::Tcp
    } else {
        Protocol::Http
    };
    let rule = parse_rule(protocol, text).map_err(|error| Complaint::value(error.to_string()))?;
    if let Some(beyond) = rule.beyond {
        return Err(Complaint::value(format!(
            "{beyond} cannot be expressed by routes, expected hosts and paths"
        )));
    }
    let matches = rule.alternatives.into_iter();
    let matches = matches.map(|way| (way.host.unwrap_or_default(), way.path.unwrap_or_default()));
    Ok(Facts {
        said: vec![
            Fact::RouteMatches(matches.collect()),
            Fact::DefaultPriority(default_priority(protocol, text)),
        ],
        complaints: Vec::new(),
    })
}

/// Returns the first of these places where the value has none of its texts, with what is there.
pub(crate) fn unfit(text: &str, only_if: &BTreeMap<String, String>) -> Option<(String, String)> {
    // What is no JSON is reported by who reads it.
    let value: Value = serde_json::from_str(text).ok()?;
    only_if.iter().find_map(|(pointer, texts)| {
        let found = value.pointer(pointer).filter(|found| !found.is_null());
        let found = found.map(shown).unwrap_or_default();
        let fits = texts.split('|').any(|text| text == found);
        (!fits).then(|| (pointer.clone(), found))
    })
}

impl JsonFields {
    fn state(&self, text: &str) -> Result<EndpointState, Complaint> {
        let known = self.states.get(text).or_else(|| self.states.get("*"));
        scalar::state(known.map_or(text, String::as_str))
    }

    /// Returns `false` if `states` leads to something that is no state.
    pub(crate) fn states_fit(&self) -> bool {
        self.states
            .values()
            .all(|state| scalar::state(state).is_ok())
    }
}

/// An endpoint in lb's own form: `ip:port`, or an object with `address`, `weight`, `state`, `grace`,
/// `check_port`, `mode`, `routes` and `metadata`.
pub(crate) fn endpoint(text: &str) -> Result<Facts, Complaint> {
    if !text.trim_start().starts_with('{') {
        return Ok(Fact::Address(scalar::address(text.trim())?).into());
    }
    let mut object = Object::parse(text)?;
    let mut facts = Facts::default();
    let address: SocketAddr = object
        .take("address", scalar::address)?
        .ok_or_else(|| missing("address", "expected ip:port"))?;
    facts.said.push(Fact::Address(address));
    let weight = object.take("weight", scalar::weight)?;
    facts.said.extend(weight.map(Fact::Weight));
    let check_port = object.take("check_port", scalar::port)?;
    facts.said.extend(check_port.map(Fact::CheckPort));
    let grace = object.take("grace", grace)?;
    let state = object.take("state", scalar::state)?;
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
    object.mode_and_routes(&mut facts)?;
    let withheld = object.finish(&mut facts);
    withhold_routes(&mut facts, withheld);
    Ok(facts)
}

/// A service in lb's own form: an object with `mode`, `routes` and `metadata`.
pub(crate) fn service(text: &str) -> Result<Facts, Complaint> {
    let mut object = Object::parse(text)?;
    let mut facts = Facts::default();
    object.mode_and_routes(&mut facts)?;
    let withheld = object.finish(&mut facts);
    withhold_routes(&mut facts, withheld);
    Ok(facts)
}

/// Withholds all routes that an object asks for.
fn withhold_routes(facts: &mut Facts, withheld: bool) {
    for fact in &mut facts.said {
        if let Fact::Routes(routes) = fact
            && withheld
        {
            let all = routes.iter().cloned().map(|route| RouteWish {
                withheld: true,
                ..route
            });
            *routes = all.collect();
        }
    }
}

/// A route in lb's own form: an object with `service`, `host`, `path`, `priority` and `metadata`.
pub(crate) fn route(text: &str) -> Result<Facts, Complaint> {
    let mut object = Object::parse(text)?;
    let mut facts = Facts::default();
    let service: Name = object
        .take("service", scalar::service)?
        .ok_or_else(|| missing("service", "expected the name of a service"))?;
    facts.said.push(Fact::RouteService(service));
    let host = object.take("host", scalar::host)?;
    let path = object.take("path", scalar::path)?;
    if host.is_none() && path.is_none() {
        return Err(Complaint::value("expected a host, a path or both"));
    }
    facts.said.push(Fact::RouteHost(host.unwrap_or_default()));
    facts.said.push(Fact::RoutePath(path.unwrap_or_default()));
    let priority = object.take("priority", scalar::priority)?;
    facts.said.extend(priority.map(Fact::RoutePriority));
    facts.said.push(Fact::RouteEdits {
        strip_prefix: object.flag("strip_prefix")?.unwrap_or_default(),
        redirect_https: object.flag("redirect_https")?.unwrap_or_default(),
    });
    if object.finish(&mut facts) {
        facts.said.push(Fact::Withheld);
    }
    Ok(facts)
}

/// An object whose fields are taken one by one; what is left in the end was not understood.
struct Object {
    fields: Map<String, Value>,
}

impl Object {
    fn parse(text: &str) -> Result<Self, Complaint> {
        let mut fields = parse(text)?;
        // For whoever writes and reads them; nothing here depends on them.
        fields.remove("metadata");
        Ok(Self { fields })
    }

    /// One field, if it is there and not null.
    fn take<T>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Result<Option<T>, Complaint> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(found) => in_field(field, &found, parse).map(Some),
        }
    }

    /// One field that is `true` or `false`, if it is there and not null.
    fn flag(&mut self, field: &str) -> Result<Option<bool>, Complaint> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(found) => Err(Complaint::field(
                field,
                shown(&found),
                "expected true or false",
            )),
        }
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
        let wishes = match self.fields.remove("routes") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(wishes)) if wishes.len() <= MAX_ROUTES => wishes,
            Some(_) => {
                return Err(Complaint {
                    field: Some("routes".to_owned()),
                    ..Complaint::value("expected an array of at most 256 routes")
                });
            }
        };
        let mut routes = Vec::with_capacity(wishes.len());
        for (index, wish) in wishes.into_iter().enumerate() {
            let place = |complaint: Complaint| Complaint {
                field: Some(match complaint.field {
                    Some(field) => format!("routes[{index}].{field}"),
                    None => format!("routes[{index}]"),
                }),
                ..complaint
            };
            let Value::Object(fields) = wish else {
                return Err(place(Complaint::value(
                    "expected an object with host, path or both",
                )));
            };
            let mut wish = Self { fields };
            let host: Option<RouteHost> = wish.take("host", scalar::host).map_err(place)?;
            let path: Option<PathMatch> = wish.take("path", scalar::path).map_err(place)?;
            let priority = wish.take("priority", scalar::priority).map_err(place)?;
            let strip_prefix = wish.flag("strip_prefix").map_err(place)?;
            let redirect_https = wish.flag("redirect_https").map_err(place)?;
            if host.is_none() && path.is_none() {
                return Err(place(Complaint::value("expected a host, a path or both")));
            }
            let mut inner = Facts::default();
            let withheld = wish.finish(&mut inner);
            facts
                .complaints
                .extend(inner.complaints.into_iter().map(place));
            routes.push(RouteWish {
                host: host.unwrap_or_default(),
                path: path.unwrap_or_default(),
                priority: priority.unwrap_or_default(),
                strip_prefix: strip_prefix.unwrap_or_default(),
                redirect_https: redirect_https.unwrap_or_default(),
                withheld,
            });
        }
        facts.said.push(Fact::Routes(Arc::from(routes)));
        Ok(())
    }

    /// Reports the fields that are left. Returns `true` if one of them restricts who may reach a route.
    fn finish(self, facts: &mut Facts) -> bool {
        let mut withheld = false;
        for (field, found) in self.fields {
            let restricts =
                protection::restricts(&field) && !matches!(found, Value::Bool(false) | Value::Null);
            withheld |= restricts;
            if facts.complaints.len() >= 16 {
                continue;
            }
            facts.complaints.push(if restricts {
                let message = "cannot be honoured, the object's routes are answered with 503 while it is there";
                Complaint::field(&field, "", message).secret()
            } else {
                let complaint =
                    Complaint::field(&field, shown(&found), "no such field, it is not used");
                let secret = protection::may_hold_secret(&field);
                Complaint { secret, ..complaint.tolerated() }
            });
        }
        withheld
    }
}

fn missing(field: &str, expected: &str) -> Complaint {
    Complaint {
        field: Some(field.to_owned()),
        ..Complaint::value(expected)
    }
}

fn parse(text: &str) -> Result<Map<String, Value>, Complaint> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Complaint::value("expected a JSON object")),
        Err(error) => Err(Complaint::value(format!("expected a JSON object: {error}"))),
    }
}

/// Parses a field that is a text or a number, and names the field in what is wrong with it.
fn in_field<T>(
    field: &str,
    found: &Value,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<T, Complaint> {
    let parsed = match found {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => Err(Complaint::value("expected a text or a number")),
    };
    parsed.map_err(|complaint| Complaint {
        field: Some(field.to_owned()),
        found: Some(shown(found)),
        ..complaint
    })
}

fn grace(text: &str) -> Result<Duration, Complaint> {
    lb_core::duration::parse(text)
        .ok_or_else(|| Complaint::value("expected a length of time such as 500ms, 10s or 1m30s"))
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(200).collect()
}
