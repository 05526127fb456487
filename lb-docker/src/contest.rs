//! Definitions that several objects make, such as the routers of Traefik, and which of them contradict each other.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lb_core::{Diagnostic, Mode, Record, Route};
use lb_schemes::{Definition, Diagnostics};

/// The definitions of all objects, by their key and then by object.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    contents: BTreeMap<String, BTreeMap<String, String>>,
    by_object: BTreeMap<String, BTreeSet<String>>,
}

impl Contest {
    /// Takes in all that one object defines now. Answers with the other objects for which that changes something.
    pub(crate) fn set<'a>(
        &mut self,
        object: &str,
        definitions: impl Iterator<Item = &'a Definition>,
    ) -> BTreeSet<String> {
        let defined: BTreeMap<&str, &str> = definitions
            .map(|definition| (definition.key.as_str(), definition.content.as_str()))
            .collect();
        let known = self.by_object.remove(object).unwrap_or_default();
        let mut keys: BTreeSet<String> = known;
        keys.extend(defined.keys().map(|key| (*key).to_owned()));
        let mut others = BTreeSet::new();
        for key in &keys {
            let before = self.is_contested(key);
            let contents = self.contents.entry(key.clone()).or_default();
            match defined.get(key.as_str()) {
                Some(content) => {
                    contents.insert(object.to_owned(), (*content).to_owned());
                }
                None => {
                    contents.remove(object);
                }
            }
            if contents.is_empty() {
                self.contents.remove(key);
            }
            if before != self.is_contested(key)
                && let Some(contents) = self.contents.get(key)
            {
                others.extend(contents.keys().filter(|other| *other != object).cloned());
            }
        }
        if !defined.is_empty() {
            let keys = defined.keys().map(|key| (*key).to_owned()).collect();
            self.by_object.insert(object.to_owned(), keys);
        }
        others
    }

    /// Returns `true` if objects define it differently.
    pub(crate) fn is_contested(&self, key: &str) -> bool {
        let Some(contents) = self.contents.get(key) else {
            return false;
        };
        let mut all = contents.values();
        let first = all.next();
        all.any(|content| Some(content) != first)
    }

    /// The contested part of `definitions`: the routes to leave out, each with its mode, and what to say of it. One
    /// that another, uncontested definition makes too stays.
    pub(crate) fn lost(
        &self,
        object: &str,
        definitions: &[Definition],
    ) -> (HashSet<(Mode, Route)>, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::new(object);
        let (mut lost, mut kept) = (HashSet::new(), HashSet::new());
        for definition in definitions {
            let contested = self.is_contested(&definition.key);
            let routes = definition
                .routes
                .iter()
                .map(|route| (definition.mode, route.clone()));
            match contested {
                false => kept.extend(routes),
                true => {
                    lost.extend(routes);
                    diagnostics.refuse_masked(
                        &definition.key,
                        "several containers or services define it differently: it is not used, as there; the options projects, constraints and networks narrow what is read",
                    );
                }
            }
        }
        lost.retain(|route| !kept.contains(route));
        (lost, diagnostics.into_inner())
    }
}

/// The record without routes that were lost.
pub(crate) fn without(record: &Record, lost: &HashSet<(Mode, Route)>) -> Record {
    if lost.is_empty() {
        return record.clone();
    }
    let routes: Vec<Route> = record
        .routes
        .iter()
        .filter(|route| !lost.contains(&(record.mode, (*route).clone())))
        .cloned()
        .collect();
    record.clone().with_routes(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(key: &str, content: &str) -> Definition {
        Definition {
            key: key.to_owned(),
            content: content.to_owned(),
            mode: Mode::Http,
            routes: vec![Route::new(
                "a.example".parse().unwrap(),
                "/".parse().unwrap(),
                "web".parse().unwrap(),
            )],
        }
    }

    #[test]
    fn s09_definitions_that_differ_are_lost_for_all_until_they_agree() {
        let mut contest = Contest::default();
        let one = definition("router", "one");
        let two = definition("router", "two");
        assert!(contest.set("a", [&one].into_iter()).is_empty());
        assert!(contest.set("b", [&one].into_iter()).is_empty());
        assert_eq!(contest.lost("a", std::slice::from_ref(&one)).0.len(), 0);
        assert_eq!(
            contest.set("c", [&two].into_iter()),
            ["a".to_owned(), "b".to_owned()].into()
        );
        let (lost, said) = contest.lost("a", std::slice::from_ref(&one));
        assert_eq!((lost.len(), said.len()), (1, 1));
        let beside = definition("other", "one");
        let (lost, _) = contest.lost("a", &[one.clone(), beside]);
        assert!(lost.is_empty(), "another router makes the same route");
        assert_eq!(
            contest.set("c", std::iter::empty()),
            ["a".to_owned(), "b".to_owned()].into()
        );
        assert!(!contest.is_contested("router"));
    }
}
