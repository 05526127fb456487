//! Values that are JSON objects.

use std::{collections::BTreeMap, sync::Arc};

use lb_core::{EndpointState, PathMatch, RouteHost, Weight};
use lb_schemes::traefik::{Alternative, Protocol, default_priority, may_match, parse_rule};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    fact::{Complaint, Fact, Facts},
    protection, scalar,
};

/// The longest value that is looked at, in bytes: what describes an endpoint or a route is short.
pub(crate) const MAX_LEN: usize = 64 * 1024;

/// The places of an endpoint's facts in a JSON object, as JSON pointers (RFC 6901): `/port`, `/meta/weight`.
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
    /// If `true`, a port of 0 means that none was given, as in the records of SkyDNS.
    pub zero_port_is_unset: bool,
    /// If `true`, letter case does not count in the names of fields, as in what programs in Go read.
    pub ignore_case: bool,
    /// The weight, a number or its text. More than 256 counts as 256.
    pub weight: Option<String>,
    /// If `true`, a weight of 0 means that none was given, as in the records of SkyDNS.
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
    if fields.ignore_case {
        fields.check_case(&value)?;
    }
    let at = |pointer: &Option<String>| {
        let pointer = pointer.as_deref()?;
        let found = match fields.ignore_case {
            false => value.pointer(pointer),
            true => in_any_case(&value, pointer).first().copied(),
        };
        let found = found.filter(|found| !found.is_null())?;
        Some((pointer.to_owned(), found.clone()))
    };

    if let Some((field, found)) = at(&fields.address) {
        let address = in_place(&field, &found, scalar::address)?;
        facts.said.push(Fact::Address(address));
    }
    if let Some((field, found)) = at(&fields.url) {
        let Facts { said, complaints } = in_place(&field, &found, scalar::url)?;
        facts.said.extend(said);
        facts.complaints.extend(complaints);
    }
    if let Some((field, found)) = at(&fields.host) {
        let host = in_place(&field, &found, |text| {
            text.parse()
                .map_err(|_| Complaint::value("expected an IP address; names are not resolved"))
        })?;
        facts.said.push(Fact::Host(host));
    }
    let is_unset = |found: &Value| fields.zero_port_is_unset && shown(found) == "0";
    if let Some((field, found)) = at(&fields.port).filter(|(_, found)| !is_unset(found)) {
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
        let whole = found.as_str().map(may_match_rule);
        let rule = in_field(&field, &found, traefik_rule);
        rule_in_field(&mut facts, rule, whole.unwrap_or_else(|| [].into()));
    }
    if let Some((field, found)) = at(&fields.route) {
        let matches = in_field(&field, &found, super::vulcand::matches);
        let text = found.as_str().unwrap_or_default();
        let whole = super::vulcand::may_match(text);
        if matches.is_ok() && !super::vulcand::is_bound(text) {
            facts.said.push(Fact::RouteMayMatch(Arc::clone(&whole)));
            let complaint = Complaint::field(&field, "", UNBOUND);
            facts.complaints.push(complaint.tolerated().secret());
        }
        let matches = matches.map(|all| Fact::RouteMatches(all).into());
        rule_in_field(&mut facts, matches, whole);
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
                // What is in an object may be anything.
                secret: found.is_object() || found.is_array(),
                ..complaint.tolerated()
            });
        }
    }
    Ok(facts)
}

/// A rule that cannot be used leaves its route out, and the rest of the value is known: something may restrict the route,
/// which withholds all that the rule may match.
fn rule_in_field(
    facts: &mut Facts,
    rule: Result<Facts, Complaint>,
    may_match: Arc<[(RouteHost, PathMatch)]>,
) {
    match rule {
        Ok(rule) => {
            facts.said.extend(rule.said);
            facts.complaints.extend(rule.complaints);
        }
        Err(complaint) => {
            facts.said.push(Fact::RuleUnusable);
            if !may_match.is_empty() {
                facts.said.push(Fact::RouteMatches(may_match));
            }
            // A rule may compare a header with a token.
            facts.complaints.push(complaint.secret());
        }
    }
}

/// The diagnostic of a rule with an expression that is not bound to the begin and the end of a text.
const UNBOUND: &str = "vulcand finds the expression anywhere in a host or path, here it is compared with the whole of it: write ^ before and $ after it";

/// The hosts and paths that a rule as Traefik writes it may match; empty where that would be every host and path.
fn may_match_rule(text: &str) -> Arc<[(RouteHost, PathMatch)]> {
    let is_all = |way: &Alternative| {
        way.host.is_none()
            && way
                .path
                .as_ref()
                .is_none_or(|path| *path == PathMatch::any())
    };
    let rule = may_match(protocol_of(text), text);
    let ways = rule.map(|rule| rule.alternatives).unwrap_or_default();
    if ways.iter().any(is_all) {
        return [].into();
    }
    let whole = |way: Alternative| (way.host.unwrap_or_default(), way.path.unwrap_or_default());
    ways.into_iter().map(whole).collect()
}

fn protocol_of(rule: &str) -> Protocol {
    match rule.contains("HostSNI") {
        true => Protocol::Tcp,
        false => Protocol::Http,
    }
}

/// The hosts, paths and priority of a rule as Traefik writes it.
pub(crate) fn traefik_rule(text: &str) -> Result<Facts, Complaint> {
    let protocol = protocol_of(text);
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

/// All that is at a place, whatever the letter case of the names that lead there.
fn in_any_case<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    for part in pointer.split('/').skip(1) {
        let objects = found.into_iter().filter_map(Value::as_object);
        let fields = objects.flat_map(|object| object.iter());
        let named = fields.filter(|(name, _)| name.eq_ignore_ascii_case(part));
        found = named.map(|(_, found)| found).collect();
    }
    found
}

impl JsonFields {
    /// Of two fields whose names differ only in letter case, it is not known which one counts.
    fn check_case(&self, value: &Value) -> Result<(), Complaint> {
        let places = [
            &self.address,
            &self.url,
            &self.host,
            &self.port,
            &self.weight,
            &self.state,
            &self.service,
            &self.rule,
            &self.route,
        ];
        let mut places = places.into_iter().flatten();
        let twice = places.find(|place| in_any_case(value, place).len() > 1);
        match twice {
            Some(place) => Err(Complaint {
                field: Some(place.clone()),
                ..Complaint::value("expected the field once, found it in several letter cases")
            }),
            None => Ok(()),
        }
    }

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

pub(super) fn parse(text: &str) -> Result<Map<String, Value>, Complaint> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Complaint::value("expected a JSON object")),
        Err(error) => Err(Complaint::value(format!("expected a JSON object: {error}"))),
    }
}

/// The same of a field that says a place: another text is not shown.
pub(super) fn in_place<T>(
    field: &str,
    found: &Value,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<T, Complaint> {
    in_field(field, found, parse).map_err(|complaint| Complaint {
        secret: complaint.secret || !protection::is_place(&shown(found)),
        ..complaint
    })
}

/// Parses a field that is a text or a number, and names the field in what is wrong with it.
pub(super) fn in_field<T>(
    field: &str,
    found: &Value,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<T, Complaint> {
    let parsed = match found {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        // What is in an object may be anything.
        _ => Err(Complaint::value("expected a text or a number").secret()),
    };
    parsed.map_err(|complaint| Complaint {
        field: Some(field.to_owned()),
        found: Some(shown(found)),
        ..complaint
    })
}

pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cut(&text)
}

/// A text of a length that can be shown.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
