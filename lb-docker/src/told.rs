//! Which diagnostics were told of each object, so that those whose cause is gone end.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Diagnostic, Update};

/// The diagnostics that were told, by object.
#[derive(Debug, Default)]
pub(crate) struct Told {
    objects: BTreeMap<String, Vec<Diagnostic>>,
}

impl Told {
    /// The updates after which `found` is what is wrong with `object`.
    pub(crate) fn set(&mut self, object: &str, found: Vec<Diagnostic>) -> Vec<Update> {
        let before = self.objects.remove(object).unwrap_or_default();
        let over = before.iter().any(|one| !found.contains(one));
        let mut updates = Vec::new();
        if over {
            updates.push(Update::Resolved {
                object: object.to_owned(),
            });
        }
        let new = found
            .iter()
            .filter(|one| over || !before.contains(one))
            .cloned()
            .map(Update::Diagnostic);
        updates.extend(new);
        if !found.is_empty() {
            self.objects.insert(object.to_owned(), found);
        }
        updates
    }

    /// The same for all objects at once: what is not in `found` is over.
    pub(crate) fn replace(&mut self, found: Vec<Diagnostic>) -> Vec<Update> {
        let mut by_object: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
        for diagnostic in found {
            by_object
                .entry(diagnostic.object.clone())
                .or_default()
                .push(diagnostic);
        }
        let objects: BTreeSet<String> = self
            .objects
            .keys()
            .chain(by_object.keys())
            .cloned()
            .collect();
        objects
            .into_iter()
            .flat_map(|object| {
                let found = by_object.remove(&object).unwrap_or_default();
                self.set(&object, found)
            })
            .collect()
    }

    /// All that was told and is not over.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.objects.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use lb_core::Severity;

    use super::*;

    fn diagnostic(object: &str, message: &str) -> Diagnostic {
        Diagnostic {
            object: object.to_owned(),
            field: None,
            value: None,
            message: message.to_owned(),
            severity: Severity::Warning,
        }
    }

    #[test]
    fn p19_a_diagnostic_whose_cause_is_gone_ends() {
        let mut told = Told::default();
        let (one, two) = (diagnostic("c", "one"), diagnostic("c", "two"));
        let both = vec![one.clone(), two.clone()];
        assert_eq!(told.set("c", both.clone()).len(), 2);
        assert_eq!(told.set("c", both), []);
        let resolved = Update::Resolved {
            object: "c".to_owned(),
        };
        assert_eq!(
            told.set("c", vec![two.clone()]),
            [resolved.clone(), Update::Diagnostic(two)]
        );
        assert_eq!(told.replace(Vec::new()), [resolved]);
        assert_eq!(told.all().count(), 0);
    }
}
