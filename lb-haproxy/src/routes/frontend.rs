//! The lines of HAProxy's configuration that look a request up in a route map.

use std::time::Duration;

use super::{
    key::MAX_WILDCARD_LABELS,
    reading::{Reading, agreement_lines, http_path_lines, tidy_lines},
    value::{HTTPS, MAX_STRIP, PART},
};
use crate::proto::MapName;

/// The backend of requests that no route matches: it answers 404.
pub const NOT_FOUND: &str = "lb-not-found";

/// The HTTP backend of routes whose service has none: it answers 503.
pub const UNAVAILABLE: &str = "lb-unavailable";

/// The TCP backend of routes whose service has none: it closes the connection.
pub const UNAVAILABLE_TCP: &str = "lb-unavailable-tcp";

/// The lines that set `txn.lb_host`, the host of a request as routes compare it. They work from HAProxy 2.2 on.
///
/// It is in lower case, without port and one trailing dot, and unset where there is none: no `Host`, or one that begins
/// with a dot, which could be taken for a wildcard. Where the target is a whole URL, its host counts.
#[must_use]
pub fn http_host_lines() -> Vec<String> {
    [
        "set-var(txn.lb_host) req.fhdr(host),lower,field(1,:/)",
        "set-var(txn.lb_host) url,field(3,/),field(-1,@),lower,field(1,:) if { url -m beg -i http:// https:// }",
        "set-var(txn.lb_host) var(txn.lb_host),rtrim(.) if { var(txn.lb_host) -m end . } !{ var(txn.lb_host) -m end .. }",
        "unset-var(txn.lb_host) if { var(txn.lb_host) -m beg . }",
    ]
    .map(|line| format!("http-request {line}"))
    .into()
}

/// The lines of a frontend of `mode http` that sends every request where the map says.
///
/// They need the backends of [`fallback_backends`], work from HAProxy 2.2 on, and set variables `txn.lb_*`. A backend that
/// the map names and HAProxy does not have answers 503. A request whose path leads to different routes, depending on how it
/// is read, is refused with 400. The lines redirect requests and take prefixes off paths where routes ask for it, so that rules of `use_backend`
/// beside them see the path that is left. Such rules need [`http_route_lines_but`].
///
/// # Errors
/// [`UnquotableMap`] for a file name that a configuration cannot hold as it is.
pub fn http_route_lines(map: &MapName) -> Result<Vec<String>, UnquotableMap> {
    let mut lines = http_host_lines();
    lines.extend(http_path_lines());
    lines.extend(http_route_lines_but(map, None)?);
    Ok(lines)
}

/// As [`http_route_lines`] after [`http_host_lines`] and [`http_path_lines`], for requests that the condition `but` does not
/// match.
///
/// # Errors
/// [`UnquotableMap`] for a file name that a configuration cannot hold as it is.
pub fn http_route_lines_but(
    map: &MapName,
    but: Option<&str>,
) -> Result<Vec<String>, UnquotableMap> {
    let map = plain(map)?;
    let but = but.map(|its| format!(" !{its}")).unwrap_or_default();
    let mut lines = vec![
        // Wildcards name a limited number of labels, hosts any.
        format!(
            "http-request set-var(txn.lb_base) var(txn.lb_host),field(-1,.,{})",
            MAX_WILDCARD_LABELS + 1
        ),
        // `OPTIONS *` and, in some versions, an absolute URI that ends with the host have no path.
        "http-request set-var(txn.lb_path) str(//?)".to_owned(),
        "http-request set-var(txn.lb_path) path,concat(/?)".to_owned(),
    ];
    lines.extend(look_lines(map, ROUTE, "txn.lb_path", &but));
    for reading in Reading::ALL {
        let but = format!(" {}{but}", reading.condition());
        lines.extend(look_lines(
            map,
            &route_as(reading),
            reading.variable(),
            &but,
        ));
    }
    lines.extend(agreement_lines(ROUTE, route_as));
    let otherwise = format!("if !{{ var({ROUTE}) -m found }}{but}");
    lines.extend(option_lines());
    lines.extend([
        format!("use_backend {NOT_FOUND} {otherwise}"),
        "use_backend %[var(txn.lb_backend)] if { var(txn.lb_backend) -m found }".to_owned(),
        format!("default_backend {UNAVAILABLE}"),
    ]);
    Ok(lines)
}

/// The variable of the value that the path as it was sent leads to.
const ROUTE: &str = "txn.lb_route";

/// The variable of the value that a reading of the path leads to.
fn route_as(reading: Reading) -> String {
    reading.variable().replace("lb_", "lb_route_")
}

/// The lines that set `found` to what the map has for the host and the path of a variable: of the host itself, else of its
/// nearest parent, else of any host. `but` are conditions of all of them.
fn look_lines(map: &str, found: &str, path: &str, but: &str) -> Vec<String> {
    let set = format!("http-request set-var({found})");
    let look = format!("concat(,{path},),map_beg({map})");
    let first = match but.is_empty() {
        true => String::new(),
        false => format!(" if{but}"),
    };
    let otherwise = format!("if{but} !{{ var({found}) -m found }}");
    let mut lines = vec![format!("{set} var(txn.lb_host),{look}{first}")];
    lines.extend(parents().map(|parent| format!("{set} {parent},{look} {otherwise}")));
    lines.push(format!("{set} str(*),{look} {otherwise}"));
    lines
}

/// The lines that do what the value of a route asks for: `BACKEND`, or `BACKEND|https|N`.
fn option_lines() -> Vec<String> {
    let part = |number: u8| format!("var(txn.lb_route),field({number},{PART})");
    let plain = format!("if {{ {} -m str {HTTPS} }} !{{ ssl_fc }}", part(2));
    let named = "{ var(txn.lb_host) -m found } !{ var(txn.lb_host) -m beg [ }";
    let mut lines = vec![
        format!("http-request set-var(txn.lb_backend) {}", part(1)),
        // Without a method that may become GET, and without the port, which is not that of TLS.
        format!(
            "http-request redirect location https://%[var(txn.lb_host)]%[pathq] code 301 {plain} {named} METH_GET"
        ),
        format!(
            "http-request redirect location https://%[var(txn.lb_host)]%[pathq] code 308 {plain} {named}"
        ),
        format!("http-request redirect scheme https code 308 {plain}"),
        format!("http-request set-var(txn.lb_strip) {}", part(3)),
    ];
    lines.extend(tidy_lines(
        "txn.lb_prefix",
        "{ var(txn.lb_strip) -m found } !{ var(txn.lb_strip) -m str 0 }",
    ));
    for segments in 1..=MAX_STRIP {
        let of = format!("if {{ var(txn.lb_strip) -m str {segments} }}");
        // What is taken off goes along, as with other proxies.
        lines.push(format!(
            "http-request set-header X-Forwarded-Prefix %[var(txn.lb_prefix),field(1,/,{})] {of}",
            segments + 1
        ));
        lines.push(format!(
            "http-request set-path /%[var(txn.lb_prefix),field({},/,0)] {of}",
            segments + 2
        ));
    }
    lines
}

/// The lines of a frontend of `mode tcp` that sends every connection where the map says for its TLS server name.
///
/// A connection without one (no TLS, or none sent within `inspect_delay`) goes where `*` goes; one that nothing
/// matches is closed. As for [`http_route_lines`] otherwise.
///
/// # Errors
/// [`UnquotableMap`] for a file name that a configuration cannot hold as it is.
pub fn sni_route_lines(
    map: &MapName,
    inspect_delay: Duration,
) -> Result<Vec<String>, UnquotableMap> {
    let map = plain(map)?;
    let rule = "tcp-request content set-var(txn.lb_backend)";
    let otherwise = "if !{ var(txn.lb_backend) -m found }";
    let mut lines = vec![
        format!(
            "tcp-request inspect-delay {}ms",
            inspect_delay.as_millis().max(1)
        ),
        // The condition waits until it is known whether this is a TLS handshake.
        "tcp-request content set-var(txn.lb_tls) int(1) if { req.ssl_hello_type 1 }".to_owned(),
        "tcp-request content set-var(txn.lb_host) req.ssl_sni,lower,field(1,:/)".to_owned(),
        "tcp-request content set-var(txn.lb_host) var(txn.lb_host),rtrim(.) if { var(txn.lb_host) -m end . } !{ var(txn.lb_host) -m end .. }".to_owned(),
        "tcp-request content unset-var(txn.lb_host) if { var(txn.lb_host) -m beg . }".to_owned(),
        format!(
            "tcp-request content set-var(txn.lb_base) var(txn.lb_host),field(-1,.,{})",
            MAX_WILDCARD_LABELS + 1
        ),
        format!("{rule} var(txn.lb_host),map_str({map})"),
    ];
    lines.extend(parents().map(|parent| format!("{rule} {parent},map_str({map}) {otherwise}")));
    lines.extend([
        format!("{rule} str(*),map_str({map}) {otherwise}"),
        format!("tcp-request content reject {otherwise}"),
        "use_backend %[var(txn.lb_backend)]".to_owned(),
        format!("default_backend {UNAVAILABLE_TCP}"),
    ]);
    Ok(lines)
}

/// The sections with the backends that the lines of frontends need.
///
/// `services` is the map of [`ServiceMap`](super::ServiceMap): HAProxy keeps only maps that its configuration
/// names, so a rule that never runs names it.
///
/// # Errors
/// [`UnquotableMap`] for a file name that a configuration cannot hold as it is.
pub fn fallback_backends(services: Option<&MapName>) -> Result<Vec<String>, UnquotableMap> {
    let mut lines = vec![
        format!("backend {NOT_FOUND}"),
        "    mode http".to_owned(),
        "    http-request return status 404 default-errorfiles".to_owned(),
        format!("backend {UNAVAILABLE}"),
        "    mode http".to_owned(),
    ];
    if let Some(map) = services {
        lines.push(format!(
            "    http-request set-var(txn.lb_service) str(-),map_str({}) if {{ always_false }}",
            plain(map)?
        ));
    }
    lines.extend([
        format!("backend {UNAVAILABLE_TCP}"),
        "    mode tcp".to_owned(),
    ]);
    Ok(lines)
}

/// A map whose file name has characters that mean something in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("map {map} has {found:?} in its file name, expected letters, digits and . _ - + : @ = /")]
#[non_exhaustive]
pub struct UnquotableMap {
    /// The map.
    pub map: MapName,
    /// The first such character.
    pub found: char,
}

/// The domains above the request's host, with a leading dot, the nearest first.
///
/// Where there is none the field is empty, and no key begins with `./`.
fn parents() -> impl Iterator<Item = String> {
    (2..=MAX_WILDCARD_LABELS + 1)
        .map(|from| format!("var(txn.lb_base),field({from},.,0),regsub(^,.)"))
}

fn plain(map: &MapName) -> Result<&str, UnquotableMap> {
    let foreign = |c: &char| !(c.is_ascii_alphanumeric() || "._-+:@=/".contains(*c));
    match map.as_str().chars().find(foreign) {
        Some(found) => Err(UnquotableMap {
            map: map.clone(),
            found,
        }),
        None => Ok(map.as_str()),
    }
}
