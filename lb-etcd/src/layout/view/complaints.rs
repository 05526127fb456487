//! What is wrong with keys and values, up to a bound.

use lb_core::{Diagnostic, Severity};

use super::super::fact::Complaint;

/// The most diagnostics of one step; more are counted only.
const MAX_DIAGNOSTICS: usize = 128;

/// The longest part of a value that a diagnostic shows, in characters.
const SHOWN: usize = 200;

/// Diagnostics, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    pub(super) of_values_only: bool,
    told: Vec<Diagnostic>,
    untold: usize,
}

impl Complaints {
    /// Those about single values, without those about what is not complete yet.
    pub(super) fn of_values() -> Self {
        Self {
            of_values_only: true,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8], complaint: Complaint, kept: bool) {
        let mut message = complaint.message;
        if kept {
            message.push_str("; what the key last meant is kept");
        }
        self.push(Diagnostic {
            object: shown(key),
            field: complaint.field,
            value: Some(complaint.found.unwrap_or_else(|| shown(value))),
            message,
            severity: complaint.severity,
        });
    }

    pub(super) fn add_incomplete(&mut self, key: &[u8], complaint: Complaint) {
        if self.of_values_only {
            return;
        }
        self.push(Diagnostic {
            object: shown(key),
            field: complaint.field,
            value: complaint.found,
            message: complaint.message,
            severity: Severity::Warning,
        });
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if self.told.len() < MAX_DIAGNOSTICS {
            self.told.push(diagnostic);
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        if self.untold > 0 {
            self.told.push(Diagnostic {
                object: "keys".to_owned(),
                field: None,
                value: None,
                message: format!("{} more diagnostics are not shown", self.untold),
                severity: Severity::Warning,
            });
        }
        self.told
    }
}

fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..4 * SHOWN).unwrap_or(bytes);
    String::from_utf8_lossy(start).chars().take(SHOWN).collect()
}
