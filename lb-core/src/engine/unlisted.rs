//! The diagnostics of a source that are too many to be listed: how many there are, and which end.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use crate::{condition::ConditionKind, source::Diagnostic};

/// The most that are told apart. What is beyond is not counted.
const MOST: usize = 65_536;

/// Diagnostics of which only the number is known. They are told apart by hashes of their objects and fields, as texts of
/// thousands would take more than what is served.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    objects: BTreeMap<u64, BTreeMap<u64, One>>,
    counts: BTreeMap<ConditionKind, usize>,
}

/// The kind of one, and when it was said.
#[derive(Debug)]
struct One {
    kind: ConditionKind,
    run: u64,
}

impl Unlisted {
    /// The number of diagnostics.
    pub(super) fn len(&self) -> usize {
        self.counts.values().sum()
    }

    /// The number of each kind of condition.
    pub(super) fn counts(&self) -> BTreeMap<ConditionKind, usize> {
        self.counts.clone()
    }

    /// Counts one that was said in this run.
    pub(super) fn add(&mut self, diagnostic: &Diagnostic, run: u64) {
        if self.len() >= MOST {
            return;
        }
        let kind = diagnostic.severity.kind();
        let object = self.objects.entry(hash(&diagnostic.object)).or_default();
        let before = object.insert(hash(&diagnostic.field), One { kind, run });
        *self.counts.entry(kind).or_default() += 1;
        self.forget(before.as_ref());
    }

    /// Counts one no more: it is listed.
    pub(super) fn remove(&mut self, diagnostic: &Diagnostic) {
        let object = hash(&diagnostic.object);
        let Some(fields) = self.objects.get_mut(&object) else {
            return;
        };
        let gone = fields.remove(&hash(&diagnostic.field));
        if fields.is_empty() {
            self.objects.remove(&object);
        }
        self.forget(gone.as_ref());
    }

    /// Drops all of an object; `false` when there was none.
    pub(super) fn resolve(&mut self, object: &str) -> bool {
        let fields = self.objects.remove(&hash(object));
        for gone in fields.iter().flat_map(BTreeMap::values) {
            self.forget(Some(gone));
        }
        fields.is_some()
    }

    /// Drops all but those of this run; `false` when there was none.
    pub(super) fn keep(&mut self, run: u64) -> bool {
        let before = self.len();
        self.objects.retain(|_, fields| {
            fields.retain(|_, one| one.run == run);
            !fields.is_empty()
        });
        self.counts.clear();
        for one in self.objects.values().flat_map(BTreeMap::values) {
            *self.counts.entry(one.kind).or_default() += 1;
        }
        self.len() < before
    }

    fn forget(&mut self, gone: Option<&One>) {
        if let Some(count) = gone.and_then(|gone| self.counts.get_mut(&gone.kind)) {
            *count = count.saturating_sub(1);
        }
    }
}

fn hash<T: Hash + ?Sized>(text: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
