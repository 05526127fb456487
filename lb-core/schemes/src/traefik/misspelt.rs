//! Keys that no part of the grammar takes and that may be meant to restrict who is served.
//!
//! Traefik leaves an object out whose keys it does not know. A route whose protection was misspelt is withheld here: what
//! it matches must not be served without.

use super::{Protocol, keys::KEYS};
use crate::{keys::find, restricting::restricts};

/// A key that may be meant to restrict a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelt {
    /// HTTP or TCP.
    pub protocol: Protocol,
    /// The router that it may be meant for, as far as the key says one.
    pub router: Option<String>,
}

/// Says which router a key may be meant to restrict that no section of the grammar takes: `http.router.a.middlewares`.
///
/// `key` is below the root, in lower case and with dots or slashes between its parts. `None`: it restricts nothing.
#[must_use]
pub fn misspelt(key: &str) -> Option<Misspelt> {
    let dotted = key.replace('/', ".");
    if find(KEYS, &dotted).is_some_and(|entry| !entry.key.contains(".routers.")) {
        return None;
    }
    // Between slashes, names may have dots.
    let separators: &[char] = match key.matches('/').count() {
        0..=2 => &['.', '/', ':'],
        _ => &['/'],
    };
    let parts: Vec<&str> = key
        .split(separators)
        .filter(|part| !part.is_empty())
        .collect();
    let (first, rest) = parts.split_first()?;
    let protocol = match *first {
        "tcp" => Protocol::Tcp,
        _ => Protocol::Http,
    };
    let is_section = matches!(*first, "http" | "tcp");
    let (router, said): (Option<&str>, Vec<&str>) = match rest {
        ["routers", name] => (
            name.rsplit_once(['-', '_']).map(|(router, _)| router),
            vec![*name],
        ),
        [section, name, rest @ ..] if !rest.is_empty() => {
            let said = [*section].into_iter().chain(rest.iter().copied());
            (Some(*name), said.collect())
        }
        [name, _] => (Some(*name), rest.to_vec()),
        _ => (None, parts.clone()),
    };
    let narrows = |part: &str| {
        matches!(
            part,
            "entrypoint" | "entrypoints" | "parentrefs" | "rule" | "rules" | "tls"
        )
    };
    let suspicious = match is_section {
        // Of a service, only what is named so restricts: methods of its health checks do not.
        true if rest
            .first()
            .is_some_and(|section| section.starts_with("serv")) =>
        {
            said.iter().any(|part| part.starts_with("middleware"))
        }
        true => said.iter().any(|part| restricts(part) || narrows(part)),
        // What else Traefik does not read: left over from its first version, or a protocol that is none.
        false => {
            !first.starts_with("backend") && (restricts(first) || said.iter().any(|p| restricts(p)))
        }
    };
    suspicious.then(|| Misspelt {
        protocol,
        router: router.map(str::to_owned),
    })
}

/// Returns `true` if an unknown key of a service, without what names the service, may restrict who is served.
#[must_use]
pub fn restricts_service(protocol: Protocol, key: &str) -> bool {
    let whole = format!("{protocol}.services.*.{key}");
    let is_known = find(KEYS, &whole).is_some_and(|entry| {
        !entry.key.ends_with(".loadbalancer.**") && !entry.key.ends_with(".services.**")
    });
    let mut parts = key.split(['.', '[', ']']);
    !is_known
        && !key.contains("sticky")
        && !key.contains("healthcheck")
        && parts.any(|part| !part.is_empty() && restricts(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(key: &str) -> Option<Option<String>> {
        misspelt(key).map(|found| found.router)
    }

    #[test]
    fn case_s04_misspelt_keys_are_of_the_router_that_they_name() {
        for (key, expected) in [
            ("http.router.a.middlewares", Some("a")),
            ("http.router.a.middlewares[0]", Some("a")),
            ("http.frontends.a.auth.basic", Some("a")),
            ("http.router.a.entrypoints", Some("a")),
            ("http.router.a.tls.options", Some("a")),
            ("http.a.middlewares", Some("a")),
            ("http/routers/a/middlewares", Some("a")),
            ("http.routers/a/middlewares", Some("a")),
            ("http.routers.a-middlewares", Some("a")),
            ("http.routers.my_app_middlewares", Some("my_app")),
            ("htpp.routers.a.middlewares", Some("a")),
            ("tcp.router.a.middlewares", Some("a")),
            ("http.service.a.middlewares", Some("a")),
            ("http/router/my.app/middlewares/0", Some("my.app")),
            ("http.routers-a-middlewares", None),
            ("http_routers_a_middlewares", None),
            ("middlewares", None),
        ] {
            assert_eq!(router(key), Some(expected.map(str::to_owned)), "{key}");
        }
        for key in [
            "http.router.auth.service",
            "http.router.a.priority",
            "http.service.a.loadbalancer.healthcheck.method",
            "http.serverstransports.a.rootcas",
            "backend.loadbalancer.method",
            "frontend.rule",
            "frontend.entrypoints",
            "port",
            "udp.routers.a.entrypoints",
            "tls.options.a.clientauth.cafiles",
            "docker.allownonrunning",
        ] {
            assert_eq!(router(key), None, "{key}");
        }
        assert!(misspelt("frontend.auth.basic.users").is_some());
        assert_eq!(
            misspelt("tcp.router.a.middlewares").map(|found| found.protocol),
            Some(Protocol::Tcp)
        );
    }

    #[test]
    fn case_s04_keys_of_services_that_restrict_are_known() {
        for key in [
            "middlewares",
            "middlewares[0]",
            "loadbalancer.middlewares",
            "loadbalancer.auth.users",
            "loadbalancer.allowlist",
        ] {
            assert!(restricts_service(Protocol::Http, key), "{key}");
        }
        for key in [
            "loadbalancer.sticky.cookie.secure",
            "loadbalancer.healthcheck.method",
            "loadbalancer.healthcheck.port",
            "loadbalancer.passhostheader",
            "loadbalancer.responseforwarding.flushinterval",
            "loadbalancer.serverstransport",
            "loadbalancer.strategy",
            "weighted.sticky.cookie.httponly",
            "weighted.services[0].name",
            "mirroring.service",
            "failover.fallback",
        ] {
            assert!(!restricts_service(Protocol::Http, key), "{key}");
        }
    }
}
