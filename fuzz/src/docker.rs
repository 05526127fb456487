//! Labels and the engine's answers, as hostile as they can be. Each function panics where what it states does not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use lb_core::{EndpointState, Name, Record, RecordKey};
use lb_docker::{
    LabelScheme, Spread,
    fuzzing::{self, CONTAINER, Follower},
};

/// The first byte chooses the schemes; then comes an inspection as JSON, a list of Swarm services, or a label in each
/// line: `KEY=VALUE`.
///
/// Names, hosts and paths have what the model allows and nothing else, whatever was written; each service is there
/// once, with routes of its own, at an address that can be served at. What is wrong is told in bounded texts. Reading
/// it again gives the same. Of our own labels, no service comes out that is not written there.
pub fn labels(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let schemes = chosen(*choice);
    let text = String::from_utf8_lossy(rest);
    let lines: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let read = || match text.trim_start().chars().next() {
        Some('{') => fuzzing::inspection(&text, &schemes),
        Some('[') => fuzzing::services(&text, &schemes),
        _ => Some(fuzzing::labels(&lines, &schemes)),
    };
    let found = read();
    assert_eq!(read(), found, "a second look");
    let Some((records, diagnostics)) = found else {
        return;
    };
    let keys: BTreeSet<_> = records.iter().map(|record| &record.key).collect();
    assert_eq!(keys.len(), records.len(), "a record is there twice");
    records.iter().for_each(check);
    for diagnostic in &diagnostics {
        let value = diagnostic.value.as_deref().unwrap_or_default();
        assert!(value.chars().count() <= 257, "{diagnostic}");
        assert!(!diagnostic.object.is_empty() && !diagnostic.message.is_empty());
    }
    if schemes == [LabelScheme::Lb] && !text.trim_start().starts_with(['{', '[']) {
        let compose = |key: &str| lines.get(&format!("com.docker.compose.{key}"));
        let project = compose("project").zip(compose("service"));
        let default = project.map_or_else(
            || Name::from_text(CONTAINER),
            |(project, service)| Name::from_text(&format!("{project}-{service}")),
        );
        let values = lines.iter().filter_map(|(key, value)| {
            let named = key.starts_with("lb.") && key.ends_with("service");
            value.parse().ok().filter(|_| named)
        });
        let written: BTreeSet<Name> = values.chain([default]).collect();
        // Beside a service of HTTP, one of TCP with the same name has another one.
        let of_tcp = |name: &Name| Name::from_text(&format!("{name}-tcp"));
        for record in &records {
            let service = &record.key.service;
            let known =
                written.contains(service) || written.iter().any(|name| of_tcp(name) == *service);
            assert!(known, "nobody wrote {service}");
        }
    }
}

/// A time is read as a number of seconds with nine digits behind the point, in the four digits of a year that it can
/// have.
pub fn moment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(since) = fuzzing::time(&text) {
        let Some((seconds, fraction)) = since.split_once('.') else {
            panic!("{since} has no fraction");
        };
        assert!(fraction.len() == 9 && fraction.bytes().all(|b| b.is_ascii_digit()));
        let Ok(seconds) = seconds.parse::<i64>() else {
            panic!("{since} is no number of seconds");
        };
        // A day to each side, for zones.
        assert!((-86_400..=253_402_387_200).contains(&seconds), "{since}");
    }
}

/// The first byte chooses the schemes; then each line is what an engine says of its containers: see [`Follower`].
///
/// What is told of each change adds up to what there is.
pub fn containers(data: &[u8]) {
    if let Some((choice, lines)) = data.split_first() {
        follow(Follower::of_containers(&chosen(*choice)), lines, |_| {});
    }
}

/// The first byte chooses the schemes and how services are reached; then each line is what managers and an engine say of
/// a cluster.
///
/// What is told of each change adds up to what there is, and no address serves for two tasks.
pub fn swarm(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else {
        return;
    };
    let spreads = [Spread::Tasks, Spread::Vip, Spread::Nodes];
    let Some(spread) = spreads.get(usize::from(choice / 6) % spreads.len()) else {
        return;
    };
    let follower = Follower::of_cluster(&chosen(*choice), *spread);
    follow(follower, lines, |records| {
        let mut users = BTreeMap::new();
        for record in records.values() {
            let Some(endpoint) = &record.endpoint else {
                continue;
            };
            if endpoint.state != EndpointState::Down {
                let user = users.entry(endpoint.address).or_insert(&record.key.id);
                assert_eq!(*user, &record.key.id, "{} is shared", endpoint.address);
            }
        }
    });
}

fn follow(mut follower: Follower, lines: &[u8], holds: impl Fn(&BTreeMap<RecordKey, Record>)) {
    let mut told: BTreeMap<RecordKey, Record> = BTreeMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        if !follower.hear(&String::from_utf8_lossy(line)) {
            continue;
        }
        let Some((set, remove, _)) = follower.changes() else {
            continue;
        };
        for key in remove {
            assert!(told.remove(&key).is_some(), "{key} was there");
        }
        for record in set {
            check(&record);
            let before = told.insert(record.key.clone(), record.clone());
            assert_ne!(before, Some(record), "what did not change is not told");
        }
        let (all, _) = follower.snapshot();
        let count = all.len();
        let all: BTreeMap<_, _> = all
            .into_iter()
            .map(|record| (record.key.clone(), record))
            .collect();
        assert_eq!(all.len(), count, "a record is there twice");
        assert_eq!(all, told, "what was told is what there is");
        holds(&told);
    }
}

/// Names, hosts, paths and addresses are what the model allows.
pub fn check(record: &Record) {
    assert_eq!(again(&record.key.service), record.key.service);
    assert_eq!(again(&record.key.id), record.key.id);
    assert!(
        record.routes.len() <= MOST_ROUTES,
        "{} routes",
        record.routes.len()
    );
    for route in record.routes.iter() {
        assert!(
            route.service == record.key.service || lb_core::model::leads_to_none(&route.service)
        );
        assert_eq!(again(&route.host), route.host);
        assert_eq!(again(&route.path), route.path);
    }
    if let Some(endpoint) = &record.endpoint {
        assert_ne!(endpoint.address.port(), 0, "{endpoint:?}");
        assert!(!endpoint.address.ip().is_unspecified(), "{endpoint:?}");
        assert_ne!(endpoint.check_port, Some(0), "{endpoint:?}");
    }
}

/// Far more than the bytes of an input can write one by one.
const MOST_ROUTES: usize = 4096;

/// The value that its printed form is read as.
fn again<T: Display + FromStr<Err: Display>>(value: &T) -> T {
    match value.to_string().parse() {
        Ok(read) => read,
        Err(error) => panic!("{value} does not read again: {error}"),
    }
}

/// One scheme, or all.
pub fn chosen(choice: u8) -> Vec<LabelScheme> {
    let all = [
        LabelScheme::Lb,
        LabelScheme::DockerFlow,
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::VirtualHost,
    ];
    match all.get(usize::from(choice % 6)) {
        Some(scheme) => vec![*scheme],
        None => all.to_vec(),
    }
}
