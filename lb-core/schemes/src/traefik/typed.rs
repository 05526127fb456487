//! The values that are no text there: where one cannot be decoded, Traefik leaves the whole object out.

use crate::{keys::Key, labels::go_bool};

/// What a value is decoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Duration,
    Integer,
}

/// Says what is expected of the value of a key that Traefik cannot decode. `None`: it can, or the key is not one of these.
///
/// `key` is below the root, with dots between its parts.
pub(super) fn undecodable(key: &str, value: &str) -> Option<&'static str> {
    let (_, kind) = TYPED
        .iter()
        .find(|(pattern, _)| Key::reported(pattern, "").is(key))?;
    match kind {
        Type::Bool => go_bool(value).is_none().then_some("expected true or false"),
        Type::Duration => (!is_duration(value))
            .then_some("expected a duration such as 500ms or 30s, or a number of seconds"),
        Type::Integer => value
            .parse::<i64>()
            .is_err()
            .then_some("expected a whole number"),
    }
}

/// Returns `true` if Go reads the text as a duration, or as a number.
fn is_duration(text: &str) -> bool {
    if text.parse::<i64>().is_ok() {
        return true;
    }
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let is_number = number.matches('.').count() <= 1 && number.contains(|c: char| c != '.');
        let unit = UNITS.iter().find_map(|unit| after.strip_prefix(unit));
        match unit.filter(|_| is_number) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    true
}

/// The units of durations; one that begins as another does goes before it.
const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];

/// The keys whose values are decoded, as the types of Traefik 3 have them.
const TYPED: &[(&str, Type)] = &[
    ("docker.allownonrunning", Type::Bool),
    ("docker.lbswarm", Type::Bool),
    ("swarm.lbswarm", Type::Bool),
    ("http.routers.*.priority", Type::Integer),
    ("http.routers.*.observability.accesslogs", Type::Bool),
    ("http.routers.*.observability.metrics", Type::Bool),
    ("http.routers.*.observability.tracing", Type::Bool),
    ("http.services.*.loadbalancer.passhostheader", Type::Bool),
    ("http.services.*.loadbalancer.server.weight", Type::Integer),
    (
        "http.services.*.loadbalancer.server.preservepath",
        Type::Bool,
    ),
    (
        "http.services.*.loadbalancer.sticky.cookie.secure",
        Type::Bool,
    ),
    (
        "http.services.*.loadbalancer.sticky.cookie.httponly",
        Type::Bool,
    ),
    (
        "http.services.*.loadbalancer.sticky.cookie.maxage",
        Type::Integer,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.port",
        Type::Integer,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.status",
        Type::Integer,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.followredirects",
        Type::Bool,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.interval",
        Type::Duration,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.unhealthyinterval",
        Type::Duration,
    ),
    (
        "http.services.*.loadbalancer.healthcheck.timeout",
        Type::Duration,
    ),
    (
        "http.services.*.loadbalancer.passivehealthcheck.failurewindow",
        Type::Duration,
    ),
    (
        "http.services.*.loadbalancer.passivehealthcheck.maxfailedattempts",
        Type::Integer,
    ),
    (
        "http.services.*.loadbalancer.responseforwarding.flushinterval",
        Type::Duration,
    ),
    ("http.middlewares.*.basicauth.removeheader", Type::Bool),
    (
        "http.middlewares.*.buffering.maxrequestbodybytes",
        Type::Integer,
    ),
    (
        "http.middlewares.*.buffering.maxresponsebodybytes",
        Type::Integer,
    ),
    (
        "http.middlewares.*.buffering.memrequestbodybytes",
        Type::Integer,
    ),
    (
        "http.middlewares.*.buffering.memresponsebodybytes",
        Type::Integer,
    ),
    (
        "http.middlewares.*.circuitbreaker.checkperiod",
        Type::Duration,
    ),
    (
        "http.middlewares.*.circuitbreaker.fallbackduration",
        Type::Duration,
    ),
    (
        "http.middlewares.*.circuitbreaker.recoveryduration",
        Type::Duration,
    ),
    (
        "http.middlewares.*.circuitbreaker.responsecode",
        Type::Integer,
    ),
    (
        "http.middlewares.*.compress.minresponsebodybytes",
        Type::Integer,
    ),
    ("http.middlewares.*.contenttype.autodetect", Type::Bool),
    ("http.middlewares.*.digestauth.removeheader", Type::Bool),
    (
        "http.middlewares.*.forwardauth.trustforwardheader",
        Type::Bool,
    ),
    (
        "http.middlewares.*.headers.accesscontrolallowcredentials",
        Type::Bool,
    ),
    (
        "http.middlewares.*.headers.accesscontrolmaxage",
        Type::Integer,
    ),
    ("http.middlewares.*.headers.addvaryheader", Type::Bool),
    ("http.middlewares.*.headers.browserxssfilter", Type::Bool),
    ("http.middlewares.*.headers.contenttypenosniff", Type::Bool),
    ("http.middlewares.*.headers.forcestsheader", Type::Bool),
    ("http.middlewares.*.headers.framedeny", Type::Bool),
    ("http.middlewares.*.headers.isdevelopment", Type::Bool),
    (
        "http.middlewares.*.headers.stsincludesubdomains",
        Type::Bool,
    ),
    ("http.middlewares.*.headers.stspreload", Type::Bool),
    ("http.middlewares.*.headers.stsseconds", Type::Integer),
    ("http.middlewares.*.inflightreq.amount", Type::Integer),
    (
        "http.middlewares.*.inflightreq.sourcecriterion.ipstrategy.depth",
        Type::Integer,
    ),
    (
        "http.middlewares.*.ipallowlist.ipstrategy.depth",
        Type::Integer,
    ),
    (
        "http.middlewares.*.ipwhitelist.ipstrategy.depth",
        Type::Integer,
    ),
    ("http.middlewares.*.passtlsclientcert.pem", Type::Bool),
    ("http.middlewares.*.ratelimit.average", Type::Integer),
    ("http.middlewares.*.ratelimit.burst", Type::Integer),
    ("http.middlewares.*.ratelimit.period", Type::Duration),
    (
        "http.middlewares.*.ratelimit.sourcecriterion.ipstrategy.depth",
        Type::Integer,
    ),
    ("http.middlewares.*.redirectregex.permanent", Type::Bool),
    ("http.middlewares.*.redirectscheme.permanent", Type::Bool),
    ("http.middlewares.*.retry.attempts", Type::Integer),
    ("http.middlewares.*.retry.initialinterval", Type::Duration),
    ("http.middlewares.*.stripprefix.forceslash", Type::Bool),
    ("tcp.middlewares.*.inflightconn.amount", Type::Integer),
    ("tcp.routers.*.priority", Type::Integer),
    ("tcp.routers.*.tls.passthrough", Type::Bool),
    (
        "tcp.services.*.loadbalancer.healthcheck.interval",
        Type::Duration,
    ),
    (
        "tcp.services.*.loadbalancer.healthcheck.port",
        Type::Integer,
    ),
    (
        "tcp.services.*.loadbalancer.healthcheck.timeout",
        Type::Duration,
    ),
    (
        "tcp.services.*.loadbalancer.proxyprotocol.version",
        Type::Integer,
    ),
    ("tcp.services.*.loadbalancer.server.tls", Type::Bool),
    (
        "tcp.services.*.loadbalancer.terminationdelay",
        Type::Integer,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_s09_values_are_decoded_as_go_does() {
        for (key, value, expected) in [
            ("http.routers.a.priority", "10", true),
            ("HTTP.routers.a.Priority", "-7", true),
            ("http.routers.a.priority", "+7", true),
            ("http.routers.a.priority", "abc", false),
            ("http.routers.a.priority", "", false),
            ("http.routers.a.priority", " 1", false),
            ("http.routers.a.priority", "1.5", false),
            ("http.routers.a.priority", "9223372036854775808", false),
            ("tcp.routers.a.tls.passthrough", "T", true),
            ("tcp.routers.a.tls.passthrough", "yes", false),
            ("http.services.a.loadbalancer.passHostHeader", "on", false),
            ("http.middlewares.a.retry.initialInterval", "10", true),
            ("http.middlewares.a.retry.initialInterval", "1h2m3.5s", true),
            ("http.middlewares.a.retry.initialInterval", ".5s", true),
            ("http.middlewares.a.retry.initialInterval", "-100µs", true),
            ("http.middlewares.a.retry.initialInterval", "10 s", false),
            ("http.middlewares.a.retry.initialInterval", "1.5", false),
            ("http.middlewares.a.retry.initialInterval", "s", false),
            ("http.middlewares.a.retry.initialInterval", ".s", false),
            ("http.middlewares.a.retry.initialInterval", "-", false),
            ("http.middlewares.a.retry.initialInterval", "1d", false),
            ("http.routers.a.rule", "abc", true),
            ("http.router.a.priority", "abc", true),
        ] {
            assert_eq!(undecodable(key, value).is_none(), expected, "{key}={value}");
        }
    }
}
