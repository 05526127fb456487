//! What HAProxy answered to one command.

use std::fmt;

use serde::Serialize;

/// One reply: its text without the trailing line feeds, and the severity HAProxy gave it.
///
/// The severity does not tell whether the command was accepted (an accepted address and a refused one are both
/// warnings): ask [`verdict`](super::verdict).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    severity: Option<Severity>,
    text: String,
}

impl Reply {
    /// The reply in these bytes, which end before the prompt.
    ///
    /// Bytes that are no UTF-8 are replaced: HAProxy prints what its configuration has, which may be anything.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        let severity = Severity::of(&text);
        if severity.is_some() {
            text.drain(..Severity::PREFIX);
        }
        Self { severity, text }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The severity, which only messages have.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.severity
    }

    /// Returns `true` if HAProxy said nothing, which most commands mean as consent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The syslog severity of a message: 0 (emergency) to 7 (debug); 3 is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Severity(u8);

impl Severity {
    /// An error; smaller is worse.
    pub const ERROR: Self = Self(3);
    /// The bytes of `[3]: `.
    const PREFIX: usize = 5;

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    fn of(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [b'[', digit @ b'0'..=b'7', b']', b':', b' ', ..] => Some(Self(digit - b'0')),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_its_text_and_its_severity() {
        let reply = Reply::from("[3]: No such server.\n");
        assert_eq!(reply.text(), "No such server.");
        assert_eq!(reply.severity(), Some(Severity::ERROR));
        let dump = Reply::from("1\n# be_id\n");
        assert_eq!((dump.text(), dump.severity()), ("1\n# be_id", None));
        assert!(Reply::from("\n").is_empty());
        assert_eq!(Reply::new(vec![b'a', 0xff, b'\n']).text(), "a\u{fffd}");
    }
}
