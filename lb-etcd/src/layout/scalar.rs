//! Values that are one plain text.

use std::net::{IpAddr, SocketAddr};

use lb_core::{EndpointState, Mode, Name, OnDown, PathMatch, RouteHost, Weight};

use super::fact::{Complaint, Fact, Facts};

const ADDRESS: &str =
    "expected ip:port such as 10.0.0.7:8080 or [2001:db8::7]:8080; names are not resolved";

/// `10.0.0.7:8080`, `[2001:db8::7]:8080`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Complaint> {
    let address: SocketAddr = text.parse().map_err(|_| Complaint::value(ADDRESS))?;
    usable(address)
}

/// An address that something can serve at.
pub(crate) fn usable(address: SocketAddr) -> Result<SocketAddr, Complaint> {
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(Complaint::value(
            "expected an address and a port that are not 0",
        ));
    }
    Ok(address)
}

/// `http://10.0.0.7:8080`, `postgres://user:password@10.0.0.7:5432/database`: of an URL of any scheme, host and port.
pub(crate) fn url(text: &str) -> Result<Facts, Complaint> {
    const EXPECTED: &str = "expected an URL such as http://ip:port; names are not resolved";
    let (scheme, after) = text
        .split_once("://")
        .ok_or_else(|| Complaint::value(EXPECTED))?;
    let scheme = scheme.to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if scheme.is_empty() || !scheme.bytes().all(fits) {
        return Err(Complaint::value(EXPECTED));
    }
    let is_http = matches!(scheme.as_str(), "http" | "https" | "h2c");
    let (authority, path) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.contains(',') {
        return Err(Complaint::value("expected one host in the URL"));
    }
    let mut facts = match host.parse::<SocketAddr>() {
        Ok(address) => Facts::from(Fact::Address(usable(address)?)),
        Err(_) => {
            let bare = host
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'))
                .unwrap_or(host);
            let ip: IpAddr = bare.parse().map_err(|_| Complaint::value(EXPECTED))?;
            match scheme.as_str() {
                "http" | "h2c" => Fact::Address(usable(SocketAddr::new(ip, 80))?).into(),
                "https" => Fact::Address(usable(SocketAddr::new(ip, 443))?).into(),
                // Another key, or the layout, may say the port.
                _ => Fact::Host(ip).into(),
            }
        }
    };
    if is_http && !matches!(path, "" | "/") {
        let complaint =
            Complaint::value("the path of an endpoint's URL is not used, expected none");
        facts.complaints.push(complaint.tolerated());
    }
    if scheme == "https" {
        let complaint = Complaint::value(
            "whether endpoints are spoken to in TLS is the target's configuration, not the scheme's",
        );
        facts.complaints.push(complaint.tolerated());
    }
    Ok(facts)
}

/// A number of 0 to 256.
pub(crate) fn weight(text: &str) -> Result<Weight, Complaint> {
    text.parse::<u16>()
        .ok()
        .and_then(|number| Weight::new(number).ok())
        .ok_or_else(|| Complaint::value("expected a weight of 0 to 256"))
}

/// A port.
pub(crate) fn port(text: &str) -> Result<u16, Complaint> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Complaint::value("expected a port of 1 to 65535"))
}

/// `pending`, `ready`, `draining`, `down`.
pub(crate) fn state(text: &str) -> Result<EndpointState, Complaint> {
    match text {
        "pending" => Ok(EndpointState::Pending),
        "ready" => Ok(EndpointState::Ready),
        "draining" => Ok(EndpointState::Draining { grace: None }),
        "down" => Ok(EndpointState::Down),
        _ => Err(Complaint::value(
            "expected one of pending, ready, draining, down",
        )),
    }
}

/// `http` or `tcp`.
pub(crate) fn mode(text: &str) -> Result<Mode, Complaint> {
    match text {
        "http" => Ok(Mode::Http),
        "tcp" => Ok(Mode::Tcp),
        _ => Err(Complaint::value("expected http or tcp")),
    }
}

/// `keep` or `shutdown_sessions`.
pub(crate) fn on_down(text: &str) -> Result<OnDown, Complaint> {
    match text {
        "keep" => Ok(OnDown::Keep),
        "shutdown_sessions" => Ok(OnDown::ShutdownSessions),
        _ => Err(Complaint::value("expected keep or shutdown_sessions")),
    }
}

/// The name of a service, as layouts make it; `web@etcd` is `web`.
pub(crate) fn service(text: &str) -> Result<Name, Complaint> {
    let own = match text.split_once('@') {
        None => text,
        Some((own, provider)) if provider.eq_ignore_ascii_case("etcd") => own,
        Some(_) => {
            return Err(Complaint::value(
                "it belongs to another provider, expected a service of @etcd",
            ));
        }
    };
    if own.is_empty() {
        return Err(Complaint::value("expected the name of a service"));
    }
    Ok(Name::from_text(own))
}

/// A route's host. An empty text, such as an unset variable leaves behind, is never every host.
pub(crate) fn host(text: &str) -> Result<RouteHost, Complaint> {
    if text.is_empty() {
        return Err(Complaint::value("expected a host, or * for every host"));
    }
    text.parse()
        .map_err(|error: lb_core::model::InvalidRoute| Complaint::value(error.to_string()))
}

/// A route's path. An empty text is never every path.
pub(crate) fn path(text: &str) -> Result<PathMatch, Complaint> {
    text.parse()
        .map_err(|error: lb_core::model::InvalidRoute| Complaint::value(error.to_string()))
}

/// A route's priority.
pub(crate) fn priority(text: &str) -> Result<i32, Complaint> {
    text.parse()
        .map_err(|_| Complaint::value("expected a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_and_never_names() {
        assert!(address("10.0.0.7:80").is_ok());
        assert!(address("[::1]:80").is_ok());
        for text in [
            "",
            "web:80",
            "10.0.0.7",
            "10.0.0.7:0",
            "0.0.0.0:80",
            "::1:80",
            "10.0.0.7:80 ",
            "10.0.0.7:65536",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_give_addresses() {
        for (text, expected) in [
            ("http://10.0.0.7:8080", "10.0.0.7:8080"),
            ("http://10.0.0.7", "10.0.0.7:80"),
            ("https://[::1]/", "[::1]:443"),
            ("tcp://10.0.0.7:5432", "10.0.0.7:5432"),
            ("postgres://10.0.0.7:5432/postgres", "10.0.0.7:5432"),
            ("postgres://joe:p@ss@[::1]:5432/x?y=z", "[::1]:5432"),
            ("mongodb+srv://10.0.0.7:27017", "10.0.0.7:27017"),
            ("HTTP://10.0.0.7", "10.0.0.7:80"),
        ] {
            let facts = url(text).unwrap();
            assert_eq!(facts.said, [Fact::Address(expected.parse().unwrap())]);
        }
        let bare = url("tcp://10.0.0.7").unwrap();
        assert_eq!(bare.said, [Fact::Host("10.0.0.7".parse().unwrap())]);
        assert_eq!(url("http://10.0.0.7/x").unwrap().complaints.len(), 1);
        for text in [
            "10.0.0.7:80",
            "http://web:80",
            "://10.0.0.7:80",
            "a b://10.0.0.7:80",
            "postgres://10.0.0.7:5432,10.0.0.8:5432/x",
            "tcp://10.0.0.7:0",
            "http://10.0.0.7:x",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
