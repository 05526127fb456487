//! What a source may ask for, as it is configured beside the fields of its kind.

use lb_core::{Limits, Name, Source, limits::Allow, source::Restricted};
use serde::de::MapAccess;

/// The fields that every kind of source has.
///
/// | field | default | effect |
/// |---|---|---|
/// | `trust` | `docker` and `swarm` sources: their kind; others: the source's name | Sources of one trust share services; of others, the one named first keeps a service, an address or a route. A source with a `trust` waits until each earlier source of another one was heard once |
/// | `allow.services` | all | Names of services, `*` for any characters |
/// | `allow.hosts` | all | Hosts of routes: `shop.example`, `*.shop.example`, `*` |
/// | `allow.addresses` | all | Addresses of endpoints: `10.1.0.0/16` |
/// | `allow.ports` | all | Ports of endpoints and their checks: `80`, `"8000-8999"` |
/// | `max_endpoints` | 200,000 | The most endpoints |
/// | `max_routes` | 50,000 | The most routes |
/// | `max_routes_per_object` | 10,000 | The most routes of one container, key or endpoint |
///
/// What exceeds them is not in effect and reported as `not_allowed`; the rest goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Bounds {
    /// Sources of one trust share services.
    pub trust: Option<Name>,
    /// The addresses, hosts and services it may use.
    pub allow: Option<Allow>,
    /// The most endpoints.
    pub max_endpoints: Option<usize>,
    /// The most routes.
    pub max_routes: Option<usize>,
    /// The most routes of one object.
    pub max_routes_per_object: Option<usize>,
}

impl Bounds {
    pub(super) const FIELDS: &'static [&'static str] = &[
        "trust",
        "allow",
        "max_endpoints",
        "max_routes",
        "max_routes_per_object",
    ];

    /// Reads the value of one of the fields.
    pub(super) fn read<'de, A: MapAccess<'de>>(
        &mut self,
        field: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            "trust" => self.trust = Some(map.next_value()?),
            "allow" => self.allow = Some(map.next_value()?),
            "max_endpoints" => self.max_endpoints = Some(map.next_value()?),
            "max_routes" => self.max_routes = Some(map.next_value()?),
            _ => self.max_routes_per_object = Some(map.next_value()?),
        }
        Ok(())
    }

    /// The limits, with the defaults of what is not set.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.allow = self.allow.clone().unwrap_or_default();
        limits.max_endpoints = self.max_endpoints.unwrap_or(limits.max_endpoints);
        limits.max_routes = self.max_routes.unwrap_or(limits.max_routes);
        let most = self.max_routes_per_object;
        limits.max_routes_per_object = most.unwrap_or(limits.max_routes_per_object);
        limits
    }

    /// The source within these bounds.
    pub(super) fn restrict(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        let source = Restricted::new(source).with_limits(self.limits());
        Box::new(match &self.trust {
            Some(label) => source.with_trust(label.clone()),
            None => source,
        })
    }
}
