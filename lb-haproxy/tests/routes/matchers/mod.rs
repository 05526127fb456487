//! What other programs answer, from their documentation.

pub(crate) mod docker_flow;
pub(crate) mod nginx;
pub(crate) mod traefik;

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Route, Severity, model::leads_to_none};
use lb_schemes::{LabelScheme, Options, Subject, read};

/// Domains of rules; an empty one stands for none.
const DOMAINS: [&str; 7] = [
    "",
    "shop.example",
    "api.shop.example",
    "b.example",
    "a.b.c.d.e.f.g.example",
    "*.example",
    "*.shop.example",
];

/// Paths of rules.
const PATHS: [&str; 11] = [
    "/",
    "/api",
    "/api/v1",
    "/ap",
    "/a/b/c",
    "/x",
    "/b/c",
    "/.well-known/acme-challenge",
    "/a:b",
    "/api/",
    "/b/",
];

/// Rules of one program.
pub(crate) struct Rules {
    /// The routes that they are here.
    pub(crate) routes: Vec<Route>,
    /// As a person writes them.
    pub(crate) written: Vec<String>,
    /// The answer of the program to a host, in lower case without port and dot, and a path: the service, or a status.
    pub(crate) answer: Box<Answer>,
}

type Answer = dyn Fn(&str, &str) -> String + Send;

/// The routes of an object with these labels or variables; all of its services are `s` and this number.
pub(crate) fn routes_of(
    scheme: LabelScheme,
    pairs: &[(String, String)],
    number: usize,
) -> Vec<Route> {
    let options = Options::new(&[scheme], &["docker"]);
    let variables = scheme == LabelScheme::VirtualHost;
    let labels: BTreeMap<String, String> = match variables {
        true => BTreeMap::new(),
        false => pairs.iter().cloned().collect(),
    };
    let exposed = BTreeSet::from([80]);
    let reading = read(
        &options,
        &Subject {
            object: "container",
            name: "container",
            labels: &labels,
            env: if variables { pairs } else { &[] },
            compose: None,
            stack: None,
            exposed: &exposed,
        },
    );
    let errors = reading
        .diagnostics
        .iter()
        .filter(|its| its.severity == Severity::Error);
    assert_eq!(errors.count(), 0, "{pairs:?}: {:?}", reading.diagnostics);
    let mut routes: Vec<Route> = reading
        .services
        .into_iter()
        .flat_map(|its| its.routes)
        .collect();
    for route in &mut routes {
        if !leads_to_none(&route.service) {
            route.service = format!("s{number}").parse().unwrap();
        }
    }
    routes
}

/// Decodes the codes of a text for which `decodes` holds; `None` for a `%` without a code.
pub(crate) fn decode(text: &str, decodes: impl Fn(char) -> bool) -> Option<String> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        decoded.extend_from_slice(&rest.as_bytes()[..at]);
        let code = u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok()?;
        match decodes(char::from(code)) {
            true => decoded.push(code),
            false => decoded.extend_from_slice(rest[at..at + 3].to_ascii_uppercase().as_bytes()),
        }
        rest = &rest[at + 3..];
    }
    decoded.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&decoded).into_owned())
}
