//! Which backends of a HAProxy one control plane manages. Pure.

use std::fmt;

use lb_core::Name;
use serde::{Deserialize, Serialize};

/// The backends that a control plane manages: names, and patterns in which `*` stands for any characters. Defaults to
/// all.
///
/// ```
/// use lb_haproxy::Scope;
///
/// let ours = Scope::new(["web", "shop-*"]).unwrap();
/// assert!(ours.owns(&"shop-api".parse().unwrap()) && !ours.owns(&"db".parse().unwrap()));
/// assert_eq!(ours.overlap(&Scope::new(["db*"]).unwrap()), None);
/// assert!(ours.overlap(&Scope::default()).is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Scope {
    patterns: Vec<String>,
}

impl Default for Scope {
    /// All backends.
    fn default() -> Self {
        Self {
            patterns: vec![ALL.to_owned()],
        }
    }
}

impl Scope {
    /// The backends that these patterns match.
    ///
    /// # Errors
    /// [`InvalidScope`] for no pattern, and for one that no backend's name can match.
    pub fn new(
        patterns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, InvalidScope> {
        let mut patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        for pattern in &patterns {
            let valid = |c: char| c.is_ascii_alphanumeric() || "*-_.:".contains(c);
            if pattern.is_empty() || pattern.len() > MOST_BYTES || !pattern.chars().all(valid) {
                let pattern = pattern.chars().take(MOST_BYTES).collect();
                return Err(InvalidScope::Pattern { pattern });
            }
        }
        patterns.sort_unstable();
        patterns.dedup();
        match patterns.len() {
            0 => Err(InvalidScope::Empty),
            1..=MOST => Ok(Self { patterns }),
            count => Err(InvalidScope::TooMany { count }),
        }
    }

    /// The backends of these names alone.
    #[must_use]
    pub fn only(names: impl IntoIterator<Item = Name>) -> Self {
        let mut patterns: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self { patterns }
    }

    /// Returns `true` if every backend belongs to it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.bytes().all(|byte| byte == b'*'))
    }

    /// Returns `true` if this backend belongs to it.
    #[must_use]
    pub fn owns(&self, backend: &Name) -> bool {
        self.owns_text(backend.as_str())
    }

    pub(crate) fn owns_text(&self, backend: &str) -> bool {
        self.patterns.iter().any(|pattern| meet(pattern, backend))
    }

    /// The two patterns that a backend could match which both scopes have; `None` where there is no such backend.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<(&str, String)> {
        self.patterns.iter().find_map(|ours| {
            let theirs = other.patterns.iter().find(|theirs| meet(ours, theirs))?;
            Some((ours.as_str(), theirs.clone()))
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_all() {
            true => f.write_str("all backends"),
            false => f.write_str(&self.patterns.join(", ")),
        }
    }
}

impl TryFrom<Vec<String>> for Scope {
    type Error = InvalidScope;

    fn try_from(patterns: Vec<String>) -> Result<Self, InvalidScope> {
        Self::new(patterns)
    }
}

impl From<Scope> for Vec<String> {
    fn from(scope: Scope) -> Self {
        scope.patterns
    }
}

/// Why a list of patterns is no [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// There is no pattern: a control plane that manages nothing has no use.
    #[error("manage is empty, expected names of backends or patterns such as \"web-*\"")]
    Empty,
    /// A pattern that no backend's name can match.
    #[error(
        "manage has {pattern:?}, expected a backend's name (letters, digits, `-`, `_`, `.`, `:`), in which `*` stands \
         for any characters"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// More patterns than can be looked through for each backend.
    #[error("manage has {count} patterns, expected at most {MOST}")]
    TooMany {
        /// The number of names.
        count: usize,
    },
}

/// Stands for any characters.
const ALL: &str = "*";

/// The most patterns.
const MOST: usize = 1000;

/// The most bytes of one.
const MOST_BYTES: usize = 255;

/// Returns `true` if there is a text that both patterns match. A text is a pattern without `*`.
fn meet(left: &str, right: &str) -> bool {
    let right = right.as_bytes();
    // For the part of `left` that was looked at: which beginnings of `right` can match the same text.
    let mut met: Vec<bool> = Vec::with_capacity(right.len() + 1);
    met.push(true);
    for byte in right {
        let before = met.last().copied().unwrap_or_default();
        met.push(before && *byte == b'*');
    }
    for byte in left.bytes() {
        let mut next = Vec::with_capacity(met.len());
        next.push(byte == b'*' && met.first().copied().unwrap_or_default());
        for (at, theirs) in right.iter().enumerate() {
            let (both, ours_only) = (met.get(at), met.get(at + 1));
            let theirs_only = next.last().copied().unwrap_or_default();
            let both = both.copied().unwrap_or_default();
            let ours_only = ours_only.copied().unwrap_or_default();
            next.push(match (byte, *theirs) {
                // A star matches nothing, or whatever the other side has.
                (b'*', _) | (_, b'*') => both || ours_only || theirs_only,
                (ours, theirs) => both && ours == theirs,
            });
        }
        met = next;
    }
    met.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_belongs_to_the_scope_whose_pattern_it_matches() {
        for (pattern, name, owns) in [
            ("web", "web", true),
            ("web", "web1", false),
            ("web*", "web1", true),
            ("web*", "we", false),
            ("*", "x", true),
            ("*-db", "eu-db", true),
            ("*-db", "eu-db2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
        ] {
            let scope = Scope::new([pattern]).unwrap();
            assert_eq!(scope.owns(&name.parse().unwrap()), owns, "{pattern} {name}");
        }
    }

    #[test]
    fn scopes_overlap_where_a_name_could_match_both() {
        for (left, right, overlaps) in [
            ("web", "web", true),
            ("web", "db", false),
            ("web*", "*db", true),
            ("web*", "db*", false),
            ("a*c", "ab*", true),
            ("a*c", "b*", false),
            ("*x*", "y*", true),
            ("a*b", "a", false),
        ] {
            let scope = |pattern: &str| Scope::new([pattern]).unwrap();
            let (left, right) = (scope(left), scope(right));
            assert_eq!(left.overlap(&right).is_some(), overlaps, "{left} {right}");
            assert_eq!(right.overlap(&left).is_some(), overlaps, "{right} {left}");
        }
        assert!(Scope::new(Vec::<String>::new()).is_err());
        assert!(Scope::new(["be web"]).is_err() && Scope::new([""]).is_err());
    }
}
