//! Which backend serves which service, kept in HAProxy itself so that a restarted `lb` finds it again.

use std::collections::BTreeMap;

use lb_core::{Name, model::InvalidName};
use serde::Serialize;

use super::RouteMap;
use crate::proto::{MapEntry, MapKey, MapValue};

/// The services that have a backend which is not named like them, such as a spare one.
///
/// ```
/// use lb_haproxy::routes::ServiceMap;
///
/// let mut services = ServiceMap::default();
/// services.assign("shop".parse().unwrap(), "spare1".parse().unwrap());
/// let text = services.to_map().file_text();
/// assert_eq!(text, "shop spare1\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct ServiceMap {
    backends: BTreeMap<Name, Name>,
}

impl ServiceMap {
    /// Gives a service a backend; returns the one it had.
    pub fn assign(&mut self, service: Name, backend: Name) -> Option<Name> {
        self.backends.insert(service, backend)
    }

    /// Takes a service's backend away.
    pub fn release(&mut self, service: &Name) -> Option<Name> {
        self.backends.remove(service)
    }

    /// The backend of a service.
    #[must_use]
    pub fn backend_of(&self, service: &Name) -> Option<&Name> {
        self.backends.get(service)
    }

    /// Services and backends, in the order of the services.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.backends.iter()
    }

    /// As the content of a map, to be written as routes are.
    #[must_use]
    pub fn to_map(&self) -> RouteMap {
        // Names hold nothing that a map cannot; were that to change, an entry would be missing, not wrong.
        RouteMap::new(self.backends.iter().filter_map(|(service, backend)| {
            let key: MapKey = service.as_str().parse().ok()?;
            let value: MapValue = backend.as_str().parse().ok()?;
            Some((key, value))
        }))
    }

    /// Reads the entries of the map: what can be used, and what cannot.
    ///
    /// Of several entries of a service the first counts; a backend goes to one service only.
    #[must_use]
    pub fn from_entries(entries: &[MapEntry]) -> (Self, Vec<InvalidAssignment>) {
        let mut services = Self::default();
        let mut owners: BTreeMap<Name, Name> = BTreeMap::new();
        let mut faults = Vec::new();
        for entry in entries {
            match (entry.key.parse::<Name>(), entry.value.parse::<Name>()) {
                (Ok(service), Ok(backend)) => {
                    if services.backends.contains_key(&service) {
                        continue;
                    }
                    match owners.get(&backend) {
                        Some(owner) => faults.push(InvalidAssignment::Shared {
                            owner: owner.clone(),
                            service,
                            backend,
                        }),
                        None => {
                            owners.insert(backend.clone(), service.clone());
                            services.backends.insert(service, backend);
                        }
                    }
                }
                (Err(source), _) | (_, Err(source)) => faults.push(InvalidAssignment::Name {
                    text: format!("{} {}", entry.key, entry.value)
                        .chars()
                        .take(EXCERPT)
                        .collect(),
                    source,
                }),
            }
        }
        (services, faults)
    }
}

/// Why an entry of the map of services cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAssignment {
    /// Key or value is no name.
    #[error("map entry {text:?} expected to be a service's name and a backend's")]
    Name {
        /// The entry's beginning.
        text: String,
        /// The diagnostic.
        #[source]
        source: InvalidName,
    },
    /// Two services have the same backend, so that one would get the other's requests.
    #[error("backend {backend} is assigned to service {service} and to {owner}, expected one")]
    Shared {
        /// The backend.
        backend: Name,
        /// The service that keeps it.
        owner: Name,
        /// The service that does not.
        service: Name,
    },
}

/// The most characters of a foreign entry in an error.
const EXCERPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::parse_map_entries;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn assignments_are_read_back_as_they_were_written() {
        let mut services = ServiceMap::default();
        services.assign(name("shop"), name("spare1"));
        services.assign(name("api"), name("spare2"));
        let entries =
            parse_map_entries("0x1 api spare2\n0x2 shop spare1\n0x3 shop spare9\n").unwrap();
        let (read, faults) = ServiceMap::from_entries(&entries);
        assert_eq!(read, services);
        assert!(faults.is_empty());
        assert_eq!(read.to_map().file_text(), "api spare2\nshop spare1\n");
    }

    #[test]
    fn a_backend_goes_to_one_service_only() {
        let entries =
            parse_map_entries("0x1 api spare1\n0x2 shop spare1\n0x3 a/b c\n0x4 d \n").unwrap();
        let (read, faults) = ServiceMap::from_entries(&entries);
        assert_eq!(read.iter().count(), 1);
        assert_eq!(faults.len(), 3);
        assert_eq!(
            faults.first().unwrap().to_string(),
            "backend spare1 is assigned to service shop and to api, expected one"
        );
    }
}
