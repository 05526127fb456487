//! Listeners with TLS.

use std::{fmt, net::SocketAddr};

use super::ConfigPath;

/// A listener that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsBind {
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The certificates it shows.
    pub certificates: Certificates,
    /// If `true`, clients may speak HTTP/2.
    pub http2: bool,
    /// If `true`, TLS 1.2 is refused.
    pub only_tls13: bool,
}

/// The files of a listener's certificates. Each has a certificate, those above it and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Certificates {
    /// One file, or a folder of files (`crt`).
    At(ConfigPath),
    /// A list of files, each with what is special about it (`crt-list`).
    List(ConfigPath),
}

impl TlsBind {
    /// A listener for HTTP/1.1 and HTTP/2 over TLS 1.2 and later.
    #[must_use]
    pub fn new(address: SocketAddr, certificates: Certificates) -> Self {
        Self {
            address,
            certificates,
            http2: true,
            only_tls13: false,
        }
    }
}

impl fmt::Display for TlsBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A scope has no place there.
        let address = SocketAddr::new(self.address.ip(), self.address.port());
        write!(f, "{address} ssl ")?;
        match &self.certificates {
            Certificates::At(path) => write!(f, "crt {path}")?,
            Certificates::List(path) => write!(f, "crt-list {path}")?,
        }
        let version = if self.only_tls13 {
            "TLSv1.3"
        } else {
            "TLSv1.2"
        };
        let alpn = if self.http2 {
            "h2,http/1.1"
        } else {
            "http/1.1"
        };
        write!(f, " alpn {alpn} ssl-min-ver {version}")
    }
}
