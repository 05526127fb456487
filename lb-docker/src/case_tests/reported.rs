//! The text of diagnostics: bounded, and without secrets.

use lb_schemes::LabelScheme;

use super::{book, container, labels};
use crate::narrow::Narrow;

/// A label of 600 KB, or one that is just small enough to be read, is cut in all that is reported, whatever its key; so is
/// a key.
#[test]
fn case_h10_a_label_of_600_kilobytes_is_cut_in_what_is_reported() {
    const KEYS: [&str; 16] = [
        "com.docker.compose.project",
        "com.docker.compose.service",
        "com.df.port",
        "com.df.serviceName",
        "com.df.servicePath",
        "easyhaproxy.x.host",
        "easyhaproxy.x.port",
        "lb.enable",
        "lb.port",
        "lb.routes",
        "lb.service",
        "lb.unknown",
        "traefik.enable",
        "traefik.http.routers.a.rule",
        "traefik.http.services.s.loadbalancer.server.port",
        "VIRTUAL_HOST",
    ];
    for scheme in [
        LabelScheme::Lb,
        LabelScheme::DockerFlow,
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::VirtualHost,
    ] {
        for bytes in [200_000, 600_000] {
            for key in KEYS {
                let junk = match key {
                    "traefik.http.routers.a.rule" => format!("Host(`{}`)", "x".repeat(bytes)),
                    _ => "x".repeat(bytes),
                };
                let long_key = format!("{key}{junk}");
                for (key, value) in [(key, junk.as_str()), (long_key.as_str(), "x")] {
                    let mut all = labels(&[
                        ("com.docker.compose.project", "shop"),
                        ("com.docker.compose.service", "web"),
                        ("com.df.notify", "true"),
                        ("lb.port", "80"),
                    ]);
                    all.insert(key.to_owned(), value.to_owned());
                    let mut one = container(1, "front", &all);
                    one.env = Some(vec![(key.to_owned(), value.to_owned())]);
                    let mut book = book(scheme, Narrow::default());
                    book.put(one, None);
                    let honest = labels(&[("lb.service", "honest"), ("lb.port", "80")]);
                    book.put(container(2, "front", &honest), None);
                    let (records, diagnostics) = book.snapshot();
                    let shown: usize = diagnostics.iter().map(|one| format!("{one:?}").len()).sum();
                    let what: String = key.chars().take(40).collect();
                    assert!(shown < 4000, "{scheme:?} {what}: {shown} bytes");
                    let named = records.iter().map(|record| record.key.to_string().len());
                    assert!(named.max() < Some(1000), "{scheme:?} {what}");
                    assert!(
                        scheme != LabelScheme::Lb
                            || records
                                .iter()
                                .any(|one| one.key.service.as_str() == "honest"),
                        "{what}"
                    );
                }
            }
        }
    }
}

/// No value of a key that protects something is in a diagnostic, whatever the scheme.
#[test]
fn case_s05_planted_secrets_are_never_told() {
    const SECRET: &str = "pl4nted";
    let all = [
        (
            "traefik.http.routers.a.rule",
            "Host(`a`) && Header(`X`, `pl4nted`)",
        ),
        ("traefik.http.routers.b.rule", "Host(`b`"),
        ("traefik.http.routers.b.middlewares", "pl4nted@file"),
        ("traefik.http.routers.b.middelwares", "pl4nted"),
        ("traefik.http.routers.b.tls.options", "pl4nted"),
        ("traefik.http.middlewares.m.basicauth.users", "joe:pl4nted"),
        (
            "traefik.http.middlewares.m.headers.customrequestheaders.Authorization",
            "pl4nted",
        ),
        (
            "traefik.tcp.middlewares.t.ipallowlist.sourcerange",
            "pl4nted",
        ),
        ("traefik.nonsense", "pl4nted"),
        (
            "traefik.http.services.s.loadbalancer.server.url",
            "http://joe:pl4nted@h",
        ),
        ("com.df.notify", "true"),
        ("com.df.servicePath", "/"),
        ("com.df.users", "joe:pl4nted"),
        ("com.df.Users", "joe:pl4nted"),
        ("com.df.usersSecret", "pl4nted"),
        ("com.df.serviceCert", "pl4nted"),
        ("com.df.setReqHeader", "X pl4nted"),
        ("com.df.addReqHeader", "X pl4nted"),
        ("com.df.backendExtra", "pl4nted"),
        ("com.df.nonsense", "pl4nted"),
        ("easyhaproxy.x.host", "a.example"),
        ("easyhaproxy.x.sslcert", "pl4nted"),
        ("easyhaproxy.x.plugins", "pl4nted"),
        ("easyhaproxy.x.plugin.jwt_validator.pubkey", "pl4nted"),
        ("easyhaproxy.x.nonsense", "pl4nted"),
        ("easyhaproxy.nonsense", "pl4nted"),
        ("lb.service", "web"),
        ("lb.nonsense", "pl4nted"),
        ("lb.routes", "joe:pl4nted@a.example"),
        ("VIRTUAL_HOST", "joe:pl4nted@a.example"),
        ("VIRTUAL_NONSENSE", "pl4nted"),
        ("CERT_NAME", "pl4nted"),
        (
            "com.github.nginx-proxy.nginx-proxy.ssl_verify_client",
            "pl4nted",
        ),
    ];
    for scheme in [
        LabelScheme::Lb,
        LabelScheme::DockerFlow,
        LabelScheme::Traefik,
        LabelScheme::EasyHaproxy,
        LabelScheme::VirtualHost,
    ] {
        let mut book = book(scheme, Narrow::default());
        let mut planted = container(1, "front", &labels(&all));
        planted.env = Some(
            all.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        );
        book.put(planted, None);
        let (records, diagnostics) = book.snapshot();
        assert!(!diagnostics.is_empty(), "{scheme:?}");
        for diagnostic in &diagnostics {
            let told = format!("{diagnostic} {diagnostic:?}");
            assert!(!told.contains(SECRET), "{told}");
        }
        assert!(!format!("{records:?}").contains(SECRET), "{scheme:?}");
    }
}
