//! A named set of endpoints.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Name};

/// How a service's traffic is understood.
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
    pub(super) endpoints: OrdMap<Name, Arc<Endpoint>>,
}

impl Service {
    /// A service without endpoints.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            endpoints: OrdMap::new(),
        }
    }

    /// How its traffic is understood.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
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

    /// How many endpoints it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether it has no endpoint. Its routes may stay: they then answer "unavailable", not "not found".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}
