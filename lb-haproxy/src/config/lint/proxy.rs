//! A backend with what it inherits.

use super::{
    document::{At, Document, Line, Section},
    servers::{ServerLine, server_lines},
};
use crate::policy::Policy;

/// A backend, its `defaults` applied.
pub(super) struct Proxy<'d> {
    pub(super) at: At,
    pub(super) name: &'d str,
    policy: &'d Policy,
    /// Inherited lines first.
    pub(super) lines: Vec<&'d Line>,
    /// Its servers and slots.
    pub(super) servers: Vec<ServerLine<'d>>,
}

impl<'d> Proxy<'d> {
    pub(super) fn of(document: &'d Document, section: &'d Section, policy: &'d Policy) -> Self {
        let lines = document.lines(section);
        Self {
            at: section.at,
            name: &section.name,
            policy,
            servers: server_lines(&lines),
            lines,
        }
    }

    /// The line that counts among those that begin like this: the last one.
    pub(super) fn last(&self, words: &[&str]) -> Option<&'d Line> {
        let mut lines = self.lines.iter().rev();
        lines.find(|line| line.begins(words)).copied()
    }

    /// The line that sets an option, unless a later one takes it back.
    pub(super) fn option(&self, name: &str) -> Option<&'d Line> {
        let mut lines = self.lines.iter().rev();
        let line = lines.find(|line| {
            line.begins(&["option", name])
                || line.begins(&["no", "option", name])
                || line.begins(&["default", "option", name])
        })?;
        line.begins(&["option"]).then_some(*line)
    }

    pub(super) fn is_http(&self) -> bool {
        self.last(&["mode"])
            .is_some_and(|line| line.word(1) == "http")
    }

    /// Those of its servers that are slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &ServerLine<'d>> {
        let policy = self.policy;
        self.servers
            .iter()
            .filter(move |server| server.is_slot(policy))
    }
}
