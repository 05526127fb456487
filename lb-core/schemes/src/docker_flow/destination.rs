//! One destination of a service: a port with hosts and paths.

use lb_core::{Mode, Name, PathMatch, Route, RouteHost, model::withheld};

use super::{KEYS, Labels, PREFIX, base};
use crate::{
    Diagnostics, Options, ServiceSpec,
    keys::{Effect, find},
    labels::flag,
    spec::paths_of_routes,
};

/// What a destination comes to.
pub(super) struct Destination {
    /// Its service; none where it is no destination at all.
    pub(super) spec: Option<ServiceSpec>,
    /// If `true`, it is protected and a place of it is not known: no route of the service may be served.
    pub(super) bars: bool,
}

/// The destination with this index.
pub(super) fn read(
    options: &Options,
    labels: &Labels<'_>,
    index: u8,
    service: &Name,
    diagnostics: &mut Diagnostics<'_>,
) -> Destination {
    let protected = protection(options, labels, index, diagnostics);
    let mut lost = false;
    let mut spec = usable(
        options,
        labels,
        index,
        service,
        protected,
        &mut lost,
        diagnostics,
    );
    if protected && let Some(spec) = &mut spec {
        // A listener of TCP may lead to the service without a route.
        spec.without_endpoint |= spec.mode == Mode::Tcp;
    }
    let bars = protected && (lost || spec.is_none());
    if bars {
        diagnostics.refuse_masked(
            &format!("{PREFIX}{}", super::indexed("servicePath", index)),
            "the destination is protected and cannot be read as a whole: no route of the service is served",
        );
    }
    Destination { spec, bars }
}

/// The service of a destination, as far as it can be used. `lost` becomes `true` where a place of it is not known.
fn usable(
    options: &Options,
    labels: &Labels<'_>,
    index: u8,
    service: &Name,
    protected: bool,
    lost: &mut bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<ServiceSpec> {
    let mut spec = ServiceSpec::new(service.clone());
    let full = |key: &str| format!("{PREFIX}{key}");
    if let Some((key, text)) = labels.of("port", index) {
        match text.trim().parse::<u16>() {
            Ok(port) if port != 0 => spec.port = Some(port),
            _ => {
                diagnostics.invalid(&full(&key), text, "expected a port from 1 to 65535");
                return None;
            }
        }
    }
    let mut routed = true;
    match labels.of("reqMode", index) {
        None => {}
        Some((_, mode)) if mode.eq_ignore_ascii_case("http") => {}
        Some((_, mode)) if mode.eq_ignore_ascii_case("tcp") || mode.eq_ignore_ascii_case("sni") => {
            spec.mode = Mode::Tcp;
        }
        Some((key, mode)) => {
            diagnostics.invalid(&full(&key), mode, "expected http, tcp or sni");
            return None;
        }
    }
    for key in ["outboundHostname", "sslVerifyNone"] {
        if let Some((key, value)) = labels.of(key, index)
            && flag(value) != Some(false)
        {
            spec.without_endpoint = true;
            refuse(&key, diagnostics);
        }
    }
    for key in ["serviceHeader", "userAgent"] {
        if let Some((key, _)) = labels.of(key, index) {
            routed = false;
            refuse(&key, diagnostics);
        }
    }
    if let Some((key, port)) = labels.of("srcPort", index)
        && port.trim() != "80"
    {
        // Without it, a destination would be served where another one is.
        routed &= spec.mode == Mode::Tcp;
        diagnostics.refuse(
            &full(&key),
            port,
            "listeners are the target's configuration: the destination has no route here",
        );
    }
    let Some(places) = places(labels, index, spec.mode, lost, diagnostics) else {
        return Some(spec);
    };
    if !routed {
        *lost = true;
        return Some(spec);
    }
    let (strip, rewritten) = rewrite(options, labels, index, &places, diagnostics);
    let protected = protected || rewritten;
    let https = labels.is_true("httpsOnly", index) && spec.mode == Mode::Http;
    let priority = rank(labels, spec.mode);
    let strip = strip && !protected;
    let places = places.into_iter().flat_map(|(host, path)| {
        paths_of_routes(path, strip, protected).map(move |path| (host.clone(), path))
    });
    for (host, path) in places {
        let name = match protected {
            true => withheld(),
            false => service.clone(),
        };
        spec.routes.push(
            Route::new(host, path, name)
                .with_priority(priority)
                .with_strip_prefix(strip)
                .with_redirect_https(https && !protected),
        );
    }
    Some(spec)
}

/// Returns `true` if something protects the destination that is not given up.
pub(super) fn is_protected(options: &Options, labels: &Labels<'_>, index: u8) -> bool {
    protection(options, labels, index, &mut Diagnostics::new(""))
}

fn refuse(key: &str, diagnostics: &mut Diagnostics<'_>) {
    let note = find(KEYS, base(key)).map_or("", |entry| entry.note);
    diagnostics.refuse_masked(&format!("{PREFIX}{key}"), format!("not honoured: {note}"));
}

fn protection(
    options: &Options,
    labels: &Labels<'_>,
    index: u8,
    diagnostics: &mut Diagnostics<'_>,
) -> bool {
    let mut protected = false;
    for (key, value) in &labels.values {
        let name = base(key);
        let Some(entry) = find(KEYS, name).filter(|entry| entry.effect == Effect::Withheld) else {
            continue;
        };
        let off = matches!(entry.key, "denyHttp" | "verifyClientSsl") && flag(value) == Some(false);
        if value.is_empty() || off {
            continue;
        }
        // One without an index counts for all that have none of their own.
        let own = match index {
            0 => *key == name,
            index => {
                let suffixed = format!("{name}.{index}");
                *key == suffixed || (*key == name && labels.get(&suffixed).is_none())
            }
        };
        let authorization = matches!(entry.key, "users" | "usersSecret");
        if !(own || authorization)
            || (authorization && labels.is_true("ignoreAuthorization", index))
        {
            continue;
        }
        protected |= withhold(options, key, entry.key, entry.note, diagnostics);
    }
    protected
}

fn withhold(
    options: &Options,
    key: &str,
    name: &str,
    note: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> bool {
    let full = format!("{PREFIX}{key}");
    if options.allow_unprotected.allows(&[name, key]) {
        diagnostics.warn_masked(
            &full,
            format!("not honoured: {note}; allow_unprotected names it, so its routes are served without it"),
        );
        return false;
    }
    diagnostics.refuse_masked(
        &full,
        format!("cannot be honoured: {note}; its requests are answered with 503, and over TCP it has no endpoint here, unless allow_unprotected has {name:?}"),
    );
    true
}

/// The hosts and paths of a destination; `None` where it has none. `lost` becomes `true` where not all are known.
fn places(
    labels: &Labels<'_>,
    index: u8,
    mode: Mode,
    lost: &mut bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Vec<(RouteHost, PathMatch)>> {
    let full = |key: &str| format!("{PREFIX}{key}");
    // An unset variable leaves an empty value: it must not widen to every host or path.
    for key in ["serviceDomain", "servicePath"] {
        for key in [super::indexed(key, index), key.to_owned()] {
            if labels
                .values
                .get(key.as_str())
                .is_some_and(|value| value.trim().is_empty())
            {
                *lost = true;
                diagnostics.invalid(
                    &full(&key),
                    "",
                    "it is empty, as an unset variable leaves it: the destination has no route",
                );
                return None;
            }
        }
    }
    let domains = labels.of("serviceDomain", index);
    let paths = labels.of("servicePath", index);
    if domains.is_none() && (paths.is_none() || mode == Mode::Tcp) {
        return None;
    }
    let path_type = labels.of("pathType", index);
    let (exact, by_segments) = match path_type.as_ref().map(|(_, kind)| *kind) {
        None | Some("path_beg") => (false, false),
        Some("path_dir") => (false, true),
        Some("path") => (true, false),
        Some(other) => {
            *lost = true;
            let key = path_type.as_ref().map_or("pathType", |(key, _)| key);
            diagnostics.refuse(
                &full(key),
                other,
                "expected path_beg, path_dir or path: the destination has no route",
            );
            return None;
        }
    };
    let mut hosts: Vec<RouteHost> = Vec::new();
    let below = below_too(labels, diagnostics);
    if let Some((key, list)) = &domains {
        for domain in items(list) {
            match host(domain) {
                Ok(RouteHost::Any) => diagnostics.refuse(
                    &full(key),
                    domain,
                    "expected a host; a service without serviceDomain has every host",
                ),
                Ok(host) => {
                    if below && let RouteHost::Exact(domain) = &host {
                        hosts.extend(format!("*.{domain}").parse());
                    }
                    hosts.push(host);
                }
                Err(error) => diagnostics.invalid(&full(key), domain, error),
            }
        }
    }
    let mut found: Vec<PathMatch> = Vec::new();
    if mode == Mode::Http
        && let Some((key, list)) = &paths
    {
        for path in items(list) {
            let sign = match (exact, by_segments) {
                (true, _) => "=",
                (false, true) => "",
                (false, false) => "^",
            };
            match format!("{sign}{path}").parse::<PathMatch>() {
                Ok(path) => found.push(path),
                Err(error) => {
                    diagnostics.invalid(&full(key), path, error.to_string());
                }
            }
        }
    }
    let unread = |domain: &str| !matches!(host(domain), Ok(host) if host != RouteHost::Any);
    *lost |= domains
        .as_ref()
        .is_some_and(|(_, list)| items(list).any(unread))
        || (mode == Mode::Http
            && paths.as_ref().is_some_and(|(_, list)| {
                items(list).next().is_none() || items(list).count() > found.len()
            }))
        || domains
            .as_ref()
            .is_some_and(|(_, list)| items(list).next().is_none());
    // A list of which nothing could be read must not widen to every host or path.
    if (domains.is_some() && hosts.is_empty())
        || (mode == Mode::Http && paths.is_some() && found.is_empty())
    {
        return None;
    }
    if hosts.is_empty() {
        hosts.push(RouteHost::Any);
    }
    if found.is_empty() {
        found.push(PathMatch::any());
    }
    if hosts.len().saturating_mul(found.len()) > MAX_ROUTES {
        *lost = true;
        diagnostics.refuse_masked(
            &full("serviceDomain"),
            format!("with every path these are more than {MAX_ROUTES} routes, none is used"),
        );
        return None;
    }
    Some(
        hosts
            .iter()
            .flat_map(|host| found.iter().map(move |path| (host.clone(), path.clone())))
            .collect(),
    )
}

/// A host as it is written there: `*` may stand before a dot.
fn host(text: &str) -> Result<RouteHost, String> {
    let dotted = text.strip_prefix('.').map(|domain| format!("*.{domain}"));
    dotted
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|error: lb_core::model::InvalidRoute| error.to_string())
}

/// Returns `true` if what is below a host counts too.
fn below_too(labels: &Labels<'_>, diagnostics: &mut Diagnostics<'_>) -> bool {
    if labels.is_true("serviceDomainMatchAll", 0) {
        return true;
    }
    match labels.get("serviceDomainAlgo") {
        None | Some("hdr(host)" | "hdr_beg(host)" | "req.ssl_sni") => false,
        Some("hdr_dom(host)" | "hdr_end(host)") => true,
        Some(other) => {
            diagnostics.warn(
                "com.df.serviceDomainAlgo",
                other,
                "not honoured: hosts are compared as a whole",
            );
            false
        }
    }
}

/// How a path is rewritten: whether the destination's own path is taken off, and whether something else is asked for.
fn rewrite(
    options: &Options,
    labels: &Labels<'_>,
    index: u8,
    places: &[(RouteHost, PathMatch)],
    diagnostics: &mut Diagnostics<'_>,
) -> (bool, bool) {
    let Some((key, rewrite)) = labels.of("reqPathSearchReplace", index) else {
        return (false, false);
    };
    let own = |path: &PathMatch| {
        let exact = matches!(path, PathMatch::Exact(_));
        let path = path.text();
        let (search, replace) = rewrite.split_once(',').unwrap_or((rewrite, ""));
        let search = search.trim_start_matches('^');
        !exact
            && path != "/"
            && !rewrite.contains(':')
            && ((search == format!("{path}/") && replace == "/")
                || (search == path && replace.is_empty()))
    };
    if places.iter().all(|(_, path)| own(path)) {
        return (true, false);
    }
    let note = "paths are not rewritten by expressions";
    let withheld = withhold(options, &key, "reqPathSearchReplace", note, diagnostics);
    (false, withheld)
}

/// Services with `/.well-known` go first and those with `/` last, whatever their hosts.
fn rank(labels: &Labels<'_>, mode: Mode) -> i32 {
    if mode == Mode::Tcp {
        return 0;
    }
    let paths = || {
        labels
            .values
            .iter()
            .filter(|(key, _)| base(key) == "servicePath")
            .flat_map(|(_, list)| items(list))
    };
    if paths().any(|path| path.to_ascii_lowercase().starts_with("/.well-known")) {
        2
    } else if paths().any(|path| path == "/") || paths().next().is_none() {
        0
    } else {
        1
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

const MAX_ROUTES: usize = 1024;
