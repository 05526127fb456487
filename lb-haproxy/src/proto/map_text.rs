//! What may be written into a map: file names, keys, values, transactions.

use std::{fmt, str::FromStr, sync::Arc};

use serde::Serialize;

macro_rules! map_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes it may have.
            pub const MAX_LEN: usize = $max;

            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidMapText;

            fn from_str(text: &str) -> Result<Self, InvalidMapText> {
                check($what, text, Self::MAX_LEN)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

map_text! {
    /// A map as HAProxy knows it: the file named in its configuration.
    ///
    /// ```
    /// use lb_haproxy::proto::MapName;
    ///
    /// assert!("/etc/haproxy/routes.map".parse::<MapName>().is_ok());
    /// assert!("#0".parse::<MapName>().is_err(), "a number may be another map after a reload");
    /// assert!("a;b".parse::<MapName>().is_err());
    /// ```
    MapName, "map name", 1024
}

map_text! {
    /// The key of a map entry: no blank or control character, no `;`, no backslash, no `<<`, no leading `#`.
    ///
    /// HAProxy reads each of those as something else than itself, some versions in some positions only.
    ///
    /// ```
    /// use lb_haproxy::proto::MapKey;
    ///
    /// assert!("shop.example/api".parse::<MapKey>().is_ok());
    /// assert!("#0x55d0".parse::<MapKey>().is_err(), "it would name an entry by its address in memory");
    /// ```
    MapKey, "map key", 2048
}

map_text! {
    /// The value of a map entry: as a [`MapKey`], and no blank either, which HAProxy would cut silently.
    MapValue, "map value", 1024
}

map_text! {
    /// A certificate, or a list of certificates, as HAProxy knows it: the file named in its configuration. Not
    /// beginning with `*`, which would name a change that is not committed.
    ///
    /// ```
    /// use lb_haproxy::proto::CertName;
    ///
    /// assert!("/etc/haproxy/site.pem".parse::<CertName>().is_ok());
    /// assert!("*/etc/haproxy/site.pem".parse::<CertName>().is_err());
    /// ```
    CertName, "certificate name", 1024
}

/// The number of a map transaction, as `prepare map` gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MapVersion(u32);

impl MapVersion {
    /// The version with this number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no [`MapName`], [`MapKey`] or [`MapValue`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMapText {
    /// A character HAProxy would read as something else than itself.
    #[error(
        "{what} {text:?} has {found:?}, expected no blank, control character, `;` or backslash"
    )]
    Character {
        /// Map name, key or value.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// No text at all.
    #[error("{what} is empty")]
    Empty {
        /// Map name, key or value.
        what: &'static str,
    },
    /// A first character that makes it a reference.
    #[error("{what} {text:?} begins with {found:?}, which makes it a reference")]
    Reference {
        /// Map name, key or value.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The character.
        found: char,
    },
    /// Two `<` in a row, which begin a payload.
    #[error("{what} {text:?} has `<<`, which begins a payload")]
    Payload {
        /// Map name, key or value.
        what: &'static str,
        /// The whole text.
        text: String,
    },
    /// Too many bytes.
    #[error("{what} has {len} bytes, expected 1 to {max}")]
    TooLong {
        /// Map name, key or value.
        what: &'static str,
        /// The number of bytes it has.
        len: usize,
        /// The most it may have.
        max: usize,
    },
}

fn check(what: &'static str, text: &str, max: usize) -> Result<(), InvalidMapText> {
    let first = text.chars().next().ok_or(InvalidMapText::Empty { what })?;
    if text.len() > max {
        return Err(InvalidMapText::TooLong {
            what,
            len: text.len(),
            max,
        });
    }
    let owned = || text.to_owned();
    if let Some(found) = text
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || matches!(c, ';' | '\\'))
    {
        return Err(InvalidMapText::Character {
            what,
            text: owned(),
            found,
        });
    }
    if matches!(first, '#' | '@') || (first == '*' && what == "certificate name") {
        return Err(InvalidMapText::Reference {
            what,
            text: owned(),
            found: first,
        });
    }
    if text.contains("<<") {
        return Err(InvalidMapText::Payload {
            what,
            text: owned(),
        });
    }
    Ok(())
}
