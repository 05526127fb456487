//! Collects what is wrong with one object: bounded in number and size, and without secrets.

use lb_core::{
    Diagnostic, Severity,
    credentials::{hidden, hidden_in_value},
};

/// The diagnostics of one object.
///
/// At most [`MOST`](Self::MOST) are kept; one more says how many are not shown.
#[derive(Debug)]
pub struct Diagnostics<'a> {
    object: &'a str,
    found: Vec<Diagnostic>,
    omitted: usize,
    invalid: bool,
    refused: bool,
}

impl<'a> Diagnostics<'a> {
    /// The most diagnostics that are kept of one object.
    pub const MOST: usize = 64;

    /// None yet, of `object` as diagnostics name it.
    #[must_use]
    pub fn new(object: &'a str) -> Self {
        Self {
            object,
            found: Vec::new(),
            omitted: 0,
            invalid: false,
            refused: false,
        }
    }

    /// Something was not honoured; the object is used all the same.
    pub fn warn(&mut self, key: &str, value: &str, message: impl Into<String>) {
        self.add(Severity::Warning, key, Some(value), message.into());
    }

    /// A value is none that its key can have: the object, or one of its services or routes, is left out.
    pub fn invalid(&mut self, key: &str, value: &str, message: impl Into<String>) {
        self.invalid = true;
        self.add(Severity::Error, key, Some(value), message.into());
    }

    /// As [`invalid`](Self::invalid), of a key whose value may be a secret and is never shown.
    pub fn invalid_masked(&mut self, key: &str, message: impl Into<String>) {
        self.invalid = true;
        self.add(Severity::Error, key, None, message.into());
    }

    /// Returns `true` if something was left out, and only because values are none that their keys can have: what the
    /// object said before may then be kept. What protects a route never allows that.
    #[must_use]
    pub fn is_only_invalid(&self) -> bool {
        self.invalid && !self.refused
    }

    /// Reports a key whose request is understood and not done: the object, or one of its services or routes, is left
    /// out.
    pub fn refuse(&mut self, key: &str, value: &str, message: impl Into<String>) {
        self.refused = true;
        self.add(Severity::Error, key, Some(value), message.into());
    }

    /// As [`warn`](Self::warn), of a key whose value may be a secret and is never shown.
    pub fn warn_masked(&mut self, key: &str, message: impl Into<String>) {
        self.add(Severity::Warning, key, None, message.into());
    }

    /// As [`refuse`](Self::refuse), of a key whose value may be a secret and is never shown.
    pub fn refuse_masked(&mut self, key: &str, message: impl Into<String>) {
        self.refused = true;
        self.add(Severity::Error, key, None, message.into());
    }

    /// Reports a restriction that cannot be honoured: the route is withheld. The value may be a secret and is
    /// never shown.
    pub fn withhold(&mut self, key: &str, message: impl Into<String>) {
        self.refused = true;
        self.add(Severity::Withheld, key, None, message.into());
    }

    /// Adds diagnostics that were collected elsewhere.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        for other in others {
            self.push(other);
        }
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn into_inner(mut self) -> Vec<Diagnostic> {
        if self.omitted > 0 {
            self.found.push(Diagnostic {
                object: self.object.to_owned(),
                field: None,
                value: None,
                message: format!("{} more diagnostics are not shown", self.omitted),
                severity: Severity::Warning,
            });
        }
        self.found
    }

    fn add(&mut self, severity: Severity, key: &str, value: Option<&str>, message: String) {
        let value = value.filter(|value| !value.is_empty());
        let plain = value.map(shown);
        // Errors of parsers repeat what they were given.
        let message = match (value, &plain) {
            (Some(value), Some(plain)) if plain != value => message.replace(value, plain),
            _ => message,
        };
        self.push(Diagnostic {
            object: self.object.to_owned(),
            field: Some(bounded(key, 256)),
            value: plain,
            message: bounded(&hidden(&message), 512),
            severity,
        });
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        // One cause may be found from several sides.
        if self.found.contains(&diagnostic) {
            return;
        }
        // An error is worth more than a warning that came before it.
        if self.found.len() < Self::MOST {
            self.found.push(diagnostic);
            return;
        }
        self.omitted += 1;
        if diagnostic.severity != Severity::Warning
            && let Some(last) = self
                .found
                .iter_mut()
                .rev()
                .find(|known| known.severity == Severity::Warning)
        {
            *last = diagnostic;
        }
    }
}

/// A value as it is shown: cut to a length that fits a log line, without the credentials of an URL.
fn shown(value: &str) -> String {
    bounded(&hidden_in_value(value), 256)
}

/// A text cut to a length that fits a log line.
fn bounded(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h10_diagnostics_of_one_object_are_bounded_and_keep_the_errors() {
        let mut diagnostics = Diagnostics::new("container c");
        for number in 0..1000 {
            diagnostics.warn(&format!("key{number}"), &"x".repeat(5000), "unknown");
        }
        diagnostics.refuse("rule", "", "expected a rule");
        let all = diagnostics.into_inner();
        assert_eq!(all.len(), Diagnostics::MOST + 1);
        assert!(all.iter().any(|one| one.severity == Severity::Error));
        assert!(all.last().unwrap().message.starts_with("937 more"));
        let value = all.first().unwrap().value.as_deref().unwrap();
        assert_eq!(value.chars().count(), 257);
    }

    #[test]
    fn s05_credentials_of_an_url_are_never_shown() {
        for (value, expected) in [
            ("http://joe:secret@10.0.0.1/x", "http://***@10.0.0.1/x"),
            ("joe:secret@host", "***@host"),
            ("http://joe:s@a, http://jim:secret@b", "http://***@b"),
            ("web@docker", "web@docker"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
