//! The paths of a route.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::InvalidRoute;

/// The paths of a route, in normal form: without `//`, `.`, `..`, codes such as `%2f` and parameters such as `;x`. Written `/a/b` for a prefix that ends on a segment border, `=/a/b` for one path, `^/a/b` for every
/// path that begins with this text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PathMatch {
    /// Exactly this path.
    Exact(Arc<str>),
    /// This path and everything below it: `/a` matches `/a` and `/a/b`, not `/ab`. `/` matches everything.
    Prefix(Arc<str>),
    /// Every path that begins with this text, on a segment border or not: `^/a` matches `/a`, `/a/b` and `/ab`; `^/a/`
    /// matches `/a/b`, not `/a`. `^/` is every path. Goes with `strip_prefix` only where it ends in `/`.
    Beginning(Arc<str>),
}

impl PathMatch {
    /// Every path.
    #[must_use]
    pub fn any() -> Self {
        Self::Prefix("/".into())
    }

    /// Returns `true` if a request's path (without query) is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => path == own.as_ref(),
            Self::Prefix(own) if own.ends_with('/') => path.starts_with(own.as_ref()),
            Self::Prefix(own) => path
                .strip_prefix(own.as_ref())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Beginning(own) => path.starts_with(own.as_ref()),
        }
    }

    /// Returns `true` if every path of the other is one of these.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(_), _) => self == other,
            // Of what begins with `/a`, `/ab` is not below `/a`.
            (Self::Prefix(own), Self::Beginning(path)) => {
                own.ends_with('/') && path.starts_with(own.as_ref())
                    || path
                        .strip_prefix(own.as_ref())
                        .is_some_and(|rest| rest.starts_with('/'))
            }
            _ => self.matches(other.text()),
        }
    }

    /// The path as it is written, without the sign before it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) | Self::Beginning(path) => path,
        }
    }

    /// The prefix of the same text that ends on a segment border; an exact path stays.
    #[must_use]
    pub fn by_segments(self) -> Self {
        match self {
            Self::Beginning(path) => Self::Prefix(path.trim_end_matches('/').into()).or_root(),
            other => other,
        }
    }
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::any()
    }
}

impl Ord for PathMatch {
    fn cmp(&self, other: &Self) -> Ordering {
        let exact = |path: &Self| matches!(path, Self::Exact(_));
        let wider = |path: &Self| matches!(path, Self::Beginning(_));
        exact(other)
            .cmp(&exact(self))
            .then_with(|| other.text().len().cmp(&self.text().len()))
            .then_with(|| self.text().cmp(other.text()))
            .then_with(|| wider(self).cmp(&wider(other)))
    }
}

impl PartialOrd for PathMatch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for PathMatch {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let (sign, path) = match text.split_at_checked(1) {
            Some((sign @ ("=" | "^"), path)) => (sign, path),
            _ => ("", text),
        };
        if !path.starts_with('/') || path.len() > 1024 || !is_normal(path) {
            return Err(InvalidRoute::Path {
                path: text.to_owned(),
            });
        }
        Ok(if sign == "=" {
            Self::Exact(path.into())
        } else if sign == "^" && path.len() > 1 {
            Self::Beginning(path.into())
        } else if path.len() > 1 {
            // `/a/` and `/a` are the same; one spelling keeps them from being two routes.
            Self::Prefix(path.trim_end_matches('/').into()).or_root()
        } else {
            Self::any()
        })
    }
}

/// Returns `true` if no program reads the path in another way: it has no codes, no parameters, no empty segment but the last,
/// and no `.` and `..`. A request is compared in the same form.
fn is_normal(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@".contains(&b);
    path.bytes().all(plain)
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

impl PathMatch {
    fn or_root(self) -> Self {
        if self.text().is_empty() {
            Self::any()
        } else {
            self
        }
    }
}

impl TryFrom<String> for PathMatch {
    type Error = InvalidRoute;

    fn try_from(text: String) -> Result<Self, InvalidRoute> {
        text.parse()
    }
}

impl From<PathMatch> for String {
    fn from(path: PathMatch) -> Self {
        path.to_string()
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "={path}"),
            Self::Prefix(path) => f.write_str(path),
            Self::Beginning(path) => write!(f, "^{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_on_segment_borders() {
        let path: PathMatch = "/a/b/".parse().unwrap();
        for (request, expected) in [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a/bc", false),
            ("/a", false),
        ] {
            assert_eq!(path.matches(request), expected, "{request}");
        }
        assert!(PathMatch::any().matches("/anything"));
        assert_eq!("/a/".parse::<PathMatch>(), "/a".parse());
    }

    #[test]
    fn beginnings_end_anywhere() {
        let path: PathMatch = "^/admin".parse().unwrap();
        assert_eq!(path.to_string(), "^/admin");
        for (request, expected) in [
            ("/admin", true),
            ("/admin/x", true),
            ("/admin.php", true),
            ("/administration", true),
            ("/adm", false),
            ("/x/admin", false),
        ] {
            assert_eq!(path.matches(request), expected, "{request}");
        }
        let read = |text: &str| text.parse::<PathMatch>().unwrap();
        assert_eq!(read("^/"), PathMatch::any());
        let below = read("^/admin/");
        assert_eq!(below.to_string(), "^/admin/");
        assert!(below.matches("/admin/") && below.matches("/admin/x"));
        assert!(!below.matches("/admin") && !below.matches("/administration"));
        assert_eq!(below.by_segments(), read("/admin"));
        for (outer, inner, expected) in [
            ("^/a", "/a", true),
            ("^/a", "^/ab", true),
            ("^/a", "=/ab", true),
            ("/a", "^/a", false),
            ("/a", "^/ab", false),
            ("/a", "^/a/b", true),
            ("/", "^/a", true),
            ("=/a", "^/a", false),
            ("=/a", "=/a", true),
            ("^/ab", "^/a", false),
            ("/a", "^/a/", true),
            ("^/a", "^/a/", true),
            ("^/a/", "/a/b", true),
            ("^/a/", "=/a/", true),
            ("^/a/", "/a", false),
            ("^/a/", "=/a", false),
        ] {
            assert_eq!(
                read(outer).contains(&read(inner)),
                expected,
                "{outer} {inner}"
            );
        }
    }
}
