//! Frontends that look requests up in the route maps.

use super::{
    document::{At, Kind, Line, Section},
    finding::{Code, Guarantee},
    names::maps_in,
    rules::Rules,
};
use crate::routes::{UNAVAILABLE, UNAVAILABLE_TCP};

/// The expression that reads the backend out of a value that has options.
const PART: &str = "var(txn.lb_route),field(1,|)";

/// The expression that compares the route of a path as it was sent with that of another reading of it.
const AGREES: &str = "var(txn.lb_route),strcmp(txn.lb_route_decoded)";

const INSTEAD: &str = "the lines of this frontend as `lb-agent config` writes them, from txn.lb_host to default_backend";

pub(super) fn check(rules: &mut Rules<'_>) {
    let sections = rules.document.sections.iter();
    let fronts = sections.filter(|its| matches!(its.kind, Kind::Frontend | Kind::Listen));
    let (route_map, sni_map) = {
        let policy = &rules.options.policy;
        (policy.route_map.clone(), policy.sni_map.clone())
    };
    for section in fronts {
        for (map, closed) in [(&route_map, UNAVAILABLE), (&sni_map, UNAVAILABLE_TCP)] {
            if let Some(line) = looks_up(section, map) {
                falls_to_another(rules, section, line.at, map, closed);
            }
        }
        let Some(line) = looks_up(section, &route_map) else {
            continue;
        };
        let knows = |text: &str| section.lines.iter().any(|line| has(line, text));
        let (at, map) = (line.at, &route_map);
        if !knows(PART) {
            rules.warning(
                at,
                Code::RouteLines,
                Guarantee::NoLoss,
                format!(
                    "the lines that look up {map} know no options of routes: a route that redirects to https or strips its \
                     prefix answers 503 here"
                ),
                INSTEAD,
            );
        }
        if !knows(AGREES) {
            rules.warning(
                at,
                Code::PathReadings,
                Guarantee::NoMisroute,
                format!(
                    "the lines that look up {map} compare paths only as they were sent: //admin, /%61dmin and /x/../admin \
                     reach the route of / although another program reads them as /admin"
                ),
                INSTEAD,
            );
        }
    }
}

/// HAProxy takes the default backend where a map names one that it does not have.
fn falls_to_another(
    rules: &mut Rules<'_>,
    section: &Section,
    at: At,
    map: &str,
    closed: &'static str,
) {
    let sections = &rules.document.sections;
    let is_backend = |its: &&Section| matches!(its.kind, Kind::Backend | Kind::Listen);
    if (sections.iter().filter(is_backend)).any(|its| its.name == closed) {
        return;
    }
    let inherited = section.defaults.and_then(|defaults| sections.get(defaults));
    let lines = section.lines.iter().rev();
    let all = lines.chain(inherited.into_iter().flat_map(|its| its.lines.iter().rev()));
    let mut defaults = all.filter(|line| line.begins(&["default_backend"]));
    let other = match defaults.next() {
        Some(line) if line.is_open() => return,
        Some(line) => line.word(1),
        // It is its own default.
        None if section.kind == Kind::Listen => section.name.as_str(),
        None => return,
    };
    if other == closed {
        return;
    }
    let message = format!(
        "there is no backend {closed}, which {map} names for routes that are restricted or whose service has no endpoint: \
         they lead to the default {other}"
    );
    let instead = format!("a backend {closed} without servers, as `lb-agent config` writes it");
    rules.warning(
        at,
        Code::UnavailableMissing,
        Guarantee::NoMisroute,
        message,
        instead,
    );
}

/// The first line that looks a request up in this map.
fn looks_up<'d>(section: &'d Section, map: &str) -> Option<&'d Line> {
    let named = |file: &str| file.rsplit('/').next() == Some(map);
    section.lines.iter().find(|line| {
        let mut words = line.words.iter().filter(|word| !word.open);
        words.any(|word| maps_in(&word.text).any(named))
    })
}

fn has(line: &Line, text: &str) -> bool {
    line.words.iter().any(|word| word.text == text)
}
