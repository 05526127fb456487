//! Objects of listings that could not be read, so that what is said of them ends when they are read or gone. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use lb_core::{Diagnostic, Update};

use crate::{
    container_reader::{described, unreadable},
    told::Told,
};

/// The most objects of one kind of which is told that they cannot be read.
const MOST: usize = 256;

/// The objects that could not be read, and what is to be sent of them.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    told: Told,
    objects: BTreeMap<&'static str, BTreeSet<String>>,
    updates: Vec<Update>,
}

impl Unread {
    /// Takes in that all objects of a kind were listed, of which these, by id and error, could not be read.
    pub(crate) fn listed(&mut self, kind: &'static str, bad: Vec<(String, String)>) {
        let mut found: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
        for (id, error) in bad {
            let object = described(kind, &id);
            if found.len() < MOST || found.contains_key(&object) {
                // Several that have no id are one object.
                found.insert(object, vec![unreadable(kind, &id, error)]);
            }
        }
        let now = found.keys().cloned().collect();
        let before = mem::replace(self.objects.entry(kind).or_default(), now);
        for object in before {
            found.entry(object).or_default();
        }
        for (object, diagnostics) in found {
            self.updates.extend(self.told.set(&object, diagnostics));
        }
    }

    /// Takes in that one object could not be read.
    pub(crate) fn failed(&mut self, kind: &'static str, id: &str, error: String) {
        let objects = self.objects.entry(kind).or_default();
        let object = described(kind, id);
        if objects.len() < MOST || objects.contains(&object) {
            objects.insert(object.clone());
            let diagnostic = unreadable(kind, id, error);
            self.updates
                .extend(self.told.set(&object, vec![diagnostic]));
        }
    }

    /// Takes in that one object was read, or is gone.
    pub(crate) fn read(&mut self, kind: &'static str, id: &str) {
        let object = described(kind, id);
        if let Some(objects) = self.objects.get_mut(kind) {
            objects.remove(&object);
        }
        self.updates.extend(self.told.set(&object, Vec::new()));
    }

    /// The updates to send now.
    pub(crate) fn take(&mut self) -> Vec<Update> {
        mem::take(&mut self.updates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(ids: &[&str]) -> Vec<(String, String)> {
        ids.iter()
            .map(|id| ((*id).to_owned(), "no".to_owned()))
            .collect()
    }

    fn told(unread: &mut Unread) -> Vec<String> {
        let each = unread.take().into_iter().map(|update| match update {
            Update::Diagnostic(diagnostic) => format!("+{}", diagnostic.object),
            Update::Resolved { object } => format!("-{object}"),
            other => format!("{other:?}"),
        });
        each.collect()
    }

    #[test]
    fn p19_what_was_not_read_is_told_once_and_ends() {
        let mut unread = Unread::default();
        unread.listed("task", bad(&["a", "b"]));
        unread.listed("node", bad(&["a"]));
        assert_eq!(told(&mut unread), ["+task a", "+task b", "+node a"]);
        unread.listed("task", bad(&["a", "b"]));
        assert_eq!(told(&mut unread), [""; 0]);
        // One was read, or is gone: the same of another kind stays.
        unread.listed("task", bad(&["b"]));
        assert_eq!(told(&mut unread), ["-task a"]);
        unread.failed("task", "c", "no".to_owned());
        unread.read("task", "b");
        unread.read("task", "never told");
        assert_eq!(told(&mut unread), ["+task c", "-task b"]);
        unread.listed("task", Vec::new());
        assert_eq!(told(&mut unread), ["-task c"]);
    }

    #[test]
    fn objects_are_bounded_and_those_without_an_id_are_one() {
        let mut unread = Unread::default();
        unread.listed("task", bad(&["", ""]));
        assert_eq!(told(&mut unread), ["+task "]);
        let ids: Vec<String> = (0..1000).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        unread.listed("task", bad(&ids));
        assert_eq!(told(&mut unread).len(), MOST + 1);
    }
}
