//! The keys of Traefik's dynamic configuration and of its Docker and Swarm providers.

use crate::keys::Key;

/// The keys below `traefik`, with `.` between the parts: labels have it so, etcd keys have `/`.
pub const KEYS: &[Key] = &[
    // The providers' own.
    Key::honoured("enable", "`false`: the object is left out"),
    Key::honoured("docker.network", "the network to use"),
    Key::honoured("swarm.network", "the network to use"),
    Key::honoured(
        "docker.lbswarm",
        "`true`: the virtual address of the Swarm service is used",
    ),
    Key::honoured(
        "swarm.lbswarm",
        "`true`: the virtual address of the Swarm service is used",
    ),
    Key::reported("docker.allownonrunning", "only running containers count"),
    // Routers of HTTP.
    Key::honoured(
        "http.routers.*.rule",
        "`Host`, `HostRegexp` of hosts and domains, `Path`, `PathPrefix`, with `&&`, `||` and parentheses; a router with another matcher or with `!` is left out",
    ),
    Key::honoured("http.routers.*.ruleSyntax", "both syntaxes are understood"),
    Key::honoured(
        "http.routers.*.service",
        "a service that the same object defines, with or without the provider's own suffix (`web@docker`). With another (`api@internal`, `noop@internal`, `web@file`, one of another object) the router is withheld: no wider route has its requests",
    ),
    Key::honoured(
        "http.routers.*.priority",
        "unset or 0 is the length of the rule",
    ),
    Key::honoured(
        "http.routers.*.entryPoints",
        "names that the option `entrypoints` maps; a router with none of these is left out. Where all of them are of TLS, requests without TLS are redirected to https; `allow_unprotected = [\"tls\"]` serves them",
    ),
    Key::withheld(
        "http.routers.*.middlewares",
        "honoured: `stripPrefix` of the router's own prefix, `redirectScheme` to https, for good (301, 308), which is reported where it is not `permanent`; reported: the middlewares that change nothing about who is served what, also `buffering` without `maxRequestBodyBytes`; one that another container or service of the source defines counts as its own, and one that several define differently is none; an empty item of the list is a middleware that there is not",
    ),
    Key::withheld(
        "http.routers.*.tls.options",
        "TLS options may ask for client certificates",
    ),
    Key::honoured(
        "http.routers.*.tls",
        "the router is for requests with TLS: those without are redirected to https, and never served; `allow_unprotected = [\"tls\"]` serves them",
    ),
    Key::reported(
        "http.routers.*.tls.**",
        "certificates and listeners are the target's configuration",
    ),
    Key::reported("http.routers.*.observability.**", "logs are the target's"),
    Key::withheld(
        "http.routers.*.parentRefs",
        "the rule of the parent is not known here",
    ),
    Key::withheld("http.routers.*.**", "unknown key of a router"),
    // Services of HTTP.
    Key::honoured(
        "http.services.*.loadbalancer.server.port",
        "without it the lowest port that the object exposes",
    ),
    Key::honoured(
        "http.services.*.loadbalancer.server.weight",
        "a server without weight has 1. Where a server of a service has more than 256, all of its weights are scaled, so that their proportion is kept; where 0 to 256 cannot express it within 5 %, that is reported. Less than 0 counts as 0, which is reported",
    ),
    Key::honoured(
        "http.services.*.loadbalancer.server.scheme",
        "`http`; with another scheme the service has no endpoint here",
    ),
    Key::honoured(
        "http.services.*.loadbalancer.server.url",
        "a server elsewhere is not taken from labels: the service has no endpoint here",
    ),
    Key::honoured(
        "http.services.*.loadbalancer.healthcheck.port",
        "the port of the target's own health check",
    ),
    Key::honoured(
        "http.services.*.loadbalancer.passHostHeader",
        "`true`; `false` is reported: the host is always passed on",
    ),
    Key::reported(
        "http.services.*.loadbalancer.sticky.**",
        "sticky sessions are the target's configuration",
    ),
    Key::reported(
        "http.services.*.loadbalancer.healthcheck.**",
        "health checks are the target's configuration",
    ),
    Key::reported(
        "http.services.*.loadbalancer.**",
        "it is the target's configuration",
    ),
    Key::reported(
        "http.services.**",
        "unknown or unsupported kind of service; one named as what restricts (`middlewares`, `auth`) withholds the routes of the service",
    ),
    Key::reported(
        "http.middlewares.**",
        "middlewares count through the routers that name them",
    ),
    Key::reported(
        "http.serverstransports.**",
        "it is the target's configuration",
    ),
    // Routers and services of TCP.
    Key::honoured(
        "tcp.routers.*.rule",
        "`HostSNI`, and `HostSNIRegexp` of hosts and domains",
    ),
    Key::honoured("tcp.routers.*.ruleSyntax", "both syntaxes are understood"),
    Key::honoured("tcp.routers.*.service", "as for HTTP"),
    Key::honoured(
        "tcp.routers.*.priority",
        "unset or 0 is the length of the rule; that of HostSNI(`*`) is the lowest",
    ),
    Key::honoured("tcp.routers.*.entryPoints", "as for HTTP"),
    Key::honoured(
        "tcp.routers.*.tls.passthrough",
        "`true`: the connection is passed on as it is",
    ),
    Key::withheld("tcp.routers.*.middlewares", "they restrict who may connect"),
    Key::withheld(
        "tcp.routers.*.tls",
        "without passthrough: TLS ends at the target, which connections here do not",
    ),
    Key::withheld(
        "tcp.routers.*.tls.**",
        "without passthrough: TLS ends at the target, which connections here do not",
    ),
    Key::withheld("tcp.routers.*.**", "unknown key of a router"),
    Key::honoured("tcp.services.*.loadbalancer.server.port", "as for HTTP"),
    Key::honoured("tcp.services.*.loadbalancer.server.weight", "as for HTTP"),
    Key::honoured(
        "tcp.services.*.loadbalancer.server.tls",
        "`false`; with `true` the service has no endpoint here",
    ),
    Key::reported(
        "tcp.services.*.loadbalancer.**",
        "it is the target's configuration",
    ),
    Key::reported("tcp.services.**", "unknown or unsupported kind of service"),
    Key::reported(
        "tcp.middlewares.**",
        "middlewares count through the routers that name them",
    ),
    Key::reported(
        "tcp.serverstransports.**",
        "it is the target's configuration",
    ),
    Key::reported("udp.**", "UDP is not supported"),
    Key::reported("tls.**", "certificates are the target's configuration"),
];
