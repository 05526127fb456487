//! A map that several control planes share: each manages the entries that lead to its own backends.
//!
//! An entry belongs to the one who manages the backend it leads to. Entries of others stay as they are; an entry of
//! ours for a key that another has already is left out and reported. An entry that leads to one of the backends for
//! requests without a service is nobody's: it stays unless it is ours to change.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    proto::{MapEntry, MapKey, MapValue},
    routes::{NOT_FOUND, RouteMap, UNAVAILABLE, UNAVAILABLE_TCP},
    scope::Scope,
};

/// Returns `true` if an entry with this value may be changed or taken out.
pub(super) fn is_ours(scope: &Scope, value: &str) -> bool {
    scope.owns_text(backend(value))
}

/// The backend that a value leads to: what follows it are options.
fn backend(value: &str) -> &str {
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    value.split(|c| !name(c)).next().unwrap_or_default()
}

fn is_nobodys(value: &str) -> bool {
    [NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP].contains(&backend(value))
}

/// The entries that a map is to have: ours, and those of others as they are. Also tells the keys of ours that another
/// has.
///
/// `before` has our keys of the time before: an entry of nobody's under one of these was ours.
pub(super) fn merge(
    own: &RouteMap,
    observed: &[MapEntry],
    before: &BTreeSet<MapKey>,
    scope: &Scope,
) -> (RouteMap, Vec<MapKey>) {
    let mut entries: BTreeMap<MapKey, MapValue> = BTreeMap::new();
    let mut taken = Vec::new();
    for entry in observed {
        let (Ok(key), Ok(value)) = (entry.key.parse::<MapKey>(), entry.value.parse()) else {
            // No command can name it, so it stays in any case.
            continue;
        };
        let nobodys = is_nobodys(&entry.value);
        let others = match nobodys {
            true => own.get(&key).is_none() && !before.contains(&key),
            false => !is_ours(scope, &entry.value),
        };
        if others {
            if own.get(&key).is_some() {
                taken.push(key.clone());
            }
            entries.entry(key).or_insert(value);
        }
    }
    for (key, value) in own.entries() {
        entries.entry(key.clone()).or_insert_with(|| value.clone());
    }
    (RouteMap::new(entries), taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::parse_map_entries;

    #[test]
    fn entries_of_others_stay_and_what_was_ours_goes() {
        let scope = Scope::new(["web*"]).unwrap();
        let observed = parse_map_entries(
            "0x1 a.example/ web1\n0x2 b.example/ db\n0x3 c.example/ web2\n0x4 d.example/ lb-unavailable\n",
        )
        .unwrap();
        let own =
            RouteMap::parse_file("a.example/ web3\nb.example/ web1\nnew.example/ web1\n").unwrap();
        let (merged, taken) = merge(&own, &observed, &BTreeSet::new(), &scope);
        assert_eq!(
            merged
                .file_text()
                .lines()
                .filter(|line| !line.starts_with('d'))
                .collect::<Vec<_>>(),
            ["a.example/ web3", "b.example/ db", "new.example/ web1"]
        );
        assert_eq!(taken, ["b.example/".parse().unwrap()]);
    }
}
