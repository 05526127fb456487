//! The variables of nginx-proxy: `VIRTUAL_HOST` and those beside it. Containers that name the same host and path serve
//! the same service.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{
    Name, PathMatch, Route, RouteHost,
    model::{Rank, nowhere, withheld},
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Diagnostics, Options, Reading, ServiceSpec, SharedHost, Subject,
    keys::{Effect, Key, find},
    restricting::restricts,
    spec::{Rewrite, routes_of_place},
    traefik::regexp_hosts,
    widen,
};

/// The variables, and the labels below `com.github.nginx-proxy.nginx-proxy`.
pub(crate) const KEYS: &[Key] = &[
    Key::honoured(
        "VIRTUAL_HOST",
        "a list of hosts, `*.domain`, `.domain` for a domain and what is below it, `~^…$` of hosts and domains",
    ),
    Key::honoured(
        "VIRTUAL_HOST_MULTIPORTS",
        "hosts with paths, each with `port` and `dest`, in YAML or JSON; it replaces the four variables beside it",
    ),
    Key::honoured(
        "VIRTUAL_PORT",
        "without it, the only port that the container exposes, else 80; with one that is none, the container is no endpoint here and its host stays known",
    ),
    Key::honoured(
        "VIRTUAL_PATH",
        "a path prefix, or `=/path` for one path; of an expression, or what is none, requests are refused (what begins as the expression does with 503, what no other path of the host matches with 404) and go to no wider host",
    ),
    Key::honoured(
        "VIRTUAL_DEST",
        "`/` takes the path off; another withholds the route",
    ),
    Key::honoured(
        "VIRTUAL_PROTO",
        "`http`; with another the container is no endpoint here",
    ),
    Key::honoured(
        "HTTPS_METHOD",
        "`redirect` redirects requests without TLS, `noredirect` does not; `nohttp` withholds the routes, `nohttps` is reported. It holds for the host",
    ),
    Key::withheld(
        "NETWORK_ACCESS",
        "clients cannot be restricted to networks; it holds for the host",
    ),
    Key::withheld(
        "ssl_verify_client",
        "client certificates cannot be asked for; it holds for the host",
    ),
    Key::reported("VIRTUAL_ROOT", "it is for FastCGI"),
    Key::reported("CERT_NAME", "certificates are the target's configuration"),
    Key::reported("HSTS", "headers of answers are the target's configuration"),
    Key::reported("SSL_POLICY", "TLS is the target's configuration"),
    Key::reported(
        "SERVER_TOKENS",
        "headers of answers are the target's configuration",
    ),
    Key::reported(
        "EXTERNAL_HTTPS_PORT",
        "redirects lead to the target's own port",
    ),
    Key::reported(
        "ACME_HTTP_CHALLENGE_LOCATION",
        "challenges are the target's configuration",
    ),
    Key::reported("loadbalance", "balancing is the target's configuration"),
    Key::reported("keepalive", "connections are the target's configuration"),
    Key::reported("http2.enable", "listeners are the target's configuration"),
    Key::reported("http3.enable", "listeners are the target's configuration"),
    Key::reported(
        "trust-default-cert",
        "certificates are the target's configuration",
    ),
    Key::reported(
        "non-get-redirect",
        "the code of redirects is the target's configuration",
    ),
    Key::reported("debug-endpoint", "there is none"),
];

const LABELS: &str = "com.github.nginx-proxy.nginx-proxy.";

/// Returns `true` if an environment variable or label is one of the scheme's.
pub(crate) fn claims(key: &str) -> bool {
    key.starts_with("VIRTUAL_") || key.starts_with(LABELS)
}

/// The paths of a host in `VIRTUAL_HOST_MULTIPORTS`.
type Paths = Option<BTreeMap<String, Option<Destination>>>;

#[derive(Debug, Default, Deserialize)]
struct Destination {
    port: Option<Port>,
    dest: Option<String>,
}

/// A port as it is written: one that is none must not hide the host.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Port {
    Number(i64),
    Text(String),
    Other(IgnoredAny),
}

/// One place that a container asks for.
struct Place {
    host: String,
    path: String,
    port: Option<u16>,
    /// If `true`, the port is none: the container is no endpoint of the place.
    closed: bool,
    dest: String,
    key: &'static str,
}

pub(crate) fn read(options: &Options, subject: &Subject<'_>) -> Reading {
    let mut diagnostics = Diagnostics::new(subject.object);
    let variables: BTreeMap<&str, &str> = subject
        .env
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let get = |key: &str| {
        variables
            .get(key)
            .copied()
            .filter(|value| !value.is_empty())
    };
    if get("VIRTUAL_HOST").is_none() && get("VIRTUAL_HOST_MULTIPORTS").is_none() {
        if variables.contains_key("VIRTUAL_HOST") {
            diagnostics.warn(
                "VIRTUAL_HOST",
                "",
                "it is empty, as an unset variable leaves it: the container is not served",
            );
        }
        return Reading {
            diagnostics: diagnostics.into_inner(),
            ..Reading::default()
        };
    }
    let labels = subject
        .labels
        .range(LABELS.to_owned()..)
        .map_while(|(key, value)| Some((key.strip_prefix(LABELS)?, value.as_str())))
        .map(|(key, value)| (format!("{LABELS}{key}"), key, value));
    let pairs = variables
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *key, *value))
        .chain(labels);
    let protected = protection(options, pairs, &mut diagnostics);
    let scheme = Scheme {
        subject,
        protected,
        https: matches!(get("HTTPS_METHOD"), Some("redirect")),
        reachable: reachable(get("VIRTUAL_PROTO"), &mut diagnostics),
        options,
    };
    let places = match get("VIRTUAL_HOST_MULTIPORTS") {
        Some(text) => multiports(text, &mut diagnostics),
        None => plain(&get, &mut diagnostics),
    };
    // A host counts also where its container cannot be served.
    let named: Vec<&str> = match get("VIRTUAL_HOST_MULTIPORTS") {
        Some(_) => places.iter().map(|place| place.host.as_str()).collect(),
        None => listed(get("VIRTUAL_HOST").unwrap_or_default()).collect(),
    };
    let shared: BTreeSet<RouteHost> = named.into_iter().flat_map(hosts).flatten().collect();
    let shared = shared.into_iter().map(|host| SharedHost {
        host,
        restricted: scheme.protected,
        redirect_https: scheme.https,
    });
    let shared = shared.collect();
    let mut services: Vec<ServiceSpec> = Vec::new();
    let mut unread: Vec<ServiceSpec> = Vec::new();
    for place in places {
        match scheme.place(&place, &mut diagnostics) {
            None => {}
            Some(Served::Not(spec)) => unread.push(spec),
            Some(Served::Here(spec)) => match services
                .iter_mut()
                .find(|known| known.service == spec.service)
            {
                Some(known) => known.keep_withheld(spec),
                None => services.push(spec),
            },
        }
    }
    // What leads to no service may be stated by one that is served.
    for spec in unread {
        let known = services
            .iter_mut()
            .find(|known| known.service == spec.service);
        match known {
            Some(known) => known.routes.extend(spec.routes),
            None => services.push(spec),
        }
    }
    Reading {
        services,
        hosts: shared,
        malformed: diagnostics.is_only_invalid(),
        diagnostics: diagnostics.into_inner(),
        ..Reading::default()
    }
}

/// The items of a list that are not empty.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
}

/// Reports what has no effect; returns `true` if something protects the container that is not given up.
fn protection<'a>(
    options: &Options,
    pairs: impl Iterator<Item = (String, &'a str, &'a str)>,
    diagnostics: &mut Diagnostics<'_>,
) -> bool {
    let mut protected = false;
    let mut withhold = |full: &str, name: &str, note: &str, diagnostics: &mut Diagnostics<'_>| {
        if options.allow_unprotected.allows(&[name, full]) {
            diagnostics.warn_masked(
                full,
                format!("not honoured: {note}; allow_unprotected names it, so the container is served without it"),
            );
        } else {
            diagnostics.withhold(
                full,
                format!("cannot be honoured: {note}; its requests are answered with 503 unless allow_unprotected has {name:?}"),
            );
            protected = true;
        }
    };
    for (full, key, value) in pairs {
        let Some(entry) = find(KEYS, key) else {
            if claims(&full) && restricts(key) {
                let note = "unknown, and it may be meant to restrict who is served";
                withhold(&full, key, note, diagnostics);
            } else if claims(&full) {
                diagnostics.warn_masked(&full, "unknown variable or label");
            }
            continue;
        };
        if value.is_empty() {
            continue;
        }
        match (entry.effect, key, value.trim()) {
            (Effect::Reported, ..) => {
                diagnostics.warn_masked(&full, format!("not honoured: {}", entry.note));
            }
            (Effect::Withheld, "NETWORK_ACCESS", "external")
            | (Effect::Withheld, "ssl_verify_client", "off") => {}
            (Effect::Withheld, ..) => withhold(&full, entry.key, entry.note, diagnostics),
            (_, "HTTPS_METHOD", "redirect" | "noredirect") => {}
            (_, "HTTPS_METHOD", "nohttp") => withhold(
                &full,
                "HTTPS_METHOD",
                "requests without TLS cannot be denied",
                diagnostics,
            ),
            (_, "HTTPS_METHOD", _) => diagnostics.warn_masked(
                &full,
                "not honoured: expected redirect or noredirect; listeners are the target's configuration",
            ),
            _ => {}
        }
    }
    protected
}

fn reachable(protocol: Option<&str>, diagnostics: &mut Diagnostics<'_>) -> bool {
    match protocol.map(str::trim) {
        None | Some("http") => true,
        Some(other) => {
            diagnostics.refuse(
                "VIRTUAL_PROTO",
                other,
                "not honoured, expected http: the container is no endpoint here",
            );
            false
        }
    }
}

/// The places of the plain variables.
fn plain<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<Place> {
    let written = get("VIRTUAL_PORT");
    let port = written.and_then(port);
    let closed = written.is_some() && port.is_none();
    if closed {
        diagnostics.invalid("VIRTUAL_PORT", written.unwrap_or_default(), NO_PORT);
    }
    listed(get("VIRTUAL_HOST").unwrap_or_default())
        .map(|host| Place {
            host: host.to_owned(),
            path: get("VIRTUAL_PATH").unwrap_or("/").to_owned(),
            port,
            closed,
            dest: get("VIRTUAL_DEST").unwrap_or_default().to_owned(),
            key: "VIRTUAL_HOST",
        })
        .collect()
}

/// The message for a port that is none.
const NO_PORT: &str = "expected a port from 1 to 65535: the container is no endpoint here";

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// The places of `VIRTUAL_HOST_MULTIPORTS`.
fn multiports(text: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<Place> {
    const KEY: &str = "VIRTUAL_HOST_MULTIPORTS";
    let hosts: BTreeMap<String, Paths> = match serde_saphyr::from_str(text) {
        Ok(hosts) => hosts,
        Err(_) => {
            diagnostics.invalid_masked(
                KEY,
                "expected YAML or JSON: hosts, below them paths, below these port (1 to 65535) and dest; its hosts are not known, so wider routes may have their requests",
            );
            return Vec::new();
        }
    };
    let mut places = Vec::new();
    for (host, paths) in hosts {
        let mut paths = paths.unwrap_or_default();
        if paths.is_empty() {
            paths.insert("/".to_owned(), None);
        }
        for (path, destination) in paths {
            let destination = destination.unwrap_or_default();
            let written = destination.port.map(|port| match port {
                Port::Number(number) => number.to_string(),
                Port::Text(text) => text,
                Port::Other(_) => String::new(),
            });
            let port = written.as_deref().and_then(port);
            let closed = written.is_some() && port.is_none();
            if closed {
                diagnostics.invalid(KEY, &written.unwrap_or_default(), NO_PORT);
            }
            places.push(Place {
                host: host.trim().to_owned(),
                path,
                port,
                closed,
                dest: destination.dest.unwrap_or_default(),
                key: KEY,
            });
        }
    }
    places
}

struct Scheme<'a> {
    options: &'a Options,
    subject: &'a Subject<'a>,
    protected: bool,
    https: bool,
    reachable: bool,
}

impl Scheme<'_> {
    /// The service of one place. None: its host cannot be read.
    fn place(&self, place: &Place, diagnostics: &mut Diagnostics<'_>) -> Option<Served> {
        let hosts = match hosts(&place.host) {
            Ok(hosts) => hosts,
            Err(error) => {
                diagnostics.invalid(place.key, &place.host, error);
                return None;
            }
        };
        let path = match path(&place.path) {
            Ok(path) => path,
            Err(error) => {
                return Some(Served::Not(self.unread(place, &hosts, &error, diagnostics)));
            }
        };
        let (strip, rewritten) = self.destination(place, &path, diagnostics);
        let protected = self.protected || rewritten;
        let mut spec = ServiceSpec::new(Name::from_text(&match path == PathMatch::any() {
            true => place.host.to_ascii_lowercase(),
            false => format!(
                "{}{}",
                place.host.to_ascii_lowercase(),
                path.clone().by_segments()
            ),
        }));
        spec.without_endpoint = !self.reachable || place.closed;
        let exposed = self.subject.exposed;
        spec.port = place.port.or_else(|| match exposed.len() {
            1 => exposed.first().copied(),
            _ => Some(80),
        });
        let rewrite = match strip {
            true => Rewrite::Strip,
            false => Rewrite::Keep,
        };
        let service = (!protected).then(|| spec.service.clone());
        for host in &hosts {
            let routes = routes_of_place(host, &path, service.as_ref(), rewrite);
            spec.routes.extend(routes.into_iter().map(|route| {
                let https = self.https && route.service != withheld();
                route
                    .with_redirect_https(https)
                    .with_rank(rank(host, "location"))
            }));
            spec.routes.push(rest(host));
        }
        Some(Served::Here(spec))
    }

    /// The routes of a place whose path cannot be read: its host is one server there, so no wider host has its requests.
    /// What begins as an expression does is refused, whichever container has a path for it: expressions go first there.
    fn unread(
        &self,
        place: &Place,
        hosts: &[RouteHost],
        error: &str,
        diagnostics: &mut Diagnostics<'_>,
    ) -> ServiceSpec {
        const REST: &str = "what no other path of the host matches is answered with 404";
        let key = match place.key {
            "VIRTUAL_HOST" => "VIRTUAL_PATH",
            other => other,
        };
        // That of an expression without letter case (`~*`) is not known.
        let pattern = place.path.trim().strip_prefix('~');
        let begin = pattern.and_then(|pattern| widen::path_of_pattern(pattern.trim_start()));
        match (&begin, self.protected) {
            (None, false) => {
                diagnostics.invalid(key, &place.path, format!("{error}: {REST}"));
            }
            (None, true) => diagnostics.invalid(key, &place.path, error),
            (Some(_), _) => diagnostics.withhold(
                key,
                format!("{error}: requests that begin as it does are answered with 503, as no other container may have them; {REST}"),
            ),
        }
        let mut spec = ServiceSpec::new(Name::from_text(&place.host.to_ascii_lowercase()));
        spec.without_endpoint = true;
        let closed = match self.protected {
            true => Some(PathMatch::any()),
            false => begin,
        };
        for host in hosts {
            let routes = closed
                .iter()
                .flat_map(|path| routes_of_place(host, path, None, Rewrite::Keep));
            let first = routes.map(|route| route.with_rank(rank(host, "expression")));
            spec.routes.extend(first);
            spec.routes.push(rest(host));
        }
        spec
    }

    /// The rewrite of the path: whether it is taken off, and whether another one is asked for that is not given up.
    fn destination(
        &self,
        place: &Place,
        path: &PathMatch,
        diagnostics: &mut Diagnostics<'_>,
    ) -> (bool, bool) {
        let exact = matches!(path, PathMatch::Exact(_));
        let own = path.text();
        match place.dest.as_str() {
            "" => (false, false),
            "/" if own == "/" => (false, false),
            "/" if !exact => {
                if matches!(path, PathMatch::Beginning(_)) {
                    diagnostics.warn(
                        "VIRTUAL_DEST",
                        &place.dest,
                        "nginx passes // on for a path without a slash at its end; here the path is taken off at the border of a segment, and requests that continue its last segment are answered with 503. A slash at the end of the path says the same in both",
                    );
                }
                (true, false)
            }
            dest if !exact && dest.trim_end_matches('/') == own => (false, false),
            _ if self.options.allow_unprotected.allows(&["VIRTUAL_DEST"]) => {
                diagnostics.warn_masked(
                    "VIRTUAL_DEST",
                    "not honoured: the path is passed on as it is",
                );
                (false, false)
            }
            _ => {
                diagnostics.withhold(
                    "VIRTUAL_DEST",
                    "cannot be honoured: expected / for a path prefix; its requests are answered with 503 unless allow_unprotected has \"VIRTUAL_DEST\"",
                );
                (false, true)
            }
        }
    }
}

/// The part of a container in a place.
enum Served {
    /// An endpoint of this service, or one that states its routes.
    Here(ServiceSpec),
    /// None: the path cannot be read. The service states the routes that refuse.
    Not(ServiceSpec),
}

/// The route of what a host has no location for: it takes what would go to a wider host, and nothing of other programs'
/// routes.
fn rest(host: &RouteHost) -> Route {
    Route::new(host.clone(), PathMatch::any(), nowhere())
        .with_priority(i32::MIN)
        .with_rank(rank(host, "none"))
}

/// The place of a location among all: those of the server that nginx chooses for a host go before those of wider ones, and
/// what the server has no location for goes to none of these.
fn rank(host: &RouteHost, what: &str) -> Rank {
    let width = match host {
        RouteHost::Exact(_) => 0,
        RouteHost::Wildcard(domain) => 999 - domain.len().min(900),
        RouteHost::Any => 999,
    };
    Rank::new(Name::from_text("nginx-proxy"), 0).with_order(format!("{width:03} {what}"))
}

fn path(text: &str) -> Result<PathMatch, String> {
    let text = text.trim();
    if text.starts_with('~') {
        return Err("an expression cannot be a route".to_owned());
    }
    let written = match text.strip_prefix('=') {
        Some(exact) => format!("={}", exact.trim()),
        // Of a path with a slash at its end, nginx redirects the one without.
        None if text.ends_with('/') => text.to_owned(),
        None => format!("^{text}"),
    };
    written
        .parse()
        .map_err(|error: lb_core::model::InvalidRoute| error.to_string())
}

/// The hosts that a name of nginx stands for.
fn hosts(text: &str) -> Result<Vec<RouteHost>, String> {
    let parsed = |text: &str| -> Result<RouteHost, String> {
        text.parse()
            .map_err(|error: lb_core::model::InvalidRoute| error.to_string())
    };
    if let Some(pattern) = text.strip_prefix('~') {
        // There, letter case does not count.
        let pattern = pattern.strip_prefix("(?i)").unwrap_or(pattern);
        return regexp_hosts(&format!("(?i){pattern}")).ok_or_else(|| {
            "expected an expression of hosts or of what is below a domain, such as ~^.+\\.example$"
                .to_owned()
        });
    }
    match text {
        "_" => {
            return Err(
                "it matches no request there and has no route here: the default host is the proxy's own setting there"
                    .to_owned(),
            );
        }
        "" | "*" => return Err("expected a host; a star alone is none".to_owned()),
        _ => {}
    }
    if text.ends_with(".*") {
        return Err("a star at the end cannot be a route, expected *.domain".to_owned());
    }
    if let Some(domain) = text.strip_prefix('.') {
        return Ok(vec![parsed(domain)?, parsed(&format!("*.{domain}"))?]);
    }
    Ok(vec![parsed(text)?])
}
