//! Labels and variables of every scheme, with a secret in each value that may restrict or authenticate.

/// One object: its labels, then its variables. `§` stands for a secret.
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) labels: &'static [(&'static str, &'static str)],
    pub(crate) variables: &'static [(&'static str, &'static str)],
}

const fn labelled(name: &'static str, labels: &'static [(&'static str, &'static str)]) -> Object {
    Object {
        name,
        labels,
        variables: &[],
    }
}

pub(crate) const OBJECTS: &[Object] = &[
    labelled(
        "traefik-protected",
        &[
            ("traefik.http.routers.p.rule", "Host(`p.example`)"),
            (
                "traefik.http.routers.p.middlewares",
                "basic,digest,forward,headers,plugin,strip,§@file",
            ),
            ("traefik.http.routers.p.middelwares", "§"),
            ("traefik.http.routers.p.tls.options", "§"),
            ("traefik.http.routers.p.tls.certresolver", "§"),
            (
                "traefik.http.middlewares.basic.basicauth.users",
                "joe:§,jim:§",
            ),
            ("traefik.http.middlewares.basic.basicauth.userz", "joe:§"),
            (
                "traefik.http.middlewares.basic.basicauth.usersfile",
                "/run/§",
            ),
            ("traefik.http.middlewares.basic.basicauth.realm", "§"),
            ("traefik.http.middlewares.basic.basicauth", "joe:§"),
            ("traefik.http.middlewares.basic.basicuth.users", "joe:§"),
            (
                "traefik.http.middlewares.digest.digestauth.users",
                "joe:realm:§",
            ),
            (
                "traefik.http.middlewares.forward.forwardauth.address",
                "http://joe:§@auth.example/?token=§",
            ),
            (
                "traefik.http.middlewares.forward.forwardauth.authrequestheaders",
                "X-§",
            ),
            ("traefik.http.middlewares.forward.forwardauth.tls.key", "§"),
            (
                "traefik.http.middlewares.headers.headers.customrequestheaders.Authorization",
                "Bearer §",
            ),
            (
                "traefik.http.middlewares.headers.headers.customresponseheaders.X-Api-Key",
                "§",
            ),
            (
                "traefik.http.middlewares.headers.headers.accesscontrolalloworiginlist",
                "§",
            ),
            ("traefik.http.middlewares.plugin.plugin.jwt.secret", "§"),
            ("traefik.http.middlewares.ips.ipallowlist.sourcerange", "§"),
            ("traefik.http.middlewares.ips.ipwhitelist.sourcerange", "§"),
            ("traefik.http.middlewares.strip.stripprefix.prefixes", "/§"),
            ("traefik.http.middlewares.scheme.redirectscheme.scheme", "§"),
            (
                "traefik.http.middlewares.regex.redirectregex.replacement",
                "https://joe:§@x",
            ),
            ("traefik.http.midlewares.basic.basicauth.users", "joe:§"),
            ("traefik.tcp.routers.t.rule", "HostSNI(`t.example`)"),
            ("traefik.tcp.routers.t.middlewares", "§"),
            ("traefik.tcp.routers.t.tls.options", "§"),
            ("traefik.tcp.middlewares.ips.ipallowlist.sourcerange", "§"),
            ("traefik.tls.certificates.keyfile", "§"),
            ("traefik.nonsense", "§"),
        ],
    ),
    labelled(
        "traefik-rules",
        &[
            (
                "traefik.http.routers.a.rule",
                "Host(`a.example`) && Header(`Authorization`, `Bearer §`)",
            ),
            ("traefik.http.routers.b.rule", "Query(`token`, `§`)"),
            ("traefik.http.routers.c.rule", "Host(`joe:§@c.example`)"),
            (
                "traefik.http.routers.d.rule",
                "Host(`d.example` && Header(`Authorization`, `§`)",
            ),
            ("traefik.http.routers.e.rule", "PathPrefix(`/?token=§`)"),
            (
                "traefik.http.routers.f.rule",
                "Headers(`X-Token`, `§`) || Host(`f.example`)",
            ),
            ("traefik.http.routers.g.rule", "!Header(`X-Token`, `§`)"),
            ("traefik.http.routers.h.rule", "§"),
            (
                "traefik.http.routers.i.rule",
                "Host(`i.example`) && Query(`token=§`)",
            ),
            (
                "traefik.http.routers.j.rule",
                "Host(`http://joe:§@j.example`)",
            ),
            (
                "traefik.http.routers.k.rule",
                "HostRegexp(`^(§|k)\\.example$`) && HeaderRegexp(`X-Token`, `§`)",
            ),
            ("traefik.tcp.routers.l.rule", "HostSNI(`joe:§@l.example`)"),
            ("traefik.http.services.s.loadbalancer.server.port", "80"),
        ],
    ),
    labelled(
        "traefik-services",
        &[
            ("traefik.http.routers.s.rule", "Host(`s.example`)"),
            (
                "traefik.http.services.s.loadbalancer.server.url",
                "http://joe:§@192.0.2.1:80",
            ),
            (
                "traefik.http.services.s.loadbalancer.healthcheck.headers.Authorization",
                "Bearer §",
            ),
            (
                "traefik.http.services.s.loadbalancer.healthcheck.path",
                "/health?token=§",
            ),
            (
                "traefik.http.services.s.loadbalancer.sticky.cookie.name",
                "§",
            ),
            ("traefik.http.services.s.loadbalancer.passwd", "§"),
            ("traefik.http.services.s.auth", "§"),
            ("traefik.http.serverstransports.s.certificates.keyfile", "§"),
        ],
    ),
    labelled(
        "flow",
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "flow"),
            ("com.df.serviceDomain", "flow.example"),
            ("com.df.port", "80"),
            ("com.df.users", "joe:§,jim:§"),
            ("com.df.Users", "joe:§"),
            ("com.df.users.1", "joe:§"),
            ("com.df.userz", "joe:§"),
            ("com.df.usersSecret", "§"),
            ("com.df.usersPassEncrypted", "§"),
            ("com.df.verifyClientSsl", "§"),
            ("com.df.setReqHeader", "Authorization Bearer §"),
            ("com.df.addReqHeader", "Authorization Bearer §"),
            ("com.df.delReqHeader", "§"),
            ("com.df.setResHeader", "X-Api-Key §"),
            (
                "com.df.backendExtra",
                "http-request deny unless { hdr(x) § }",
            ),
            ("com.df.templateBePath", "/run/§"),
            ("com.df.templateFePath", "/run/§"),
            ("com.df.serviceCert", "§"),
            ("com.df.servicePathExclude", "/§"),
            ("com.df.allowedMethods", "§"),
            ("com.df.denyHttp", "§"),
            ("com.df.ignoreAuthorization", "§"),
            ("com.df.userDef", "§"),
            ("com.df.notifyService", "http://joe:§@x"),
            ("com.df.password", "§"),
        ],
    ),
    labelled(
        "flow-headers",
        &[
            ("com.df.notify", "true"),
            ("com.df.serviceName", "headers"),
            (
                "com.df.serviceDomain",
                "headers.example,joe:§@headers.example",
            ),
            ("com.df.port", "80"),
            ("com.df.serviceHeader", "X-Token:§"),
            ("com.df.userAgent", "§"),
            ("com.df.reqPathSearchReplace", "/x/,/§/"),
            ("com.df.reqPathSearch", "§"),
            ("com.df.outboundHostname", "joe:§@out.example"),
            ("com.df.servicePath", "/,joe:§@headers.example/"),
        ],
    ),
    labelled(
        "easy",
        &[
            ("easyhaproxy.web.host", "easy.example,joe:§@easy.example"),
            ("easyhaproxy.web.plugins", "jwt_validator,§"),
            ("easyhaproxy.web.plugin.jwt_validator.pubkey", "§"),
            ("easyhaproxy.web.plugin.jwt_validator.pubkey_path", "/run/§"),
            ("easyhaproxy.web.plugin.basic_auth.users", "joe:§"),
            ("easyhaproxy.web.ip_whitelist.allowed_ips", "§"),
            ("easyhaproxy.web.auth", "joe:§"),
            ("easyhaproxy.web.sslcert", "§"),
            (
                "easyhaproxy.web.redirect",
                "{\"a.example\":\"http://joe:§@b.example\"}",
            ),
            ("easyhaproxy.web.password", "§"),
            ("easyhaproxy.web.clone_to_ssl", "§"),
            ("easyhaproxy.web.hosst", "§"),
            ("easyhaproxy.auth", "§"),
        ],
    ),
    labelled(
        "own",
        &[
            ("lb.service", "own"),
            (
                "lb.routes",
                "own.example, joe:§@own.example/, http://jim:§@own.example/, own.example/?token=§",
            ),
            ("lb.auth", "joe:§"),
            ("lb.users", "joe:§"),
            ("lb.basicauth.users", "joe:§"),
            ("lb.pasword", "§"),
            ("lb.1.token", "§"),
            ("lb.nonsense", "§"),
            ("lb.routs", "joe:§@own.example"),
            ("LB.users", "joe:§"),
        ],
    ),
    labelled(
        "own-name",
        &[
            ("lb.service", "joe:§@own"),
            ("lb.port", "joe:§@80"),
            ("lb.network", "joe:§@net"),
        ],
    ),
    Object {
        name: "nginx",
        labels: &[
            ("com.github.nginx-proxy.nginx-proxy.ssl_verify_client", "§"),
            ("com.github.nginx-proxy.nginx-proxy.auth", "§"),
            ("com.github.nginx-proxy.nginx-proxy.loadbalance", "§"),
        ],
        variables: &[
            (
                "VIRTUAL_HOST",
                "nginx.example,joe:§@nginx.example,~^joe:§@x$,http://jim:§@nginx.example",
            ),
            ("VIRTUAL_PASSWORD", "§"),
            ("VIRTUAL_HTPASSWD", "joe:§"),
            ("VIRTUAL_HOTS", "joe:§@x"),
            ("NETWORK_ACCESS", "§"),
            ("HTTPS_METHOD", "§"),
            ("VIRTUAL_DEST", "/§"),
            ("CERT_NAME", "§"),
            ("SSL_POLICY", "§"),
            ("BASIC_AUTH", "joe:§"),
            ("DATABASE_URL", "postgres://joe:§@db/x"),
            ("API_TOKEN", "§"),
        ],
    },
    Object {
        name: "nginx-yaml",
        labels: &[],
        variables: &[(
            "VIRTUAL_HOST_MULTIPORTS",
            "yaml.example:\n  /:\n    port: 80\n    password: §\n  /x: [§\n",
        )],
    },
    Object {
        name: "nginx-json",
        labels: &[],
        variables: &[(
            "VIRTUAL_HOST_MULTIPORTS",
            "{\"json.example\": {\"/\": {\"port\": \"§\", \"auth\": \"§\", \"dest\": \"http://joe:§@x\"}, \"§\": \"§\"}}",
        )],
    },
    Object {
        name: "nginx-fields",
        labels: &[],
        variables: &[(
            "VIRTUAL_HOST_MULTIPORTS",
            "fields.example:\n  /:\n    port: 80\n    password: §\n    auth:\n      users: [\"joe:§\"]\njoe:§@fields.example: {}\n",
        )],
    },
];
