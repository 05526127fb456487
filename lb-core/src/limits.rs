//! What one source may ask for. What exceeds it is left out and reported; the rest goes on.
//!
//! Pure.

mod admit;
mod allow;

pub(crate) use admit::{Admitted, Limiter};
pub use allow::{Allow, HostPattern, InvalidLimit, NamePattern, Ports, Subnet};
use serde::{Deserialize, Serialize};

/// The bounds of one source.
///
/// ```
/// use lb_core::Limits;
///
/// let limits: Limits = serde_json::from_str(
///     r#"{"allow": {"services": ["shop-*"], "hosts": ["*.shop.example"], "addresses": ["10.1.0.0/16"], "ports": [80, "8000-8999"]},
///         "max_routes": 100}"#,
/// )
/// .unwrap();
/// assert_eq!(limits.max_routes, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// The names, hosts, addresses and ports it may use. Defaults to all.
    pub allow: Allow,
    /// The most endpoints. Defaults to 200,000.
    pub max_endpoints: usize,
    /// The most routes. Defaults to 50,000.
    pub max_routes: usize,
    /// The most routes of one object: a container, a key, an endpoint of a file. Defaults to 10,000.
    pub max_routes_per_object: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allow: Allow::default(),
            max_endpoints: 200_000,
            max_routes: 50_000,
            max_routes_per_object: 10_000,
        }
    }
}
