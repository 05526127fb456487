//! Keys of every layout of etcd, and files of services, with a secret in each value that may restrict or authenticate.

/// Sources: name, layout as its configuration has it, and a key that its diagnostics name.
pub(crate) const LAYOUTS: &[(&str, &str, &str)] = &[
    ("lb", "{ lb = {} }", "/lb/endpoints/web/plain"),
    (
        "confd",
        r#"{ confd = { prefix = "/proxy" } }"#,
        "/proxy/front/auth",
    ),
    ("patroni", "{ patroni = {} }", "/service/main/credentials"),
    (
        "registrator",
        r#"{ registrator = { prefix = "/services" } }"#,
        "/services/reg/host:web-1:80",
    ),
    ("skydns", "{ skydns = {} }", "/skydns/example/x1"),
    ("traefik", "{ traefik = {} }", "traefik/http/routers"),
    ("vulcand", "{ vulcand = {} }", "/vulcand/frontends/f1"),
    (
        "rules",
        r#"{ rules = [
            { pattern = "/rules/vhosts/{host}", value = "service_name" },
            { pattern = "/rules/nodes/{endpoint}", value = { json = { url = "/url", state = "/token", unsupported = { "/password" = "" } } }, service = "green", only_if = { "/color" = "green" } },
            { pattern = "/rules/ips/{service}/{endpoint}", value = "ip" },
            { pattern = "/rules/urls/{service}/{endpoint}", value = "url" },
            { pattern = "/rules/states/{service}/{endpoint}", value = "state" },
            { pattern = "/rules/hosts/{route}", value = "host" },
            { pattern = "/rules/paths/{route}", value = "path" },
            { pattern = "/rules/ruled/{route}", value = "rule" },
            { pattern = "/rules/odd/{rest...}", value = "unsupported" },
            { pattern = "/rules/kept/{route}", value = "withhold" },
        ] }"#,
        "/rules/kept/r1",
    ),
];

/// Keys with their values. `§` stands for a secret.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("/lb/endpoints/web/text", "joe:§@192.0.2.1:80"),
    ("/lb/endpoints/web/url", "http://joe:§@192.0.2.1:80"),
    ("/lb/endpoints/web/plain", "§"),
    (
        "/lb/endpoints/web/address",
        r#"{ "address": "joe:§@192.0.2.1:80" }"#,
    ),
    (
        "/lb/endpoints/web/field",
        r#"{ "address": "192.0.2.1:80", "auth": "§", "note": "§" }"#,
    ),
    (
        "/lb/endpoints/web/number",
        r#"{ "address": "192.0.2.1:80", "weight": "x", "note": "§" }"#,
    ),
    (
        "/lb/endpoints/web/misspelt",
        r#"{ "adress": "192.0.2.1:80", "pasword": "§" }"#,
    ),
    (
        "/lb/endpoints/web/broken",
        r#"{ "address": "192.0.2.1:80", "password": "§" "#,
    ),
    ("/lb/endpoints/web/cut", r#"{ "password": "§"#),
    ("/lb/endpoints/web/list", r#"["§"]"#),
    (
        "/lb/endpoints/web/nested",
        r#"{ "address": { "password": "§" }, "routes": [ "§" ] }"#,
    ),
    (
        "/lb/endpoints/web/routes",
        r#"{ "address": "192.0.2.1:80", "routes": [ { "host": "w.example", "basic_auth": { "joe": "§" } }, { "host": "joe:§@w.example" } ] }"#,
    ),
    (
        "/lb/services/restricted",
        r#"{ "users": ["joe:§"], "routes": [ { "host": "r.example" } ] }"#,
    ),
    ("/lb/services/wrong", r#"{ "mode": "x", "token": "§" }"#),
    (
        "/lb/services/list",
        r#"{ "exclusive": "x", "routes": "§" }"#,
    ),
    ("/lb/services/broken", r#"{ "token": "§", "#),
    (
        "/lb/routes/headers",
        r#"{ "service": "web", "host": "h.example", "headers": { "Authorization": "Bearer §" } }"#,
    ),
    (
        "/lb/routes/host",
        r#"{ "service": "web", "host": "joe:§@h.example" }"#,
    ),
    (
        "/lb/routes/url",
        r#"{ "service": "web", "host": "http://joe:§@h.example/" }"#,
    ),
    (
        "/lb/routes/bearer",
        r#"{ "service": "web", "host": "h.example", "bearer": "§", "x": "§" }"#,
    ),
    (
        "/lb/routes/list",
        r#"{ "service": "web", "host": ["§"], "password": { "x": "§" } }"#,
    ),
    (
        "/lb/routes/path",
        r#"{ "service": "web", "host": "h.example", "path": "/?token=§" }"#,
    ),
    (
        "/lb/routes/service",
        r#"{ "service": "joe:§@web", "host": "h.example" }"#,
    ),
    (
        "/lb/routes/flag",
        r#"{ "service": "web", "host": "h.example", "strip_prefix": "x", "password": "§" }"#,
    ),
    ("/lb/routes/plain", "§"),
    ("/lb/nonsense", "§"),
    ("/proxy/front/broken", r#"{ "address": "§", "#),
    ("/proxy/front/text", "joe:§@web:80"),
    ("/proxy/front/auth", "§"),
    ("/proxy/front/deeper/key", "§"),
    ("/service/main/leader", "pg1"),
    (
        "/service/main/members/pg1",
        r#"{ "conn_url": "postgres://joe:§@db1.example:5432/x", "api_url": "http://joe:§@db1.example:8008/patroni", "role": "primary", "state": "running" }"#,
    ),
    (
        "/service/main/members/pg2",
        r#"{ "conn_url": "postgres://joe:§/§@192.0.2.1,192.0.2.2:5432/x", "role": "replica", "state": "x" }"#,
    ),
    (
        "/service/main/members/pg3",
        r#"{ "conn_url": "joe:§@192.0.2.1", "role": "replica" }"#,
    ),
    (
        "/service/main/members/pg4",
        r#"{ "conn_url": "postgres://192.0.2.1/x?password=§&sslkey=§", "role": "x" }"#,
    ),
    (
        "/service/main/members/pg5",
        r#"{ "conn_url": "host=192.0.2.1 password=§", "role": "primary" "#,
    ),
    (
        "/service/main/members/pg6",
        r#"{ "conn_url": "host=192.0.2.1 password=§", "role": "primary" }"#,
    ),
    (
        "/service/main/config",
        r#"{ "postgresql": { "authentication": { "superuser": { "password": "§" } } } }"#,
    ),
    ("/service/main/credentials", "§"),
    ("/services/reg/host:web-1:80", "joe:§@192.0.2.1:80"),
    ("/services/reg/host:web-2:80", "http://joe:§@192.0.2.1:80"),
    (
        "/skydns/example/x1",
        r#"{ "host": "joe:§@192.0.2.1", "port": 80 }"#,
    ),
    (
        "/skydns/example/x2",
        r#"{ "host": "192.0.2.1", "port": "x", "text": "§" }"#,
    ),
    (
        "/skydns/example/x3",
        r#"{ "host": "http://joe:§@x", "priority": 5, "weight": "x" }"#,
    ),
    (
        "/skydns/example/x4",
        r#"{ "host": "192.0.2.1", "port": 80, "priority": 5, "text": "§" }"#,
    ),
    (
        "/skydns/example/x5",
        r#"{ "host": "192.0.2.1", "text": "§", "#,
    ),
    (
        "/vulcand/backends/b/servers/s1",
        r#"{ "URL": "http://joe:§@web:80" }"#,
    ),
    (
        "/vulcand/backends/b/servers/s2",
        r#"{ "URL": "§", "Url": "§" }"#,
    ),
    (
        "/vulcand/backends/b/backend",
        r#"{ "Type": "http", "Settings": { "TLS": { "KeyPair": "§" } } }"#,
    ),
    (
        "/vulcand/frontends/f1/frontend",
        r#"{ "BackendId": "b", "Route": "Host(`v.example`) && Header(`Authorization`, `Bearer §`)", "Settings": { "Auth": "§" } }"#,
    ),
    (
        "/vulcand/frontends/f1/middlewares/auth1",
        r#"{ "Type": "auth", "Middleware": { "Username": "joe", "Password": "§" } }"#,
    ),
    (
        "/vulcand/frontends/f1/middelwares/auth1",
        r#"{ "Password": "§" }"#,
    ),
    (
        "/vulcand/frontends/f2/frontend",
        r#"{ "BackendId": "b", "Route": "Host(`joe:§@v.example`)" }"#,
    ),
    (
        "/vulcand/frontends/f3/frontend",
        r#"{ "BackendId": "b", "Route": "§", "Settings": { "X": "§" } }"#,
    ),
    (
        "/vulcand/frontends/f4/frontend",
        r#"{ "BackendId": "b", "Route": "Host(`v.example`)", "Settings": { "X": "§" } }"#,
    ),
    (
        "/vulcand/hosts/v.example/host",
        r#"{ "Settings": { "KeyPair": { "Key": "§" } } }"#,
    ),
    ("/vulcand/listeners/l", r#"{ "Key": "§" }"#),
    ("/rules/vhosts/v.example", "joe:§@green"),
    (
        "/rules/nodes/n1",
        r#"{ "url": "http://joe:§@web:80", "color": "green", "password": "§" }"#,
    ),
    (
        "/rules/nodes/n2",
        r#"{ "url": "http://192.0.2.1:80", "color": "x", "password": "§" }"#,
    ),
    (
        "/rules/nodes/n3",
        r#"{ "url": "http://192.0.2.1:80", "color": "green", "token": "§" }"#,
    ),
    (
        "/rules/nodes/n4",
        r#"{ "url": "http://192.0.2.1:80", "color": "green", "password": "§" }"#,
    ),
    ("/rules/ips/green/1", "joe:§@192.0.2.1"),
    ("/rules/urls/green/1", "ftp//joe:§@192.0.2.1"),
    ("/rules/urls/green/2", "http://joe:§@web/?token=§"),
    ("/rules/urls/green/3", "http://192.0.2.1/?token=§"),
    ("/rules/states/green/1", "joe:§@x"),
    ("/rules/hosts/r1", "joe:§@h.example"),
    ("/rules/paths/r1", "/?token=§"),
    (
        "/rules/ruled/r2",
        "Host(`r.example`) && Header(`Authorization`, `Bearer §`)",
    ),
    (
        "/rules/ruled/r3",
        "Host(`r.example` && Header(`Authorization`, `Bearer §`)",
    ),
    ("/rules/odd/x", "§"),
    ("/rules/kept/r1", "§"),
];

/// Files of services, by name. `§` stands for a secret.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "broken.toml",
        "[services.web]\nendpoints = [\"192.0.2.1:80\"]\npassword = \"§\n",
    ),
    (
        "field.toml",
        "[services.web]\nendpoints = [\"192.0.2.1:80\"]\nauth = \"§\"\n",
    ),
    (
        "number.toml",
        "[services.web]\nendpoints = [\"192.0.2.1:80\"]\nroutes = [{ host = \"a.example\", users = \"joe:§\" }]\n",
    ),
    (
        "address.toml",
        "[services.web]\nendpoints = [\"http://joe:§@192.0.2.1:80\"]\n",
    ),
    (
        "plain.toml",
        "[services.web]\nendpoints = [\"joe:§@192.0.2.1:80\"]\n",
    ),
    (
        "routes.toml",
        "[services.web]\nroutes = [\"joe:§@a.example/\"]\n",
    ),
    (
        "query.toml",
        "[services.web]\nroutes = [\"a.example/?token=§\"]\n",
    ),
    (
        "top.toml",
        "password = \"§\"\n[services.web]\nendpoints = []\n",
    ),
    (
        "broken.yaml",
        "services:\n  web:\n    endpoints: [\"192.0.2.1:80\"\n    password: §\n",
    ),
    (
        "field.yaml",
        "services:\n  web:\n    password: §\n    endpoints: [\"192.0.2.1:80\"]\n",
    ),
    (
        "list.yaml",
        "services:\n  web:\n    endpoints: { password: § }\n",
    ),
    (
        "broken.json",
        "{ \"services\": { \"web\": { \"password\": \"§\", } } }",
    ),
    (
        "field.json",
        "{ \"services\": { \"web\": { \"password\": \"§\", \"endpoints\": [] } } }",
    ),
    (
        "list.json",
        "{ \"services\": { \"web\": { \"endpoints\": { \"password\": \"§\" } } } }",
    ),
    (
        "key.json",
        "-----BEGIN PRIVATE KEY-----\n§\n-----END PRIVATE KEY-----\n",
    ),
];
