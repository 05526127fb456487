//! `com.df.*`: the labels of docker-flow-proxy and its Swarm listener.

mod destination;
mod keys;

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Name, PathMatch, RouteHost};

pub(crate) use keys::KEYS;

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, Spread, Subject,
    keys::{Effect, find},
    labels::{flag, misspelt_prefixes},
};

pub(crate) const PREFIX: &str = "com.df.";

pub(crate) fn read(options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let labels = Labels::new(subject);
    let mut reading = Reading::default();
    misspelt_prefixes(subject.labels, PREFIX, &mut diagnostics);
    if !labels.values.is_empty() {
        match labels.get("notify").and_then(flag) {
            Some(true) => reading.services = services(options, subject, &labels, &mut diagnostics),
            Some(false) => {}
            None => diagnostics.warn(
                "com.df.notify",
                labels.get("notify").unwrap_or_default(),
                "expected true: the other com.df labels count only then",
            ),
        }
    }
    reading.malformed = diagnostics.is_only_invalid();
    reading.diagnostics = diagnostics.into_inner();
    reading
}

/// The labels below the prefix.
struct Labels<'a> {
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> Labels<'a> {
    fn new(subject: &Subject<'a>) -> Self {
        let values = subject
            .labels
            .range(PREFIX.to_owned()..)
            .map_while(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
            .collect();
        Self { values }
    }

    /// A value that is set and not empty.
    fn get(&self, key: &str) -> Option<&'a str> {
        self.values
            .get(key)
            .copied()
            .filter(|value| !value.is_empty())
    }

    /// The key that counts for a destination: its own, else the one without an index.
    fn key(&self, key: &str, index: u8) -> Option<String> {
        let own = indexed(key, index);
        if self.get(&own).is_some() {
            return Some(own);
        }
        self.get(key).map(|_| key.to_owned())
    }

    fn of(&self, key: &str, index: u8) -> Option<(String, &'a str)> {
        let key = self.key(key, index)?;
        let value = self.get(&key)?;
        Some((key, value))
    }

    fn is_true(&self, key: &str, index: u8) -> bool {
        self.of(key, index)
            .is_some_and(|(_, value)| flag(value) == Some(true))
    }

    /// Returns `true` if there is a destination with this index.
    fn has(&self, index: u8) -> bool {
        ["servicePath", "port", "serviceDomain", "httpsPort"]
            .iter()
            .any(|key| self.values.contains_key(indexed(key, index).as_str()))
    }
}

fn indexed(key: &str, index: u8) -> String {
    match index {
        0 => key.to_owned(),
        index => format!("{key}.{index}"),
    }
}

/// A key without its index.
fn base(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((base, index)) if index.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => key,
    }
}

fn services(
    options: &Options,
    subject: &Subject<'_>,
    labels: &Labels<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<ServiceSpec> {
    let service = service(subject, labels);
    // Indexes count from 1 without a gap; what has none is a destination only where there is no index.
    let mut indexes: Vec<u8> = (1..=MAX_INDEX)
        .take_while(|index| labels.has(*index))
        .collect();
    if indexes.is_empty() && labels.has(0) {
        indexes.push(0);
    }
    report(labels, &indexes, diagnostics);
    if indexes.is_empty() {
        diagnostics.warn_masked(
            &format!("{PREFIX}port"),
            "not set, expected it with servicePath or serviceDomain: the service has no destination",
        );
    }
    let mut services: Vec<ServiceSpec> = Vec::new();
    let (mut barred, mut first_index) = (false, 0);
    let mut covers: Vec<ServiceSpec> = Vec::new();
    for index in &indexes {
        let found = destination::read(options, labels, *index, &service, diagnostics);
        barred |= found.bars;
        covers.extend(found.cover.filter(|cover| !cover.routes.is_empty()));
        let Some(mut spec) = found.spec else {
            continue;
        };
        if services.is_empty() {
            first_index = *index;
        }
        spec.network = labels.get("scrapeNetwork").map(str::to_owned);
        spec.spread = spread(labels);
        // Destinations of one port are one service with the routes of both.
        let same = services.iter_mut().find(|other| {
            other.port == spec.port
                && other.mode == spec.mode
                && other.without_endpoint == spec.without_endpoint
        });
        match same {
            Some(other) => {
                let name = other.service.clone();
                other.routes.extend(spec.renamed(name).routes);
            }
            None => {
                if !services.is_empty() {
                    let name = Name::from_text(&format!("{service}-{index}"));
                    spec = spec.renamed(name);
                }
                services.push(spec);
            }
        }
    }
    if labels.is_true("isDefaultBackend", 0)
        && let Some(first) = services.first_mut()
    {
        let mut route =
            lb_core::Route::new(RouteHost::Any, PathMatch::any(), first.service.clone())
                .with_priority(-1)
                .with_rank(destination::last());
        if destination::is_protected(options, labels, first_index) {
            route.service = lb_core::model::withheld();
        }
        first.routes.push(route);
    }
    if barred {
        services.iter_mut().for_each(ServiceSpec::withhold);
    }
    // They lead to no service: any of their mode may state them.
    for cover in covers {
        match services.iter_mut().find(|spec| spec.mode == cover.mode) {
            Some(spec) => spec.routes.extend(cover.routes),
            None => services.push(cover),
        }
    }
    services
}

fn spread(labels: &Labels<'_>) -> Option<Spread> {
    labels
        .get("discoveryType")
        .is_some_and(|kind| kind.eq_ignore_ascii_case("dns"))
        .then_some(Spread::Tasks)
}

fn service(subject: &Subject<'_>, labels: &Labels<'_>) -> Name {
    if let Some(text) = labels.get("serviceName") {
        return Name::from_text(text);
    }
    match subject.stack {
        Some(stack) if labels.is_true("shortName", 0) => Name::from_text(
            subject
                .name
                .strip_prefix(stack)
                .and_then(|rest| rest.strip_prefix('_'))
                .unwrap_or(subject.name),
        ),
        _ => subject.default_service(),
    }
}

/// Reports the keys that have no effect; those that withhold are reported with their destinations.
fn report(labels: &Labels<'_>, indexes: &[u8], diagnostics: &mut Diagnostics<'_>) {
    let known: BTreeSet<String> = indexes.iter().map(u8::to_string).collect();
    for key in labels.values.keys() {
        let full = format!("{PREFIX}{key}");
        let index = key.rsplit_once('.').map(|(_, index)| index);
        match find(KEYS, base(key)) {
            None => diagnostics.warn_masked(&full, "unknown label"),
            // Those of other letter case that withhold are reported so.
            Some(entry) if entry.key != base(key) && entry.effect != Effect::Withheld => {
                diagnostics.warn_masked(&full, format!("unknown label, expected {PREFIX}{}: letter case counts", entry.key));
            }
            Some(_) if index.is_some_and(|index| !known.contains(index)) => diagnostics.warn_masked(
                &full,
                "not used: indexes count from 1 without a gap up to 10, each with a port, a path or a domain",
            ),
            Some(entry) if entry.effect == Effect::Reported => {
                diagnostics.warn_masked(&full, format!("not honoured: {}", entry.note));
            }
            Some(_) => {}
        }
    }
}

const MAX_INDEX: u8 = 10;
