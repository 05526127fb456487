//! Names, hosts, addresses and ports that a source may use.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

use crate::model::{Endpoint, Name, RouteHost};

/// The addresses, hosts and services a source may use. A list that is `None` allows everything, an empty one nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Allow {
    /// Names of services; `*` stands for any characters. Defaults to all.
    pub services: Option<Vec<NamePattern>>,
    /// Hosts of routes: `shop.example`, `*.shop.example` for all below it, `*` for every host and routes without one.
    /// Defaults to all.
    pub hosts: Option<Vec<HostPattern>>,
    /// Addresses of endpoints: `10.1.0.0/16`, `10.1.2.3`, `fd00::/8`. Defaults to all.
    pub addresses: Option<Vec<Subnet>>,
    /// Ports of endpoints and of their health checks: `80`, `"8000-8999"`. Defaults to all.
    pub ports: Option<Vec<Ports>>,
}

impl Allow {
    /// Returns `true` if everything is allowed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn service(&self, service: &Name) -> bool {
        any(self.services.as_ref(), |pattern| {
            pattern.matches(service.as_str())
        })
    }

    pub(super) fn host(&self, host: &RouteHost) -> bool {
        any(self.hosts.as_ref(), |pattern| pattern.covers(host))
    }

    /// The part of an endpoint that is not allowed.
    pub(super) fn refuses(&self, endpoint: &Endpoint) -> Option<(&'static str, String)> {
        let address = endpoint.address;
        if !any(self.addresses.as_ref(), |subnet| subnet.has(address.ip())) {
            return Some(("addresses", address.to_string()));
        }
        let ports = [Some(address.port()), endpoint.check_port];
        let refused = ports
            .into_iter()
            .flatten()
            .find(|port| !any(self.ports.as_ref(), |ports| ports.has(*port)))?;
        Some((
            "ports",
            format!("{refused} of {}", SocketAddr::new(address.ip(), refused)),
        ))
    }
}

fn any<T>(list: Option<&Vec<T>>, matches: impl Fn(&T) -> bool) -> bool {
    list.is_none_or(|list| list.iter().any(matches))
}

/// A pattern of names; `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

impl NamePattern {
    /// Returns `true` if the whole text is of this pattern.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        true
    }
}

/// One host, all below a domain, or every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPattern(RouteHost);

impl HostPattern {
    /// Returns `true` if every request of the route's host is for a host of this pattern.
    #[must_use]
    pub fn covers(&self, host: &RouteHost) -> bool {
        match (&self.0, host) {
            (RouteHost::Any, _) => true,
            (own, RouteHost::Exact(name)) => own.matches(name),
            (RouteHost::Wildcard(_), RouteHost::Wildcard(domain)) if self.0 != *host => {
                self.0.matches(domain)
            }
            (own, _) => own == host,
        }
    }
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    /// Returns `true` if an address is one of these.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Subnet {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let invalid = || InvalidLimit {
            value: text.to_owned(),
            expected: "an address or a range such as 10.1.0.0/16",
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most)
            .then_some(Self { address, bits })
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A port, or a range of ports with both its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Returns `true` if a port is one of these.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(InvalidLimit {
                value: text.to_owned(),
                expected: "a port or a range such as 8000-8999",
            }),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            return output.serialize_u16(self.first);
        }
        output.collect_str(&format_args!("{}-{}", self.first, self.last))
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port or a range such as \"8000-8999\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ports, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<Ports, E> {
                port.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, port: i64) -> Result<Ports, E> {
                port.to_string().parse().map_err(E::custom)
            }
        }

        input.deserialize_any(Reader)
    }
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a limit, expected {expected}")]
pub struct InvalidLimit {
    /// The text.
    pub value: String,
    /// The text of what was expected.
    pub expected: &'static str,
}

impl TryFrom<String> for NamePattern {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        let fits = !text.is_empty()
            && text
                .split('*')
                .all(|part| part.is_empty() || part.parse::<Name>().is_ok());
        match fits {
            true => Ok(Self(text)),
            false => Err(InvalidLimit {
                value: text,
                expected: "a service name, in which * stands for any characters",
            }),
        }
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("shop", "shop", true),
            ("shop", "shop-1", false),
            ("shop-*", "shop-1", true),
            ("shop-*", "shop", false),
            ("*-db", "shop-db", true),
            ("*-db", "shop-db-2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "x", true),
            ("a**b", "a-b", true),
            ("ab*ba", "aba", false),
        ] {
            let matches = NamePattern::try_from(pattern.to_owned())
                .unwrap()
                .matches(text);
            assert_eq!(matches, expected, "{pattern} {text}");
        }
        assert!(NamePattern::try_from("a b".to_owned()).is_err());
    }

    #[test]
    fn a_host_is_allowed_when_all_its_requests_are() {
        for (pattern, host, expected) in [
            ("shop.example", "shop.example", true),
            ("shop.example", "*.shop.example", false),
            ("*.example", "shop.example", true),
            ("*.example", "*.example", true),
            ("*.example", "*.shop.example", true),
            ("*.shop.example", "*.example", false),
            ("*.example", "example", false),
            ("*.example", "*", false),
            ("*", "*", true),
        ] {
            let pattern_host = HostPattern(pattern.parse().unwrap());
            assert_eq!(
                pattern_host.covers(&host.parse().unwrap()),
                expected,
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn subnets_and_ports_have_their_own() {
        for (subnet, address, expected) in [
            ("10.1.0.0/16", "10.1.255.1", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("10.1.0.0/16", "::ffff:10.1.0.1", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
        ] {
            let subnet: Subnet = subnet.parse().unwrap();
            assert_eq!(
                subnet.has(address.parse().unwrap()),
                expected,
                "{subnet} {address}"
            );
        }
        assert!("10.0.0.0/33".parse::<Subnet>().is_err());
        let ports: Vec<Ports> = serde_json::from_str(r#"[80, "8000-8999"]"#).unwrap();
        let has = |port| ports.iter().any(|ports| ports.has(port));
        assert!(has(80) && has(8000) && has(8999) && !has(9000));
        assert!("9-8".parse::<Ports>().is_err());
    }
}
