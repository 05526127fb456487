//! What one HAProxy can do and how far it can be believed, by version. Pure.

use std::time::Duration;

use lb_core::Name;
use serde::Serialize;

use crate::policy::{DynamicBackends, DynamicServers, HttpReuse, Policy};

/// The support of something in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// It exists and is known to go wrong, in this way.
    KnownBad(&'static str),
    /// It does not exist, for this reason.
    No(&'static str),
    /// It works.
    Yes,
}

impl Support {
    fn of_dynamic_servers(version: (u32, u32)) -> Self {
        if version < (2, 6) {
            Self::No("HAProxy before 2.6 makes no servers at run time")
        } else if version < (3, 0) {
            Self::KnownBad(
                "HAProxy before 3.0 can lose servers made at run time from load balancing and keeps removed ones busy",
            )
        } else {
            Self::Yes
        }
    }
}

/// The capabilities of the HAProxy at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Major and minor version.
    pub version: (u32, u32),
    /// `set server addr` answers before it takes effect (2.9 and later): the address must be read back.
    pub address_is_asynchronous: bool,
    /// Maps change in one transaction (2.4 and later).
    pub map_transactions: bool,
    /// The support of servers that are added and removed at run time, which is known to go wrong in some versions.
    pub dynamic_servers: Support,
    /// One line of `show stat` tells the weight that was set (2.4 and later; believed from 2.6, the first that this
    /// was tried on), so that a server can be read back alone.
    pub user_weight_in_stat: bool,
    /// `show servers state` tells where checks go and whether TLS is used (2.4 and later).
    pub shows_checks: bool,
    /// `set server check-addr` works (2.4 and later; 3.4 refuses every address).
    pub sets_check_address: bool,
    /// `wait … srv-removable` (3.0 and later).
    pub wait_removable: bool,
    /// Backends can be added at run time (3.4 and later).
    pub dynamic_backends: bool,
    /// A kept client connection of `http-reuse never` can stay glued to a server that was re-pointed (before
    /// 3.0), with every gauge at zero.
    pub glues_clients: bool,
}

impl Capabilities {
    /// The capabilities of this version.
    #[must_use]
    pub fn of(major: u32, minor: u32) -> Self {
        let version = (major, minor);
        Self {
            version,
            address_is_asynchronous: version >= (2, 9),
            map_transactions: version >= (2, 4),
            dynamic_servers: Support::of_dynamic_servers(version),
            user_weight_in_stat: version >= (2, 6),
            shows_checks: version >= (2, 4),
            sets_check_address: ((2, 4)..(3, 4)).contains(&version),
            wait_removable: version >= (3, 0),
            dynamic_backends: version >= (3, 4),
            glues_clients: version < (3, 0),
        }
    }

    /// Returns `Ok` if servers are made at run time, else why not.
    ///
    /// # Errors
    /// The reason, as a lower-case fragment.
    pub fn use_dynamic_servers(&self, policy: &Policy) -> Result<(), &'static str> {
        match (policy.dynamic_servers, self.dynamic_servers) {
            (DynamicServers::Never, _) => Err("the policy makes no servers at run time"),
            (_, Support::No(why)) | (DynamicServers::Auto, Support::KnownBad(why)) => Err(why),
            (DynamicServers::Always, _) | (DynamicServers::Auto, Support::Yes) => Ok(()),
        }
    }

    /// The `defaults` section to make backends from at run time, or why none is made.
    ///
    /// # Errors
    /// The reason, as a lower-case fragment.
    pub fn use_dynamic_backends<'p>(&self, policy: &'p Policy) -> Result<&'p Name, &'static str> {
        if policy.dynamic_backends == DynamicBackends::Never {
            return Err("the policy makes no backends at run time");
        }
        if !self.dynamic_backends {
            return Err("HAProxy before 3.4 makes no backends at run time");
        }
        policy
            .backend_defaults
            .as_ref()
            .ok_or("`backend_defaults` names no defaults section to make backends from")
    }

    /// The time a slot must rest in maintenance, with no sign of use, before it may get another tenant.
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
