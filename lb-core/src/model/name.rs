//! Names of services, endpoints, sources and targets.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A name that is valid everywhere: in HAProxy, in metrics, in file names and on a command line.
///
/// One to 128 characters out of `A-Z a-z 0-9 . _ : -`. Nothing else can be in a name, so a name needs no
/// escaping wherever it is written.
///
/// ```
/// use lb_core::Name;
///
/// let name: Name = "shop-web.1".parse().unwrap();
/// assert_eq!(name.as_str(), "shop-web.1");
/// assert!("shop web".parse::<Name>().is_err());
/// assert!("".parse::<Name>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The most characters a name may have.
    pub const MAX_LEN: usize = 128;

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a name out of any text: the text itself where it is a valid name, else its safe characters
    /// followed by a hash of the whole text, so that different texts give different names.
    ///
    /// The same text gives the same name on every machine and in every release.
    ///
    /// ```
    /// use lb_core::Name;
    ///
    /// assert_eq!(Name::from_text("web.1").as_str(), "web.1");
    /// let slashed = Name::from_text("/proxy/web");
    /// assert!(slashed.as_str().starts_with("_proxy_web-"));
    /// assert_ne!(slashed, Name::from_text("_proxy/web"));
    /// ```
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        if let Ok(name) = text.parse() {
            return name;
        }
        let hash = fnv1a(text.as_bytes());
        let mut safe: String = text
            .chars()
            .take(Self::MAX_LEN - 17)
            .map(|c| if is_safe(c) { c } else { '_' })
            .collect();
        safe.push('-');
        safe.push_str(&format!("{hash:016x}"));
        Self(safe.into())
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidName::TooLong { len: text.len() });
        }
        match text.chars().find(|c| !is_safe(*c)) {
            Some(found) => Err(InvalidName::Character {
                name: text.to_owned(),
                found,
            }),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// A character outside the safe alphabet.
    #[error("name {name:?} has {found:?}, expected only A-Z a-z 0-9 . _ : -")]
    Character {
        /// The whole text.
        name: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// No text at all.
    #[error("name is empty, expected 1 to 128 characters")]
    Empty,
    /// More than [`Name::MAX_LEN`] bytes.
    #[error("name has {len} bytes, expected 1 to 128")]
    TooLong {
        /// The number of bytes it has.
        len: usize,
    },
}

fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')
}

/// FNV-1a: small, stable across releases and machines, which is all that a name needs.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals_name_the_value_and_what_was_expected() {
        assert_eq!(
            "a;b".parse::<Name>().unwrap_err().to_string(),
            "name \"a;b\" has ';', expected only A-Z a-z 0-9 . _ : -"
        );
        assert_eq!(
            "x".repeat(129).parse::<Name>().unwrap_err(),
            InvalidName::TooLong { len: 129 }
        );
    }

    proptest! {
        #[test]
        fn i6_no_text_makes_a_name_outside_the_alphabet(text in ".*") {
            let name = Name::from_text(&text);
            prop_assert!(name.as_str().parse::<Name>().is_ok());
        }
    }
}
