//! All that an engine answers, as hostile as it can be. It panics where what it states does not hold.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_docker::{Family, ReachConfig, ReachFrom, fuzzing::Answers};
use serde_json::{Value, json};

use crate::docker::{check, chosen};

/// The first byte chooses the schemes, the second from where containers are reached; then come answers as JSON, parted by
/// a byte 1: the networks, the load balancer's own container, the running containers in short, and inspections.
///
/// Whatever comes, names, hosts and paths have what the model allows, no record is there twice, and what is wrong is told
/// in bounded texts. An endpoint is at an address that the engine gives to a container or publishes, whatever labels
/// say. Answers of an engine that says more mean the same.
pub fn engine(data: &[u8]) {
    let [scheme, choice, answers @ ..] = data else {
        return;
    };
    let (schemes, reach) = (chosen(*scheme), reach(*choice));
    let text = String::from_utf8_lossy(answers);
    let mut parts = text.split('\u{1}').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let answers = Answers {
        networks: part(),
        own: part(),
        listing: part(),
        inspections: parts.take(8).collect(),
    };
    let found = answers.read(&reach, &schemes);
    assert_eq!(answers.read(&reach, &schemes), found, "a second look");
    let Some((records, diagnostics)) = &found else {
        return;
    };

    let keys: BTreeSet<_> = records.iter().map(|record| &record.key).collect();
    assert_eq!(keys.len(), records.len(), "a record is there twice");
    records.iter().for_each(check);
    let objects = answers.inspections.len() + answers.listing.len() / 2;
    assert!(diagnostics.len() <= objects * MOST_OF_ONE);
    for diagnostic in diagnostics {
        let value = diagnostic.value.as_deref().unwrap_or_default();
        assert!(value.chars().count() <= 257, "{diagnostic}");
        assert!(diagnostic.message.chars().count() <= 1024, "{diagnostic}");
        assert!(!diagnostic.object.is_empty() && !diagnostic.message.is_empty());
    }

    let addresses = addresses(&answers, &reach);
    for endpoint in records.iter().filter_map(|record| record.endpoint.as_ref()) {
        let ip = endpoint.address.ip();
        assert!(addresses.contains(&ip), "{ip} is no container's");
    }

    let printed = |more| printed(&answers, more);
    if let (Some(anew), Some(more)) = (printed(false), printed(true)) {
        let (anew, more) = (anew.read(&reach, &schemes), more.read(&reach, &schemes));
        assert_eq!(more, anew, "a newer engine");
    }
}

/// The most diagnostics of one container: each of the parts that say something has a bound of its own.
const MOST_OF_ONE: usize = 4 * 65;

fn reach(choice: u8) -> ReachConfig {
    let mut reach = ReachConfig::default();
    reach.from = match choice & 3 {
        0 => ReachFrom::Auto,
        1 => ReachFrom::Host,
        2 => ReachFrom::Container,
        _ => ReachFrom::Elsewhere,
    };
    reach.family = match choice >> 2 & 3 {
        0 => Family::V4,
        1 => Family::V6,
        2 => Family::V4Only,
        _ => Family::V6Only,
    };
    reach.node_address = (choice & 16 != 0).then(|| IpAddr::from([192, 0, 2, 1]));
    reach.network = (choice & 32 != 0).then(|| "net".to_owned());
    reach
}

/// All addresses in what the answers say of networks and ports, and those of the engine's machine.
fn addresses(answers: &Answers, reach: &ReachConfig) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    found.extend(reach.node_address);
    let containers = answers.inspections.iter().filter_map(|json| parsed(json));
    for container in containers {
        note(container.get("NetworkSettings"), &mut found);
    }
    for listed in parsed(&answers.listing)
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        note(listed.get("NetworkSettings"), &mut found);
        note(listed.get("Ports"), &mut found);
    }
    found
}

/// Notes each text in it that is an address, with or without a mask.
fn note(value: Option<&Value>, found: &mut BTreeSet<IpAddr>) {
    match value {
        Some(Value::String(text)) => {
            let address = text.split('/').next().unwrap_or_default();
            found.extend(address.parse::<IpAddr>());
        }
        Some(Value::Array(values)) => values.iter().for_each(|value| note(Some(value), found)),
        Some(Value::Object(fields)) => fields.values().for_each(|value| note(Some(value), found)),
        _ => {}
    }
}

/// The same answers printed anew, of a field that is there twice the last; with `more`, there are fields that nothing is
/// known of. `None` where one of them is no JSON.
fn printed(answers: &Answers, more: bool) -> Option<Answers> {
    let inspection = |json: &String| {
        let mut value = parsed(json)?;
        if !more {
            return Some(value.to_string());
        }
        for part in ["State", "HostConfig", "Config", "NetworkSettings"] {
            if let Some(Value::Object(fields)) = value.get_mut(part) {
                fields.insert("Novelty".to_owned(), json!([{"Labels": null}]));
            }
        }
        let fields = value.as_object_mut()?;
        fields.insert("Novelty".to_owned(), json!(1));
        Some(value.to_string())
    };
    let inspections: Option<Vec<String>> = answers.inspections.iter().map(inspection).collect();
    Some(Answers {
        inspections: inspections?,
        ..answers.clone()
    })
}

fn parsed(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}
