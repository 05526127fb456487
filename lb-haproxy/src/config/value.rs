//! Values that can stand in a configuration line as they are.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

/// A path that needs no quoting: letters, digits and `. _ / @ : + = , -`, not beginning with `-`.
///
/// ```
/// use lb_haproxy::config::ConfigPath;
///
/// assert!("/run/haproxy/admin.sock".parse::<ConfigPath>().is_ok());
/// assert!("/run/my socket".parse::<ConfigPath>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigPath(Arc<str>);

impl ConfigPath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl FromStr for ConfigPath {
    type Err = InvalidConfigValue;

    fn from_str(text: &str) -> Result<Self, InvalidConfigValue> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._/@:+=,-".contains(c);
        check("path", text, 1024, fits, |c| c != '-').map(Self)
    }
}

impl fmt::Display for ConfigPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an HTTP header: letters, digits, `-` and `_`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

impl FromStr for HeaderName {
    type Err = InvalidConfigValue;

    fn from_str(text: &str) -> Result<Self, InvalidConfigValue> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        check("header name", text, 128, fits, |c| c.is_ascii_alphabetic()).map(Self)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot stand in a configuration as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfigValue {
    /// A character that HAProxy would read as something else, or that the value may not begin with.
    #[error("{what} {text:?} has {found:?}, which cannot stand there")]
    Character {
        /// The name of what it should be.
        what: &'static str,
        /// The text.
        text: String,
        /// The first such character.
        found: char,
    },
    /// None, or too many bytes.
    #[error("{what} has {len} bytes, expected 1 to {max}")]
    Length {
        /// The name of what it should be.
        what: &'static str,
        /// The number of bytes it has.
        len: usize,
        /// The most it may have.
        max: usize,
    },
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    fits: impl Fn(char) -> bool,
    begins: impl Fn(char) -> bool,
) -> Result<Arc<str>, InvalidConfigValue> {
    if text.is_empty() || text.len() > max {
        return Err(InvalidConfigValue::Length {
            what,
            len: text.len(),
            max,
        });
    }
    let first = text.chars().next().filter(|c| !begins(*c));
    match text.chars().find(|c| !fits(*c)).or(first) {
        Some(found) => Err(InvalidConfigValue::Character {
            what,
            text: text.to_owned(),
            found,
        }),
        None => Ok(text.into()),
    }
}
