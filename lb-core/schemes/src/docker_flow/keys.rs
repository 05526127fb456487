//! The parameters of docker-flow-proxy and the labels of its Swarm listener.

use crate::keys::Key;

/// The keys below `com.df`. Those marked so in the notes may have an index, `.1` to `.10`; a destination with an index
/// falls back to the value without one.
pub(crate) const KEYS: &[Key] = &[
    // The listener's own.
    Key::honoured(
        "notify",
        "the gate: the other labels count only with `true`",
    ),
    Key::honoured(
        "shortName",
        "`true`: the stack's prefix is taken off the service's name",
    ),
    Key::honoured("scrapeNetwork", "the network to use"),
    Key::honoured("distribute", "every target gets every service"),
    Key::honoured("replicas", "every replica that runs is an endpoint"),
    Key::reported("notifyService", "nothing else is notified"),
    Key::reported(
        "proxyInstanceName",
        "every target of this program gets every service",
    ),
    // Destinations.
    Key::honoured("serviceName", "the service's name"),
    Key::honoured(
        "aclName",
        "the name by which services are ordered: the first that matches a request gets it. `serviceName` without it",
    ),
    Key::honoured(
        "port",
        "the service's port; a destination without it is left out; may have an index",
    ),
    Key::honoured(
        "servicePath",
        "a list of paths; may have an index. Without it, a service with a domain has `/`",
    ),
    Key::honoured(
        "serviceDomain",
        "a list of hosts, `*.domain` for what is below a domain; may have an index. An empty value, as an unset variable leaves behind, makes no route",
    ),
    Key::honoured(
        "serviceDomainAlgo",
        "`hdr(host)` and `req.ssl_sni` compare whole hosts; `hdr_dom(host)`, `hdr_end(host)` and a domain with `*` add what is below all of them. `hdr_beg(host)` is reported: whole hosts are compared. So is a domain without a dot where it is not set",
    ),
    Key::honoured(
        "serviceDomainMatchAll",
        "as `serviceDomainAlgo=hdr_dom(host)`; deprecated there",
    ),
    Key::honoured(
        "pathType",
        "`path_beg` (the default) and `path`; `path_dir` is taken at the beginning of the path only, which is reported; a protected destination of it is withheld on its domains. With another the destination has no route; may have an index",
    ),
    Key::honoured("reqMode", "`http`, `tcp` or `sni`; may have an index"),
    Key::honoured(
        "isDefaultBackend",
        "the route of requests that nothing else matches",
    ),
    Key::honoured("discoveryType", "`DNS`: each task is an endpoint"),
    Key::honoured(
        "httpsOnly",
        "requests without TLS are redirected; may have an index",
    ),
    Key::honoured(
        "ignoreAuthorization",
        "`true`: `users` do not apply to the destination; may have an index",
    ),
    Key::honoured(
        "reqPathSearchReplace",
        "taking the destination's own path off (`/demo/,/`); another rewrite withholds the destination; may have an index",
    ),
    Key::honoured(
        "srcPort",
        "`80`; a destination of another port has no route; may have an index",
    ),
    Key::honoured(
        "outboundHostname",
        "a server elsewhere: the destination has no endpoint here; may have an index",
    ),
    Key::honoured(
        "sslVerifyNone",
        "`true`: servers of TLS, the destination has no endpoint here; may have an index",
    ),
    Key::honoured(
        "serviceHeader",
        "requests cannot be told apart by headers: the destination has no route; may have an index",
    ),
    Key::honoured(
        "userAgent",
        "requests cannot be told apart by headers: the destination has no route; may have an index",
    ),
    // What restricts who is served, or changes what the service is sent.
    Key::withheld(
        "allowedMethods",
        "methods cannot be restricted; may have an index",
    ),
    Key::withheld(
        "deniedMethods",
        "methods cannot be restricted; may have an index",
    ),
    Key::withheld(
        "denyHttp",
        "requests without TLS cannot be denied; may have an index",
    ),
    Key::withheld(
        "servicePathExclude",
        "paths cannot be left out of others; may have an index",
    ),
    Key::withheld("users", "passwords cannot be asked for"),
    Key::withheld("usersSecret", "passwords cannot be asked for"),
    Key::withheld(
        "verifyClientSsl",
        "client certificates cannot be asked for; may have an index",
    ),
    Key::withheld(
        "delReqHeader",
        "requests are passed on with all their headers",
    ),
    Key::withheld(
        "setReqHeader",
        "requests are passed on with all their headers",
    ),
    Key::withheld(
        "setHeader",
        "requests are passed on with all their headers; deprecated there",
    ),
    Key::withheld(
        "reqPathSearch",
        "paths are not rewritten by expressions; deprecated there",
    ),
    Key::withheld(
        "reqPathReplace",
        "paths are not rewritten by expressions; deprecated there",
    ),
    Key::withheld(
        "reqRepSearch",
        "paths are not rewritten by expressions; deprecated there",
    ),
    Key::withheld(
        "reqRepReplace",
        "paths are not rewritten by expressions; deprecated there",
    ),
    Key::withheld(
        "backendExtra",
        "raw configuration is never taken from labels, and it may restrict who is served",
    ),
    Key::withheld(
        "templateBePath",
        "raw configuration is never taken from labels, and it may restrict who is served",
    ),
    Key::withheld(
        "templateFePath",
        "raw configuration is never taken from labels, and it may restrict who is served",
    ),
    Key::withheld(
        "consulTemplateBePath",
        "raw configuration is never taken from labels, and it may restrict who is served",
    ),
    Key::withheld(
        "consulTemplateFePath",
        "raw configuration is never taken from labels, and it may restrict who is served",
    ),
    // What has no effect.
    Key::reported(
        "addHeader",
        "requests are passed on with their own headers; deprecated there",
    ),
    Key::reported(
        "addReqHeader",
        "requests are passed on with their own headers",
    ),
    Key::reported(
        "addResHeader",
        "answers are passed on with their own headers",
    ),
    Key::reported("balanceGroup", "balancing is the target's configuration"),
    Key::reported("checkResolvers", "names are not resolved"),
    Key::reported("checkTcp", "health checks are the target's configuration"),
    Key::reported("clitcpka", "connections are the target's configuration"),
    Key::reported(
        "compressionAlgo",
        "compression is the target's configuration",
    ),
    Key::reported(
        "compressionType",
        "compression is the target's configuration",
    ),
    Key::reported(
        "connectionMode",
        "connections are the target's configuration",
    ),
    Key::reported(
        "delResHeader",
        "answers are passed on with their own headers",
    ),
    Key::reported("httpsPort", "requests with TLS go to `port` too"),
    Key::reported(
        "httpsRedirectCode",
        "the code of redirects is the target's configuration",
    ),
    Key::reported("redirectFromDomain", "other domains are not redirected"),
    Key::reported(
        "redirectUnlessHttpsProto",
        "redirects do not depend on headers",
    ),
    Key::reported(
        "redirectWhenHttpProto",
        "redirects do not depend on headers",
    ),
    Key::reported("serviceCert", "certificates are the target's configuration"),
    Key::reported("serviceGroup", "balancing is the target's configuration"),
    Key::reported(
        "sessionType",
        "sticky sessions are the target's configuration",
    ),
    Key::reported(
        "setResHeader",
        "answers are passed on with their own headers",
    ),
    Key::reported("skipCheck", "health checks are the target's configuration"),
    Key::reported("srcHttpsPort", "listeners are the target's configuration"),
    Key::reported("timeoutClient", "timeouts are the target's configuration"),
    Key::reported("timeoutServer", "timeouts are the target's configuration"),
    Key::reported("timeoutTunnel", "timeouts are the target's configuration"),
    Key::reported("userDef", "it is for templates"),
    Key::reported("usersPassEncrypted", "passwords cannot be asked for"),
    Key::reported(
        "xForwardedProto",
        "requests are passed on with their own headers",
    ),
];
