//! Which requests belong to which service.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Name, PathMatch, Rank, RouteHost};

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
    /// The hosts (for TCP services: the server names of the TLS handshake).
    pub host: RouteHost,
    /// The paths.
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
