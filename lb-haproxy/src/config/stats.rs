//! The page with statistics.

use std::net::SocketAddr;

use lb_core::Name;

use super::{ConfigError, writer::Writer};

/// A frontend of its own with HAProxy's statistics, to be read only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsPage {
    /// The name of its frontend.
    pub name: Name,
    /// The address on which it listens. Every client that reaches it may read it.
    pub address: SocketAddr,
}

impl StatsPage {
    /// The page at `/`, in a frontend named `lb-stats`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            name: Name::from_text("lb-stats"),
            address,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ConfigError> {
        let address = SocketAddr::new(self.address.ip(), self.address.port());
        out.section(format_args!("frontend {}", self.name));
        for line in [
            "mode http",
            "stats enable",
            "stats uri /",
            "stats refresh 5s",
        ] {
            out.line(format_args!("{line}"));
        }
        out.line(format_args!("bind {address}"));
        Ok(())
    }
}
