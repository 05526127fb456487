//! The spellings of an address, of a socket or of a server.

use std::net::{IpAddr, Ipv4Addr};

/// The place to which an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A Unix socket in Linux' abstract namespace, which has no file and no mode.
    Abstract,
    /// A host, by name or IP address, without its port.
    Host(&'a str),
    /// A descriptor that HAProxy inherits, or one of its own listeners.
    Inherited,
    /// The path of a Unix socket.
    Path(&'a str),
    /// A value of an environment variable. HAProxy looks it up in addresses also outside of quotes.
    Variable,
}

/// The words before `@` that name a family of IP addresses.
const IP: [&str; 17] = [
    "ip", "ipv4", "ipv6", "mptcp", "mptcp4", "mptcp6", "quic", "quic4", "quic6", "sctp", "tcp",
    "tcp4", "tcp6", "udp", "udp4", "udp6", "",
];

impl<'a> Place<'a> {
    pub(super) fn of(address: &'a str) -> Self {
        let plain = ["stream+", "dgram+", "quic+"]
            .iter()
            .find_map(|kind| address.strip_prefix(kind))
            .unwrap_or(address);
        match plain.split_once('@') {
            Some(("unix" | "uxst" | "uxdg", path)) => Self::Path(path),
            Some(("abns" | "abnsz", _)) => Self::Abstract,
            Some(("fd" | "sockpair" | "rev" | "rhttp", _)) => Self::Inherited,
            Some((family, rest)) if IP.contains(&family) => Self::host(rest),
            _ if plain.starts_with('/') => Self::Path(plain),
            _ => Self::host(plain),
        }
    }

    fn host(address: &'a str) -> Self {
        match host(address) {
            host if host.contains('$') => Self::Variable,
            host => Self::Host(host),
        }
    }

    /// Returns `true` if only this machine reaches it, or what reaches it cannot be read here.
    pub(super) fn is_local(self) -> bool {
        match self {
            Self::Host(host) => ip(host).map_or(host == "localhost", |ip| ip.is_loopback()),
            Self::Abstract | Self::Inherited | Self::Path(_) | Self::Variable => true,
        }
    }
}

/// An IP address in one of the spellings that HAProxy takes: `127.1` is one, as for `inet_aton`.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(ip.to_canonical()),
        Err(_) => short(text).map(IpAddr::V4),
    }
}

/// Up to four numbers, decimal, octal or hexadecimal, of which the last one fills what is left.
fn short(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 32 - 8 * u32::try_from(first.len()).ok()?;
    if room < 32 && last.checked_shr(room)? != 0 {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]);
    let high: u32 = high.map(|(part, shift)| part << shift).sum();
    Some(Ipv4Addr::from_bits(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let plain = digits.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Takes the port off, or a range of ports.
fn host(address: &str) -> &str {
    let host = match address.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit() || "+-".contains(c)) => host,
        Some((host, port)) if port.starts_with("${") && port.ends_with('}') => host,
        _ => address,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_p21_every_spelling_of_an_address_is_known() {
        for (address, expected, local) in [
            (
                "/run/haproxy/admin.sock",
                Place::Path("/run/haproxy/admin.sock"),
                true,
            ),
            ("unix@/run/x", Place::Path("/run/x"), true),
            ("unix@x.sock", Place::Path("x.sock"), true),
            ("uxst@/run/x", Place::Path("/run/x"), true),
            ("uxdg@/run/x", Place::Path("/run/x"), true),
            ("stream+unix@/run/x", Place::Path("/run/x"), true),
            ("abns@haproxy", Place::Abstract, true),
            ("abnsz@haproxy", Place::Abstract, true),
            ("fd@5", Place::Inherited, true),
            ("fd@${HAPROXY_FD}", Place::Inherited, true),
            ("sockpair@7", Place::Inherited, true),
            ("127.0.0.1:9999", Place::Host("127.0.0.1"), true),
            ("127.8.9.1:9999", Place::Host("127.8.9.1"), true),
            ("ipv4@127.0.0.1:9999", Place::Host("127.0.0.1"), true),
            ("tcp@127.0.0.1:9999", Place::Host("127.0.0.1"), true),
            ("tcp4@127.0.0.1:9999", Place::Host("127.0.0.1"), true),
            ("tcp4@0.0.0.0:9999", Place::Host("0.0.0.0"), false),
            ("ipv6@::1:9999", Place::Host("::1"), true),
            ("tcp6@[::1]:9999", Place::Host("::1"), true),
            ("tcp6@:::9999", Place::Host("::"), false),
            ("[::1]:9999", Place::Host("::1"), true),
            ("localhost:9999", Place::Host("localhost"), true),
            ("tcp4@localhost:9999", Place::Host("localhost"), true),
            (":9999", Place::Host(""), false),
            ("*:9999", Place::Host("*"), false),
            ("ipv4@*:9999-9999", Place::Host("*"), false),
            ("10.0.0.1:9999", Place::Host("10.0.0.1"), false),
            ("127.1:9999", Place::Host("127.1"), true),
            ("0x7f.1:9999", Place::Host("0x7f.1"), true),
            ("0177.0.1:9999", Place::Host("0177.0.1"), true),
            ("2130706433:9999", Place::Host("2130706433"), true),
            ("10.1:9999", Place::Host("10.1"), false),
            ("127.16777216:9999", Place::Host("127.16777216"), false),
            ("127.0.0.0.1:9999", Place::Host("127.0.0.0.1"), false),
            (
                "[::ffff:127.0.0.1]:9999",
                Place::Host("::ffff:127.0.0.1"),
                true,
            ),
            (
                "[::ffff:10.0.0.1]:9999",
                Place::Host("::ffff:10.0.0.1"),
                false,
            ),
            ("127.0.0.1:${PORT}", Place::Host("127.0.0.1"), true),
            ("0.0.0.0:${PORT}", Place::Host("0.0.0.0"), false),
            ("${SOCKET}", Place::Variable, true),
            ("${HOST}:9999", Place::Variable, true),
            ("ipv4@${HOST}:${PORT}", Place::Variable, true),
        ] {
            let place = Place::of(address);
            assert_eq!(place, expected, "{address}");
            assert_eq!(place.is_local(), local, "{address}");
        }
    }
}
