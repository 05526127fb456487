//! One destination of a service: a port with hosts and paths.

use lb_core::{
    Mode, Name, PathMatch, RouteHost,
    model::{Rank, withheld},
};

use super::{KEYS, Labels, PREFIX, base};
use crate::{
    Diagnostics, Options, ServiceSpec,
    keys::{Effect, find},
    labels::flag,
    spec::{Rewrite, routes_of_place},
    widen,
};

/// What a destination comes to.
pub(super) struct Destination {
    /// Its service; none where it is no destination at all.
    pub(super) spec: Option<ServiceSpec>,
    /// If `true`, it is protected and a place of it is not known: no route of the service may be served.
    pub(super) bars: bool,
    /// Where it bars, withheld routes for all that it may match.
    pub(super) cover: Option<ServiceSpec>,
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
    let cover = bars.then(|| cover(labels, index, service));
    if let Some((_, complete)) = &cover {
        let beyond = match complete {
            false => {
                "it may be for any host and path, so requests that routes of other services take are served, though it may match them"
            }
            true => "all that it may match is answered with 503 (TCP: closed)",
        };
        diagnostics.withhold(
            &format!("{PREFIX}{}", super::indexed("servicePath", index)),
            format!("the destination is protected and cannot be read as a whole: no route of the service is served; {beyond}"),
        );
    }
    let cover = cover.map(|(cover, _)| cover);
    Destination { spec, bars, cover }
}

/// Withheld routes for all that a destination may match: its domains with the beginnings of its paths that can be read.
/// With `false` where that would be every host and path: that is left out.
fn cover(labels: &Labels<'_>, index: u8, service: &Name) -> (ServiceSpec, bool) {
    let mode = labels.of("reqMode", index).map(|(_, mode)| mode);
    let is_tcp = mode.is_some_and(|mode| {
        ["tcp", "sni"]
            .iter()
            .any(|tcp| mode.eq_ignore_ascii_case(tcp))
    });
    let kind = labels.of("pathType", index).map(|(_, kind)| kind);
    let read = |path: &str| match kind {
        None | Some("path" | "path_beg") => widen::beginning(path),
        Some("path_reg") => widen::path_of_pattern(path),
        Some(_) => None,
    };
    let listed = labels.of("servicePath", index).filter(|_| !is_tcp);
    let mut paths: Vec<PathMatch> = listed
        .iter()
        // A comma may be within an expression.
        .filter(|(_, list)| kind != Some("path_reg") || !list.contains(','))
        .flat_map(|(_, list)| items(list))
        .map(|path| read(path).unwrap_or_else(PathMatch::any))
        .collect();
    let ends = algorithm(labels, &mut Diagnostics::new("")) == Algorithm::End;
    let mut hosts: Vec<RouteHost> = Vec::new();
    for domain in labels
        .of("serviceDomain", index)
        .iter()
        .flat_map(|(_, list)| items(list))
    {
        match host(domain) {
            Ok(found) => {
                if ends && let RouteHost::Exact(domain) = &found {
                    hosts.extend(format!("*.{domain}").parse());
                }
                hosts.push(found);
            }
            Err(_) => {
                let wider = widen::hosts_ending_in(domain);
                let any = wider.is_empty().then_some(RouteHost::Any);
                hosts.extend(wider.into_iter().chain(any));
            }
        }
    }
    if hosts.is_empty() {
        hosts.push(RouteHost::Any);
    }
    if paths.is_empty() || hosts.len().saturating_mul(paths.len()) > MAX_ROUTES {
        paths = vec![PathMatch::any()];
    }
    let rank = rank(labels, index, service);
    let mut spec = ServiceSpec::new(service.clone());
    spec.without_endpoint = true;
    if is_tcp {
        spec.mode = Mode::Tcp;
    }
    let mut complete = true;
    for host in &hosts {
        for path in &paths {
            if *host == RouteHost::Any && *path == PathMatch::any() {
                complete = false;
                continue;
            }
            let routes = routes_of_place(host, path, None, Rewrite::Keep);
            spec.routes.extend(
                routes
                    .into_iter()
                    .map(|route| route.with_rank(rank.clone())),
            );
        }
    }
    (spec, complete)
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
    let Some((key, text)) = labels.of("port", index) else {
        diagnostics.refuse_masked(
            &full(&super::indexed("port", index)),
            "not set, expected a port: the destination is left out, as docker-flow-proxy leaves it out",
        );
        return None;
    };
    match text.trim().parse::<u16>() {
        Ok(port) if port != 0 => spec.port = Some(port),
        _ => {
            diagnostics.invalid(&full(&key), text, "expected a port from 1 to 65535");
            return None;
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
    let (rewrite, rewritten) = rewrite(options, labels, index, &places, diagnostics);
    let protected = protected || rewritten;
    let https = labels.is_true("httpsOnly", index) && spec.mode == Mode::Http;
    let rank = rank(labels, index, service);
    for (host, path) in &places {
        let routes = routes_of_place(host, path, (!protected).then_some(service), rewrite);
        spec.routes.extend(routes.into_iter().map(|route| {
            let https = https && route.service != withheld();
            route.with_rank(rank.clone()).with_redirect_https(https)
        }));
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
        let Some(entry) = find(KEYS, name) else {
            continue;
        };
        // In another letter case it is no label: what it was to narrow must not be served whole.
        let misspelt = entry.key != name
            && NARROWING.contains(&entry.key)
            && labels.of(entry.key, index).is_none();
        if !misspelt && entry.effect != Effect::Withheld {
            continue;
        }
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
        let note = match misspelt {
            true => &format!(
                "unknown label, expected {PREFIX}{}, which narrows what is served",
                entry.key
            ),
            false => entry.note,
        };
        protected |= withhold(options, key, entry.key, note, diagnostics);
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
    diagnostics.withhold(
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
        if mode == Mode::Http && !labels.is_true("isDefaultBackend", 0) {
            diagnostics.refuse_masked(
                &full(&super::indexed("servicePath", index)),
                "not set, expected it or serviceDomain: the destination has no route",
            );
        }
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
    let algorithm = algorithm(labels, diagnostics);
    if let Some((key, list)) = &domains {
        for domain in items(list) {
            if algorithm == Algorithm::Beginning && !domain.contains(['.', '*']) {
                diagnostics.warn(
                    &full(key),
                    domain,
                    "hosts that begin with it are not served, hosts are compared as a whole: expected a whole host or *.domain",
                );
            }
            match host(domain) {
                Ok(RouteHost::Any) => diagnostics.refuse(
                    &full(key),
                    domain,
                    "expected a host; a service without serviceDomain has every host",
                ),
                Ok(host) => {
                    if algorithm == Algorithm::End
                        && let RouteHost::Exact(domain) = &host
                    {
                        hosts.extend(format!("*.{domain}").parse());
                    }
                    hosts.push(host);
                }
                Err(error) => diagnostics.invalid(&full(key), domain, error),
            }
        }
    }
    let mut found: Vec<PathMatch> = Vec::new();
    if by_segments && mode == Mode::Http && paths.is_some() {
        // A directory may be anywhere in a path.
        *lost = true;
        let key = path_type.as_ref().map_or("pathType", |(key, _)| key);
        diagnostics.warn(
            &full(key),
            "path_dir",
            "taken at the beginning of the path only: the destination is not served where the directory is elsewhere (/x/dir)",
        );
    }
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

/// How hosts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Whole,
    /// The program takes every host that begins with the domain, lb the domain alone.
    Beginning,
    /// What is below a domain counts too.
    End,
}

fn algorithm(labels: &Labels<'_>, diagnostics: &mut Diagnostics<'_>) -> Algorithm {
    const KEY: &str = "com.df.serviceDomainAlgo";
    if labels.is_true("serviceDomainMatchAll", 0) {
        return Algorithm::End;
    }
    // One domain with a star makes the program compare the ends of all domains of the service.
    let starred = labels.values.iter().any(|(key, list)| {
        base(key) == "serviceDomain" && items(list).any(|its| its.starts_with('*'))
    });
    match labels.get("serviceDomainAlgo") {
        _ if starred => Algorithm::End,
        None => Algorithm::Beginning,
        Some("hdr(host)" | "req.ssl_sni") => Algorithm::Whole,
        Some("hdr_dom(host)" | "hdr_end(host)") => Algorithm::End,
        Some(text @ "hdr_beg(host)") => {
            let note =
                "hosts that begin with a domain are not served: hosts are compared as a whole";
            diagnostics.warn(KEY, text, note);
            Algorithm::Whole
        }
        Some(other) => {
            diagnostics.warn(KEY, other, "not honoured: hosts are compared as a whole");
            Algorithm::Whole
        }
    }
}

/// How a path is rewritten, and whether something else is asked for.
///
/// Without an anchor the expression is looked for anywhere, but finds the destination's own path first.
fn rewrite(
    options: &Options,
    labels: &Labels<'_>,
    index: u8,
    places: &[(RouteHost, PathMatch)],
    diagnostics: &mut Diagnostics<'_>,
) -> (Rewrite, bool) {
    let Some((key, rewrite)) = labels.of("reqPathSearchReplace", index) else {
        return (Rewrite::Keep, false);
    };
    let (search, replace) = rewrite.split_once(',').unwrap_or((rewrite, ""));
    let search = search.trim_start_matches('^');
    let simple = |path: &PathMatch| {
        !matches!(path, PathMatch::Exact(_)) && path.text() != "/" && !rewrite.contains(':')
    };
    let all = |fits: &dyn Fn(&str) -> bool| {
        places
            .iter()
            .all(|(_, path)| simple(path) && fits(path.text()))
    };
    if all(&|path| search == format!("{path}/") && replace == "/") {
        return (Rewrite::StripBelow, false);
    }
    if all(&|path| search == path && replace.is_empty()) {
        return (Rewrite::Strip, false);
    }
    let note = "paths are not rewritten by expressions";
    let withheld = withhold(options, &key, "reqPathSearchReplace", note, diagnostics);
    (Rewrite::Keep, withheld)
}

/// The place of a destination among all: services with `/.well-known` go first and those with `/` last; within these they
/// go by `aclName`, as bytes, and the destinations of one service by their indexes.
fn rank(labels: &Labels<'_>, index: u8, service: &Name) -> Rank {
    let paths = || {
        labels
            .values
            .iter()
            .filter(|(key, _)| base(key) == "servicePath")
            .flat_map(|(_, list)| items(list))
    };
    let number = if paths().any(|path| path.to_ascii_lowercase().starts_with("/.well-known")) {
        2
    } else if paths().any(|path| path == "/") || paths().next().is_none() {
        0
    } else {
        1
    };
    let name = labels.get("aclName").unwrap_or(service.as_str());
    // No name has a space, which goes before all that names have.
    let order = format!("{} {index:02}", name.replace(' ', "-"));
    Rank::new(scheme(), number).with_order(order)
}

/// The place after all others.
pub(super) fn last() -> Rank {
    Rank::new(scheme(), i32::MIN)
}

fn scheme() -> Name {
    Name::from_text("docker-flow")
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// The keys that narrow what a destination serves.
const NARROWING: [&str; 7] = [
    "httpsOnly",
    "pathType",
    "serviceDomain",
    "serviceHeader",
    "servicePath",
    "srcPort",
    "userAgent",
];

const MAX_ROUTES: usize = 1024;
