//! What was reported to be wrong with the files, so that a later reading ends it. Pure.

use std::collections::BTreeSet;

use crate::source::{Diagnostic, Update};

/// The diagnostics that are in effect: their objects and fields. The object has line and column, so that one of the
/// next reading replaces none by itself.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<(String, Option<String>)>);

impl Told {
    /// Returns the updates after which `found` is all that is wrong.
    pub(super) fn replace(&mut self, found: Vec<Diagnostic>) -> Vec<Update> {
        let now = found
            .iter()
            .map(|wrong| (wrong.object.clone(), wrong.field.clone()))
            .collect();
        let before = std::mem::replace(&mut self.0, now);
        let over: BTreeSet<String> = before
            .difference(&self.0)
            .map(|(object, _)| object.clone())
            .collect();
        let over = over.into_iter().map(|object| Update::Resolved { object });
        over.chain(found.into_iter().map(Update::Diagnostic))
            .collect()
    }
}
