//! Where an admin socket is.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// The address of an admin socket, as HAProxy's own configuration writes it.
///
/// ```
/// use lb_haproxy::SocketAddress;
///
/// for text in ["/run/haproxy.sock", "unix@/run/haproxy.sock", "ipv4@127.0.0.1:9999", "[::1]:9999", "tcp@proxy:9999"] {
///     assert!(text.parse::<SocketAddress>().is_ok(), "{text}");
/// }
/// assert!("proxy".parse::<SocketAddress>().is_err(), "neither a path nor a port");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum SocketAddress {
    /// A host, by name or address, and a port.
    Tcp {
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl SocketAddress {
    /// The most bytes a unix socket's path may have.
    pub const MAX_PATH: usize = 107;

    /// The socket at this path.
    ///
    /// # Errors
    /// [`InvalidSocketAddress::Path`] for a path no socket can have.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, InvalidSocketAddress> {
        let path = path.into();
        let len = path.as_os_str().len();
        match len {
            1..=Self::MAX_PATH => Ok(Self::Unix(path)),
            _ => Err(InvalidSocketAddress::Path { path, len }),
        }
    }

    /// The path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

impl TryFrom<String> for SocketAddress {
    type Error = InvalidSocketAddress;

    fn try_from(text: String) -> Result<Self, InvalidSocketAddress> {
        text.parse()
    }
}

impl From<SocketAddress> for String {
    fn from(address: SocketAddress) -> Self {
        address.to_string()
    }
}

impl FromStr for SocketAddress {
    type Err = InvalidSocketAddress;

    fn from_str(text: &str) -> Result<Self, InvalidSocketAddress> {
        let invalid = || InvalidSocketAddress::Form {
            text: text.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix@") {
            return Self::unix(path);
        }
        if text.starts_with('/') {
            return Self::unix(text);
        }
        let rest = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"]
            .iter()
            .find_map(|family| text.strip_prefix(family))
            .unwrap_or(text);
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Ok(Self::Tcp {
                host: address.ip().to_string(),
                port: nonzero(address.port()).ok_or_else(invalid)?,
            });
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(invalid)?;
        let named = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        match (named, port.parse().ok().and_then(nonzero)) {
            (true, Some(port)) => Ok(Self::Tcp {
                host: host.to_owned(),
                port,
            }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) if path.is_absolute() => write!(f, "{}", path.display()),
            // Without this it would be read as a host and its port.
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
        }
    }
}

fn nonzero(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

/// A text that is no [`SocketAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSocketAddress {
    /// Neither a path nor a host with a port.
    #[error("socket is {text:?}, expected an absolute path or host:port")]
    Form {
        /// The text.
        text: String,
    },
    /// A path that is empty or too long for the system.
    #[error("socket path {} has {len} bytes, expected 1 to {}", path.display(), SocketAddress::MAX_PATH)]
    Path {
        /// The path.
        path: PathBuf,
        /// The number of bytes it has.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        for text in [
            "/run/x",
            "unix@run/x",
            "unix@x:80",
            "127.0.0.1:1",
            "[::1]:65535",
            "proxy-1.example:80",
        ] {
            let address: SocketAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "x",
            "x:0",
            "x:y",
            ":80",
            "a b:80",
            "127.0.0.1:0",
            "::1:80",
            "unix@",
        ] {
            assert!(text.parse::<SocketAddress>().is_err(), "{text}");
        }
        let long = format!("/{}", "x".repeat(107));
        assert!(matches!(
            long.parse::<SocketAddress>(),
            Err(InvalidSocketAddress::Path { len: 108, .. })
        ));
    }
}
