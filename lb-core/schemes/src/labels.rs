//! Reads the labels below one prefix and remembers which were understood.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crate::Diagnostics;

/// The labels below one prefix; what is taken counts as understood.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    prefix: &'static str,
    left: BTreeMap<&'a str, &'a str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(labels: &'a BTreeMap<String, String>, prefix: &'static str) -> Self {
        let left = labels
            .range(prefix.to_owned()..)
            .map_while(|(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
            .collect();
        Self { prefix, left }
    }

    /// Takes one label's text.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a str> {
        self.left.remove(key)
    }

    /// Takes one label and parses it; a text that does not parse is complained of and counts as absent.
    pub(crate) fn parse<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<T> {
        let text = self.take(key)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                diagnostics.warn(&self.full(key), text, error.to_string());
                None
            }
        }
    }

    /// Takes one label that says yes or no.
    pub(crate) fn flag(&mut self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Option<bool> {
        let text = self.take(key)?;
        let found = flag(text);
        if found.is_none() {
            diagnostics.warn(&self.full(key), text, "expected true or false");
        }
        found
    }

    /// Takes one label that is a port.
    pub(crate) fn port(&mut self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Port {
        match self.take(key) {
            None => Port::Absent,
            Some(text) => match text.trim().parse::<u16>() {
                Ok(port) if port != 0 => Port::Number(port),
                _ => {
                    diagnostics.invalid(&self.full(key), text, "expected a port from 1 to 65535");
                    Port::Invalid
                }
            },
        }
    }

    /// The keys that are left, without the prefix.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        self.left.keys().copied().collect()
    }

    /// The whole label's name.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Takes what is left and complains of each with the message that `why` gives.
    pub(crate) fn finish(
        self,
        diagnostics: &mut Diagnostics<'_>,
        why: impl Fn(&str) -> &'static str,
    ) {
        for key in self.left.keys() {
            diagnostics.warn_masked(&self.full(key), why(key));
        }
    }
}

/// Reports the labels whose prefix is `prefix` but for its letter case: none of them counts.
pub(crate) fn misspelt_prefixes(
    labels: &BTreeMap<String, String>,
    prefix: &str,
    diagnostics: &mut Diagnostics<'_>,
) {
    for (key, _) in with_misspelt_prefix(labels, prefix) {
        diagnostics.warn_masked(key, misspelt_prefix(prefix));
    }
}

/// The labels whose prefix is `prefix` but for its letter case, each with what follows the prefix.
pub(crate) fn with_misspelt_prefix<'a>(
    labels: &'a BTreeMap<String, String>,
    prefix: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    labels.keys().filter_map(move |key| {
        let (start, rest) = key.split_at_checked(prefix.len())?;
        let is_misspelt = start != prefix && start.eq_ignore_ascii_case(prefix);
        is_misspelt.then_some((key.as_str(), rest))
    })
}

/// The message for a label whose prefix is `prefix` but for its letter case.
pub(crate) fn misspelt_prefix(prefix: &str) -> String {
    format!("unknown label, expected one that begins with {prefix}: letter case counts")
}

/// A label that is a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Absent,
    Invalid,
    Number(u16),
}

impl Port {
    /// The number, if it is one.
    pub(crate) fn number(self) -> Option<u16> {
        match self {
            Self::Number(port) => Some(port),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// A text that says yes or no as Go reads it.
pub(crate) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A text that says yes or no.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}
