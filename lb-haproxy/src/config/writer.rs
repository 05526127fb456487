//! Lines of a configuration.

use std::{fmt::Write as _, time::Duration};

use super::ConfigError;
use crate::proto::Version;

/// The text of a configuration, as it is written for one version.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) version: &'a Version,
    text: String,
}

impl<'a> Writer<'a> {
    pub(super) fn new(version: &'a Version) -> Self {
        Self {
            version,
            text: String::new(),
        }
    }

    /// Begins a section.
    pub(super) fn section(&mut self, line: std::fmt::Arguments<'_>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.put("", line);
    }

    /// A line of the current section.
    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.put("  ", line);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn needs(
        &self,
        what: &'static str,
        major: u16,
        minor: u16,
    ) -> Result<(), ConfigError> {
        match self.version.at_least(major, minor) {
            true => Ok(()),
            false => Err(ConfigError::NeedsVersion {
                what,
                major,
                minor,
                version: self.version.clone(),
            }),
        }
    }

    fn put(&mut self, indent: &str, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.text, "{indent}{line}");
    }
}

/// A time as HAProxy reads it without doubt.
pub(super) fn time(what: &'static str, time: Duration) -> Result<String, ConfigError> {
    match time.as_millis() {
        millis @ 1..=2_073_600_000 => Ok(format!("{millis}ms")),
        _ => Err(ConfigError::OutOfRange {
            what,
            value: format!("{time:?}"),
            expected: "1 ms to 24 days",
        }),
    }
}

/// A count of which 0 would mean something else than none.
pub(super) fn positive(what: &'static str, value: u32) -> Result<u32, ConfigError> {
    match value {
        1..=1_000_000_000 => Ok(value),
        _ => Err(ConfigError::OutOfRange {
            what,
            value: value.to_string(),
            expected: "1 to 1000000000",
        }),
    }
}
