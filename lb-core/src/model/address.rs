//! Which addresses no target can serve. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::Endpoint;

/// The reason why no target can serve an endpoint as it is written: see [`Endpoint::check`].
///
/// ```
/// use lb_core::{Endpoint, model::InvalidEndpoint};
///
/// let wrong = Endpoint::new("0.0.0.0:80".parse().unwrap()).check().unwrap_err();
/// assert_eq!(wrong.value(), "0.0.0.0:80");
/// assert_eq!(
///     wrong.to_string(),
///     "address is 0.0.0.0:80, expected the address of one machine, not the unspecified address"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEndpoint {
    field: &'static str,
    value: String,
    expected: &'static str,
}

impl InvalidEndpoint {
    /// The field that is wrong: `address` or `check_port`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The value found in it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The text of what was expected, as a lower-case fragment.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            expected,
        } = self;
        write!(f, "{field} is {value}, expected {expected}")
    }
}

impl std::error::Error for InvalidEndpoint {}

impl Endpoint {
    /// Refuses an endpoint that no target can serve: port 0, an unspecified, multicast or broadcast address, an IPv6
    /// address that needs a network interface, and check port 0.
    ///
    /// The control plane checks every endpoint of every source by this before it reaches a target.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] with the field, the value and what was expected.
    pub fn check(&self) -> Result<(), InvalidEndpoint> {
        if let Some(expected) = unservable(self.address) {
            return Err(InvalidEndpoint {
                field: "address",
                value: self.address.to_string(),
                expected,
            });
        }
        if self.check_port == Some(0) {
            return Err(InvalidEndpoint {
                field: "check_port",
                value: "0".to_owned(),
                expected: "a port of 1 to 65535",
            });
        }
        Ok(())
    }
}

/// The text of what was expected instead of an address that no target can serve.
fn unservable(address: SocketAddr) -> Option<&'static str> {
    if address.port() == 0 {
        return Some("a port of 1 to 65535");
    }
    let ip = address.ip().to_canonical();
    if ip.is_unspecified() {
        return Some("the address of one machine, not the unspecified address");
    }
    if ip.is_multicast() {
        return Some("the address of one machine, not a multicast address");
    }
    match (ip, address) {
        (IpAddr::V4(Ipv4Addr::BROADCAST), _) => {
            Some("the address of one machine, not the broadcast address")
        }
        (IpAddr::V6(ip), SocketAddr::V6(address)) => {
            // Neither a zone nor a flow label can be given to a target, and a link-local address means nothing without.
            if address.scope_id() != 0 || ip.is_unicast_link_local() {
                Some("an address that is reached without naming a network interface")
            } else if address.flowinfo() != 0 {
                Some("an address without a flow label")
            } else {
                None
            }
        }
        // A mapped one has no business with either.
        (IpAddr::V4(_), SocketAddr::V6(address))
            if address.scope_id() != 0 || address.flowinfo() != 0 =>
        {
            Some("an address without a network interface or a flow label")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    fn check(address: &str) -> Result<(), InvalidEndpoint> {
        Endpoint::new(address.parse().unwrap()).check()
    }

    #[test]
    fn case_p01_addresses_that_no_target_can_serve_are_told() {
        for address in [
            "10.0.0.1:0",
            "[fd00::1]:0",
            "0.0.0.0:80",
            "0.0.0.0:0",
            "[::]:80",
            "[::ffff:0.0.0.0]:80",
            "224.0.0.1:80",
            "[::ffff:224.0.0.1]:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
            "[::ffff:255.255.255.255]:80",
            "[fe80::1%3]:80",
            "[fe80::1]:80",
            "[fd00::1%3]:80",
            "[::ffff:10.0.0.1%2]:80",
        ] {
            let wrong = check(address).unwrap_err();
            assert_eq!(wrong.field(), "address", "{address}");
            assert!(wrong.to_string().contains(", expected "), "{wrong}");
        }
        let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 7, 0);
        assert!(Endpoint::new(labelled.into()).check().is_err());
        let no_check = Endpoint::new("10.0.0.1:80".parse().unwrap()).with_check_port(Some(0));
        assert_eq!(no_check.check().unwrap_err().field(), "check_port");
    }

    #[test]
    fn addresses_of_machines_are_fine() {
        for address in [
            "127.0.0.1:1",
            "10.0.0.1:65535",
            "169.254.1.1:80",
            // Linux connects to each of these, and HAProxy 2.2 to 3.4 was seen to serve them in a network of their own.
            "0.0.0.1:80",
            "0.1.2.3:80",
            "240.0.0.1:80",
            "255.255.255.254:80",
            "[::1]:80",
            "[fd00::1]:80",
            "[::ffff:10.0.0.1]:80",
            "[2001:db8::7]:443",
        ] {
            check(address).unwrap();
        }
    }
}
