//! The fields of lb's own objects: what is not listed here has no effect. The page of the layouts is made of it.

use lb_schemes::Key;

const MODE: Key = Key::honoured("mode", "`http` or `tcp`");
const EXCLUSIVE: Key = Key::honoured(
    "exclusive",
    "`true`: at most one endpoint of the service can get traffic",
);
const ON_DOWN: Key = Key::honoured(
    "on_down",
    "`keep` or `shutdown_sessions`: what becomes of the sessions of an endpoint that is down",
);
pub(super) const ROUTES: Key = Key::honoured(
    "routes",
    "at most 256 routes to the service, without their `service`",
);
pub(super) const METADATA: Key = Key::honoured("metadata", "free for those who write and read it");

/// The fields of an endpoint.
pub(super) const ENDPOINT: &[Key] = &[
    Key::honoured("address", "`ip:port`"),
    Key::honoured("weight", "0 to 256"),
    Key::honoured("state", "`pending`, `ready`, `draining` or `down`"),
    Key::honoured(
        "grace",
        "how long an endpoint that drains may end its requests: `30s`",
    ),
    Key::honoured("check_port", "the port of the target's health check"),
    MODE,
    EXCLUSIVE,
    ON_DOWN,
    ROUTES,
    METADATA,
];

/// The fields of a service.
pub(super) const SERVICE: &[Key] = &[MODE, EXCLUSIVE, ON_DOWN, ROUTES, METADATA];

/// The fields of a route.
pub(super) const ROUTE: &[Key] = &[
    Key::honoured("service", "the service that the route leads to"),
    HOST,
    PATH,
    PRIORITY,
    STRIP_PREFIX,
    REDIRECT_HTTPS,
    METADATA,
];

/// The fields of a route in a list.
pub(super) const LISTED_ROUTE: &[Key] =
    &[HOST, PATH, PRIORITY, STRIP_PREFIX, REDIRECT_HTTPS, METADATA];

const HOST: Key = Key::honoured(
    "host",
    "a host, `*.domain`, or `*` for every host; without it there is no route",
);
const PATH: Key = Key::honoured("path", "a path prefix, or `=/path` for one path");
const PRIORITY: Key = Key::honoured("priority", "a whole number, 0 without it");
const STRIP_PREFIX: Key =
    Key::honoured("strip_prefix", "`true`: the path of the route is taken off");
const REDIRECT_HTTPS: Key = Key::honoured(
    "redirect_https",
    "`true`: requests without TLS are redirected",
);
