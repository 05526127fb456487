//! The hosts of a route.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::InvalidRoute;

/// The hosts of a route: one, all below a domain, or any. Always lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RouteHost {
    /// Every host.
    #[default]
    Any,
    /// Exactly this host.
    Exact(Arc<str>),
    /// Every host below this domain (`*.example` has `example` here), not the domain itself.
    Wildcard(Arc<str>),
}

impl RouteHost {
    /// Returns `true` if a request's host (without port, any case) is one of these. One that begins with a dot is in no
    /// domain.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => host.eq_ignore_ascii_case(own),
            Self::Wildcard(domain) => host
                .len()
                .checked_sub(domain.len())
                .filter(|rest| *rest > 1 && !host.starts_with('.'))
                .and_then(|rest| Some((host.get(..rest)?, host.get(rest..)?)))
                .is_some_and(|(label, tail)| {
                    label.ends_with('.') && tail.eq_ignore_ascii_case(domain)
                }),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Exact(_) => 0,
            Self::Wildcard(_) => 1,
            Self::Any => 2,
        }
    }

    fn domain(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Exact(domain) | Self::Wildcard(domain) => domain,
        }
    }
}

impl Ord for RouteHost {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, others) = (self.domain(), other.domain());
        self.rank()
            .cmp(&other.rank())
            .then_with(|| others.len().cmp(&own.len()))
            .then_with(|| own.cmp(others))
    }
}

impl PartialOrd for RouteHost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for RouteHost {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (wildcard, domain) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        let labels_fit = domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        if domain.len() > 253 || !labels_fit {
            return Err(InvalidRoute::Host {
                host: text.to_owned(),
            });
        }
        let domain: Arc<str> = domain.to_ascii_lowercase().into();
        Ok(if wildcard {
            Self::Wildcard(domain)
        } else {
            Self::Exact(domain)
        })
    }
}

impl TryFrom<String> for RouteHost {
    type Error = InvalidRoute;

    fn try_from(text: String) -> Result<Self, InvalidRoute> {
        text.parse()
    }
}

impl From<RouteHost> for String {
    fn from(host: RouteHost) -> Self {
        host.to_string()
    }
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(domain) => f.write_str(domain),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_below_their_domain_only() {
        let host: RouteHost = "*.Example".parse().unwrap();
        for (request, expected) in [
            ("a.example", true),
            ("b.A.EXAMPLE", true),
            ("example", false),
            (".example", false),
            ("..example", false),
            (".a.example", false),
            ("anexample", false),
        ] {
            assert_eq!(host.matches(request), expected, "{request}");
        }
    }
}
