//! The diagnostics that hold now, by the key they are about, up to a bound.

use std::{collections::BTreeMap, sync::Arc};

use lb_core::{
    Diagnostic, Severity,
    credentials::{hidden, hidden_in_value, is_secret},
};

use super::super::{fact::Complaint, protection::is_place, rules::Subject};

/// The most keys whose diagnostics are told.
const MAX_KEYS: usize = 1024;

/// The most diagnostics of one key.
const MAX_OF_KEY: usize = 16;

/// The longest part of a key or a value that a diagnostic shows, in characters.
const SHOWN: usize = 200;

/// The diagnostics that hold now, and what a step changed of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    troubles: BTreeMap<Arc<[u8]>, Trouble>,
    /// The key that stands for a subject that is not complete.
    incomplete: BTreeMap<Subject, Arc<[u8]>>,
    /// The keys whose diagnostics changed since the last [`changes`](Self::changes), and whether they had some.
    changed: BTreeMap<Arc<[u8]>, bool>,
    /// Diagnostics were left out: there are too many.
    overflow: bool,
    overflow_told: bool,
}

/// A problem of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trouble {
    /// With its value alone.
    value: Vec<Diagnostic>,
    /// With what it speaks of, as far as all keys say.
    subject: Vec<Diagnostic>,
}

impl Ledger {
    /// Sets what is wrong with a key's value.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8], complaints: Vec<Complaint>) {
        let told = complaints.into_iter().take(MAX_OF_KEY);
        let value: Vec<Diagnostic> = told
            .map(|complaint| diagnostic(key, Some(value), complaint))
            .collect();
        self.edit(key, |trouble| trouble.value = value);
    }

    /// Sets what is wrong with a subject, at the first of its keys.
    pub(super) fn set_subject(&mut self, subject: &Subject, key: &[u8], wrong: Vec<Complaint>) {
        let before = self.incomplete.remove(subject);
        if let Some(before) = before
            && (wrong.is_empty() || *before != *key)
        {
            self.edit(&before, |trouble| trouble.subject.clear());
        }
        if wrong.is_empty() {
            return;
        }
        let wrong = wrong.into_iter().take(MAX_OF_KEY);
        let told: Vec<_> = wrong
            .map(|complaint| diagnostic(key, None, complaint))
            .collect();
        self.edit(key, |trouble| trouble.subject = told);
        if let Some((key, _)) = self.troubles.get_key_value(key) {
            self.incomplete.insert(subject.clone(), Arc::clone(key));
        }
    }

    /// The objects whose diagnostics end, and the diagnostics that begin, since this was last asked.
    pub(super) fn changes(&mut self) -> (Vec<String>, Vec<Diagnostic>) {
        let (mut resolved, mut told) = (Vec::new(), Vec::new());
        for (key, had) in std::mem::take(&mut self.changed) {
            if had {
                resolved.push(shown_key(&key));
            }
            if let Some(trouble) = self.troubles.get(&key) {
                told.extend(trouble.all().cloned());
            }
        }
        if self.overflow && !self.overflow_told {
            self.overflow_told = true;
            told.push(overflow());
        }
        (resolved, told)
    }

    /// All diagnostics that hold now; from here on, changes are counted anew.
    pub(super) fn all(&mut self) -> Vec<Diagnostic> {
        self.changed.clear();
        self.overflow_told = self.overflow;
        let mut all: Vec<_> = self
            .troubles
            .values()
            .flat_map(Trouble::all)
            .cloned()
            .collect();
        all.extend(self.overflow.then(overflow));
        all
    }

    fn edit(&mut self, key: &[u8], edit: impl FnOnce(&mut Trouble)) {
        let before = self.troubles.get(key);
        let mut after = before.cloned().unwrap_or_default();
        edit(&mut after);
        if before.map_or(after.is_empty(), |before| *before == after) {
            return;
        }
        let had = before.is_some();
        if !had && self.troubles.len() >= MAX_KEYS {
            self.overflow = true;
            return;
        }
        let key = match self.troubles.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => key.into(),
        };
        self.changed.entry(Arc::clone(&key)).or_insert(had);
        if after.is_empty() {
            self.troubles.remove(&key);
        } else {
            self.troubles.insert(key, after);
        }
    }
}

impl Trouble {
    fn is_empty(&self) -> bool {
        self.value.is_empty() && self.subject.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.value.iter().chain(&self.subject)
    }
}

fn diagnostic(key: &[u8], value: Option<&[u8]>, complaint: Complaint) -> Diagnostic {
    let value = match complaint.found {
        Some(found) => Some(found),
        // The whole value: what is no address, host or path may be anything that got here by mistake.
        None => value.map(shown).filter(|value| is_place(value)),
    };
    let mut names = String::from_utf8_lossy(key).into_owned();
    names.extend(complaint.field.as_deref());
    let found = value.as_deref().unwrap_or_default();
    let hides = complaint.secret || is_secret(&names) || is_secret(found);
    Diagnostic {
        object: shown_key(key),
        field: complaint.field,
        value: value
            .filter(|_| !hides)
            .map(|value| hidden_in_value(&value).into_owned()),
        message: hidden(&complaint.message).into_owned(),
        severity: complaint.severity,
    }
}

fn overflow() -> Diagnostic {
    Diagnostic {
        object: "keys".to_owned(),
        field: None,
        value: None,
        message: format!("more than {MAX_KEYS} keys have diagnostics, the others are not shown"),
        severity: Severity::Warning,
    }
}

fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..4 * SHOWN).unwrap_or(bytes);
    String::from_utf8_lossy(start).chars().take(SHOWN).collect()
}

/// A key as text. Different keys are different texts also where they are cut.
fn shown_key(key: &[u8]) -> String {
    let text = shown(key);
    if text.as_bytes() == key {
        return text;
    }
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{text}...#{hash:016x}")
}
