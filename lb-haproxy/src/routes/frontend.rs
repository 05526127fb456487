//! The lines of HAProxy's configuration that look a request up in a route map.

use std::time::Duration;

use super::key::MAX_WILDCARD_LABELS;
use crate::proto::MapName;

/// The backend of requests that no route matches: it answers 404.
pub const NOT_FOUND: &str = "lb-not-found";

/// The HTTP backend of routes whose service has none: it answers 503.
pub const UNAVAILABLE: &str = "lb-unavailable";

/// The TCP backend of routes whose service has none: it closes the connection.
pub const UNAVAILABLE_TCP: &str = "lb-unavailable-tcp";

/// The lines of a frontend of `mode http` that sends every request where the map says.
///
/// They need the backends of [`fallback_backends`], work from HAProxy 2.2 on, and set the variables `txn.lb_host`,
/// `txn.lb_base`, `txn.lb_path` and `txn.lb_backend`. A backend that the map names and HAProxy does not have
/// answers 503.
///
/// # Errors
/// [`UnquotableMap`] for a file name that a configuration cannot hold as it is.
pub fn http_route_lines(map: &MapName) -> Result<Vec<String>, UnquotableMap> {
    let map = plain(map)?;
    let mut lines = vec![
        "http-request set-var(txn.lb_host) req.fhdr(host),lower,field(1,:/),rtrim(.)".to_owned(),
        // Wildcards name a limited number of labels, hosts any.
        format!(
            "http-request set-var(txn.lb_base) var(txn.lb_host),field(-1,.,{})",
            MAX_WILDCARD_LABELS + 1
        ),
        // `OPTIONS *` and, in some versions, an absolute URI that ends with the host have no path.
        "http-request set-var(txn.lb_path) str(//?)".to_owned(),
        "http-request set-var(txn.lb_path) path,concat(/?)".to_owned(),
        format!(
            "http-request set-var(txn.lb_backend) var(txn.lb_host),concat(,txn.lb_path,),map_beg({map})"
        ),
    ];
    let otherwise = "if !{ var(txn.lb_backend) -m found }";
    lines.extend(parents().map(|parent| {
        format!("http-request set-var(txn.lb_backend) {parent},concat(,txn.lb_path,),map_beg({map}) {otherwise}")
    }));
    lines.extend([
        format!("http-request set-var(txn.lb_backend) str(*),concat(,txn.lb_path,),map_beg({map}) {otherwise}"),
        format!("use_backend {NOT_FOUND} {otherwise}"),
        "use_backend %[var(txn.lb_backend)]".to_owned(),
        format!("default_backend {UNAVAILABLE}"),
    ]);
    Ok(lines)
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
        "tcp-request content set-var(txn.lb_host) req.ssl_sni,lower,rtrim(.)".to_owned(),
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
