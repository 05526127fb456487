//! Frontends that look requests up in the route map.

use super::{
    document::{Kind, Line, Section},
    finding::{Code, Guarantee},
    names::maps_in,
    rules::Rules,
};

/// What reads the backend out of a value that has options.
const PART: &str = "var(txn.lb_route),field(1,|)";

pub(super) fn check(rules: &mut Rules<'_>) {
    let sections = rules.document.sections.iter();
    let fronts = sections.filter(|its| matches!(its.kind, Kind::Frontend | Kind::Listen));
    for section in fronts {
        let known = section.lines.iter().any(|line| has(line, PART));
        let Some(line) = looks_up(section, rules).filter(|_| !known) else {
            continue;
        };
        rules.warning(
            line.at,
            Code::RouteLines,
            Guarantee::NoLoss,
            format!(
                "the lines that look up {} know no options of routes: a route that redirects to https or strips its prefix \
                 answers 503 here",
                rules.options.policy.route_map
            ),
            "the lines of this frontend as `lb-agent config` writes them, from txn.lb_host to default_backend",
        );
    }
}

/// The first line that looks a request up.
fn looks_up<'d>(section: &'d Section, rules: &Rules<'_>) -> Option<&'d Line> {
    let map = &rules.options.policy.route_map;
    let named = |file: &str| file.rsplit('/').next() == Some(map);
    section.lines.iter().find(|line| {
        let mut words = line.words.iter().filter(|word| !word.open);
        words.any(|word| maps_in(&word.text).any(named))
    })
}

fn has(line: &Line, text: &str) -> bool {
    line.words.iter().any(|word| word.text == text)
}
