//! What one HAProxy can do and how far it can be believed, by version. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::policy::{HttpReuse, Policy};

/// What the HAProxy at the other end can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Major and minor version.
    pub version: (u32, u32),
    /// `set server addr` answers before it takes effect (2.9 and later): the address must be read back.
    pub address_is_asynchronous: bool,
    /// Maps change in one transaction (2.4 and later).
    pub map_transactions: bool,
    /// Servers can be added and removed at run time without experimental mode (2.6 and later).
    pub dynamic_servers: bool,
    /// `wait … srv-removable` (3.0 and later).
    pub wait_removable: bool,
    /// Backends can be added at run time (3.4 and later).
    pub dynamic_backends: bool,
    /// A kept client connection of `http-reuse never` can stay glued to a server that was re-pointed (before
    /// 3.0), with every gauge at zero.
    pub glues_clients: bool,
}

impl Capabilities {
    /// What this version can do.
    #[must_use]
    pub fn of(major: u32, minor: u32) -> Self {
        let version = (major, minor);
        Self {
            version,
            address_is_asynchronous: version >= (2, 9),
            map_transactions: version >= (2, 4),
            dynamic_servers: version >= (2, 6),
            wait_removable: version >= (3, 0),
            dynamic_backends: version >= (3, 4),
            glues_clients: version < (3, 0),
        }
    }

    /// How long a slot must rest in maintenance, with no sign of use, before it may get another tenant.
    #[must_use]
    pub fn reuse_grace(&self, policy: &Policy) -> Duration {
        if let Some(grace) = policy.reuse_grace {
            return grace;
        }
        match policy.http_reuse {
            HttpReuse::Never if self.glues_clients => policy.keep_alive_timeout,
            _ if self.glues_clients => Duration::from_millis(250),
            _ => Duration::from_millis(50),
        }
    }
}
