//! The merged desired state of all sources, immutable and numbered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Endpoint, Mode, Name, OnDown, Route, Service};

/// The number of generations back to which [`Snapshot::changes_since`] knows the changes.
const HISTORY: usize = 256;

/// The desired state of all sources together: services with their endpoints, and routes.
///
/// A snapshot never changes; an [edit](Self::edit) makes the next one and shares what stayed the same, so a
/// change costs the size of the change.
///
/// ```
/// use lb_core::{Endpoint, Snapshot};
///
/// let mut edit = Snapshot::default().edit();
/// edit.set_endpoint(
///     &"web".parse().unwrap(),
///     &"web-1".parse().unwrap(),
///     Endpoint::new("10.0.0.7:80".parse().unwrap()),
/// );
/// let snapshot = edit.commit().unwrap();
/// assert_eq!(snapshot.generation(), 1);
/// assert_eq!(snapshot.service(&"web".parse().unwrap()).unwrap().len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    generation: u64,
    partial: bool,
    services: OrdMap<Name, Arc<Service>>,
    routes: OrdSet<Arc<Route>>,
    /// The changes of each of the last generations, oldest first; the last entry made `generation`.
    history: Vector<Arc<Delta>>,
}

/// The difference between two generations: see [`Snapshot::changes_since`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Only these endpoints, by service, and whether any route changed. A service that was added, removed or
    /// changed its mode or options is listed, maybe without endpoints.
    Only {
        /// The endpoints that were set or removed, by service.
        endpoints: BTreeMap<Name, BTreeSet<Name>>,
        /// If `true`, routes changed.
        routes: bool,
    },
    /// Too long ago to tell: compare everything.
    Everything,
}

/// Builds the next [`Snapshot`].
#[derive(Debug, Clone)]
pub struct SnapshotEdit {
    next: Snapshot,
    delta: Delta,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Delta {
    endpoints: BTreeMap<Name, BTreeSet<Name>>,
    routes: bool,
    /// If `true`, what was unknown became known or the reverse: whatever a target holds must be looked at again.
    everything: bool,
}

impl Snapshot {
    /// Its number. Greater is later; the empty snapshot of a new control plane is 0.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns `true` if a source was never heard, so that what is missing here may well exist.
    ///
    /// A driver sets what a partial snapshot lists, and takes away nothing that it does not list.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &Name) -> Option<&Service> {
        self.services.get(name).map(AsRef::as_ref)
    }

    /// All services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = (&Name, &Service)> {
        self.services
            .iter()
            .map(|(name, service)| (name, service.as_ref()))
    }

    /// All routes, the most specific first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }

    /// The number of routes.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// The number of endpoints in all services.
    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        self.services.values().map(|service| service.len()).sum()
    }

    /// The changes after `generation` up to this snapshot.
    #[must_use]
    pub fn changes_since(&self, generation: u64) -> Changes {
        let Some(steps) = self.generation.checked_sub(generation) else {
            return Changes::Everything;
        };
        let Some(skip) = usize::try_from(steps)
            .ok()
            .and_then(|steps| self.history.len().checked_sub(steps))
        else {
            return Changes::Everything;
        };
        let mut all = Delta::default();
        for delta in self.history.iter().skip(skip) {
            if delta.everything {
                return Changes::Everything;
            }
            for (service, ids) in &delta.endpoints {
                all.endpoints
                    .entry(service.clone())
                    .or_default()
                    .extend(ids.iter().cloned());
            }
            all.routes |= delta.routes;
        }
        Changes::Only {
            endpoints: all.endpoints,
            routes: all.routes,
        }
    }

    /// Begins the next snapshot.
    #[must_use]
    pub fn edit(&self) -> SnapshotEdit {
        SnapshotEdit {
            next: self.clone(),
            delta: Delta::default(),
        }
    }
}

/// Two snapshots are equal when they have the same desired state, whatever their numbers and what is not yet known.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.services == other.services && self.routes == other.routes
    }
}

impl Eq for Snapshot {}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ServiceView<'a> {
            mode: Mode,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            exclusive: bool,
            #[serde(skip_serializing_if = "is_default")]
            on_down: OnDown,
            endpoints: BTreeMap<&'a Name, &'a Endpoint>,
        }
        let services: BTreeMap<&Name, ServiceView<'_>> = self
            .services()
            .map(|(name, service)| {
                let view = ServiceView {
                    mode: service.mode(),
                    exclusive: service.is_exclusive(),
                    on_down: service.on_down(),
                    endpoints: service.endpoints().collect(),
                };
                (name, view)
            })
            .collect();
        let mut out = serializer.serialize_struct("Snapshot", 4)?;
        out.serialize_field("generation", &self.generation)?;
        out.serialize_field("partial", &self.partial)?;
        out.serialize_field("services", &services)?;
        out.serialize_field("routes", &self.routes().collect::<Vec<_>>())?;
        out.end()
    }
}

impl SnapshotEdit {
    /// Sets one endpoint, adding its service where it is new.
    pub fn set_endpoint(&mut self, service: &Name, id: &Name, endpoint: Endpoint) {
        if self.next.service(service).and_then(|s| s.endpoint(id)) == Some(&endpoint) {
            return;
        }
        self.service_mut(service)
            .endpoints
            .insert(id.clone(), Arc::new(endpoint));
        self.touch(service, Some(id));
    }

    /// Removes one endpoint. Its service stays, even empty.
    pub fn remove_endpoint(&mut self, service: &Name, id: &Name) {
        if self
            .next
            .service(service)
            .and_then(|s| s.endpoint(id))
            .is_none()
        {
            return;
        }
        self.service_mut(service).endpoints.remove(id);
        self.touch(service, Some(id));
    }

    /// Sets how a service's traffic is understood, adding the service where it is new.
    pub fn set_service(&mut self, service: &Name, mode: Mode) {
        if self.next.service(service).is_some_and(|s| s.mode() == mode) {
            return;
        }
        self.service_mut(service).mode = mode;
        self.touch(service, None);
    }

    /// Sets whether a service is [exclusive](Service::is_exclusive), adding it where it is new.
    pub fn set_exclusive(&mut self, service: &Name, exclusive: bool) {
        if self
            .next
            .service(service)
            .is_some_and(|s| s.exclusive == exclusive)
        {
            return;
        }
        self.service_mut(service).exclusive = exclusive;
        self.touch(service, None);
    }

    /// Sets the fate of sessions to endpoints of a service that are down, adding the service where it is new.
    pub fn set_on_down(&mut self, service: &Name, on_down: OnDown) {
        if self
            .next
            .service(service)
            .is_some_and(|s| s.on_down == on_down)
        {
            return;
        }
        self.service_mut(service).on_down = on_down;
        self.touch(service, None);
    }

    /// Removes a service with all its endpoints. Routes to it stay until they are removed.
    pub fn remove_service(&mut self, service: &Name) {
        let Some(removed) = self.next.services.remove(service) else {
            return;
        };
        self.touch(service, None);
        for (id, _) in removed.endpoints() {
            self.touch(service, Some(id));
        }
    }

    /// Adds one route.
    pub fn add_route(&mut self, route: Route) {
        self.delta.routes |= self.next.routes.insert(Arc::new(route)).is_none();
    }

    /// Removes one route.
    pub fn remove_route(&mut self, route: &Route) {
        self.delta.routes |= self.next.routes.remove(route).is_some();
    }

    /// Says whether a source was never heard: see [`Snapshot::is_partial`].
    pub fn set_partial(&mut self, partial: bool) {
        self.delta.everything |= self.next.partial != partial;
        self.next.partial = partial;
    }

    /// The result of the edit so far, still under the old number.
    #[must_use]
    pub fn preview(&self) -> &Snapshot {
        &self.next
    }

    /// The next snapshot, or `None` when nothing changed.
    #[must_use]
    pub fn commit(self) -> Option<Snapshot> {
        if self.delta == Delta::default() {
            return None;
        }
        Some(self.commit_known())
    }

    /// The next snapshot even when nothing changed: what was assumed is known now.
    pub(crate) fn commit_known(self) -> Snapshot {
        let Self { mut next, delta } = self;
        next.generation += 1;
        next.history.push_back(Arc::new(delta));
        if next.history.len() > HISTORY {
            next.history.pop_front();
        }
        next
    }

    fn service_mut(&mut self, name: &Name) -> &mut Service {
        Arc::make_mut(self.next.services.entry(name.clone()).or_default())
    }

    fn touch(&mut self, service: &Name, id: Option<&Name>) {
        let ids = self.delta.endpoints.entry(service.clone()).or_default();
        ids.extend(id.cloned());
    }
}

fn is_default(on_down: &OnDown) -> bool {
    *on_down == OnDown::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::new(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn an_edit_that_changes_nothing_makes_no_generation() {
        let mut edit = Snapshot::default().edit();
        edit.set_endpoint(&name("s"), &name("a"), endpoint(1));
        let first = edit.commit().unwrap();
        let mut edit = first.edit();
        edit.set_endpoint(&name("s"), &name("a"), endpoint(1));
        edit.set_service(&name("s"), Mode::Http);
        edit.remove_endpoint(&name("s"), &name("b"));
        assert!(edit.commit().is_none());
    }

    #[test]
    fn changes_are_told_by_endpoint() {
        let mut snapshot = Snapshot::default();
        for port in 1..=5 {
            let mut edit = snapshot.edit();
            edit.set_endpoint(&name("s"), &name(&port.to_string()), endpoint(port));
            snapshot = edit.commit().unwrap();
        }
        let Changes::Only { endpoints, routes } = snapshot.changes_since(3) else {
            panic!("three generations back is known");
        };
        assert!(!routes);
        assert_eq!(
            endpoints,
            BTreeMap::from([(name("s"), BTreeSet::from([name("4"), name("5")]))])
        );
        assert_eq!(snapshot.changes_since(9), Changes::Everything);
    }

    #[test]
    fn history_is_bounded() {
        let mut snapshot = Snapshot::default();
        for round in 0..2 * HISTORY {
            let mut edit = snapshot.edit();
            let port = u16::try_from(round).unwrap();
            edit.set_endpoint(&name("s"), &name("a"), endpoint(port));
            snapshot = edit.commit().unwrap();
        }
        assert_eq!(snapshot.history.len(), HISTORY);
        assert_eq!(snapshot.changes_since(0), Changes::Everything);
        assert_eq!(snapshot.endpoint_count(), 1);
    }
}
