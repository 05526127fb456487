//! For which hosts the status is served.
//!
//! A page of the web can make a browser ask any address, under any name that its owner points there. Without a look at
//! the `Host` of a request it could so read what only this machine should.

use std::net::IpAddr;

/// The hosts that requests may name.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// These besides addresses and names without a dot; `*` for all.
    pub(crate) fn new(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
        }
    }

    /// Returns `true` if a request for this host is answered: one for an address, for a name without a dot such as
    /// `localhost` or the name of a container, which nobody on the web can own, or for a configured name. A request without
    /// a host is not from a browser.
    pub(crate) fn allow(&self, host: Option<&str>) -> bool {
        let Some(host) = host else {
            return true;
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || (!name.is_empty() && !name.contains('.'))
            || self
                .names
                .iter()
                .any(|own| own == "*" || own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_h12_only_addresses_localhost_and_configured_names_are_served() {
        let hosts = Hosts::new(&["lb.internal".to_owned()]);
        for (host, expected) in [
            (Some("127.0.0.1:9469"), true),
            (Some("127.0.0.1"), true),
            (Some("[::1]:9469"), true),
            (Some("[::1]"), true),
            (Some("localhost:9469"), true),
            (Some("lb-agent:9469"), true),
            (Some("evil."), false),
            (Some("LB.internal:9469"), true),
            (Some("evil.example:9469"), false),
            (Some("evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some(""), false),
            (None, true),
        ] {
            assert_eq!(hosts.allow(host), expected, "{host:?}");
        }
        assert!(Hosts::new(&["*".to_owned()]).allow(Some("any.example")));
    }
}
