//! One address that can serve a service.

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// One address of a service, with its weight and what its source says of it.
///
/// ```
/// use lb_core::{Endpoint, EndpointState};
///
/// let endpoint = Endpoint::new("10.0.0.7:8080".parse().unwrap());
/// assert_eq!(endpoint.state, EndpointState::Ready);
/// assert_eq!(endpoint.weight.get(), 100);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The address at which it serves.
    pub address: SocketAddr,
    /// Its share of the service's traffic, relative to the other endpoints.
    #[serde(default)]
    pub weight: Weight,
    /// The state that its source reports.
    #[serde(default)]
    pub state: EndpointState,
    /// The port of the target's own health check, where it is not the address's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_port: Option<u16>,
}

impl Endpoint {
    /// A ready endpoint of default weight.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            weight: Weight::default(),
            state: EndpointState::default(),
            check_port: None,
        }
    }

    /// The same endpoint with another weight.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// The same endpoint in another state.
    #[must_use]
    pub fn with_state(mut self, state: EndpointState) -> Self {
        self.state = state;
        self
    }

    /// The same endpoint with its own health-check port.
    #[must_use]
    pub fn with_check_port(mut self, port: Option<u16>) -> Self {
        self.check_port = port;
        self
    }
}

/// The state of an endpoint, as its source reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// The address is known but does not serve yet: a target may prepare for it.
    Pending,
    /// It serves and wants traffic.
    #[default]
    Ready,
    /// It is leaving: no new traffic, what runs may end within `grace` (`None`: the target's own limit).
    ///
    /// The time is counted by each target from when it first learnt of the drain.
    Draining {
        /// The time requests in flight may still take.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Duration>,
    },
    /// It does not serve, and gets no new traffic. It may come back.
    ///
    /// Sessions that are open stay open until they end by themselves, which for a raw TCP session may be never. A service
    /// with [`OnDown::ShutdownSessions`](super::OnDown::ShutdownSessions) has them shut down at once.
    Down,
}

impl EndpointState {
    /// Returns `true` if new traffic may go there.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready)
    }
}

/// An endpoint's share of traffic relative to its neighbours: 0 to 256, 0 meaning no new traffic.
///
/// ```
/// use lb_core::Weight;
///
/// assert_eq!(Weight::new(256).unwrap().get(), 256);
/// assert!(Weight::new(257).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The greatest weight.
    pub const MAX: Self = Self(256);

    /// A weight of 0 to 256.
    ///
    /// # Errors
    /// [`InvalidWeight`] for more than 256.
    pub fn new(value: u16) -> Result<Self, InvalidWeight> {
        if value > Self::MAX.0 {
            return Err(InvalidWeight { value });
        }
        Ok(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u16> for Weight {
    type Error = InvalidWeight;

    fn try_from(value: u16) -> Result<Self, InvalidWeight> {
        Self::new(value)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that is no [`Weight`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("weight is {value}, expected 0 to 256")]
pub struct InvalidWeight {
    /// The number given.
    pub value: u16,
}
