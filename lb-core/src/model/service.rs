//! A named set of endpoints.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Name, OnDown};

/// The protocol in which a service's traffic is understood.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// HTTP requests.
    #[default]
    Http,
    /// Opaque TCP connections.
    Tcp,
}

/// A named set of endpoints that serve the same thing. Its name is its key in the
/// [`Snapshot`](super::Snapshot); an endpoint's name is its identity, its address is data.
///
/// Cloning is cheap whatever the size: clones share what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    pub(super) mode: Mode,
    pub(super) exclusive: bool,
    pub(super) on_down: OnDown,
    pub(super) endpoints: OrdMap<Name, Arc<Endpoint>>,
}

impl Service {
    /// A service without endpoints.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    /// The protocol in which its traffic is understood.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns `true` if at most one of its endpoints can get traffic at any moment, such as the primary of a database.
    ///
    /// A target takes an endpoint out, sees that it is, and shuts its sessions down before it admits another one:
    /// break before make, with a gap. Of several [ready](super::EndpointState::Ready) endpoints the one that serves
    /// goes on, else the first by name is admitted; the others wait.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// The fate of sessions to an endpoint that its source reports [`Down`](super::EndpointState::Down).
    #[must_use]
    pub fn on_down(&self) -> OnDown {
        self.on_down
    }

    /// One of its endpoints.
    #[must_use]
    pub fn endpoint(&self, id: &Name) -> Option<&Endpoint> {
        self.endpoints.get(id).map(AsRef::as_ref)
    }

    /// Its endpoints, in the order of their names.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Name, &Endpoint)> {
        self.endpoints
            .iter()
            .map(|(id, endpoint)| (id, endpoint.as_ref()))
    }

    /// The number of endpoints it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Returns `true` if it has no endpoint. Its routes may stay: they then answer "unavailable", not "not found".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}
