//! Which requests belong to which service.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Name, Rank};

/// One rule: requests for this host and path belong to this service.
///
/// Routes order by priority, the greater first, across all hosts and paths. Of equal priority, the more specific goes
/// first: exact host before wildcard before any, exact path before prefix, longer before shorter, and of one text the prefix
/// that ends on a segment border before the one that does not. The first route that matches a request gets it. Where that
/// route has a [rank](Self::rank), the first by rank of all routes of its scheme that match gets it ([`Route::taker`]).
///
/// ```
/// use lb_core::{PathMatch, Route, RouteHost};
///
/// let api = Route::new("shop.example".parse().unwrap(), "/api".parse().unwrap(), "api".parse().unwrap());
/// let rest = Route::new("*.example".parse().unwrap(), PathMatch::any(), "web".parse().unwrap());
/// assert!(api < rest, "the more specific comes first");
/// assert!(api.path.matches("/api/v1") && !api.path.matches("/apiary"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Route {
    /// Which hosts (for TCP services: which server names of the TLS handshake).
    pub host: RouteHost,
    /// Which paths.
    #[serde(default)]
    pub path: PathMatch,
    /// Who serves them.
    pub service: Name,
    /// The greater goes first, whatever the hosts and paths are: a path of any host goes before the route of one host if
    /// its priority is greater. Defaults to 0, which routes with a rank have.
    #[serde(default)]
    pub priority: i32,
    /// Its place among the routes of its scheme, where that scheme has an order of its own. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<Rank>,
    /// If `true`, the matched path prefix is taken off before the request goes to the service: with `/api`, a request for
    /// `/api/v1` becomes one for `/v1`, and one for `/api` becomes `/`. Defaults to `false`. Not for TCP services.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strip_prefix: bool,
    /// If `true`, a request that came without TLS is redirected to the same URL with `https`. Defaults to `false`. Not for
    /// TCP services.
    #[serde(default, skip_serializing_if = "is_false")]
    pub redirect_https: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_false(option: &bool) -> bool {
    !option
}

impl Route {
    /// A route of priority 0.
    #[must_use]
    pub fn new(host: RouteHost, path: PathMatch, service: Name) -> Self {
        Self {
            host,
            path,
            service,
            priority: 0,
            rank: None,
            strip_prefix: false,
            redirect_https: false,
        }
    }

    /// The same route with another priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The same route with a place among the routes of its scheme.
    #[must_use]
    pub fn with_rank(mut self, rank: Rank) -> Self {
        self.rank = Some(rank);
        self
    }

    /// Returns the route of `routes` that gets a request: of the first that matches by the order of routes, or, where that
    /// one has a rank, the first by rank of those of its scheme.
    ///
    /// ```
    /// use lb_core::{Name, Route, model::Rank};
    ///
    /// let route = |host: &str, path: &str, service: &str| {
    ///     Route::new(host.parse().unwrap(), path.parse().unwrap(), service.parse().unwrap())
    /// };
    /// let rank = |number| Rank::new("traefik".parse().unwrap(), number);
    /// let routes = [
    ///     route("*", "/acme", "acme").with_rank(rank(42)),
    ///     route("shop.example", "/", "shop").with_rank(rank(20)),
    ///     route("docs.example", "/", "docs"),
    /// ];
    /// let taker = |host, path| Route::taker(&routes, host, path).unwrap().service.as_str();
    /// assert_eq!(taker("shop.example", "/acme"), "acme", "the longer rule of the same scheme");
    /// assert_eq!(taker("docs.example", "/acme"), "docs", "not of that scheme");
    /// ```
    pub fn taker<'a>(
        routes: impl IntoIterator<Item = &'a Self>,
        host: &str,
        path: &str,
    ) -> Option<&'a Self> {
        let matching: Vec<&Self> = routes
            .into_iter()
            .filter(|route| route.host.matches(host) && route.path.matches(path))
            .collect();
        let first = matching.iter().copied().min()?;
        let Some(rank) = &first.rank else {
            return Some(first);
        };
        let same = matching.iter().copied().filter(|route| {
            let its = route.rank.as_ref();
            its.is_some_and(|its| its.scheme == rank.scheme)
        });
        same.min_by(|one, other| one.cmp_by_rank(other))
    }

    /// The order of routes of one scheme: by rank, then by specificity.
    #[must_use]
    pub fn cmp_by_rank(&self, other: &Self) -> Ordering {
        self.rank
            .cmp(&other.rank)
            .then_with(|| self.cmp_by_place(other))
    }

    /// The same route, which takes its path prefix off requests or does not.
    #[must_use]
    pub fn with_strip_prefix(mut self, strip_prefix: bool) -> Self {
        self.strip_prefix = strip_prefix;
        self
    }

    /// The same route, which redirects requests without TLS or does not.
    #[must_use]
    pub fn with_redirect_https(mut self, redirect_https: bool) -> Self {
        self.redirect_https = redirect_https;
        self
    }
}

impl Route {
    /// By specificity, and what makes the order total.
    fn cmp_by_place(&self, other: &Self) -> Ordering {
        self.host
            .cmp(&other.host)
            .then_with(|| self.path.cmp(&other.path))
            .then_with(|| self.rank.cmp(&other.rank))
            .then_with(|| self.service.cmp(&other.service))
            // The stricter first: where two of one service differ in it only, the one that redirects is in effect.
            .then_with(|| other.redirect_https.cmp(&self.redirect_https))
            .then_with(|| other.strip_prefix.cmp(&self.strip_prefix))
            .then_with(|| other.priority.cmp(&self.priority))
    }
}

impl Ord for Route {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .priority
            .cmp(&self.priority)
            .then_with(|| self.cmp_by_place(other))
    }
}

impl PartialOrd for Route {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

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
    /// Whether a request's host (without port, any case) is one of these. One that begins with a dot is in no domain.
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

    /// Whether a request's path (without query) is one of these.
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
            // `/a/` and `/a` are the same wish; one spelling keeps them from being two routes.
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

/// Reads the host and the path of a route that is written as one text: `shop.example/api`, `*.example`, `*/static`,
/// `shop.example=/health`, `shop.example^/admin`. Without a path it is every path.
///
/// A route of every host begins with `*`. What begins with the path is refused: an unset variable leaves it behind of
/// `${HOST}/`, and must not publish a service on every host.
///
/// ```
/// use lb_core::model::parse_route;
///
/// let (host, path) = parse_route("*/static").unwrap();
/// assert_eq!((host.to_string(), path.to_string()), ("*".to_owned(), "/static".to_owned()));
/// assert!(parse_route("/static").unwrap_err().to_string().contains("*/static"));
/// ```
///
/// # Errors
/// [`InvalidRoute`] that names the part.
pub fn parse_route(text: &str) -> Result<(RouteHost, PathMatch), InvalidRoute> {
    let border = ["=/", "^/", "/"]
        .iter()
        .filter_map(|begin| text.find(begin))
        .min()
        .unwrap_or(text.len());
    let (host, path) = text.split_at_checked(border).unwrap_or((text, ""));
    if host.is_empty() {
        return Err(InvalidRoute::NoHost {
            route: text.to_owned(),
        });
    }
    let path = match path {
        "" => PathMatch::any(),
        path => path.parse()?,
    };
    Ok((host.parse()?, path))
}

/// Why a text is no part of a [`Route`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRoute {
    /// The host is no host name, wildcard or `*`.
    #[error("host is {host:?}, expected a host name such as shop.example, *.example, or *")]
    Host {
        /// The text given.
        host: String,
    },
    /// A route is written without a host, as an unset variable leaves it.
    #[error(
        "route is {route:?}, expected a host first: shop.example{route}, or *{route} for every host"
    )]
    NoHost {
        /// The text given.
        route: String,
    },
    /// The path is no path prefix or exact path.
    #[error(
        "path is {path:?}, expected a prefix such as /api or ^/api, or an exact path such as =/api, of at most 1024 letters, digits and - . _ ~ ! $ & ' ( ) * + , = : @ /, without //, /./ and /../"
    )]
    Path {
        /// The text given.
        path: String,
    },
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

    #[test]
    fn routes_order_from_most_to_least_specific() {
        let route = |host: &str, path: &str| {
            Route::new(
                host.parse().unwrap(),
                path.parse().unwrap(),
                "s".parse().unwrap(),
            )
        };
        let ordered = [
            route("*", "/").with_priority(1),
            route("a.example", "=/x"),
            route("a.example", "/long/path"),
            route("a.example", "^/long/path"),
            route("a.example", "^/long/pat"),
            route("a.example", "/"),
            route("*.b.example", "/"),
            route("*.example", "=/x"),
            route("*", "/x"),
            route("*", "/"),
        ];
        let mut shuffled = ordered.clone();
        shuffled.reverse();
        shuffled.sort();
        assert_eq!(shuffled, ordered);
    }

    #[test]
    fn s03_a_route_without_a_host_is_refused() {
        for route in ["/", "/x", "=/x", "^/x", ""] {
            let error = parse_route(route).unwrap_err().to_string();
            assert!(error.contains(&format!("*{route} ")), "{error}");
        }
        assert!("".parse::<RouteHost>().is_err());
        for (route, expected) in [
            ("*", "*/"),
            ("*/", "*/"),
            ("*/x", "*/x"),
            ("*=/x", "*=/x"),
            ("A.example", "a.example/"),
            ("*.example^/x", "*.example^/x"),
            ("a.example/x=/y", "a.example/x=/y"),
        ] {
            let (host, path) = parse_route(route).unwrap();
            assert_eq!(format!("{host}{path}"), expected);
        }
        for route in [".example", "*./x", "a b/x", "a^", "a/x;y"] {
            assert!(parse_route(route).is_err(), "{route}");
        }
    }

    #[test]
    fn refusals_name_the_value() {
        assert!(
            "a b"
                .parse::<RouteHost>()
                .unwrap_err()
                .to_string()
                .contains("\"a b\"")
        );
        assert!(
            "x".parse::<PathMatch>()
                .unwrap_err()
                .to_string()
                .contains("\"x\"")
        );
        assert!("/a\nb".parse::<PathMatch>().is_err());
    }
}
