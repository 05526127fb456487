//! From where containers are reached, and by which family of addresses.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::config::Family;

/// From where containers are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) viewpoint: Viewpoint,
    /// The network to use where no label names one.
    pub(crate) network: Option<String>,
    /// The address of the machine that publishes ports.
    pub(crate) node_address: Option<IpAddr>,
    pub(crate) family: Family,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Viewpoint {
    /// On the engine's machine.
    Host,
    /// In a container on the networks with these ids.
    Container { networks: BTreeSet<String> },
    /// On another machine.
    Elsewhere,
}

impl fmt::Display for Viewpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "from the engine's machine",
            Self::Container { .. } => "from the load balancer's container",
            Self::Elsewhere => "from another machine",
        })
    }
}

impl Family {
    pub(super) fn pick(self, v4: Option<IpAddr>, v6: Option<IpAddr>) -> Option<IpAddr> {
        match self {
            Self::V4 => v4.or(v6),
            Self::V6 => v6.or(v4),
            Self::V4Only => v4,
            Self::V6Only => v6,
        }
    }

    pub(super) fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::V4 | Self::V6 => true,
            Self::V4Only => address.is_ipv4(),
            Self::V6Only => address.is_ipv6(),
        }
    }

    pub(super) fn loopback(self) -> IpAddr {
        match self {
            Self::V4 | Self::V4Only => Ipv4Addr::LOCALHOST.into(),
            Self::V6 | Self::V6Only => Ipv6Addr::LOCALHOST.into(),
        }
    }
}
