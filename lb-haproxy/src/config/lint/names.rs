//! Names of sections, maps, and whether there is anything to drive.

use std::collections::BTreeMap;

use super::{
    document::{At, Document, Kind, Line},
    finding::{Code, Guarantee},
    proxy::Proxy,
    rules::Rules,
    words::Word,
};
use crate::{policy::DynamicServers, routes::UNAVAILABLE};

pub(super) fn check(rules: &mut Rules<'_>) {
    twice(rules);
    for (at, file) in map_files(rules.document) {
        if rules.options.missing.contains(&file) {
            rules.error(
                at,
                Code::MapMissing,
                Guarantee::Restart,
                format!("{file} is not there, and HAProxy does not start without it"),
                format!("an empty file: touch {file}"),
            );
        }
    }
    let proxies = rules.proxies();
    let made = rules.options.is_at_least(3, 0)
        && rules.options.policy.dynamic_servers != DynamicServers::Never;
    // A server made at run time needs one that is there already, to be like it.
    let fills = |proxy: &Proxy<'_>| match made {
        true => !proxy.servers.is_empty(),
        false => proxy.slots().next().is_some(),
    };
    if let Some(first) = proxies.first()
        && !proxies.iter().any(fills)
    {
        rules.warning(
            first.at,
            Code::NoSlots,
            Guarantee::Changes,
            "no backend has slots, so each new endpoint needs a reload",
            "server-template slot 1-20 127.0.0.1:1 disabled check, in each backend that lb fills",
        );
    }
    unrecorded_spares(rules, &proxies);
}

/// HAProxy remembers in a map which spare backend serves which service; without it each start of lb chooses anew.
fn unrecorded_spares(rules: &mut Rules<'_>, proxies: &[Proxy<'_>]) {
    let policy = &rules.options.policy;
    let is_configured = |name: &str| policy.backends.values().any(|known| known.as_str() == name);
    let is_spare = |proxy: &&Proxy<'_>| {
        let prefixes = [&policy.spare_http, &policy.spare_tcp];
        let mut prefixes = prefixes.into_iter().filter(|prefix| !prefix.is_empty());
        prefixes.any(|prefix| proxy.name.starts_with(prefix.as_str()))
            && !proxy.servers.is_empty()
            && !is_configured(proxy.name)
    };
    let Some(spare) = proxies.iter().find(is_spare) else {
        return;
    };
    let map = policy.service_map.clone();
    let sections = rules.document.sections.iter();
    let mut lines = sections.flat_map(|section| &section.lines);
    if lines.any(|line| line.words.iter().any(|word| may_load(word, &map))) {
        return;
    }
    let message = format!(
        "HAProxy loads no map {map}, which says which spare backend serves which service: each restart of lb and each \
         reload moves services to other spare backends, and requests fail while they move"
    );
    let instead = format!(
        "http-request set-var(txn.lb_service) str(-),map_str(/etc/haproxy/{map}) if {{ always_false }}, in the backend \
         {UNAVAILABLE}, as `lb-agent config` writes it, and an empty file: touch /etc/haproxy/{map}"
    );
    rules.error(
        spare.at,
        Code::ServicesNotKept,
        Guarantee::NoLoss,
        message,
        instead,
    );
}

/// Returns `true` if a word names this map, or may name it once HAProxy reads its environment.
fn may_load(word: &Word, map: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let named = word.text.match_indices(map).any(|(at, name)| {
        let (before, after) = (word.text.get(..at), word.text.get(at + name.len()..));
        !before.unwrap_or_default().ends_with(is_part)
            && !after.unwrap_or_default().starts_with(is_part)
    });
    named || (word.open && word.text.contains("map"))
}

/// A frontend and a backend of one name.
fn twice(rules: &mut Rules<'_>) {
    let mut seen: BTreeMap<&str, Kind> = BTreeMap::new();
    for section in &rules.document.sections {
        let pair = match (section.kind, seen.get(section.name.as_str())) {
            (Kind::Backend, Some(Kind::Frontend)) | (Kind::Frontend, Some(Kind::Backend)) => true,
            (Kind::Backend | Kind::Frontend | Kind::Listen, _) => false,
            _ => continue,
        };
        if pair && !rules.options.may_be_before(3, 3) {
            rules.error(
                section.at,
                Code::NameTwice,
                Guarantee::Restart,
                format!(
                    "a frontend and a backend are named {}, which HAProxy refuses from 3.3 on",
                    section.name
                ),
                "a name of its own for each",
            );
        } else if pair {
            rules.warning(
                section.at,
                Code::NameTwice,
                Guarantee::Restart,
                format!(
                    "a frontend and a backend are named {}: HAProxy 3.3 and later do not start with that",
                    section.name
                ),
                "a name of its own for each",
            );
        }
        seen.insert(&section.name, section.kind);
    }
}

/// The files of all maps that are looked up, each once, and where that is.
pub(super) fn map_files(document: &Document) -> Vec<(At, String)> {
    let mut found: Vec<(At, String)> = Vec::new();
    let lines = document.sections.iter().flat_map(|section| &section.lines);
    for line in lines {
        for word in line.words.iter().filter(|word| !word.open) {
            for file in maps_in(&word.text) {
                if !found.iter().any(|(_, known)| known == file) {
                    found.push((line.at, file.to_owned()));
                }
            }
        }
    }
    found
}

/// The files of the maps that lines for routes look up, as `lb-agent config` writes them, each once.
pub(super) fn route_files(document: &Document) -> Vec<String> {
    let lines = document.sections.iter().flat_map(|section| &section.lines);
    let words = |line: &'_ Line| -> Vec<String> {
        let plain = line.words.iter().filter(|word| !word.open);
        plain.map(|word| word.text.clone()).collect()
    };
    let mut found = Vec::new();
    for words in lines.map(words) {
        if words.iter().any(|word| word.contains("txn.lb_")) {
            found.extend(
                words
                    .iter()
                    .flat_map(|word| maps_in(word))
                    .map(str::to_owned),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// `map_beg(/etc/haproxy/routes.map,default)` and its like.
pub(super) fn maps_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("map").filter_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        if before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let (converter, arguments) = rest.split_once('(')?;
        let fits = |c: char| c.is_ascii_lowercase() || c == '_';
        let file = arguments.split([',', ')']).next()?;
        // `opt@` and `virt@` need no file.
        let path = file.strip_prefix("file@").unwrap_or(file);
        (converter.chars().all(fits) && path.contains('/') && !path.contains('@')).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_found_in_expressions() {
        for (text, expected) in [
            ("%[path,map_beg(/a/b.map,web)]", vec!["/a/b.map"]),
            ("path,map(/a.map)", vec!["/a.map"]),
            ("a,map_str(/x),b,map_reg(file@/y)", vec!["/x", "/y"]),
            ("map(virt@/x),map(opt@/y),bitmap(/z),map(x)", vec![]),
            ("map", vec![]),
        ] {
            assert_eq!(maps_in(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
