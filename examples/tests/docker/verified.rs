//! What is in effect in HAProxy, and since when.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use lb_core::{Event, Handle, Name};

use crate::users::until;

/// The endpoints that were ready, and their services.
pub(crate) type Ready = BTreeMap<SocketAddr, Name>;

/// The endpoints that were verified to be ready in HAProxy, oldest first, each with its time in nanoseconds of the Unix
/// epoch.
#[derive(Clone)]
pub(crate) struct Verified(Arc<Mutex<Vec<(u128, Ready)>>>);

impl Verified {
    /// Notes from now on what is ready whenever HAProxy was verified.
    pub(crate) fn follow(handle: Handle) -> Self {
        let verified = Self(Arc::default());
        let log = Arc::clone(&verified.0);
        let mut events = handle.subscribe();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let Event::Verified { generation, .. } = &event.event else {
                    continue;
                };
                let snapshot = handle.snapshot();
                // A later one was not verified; its own event follows.
                if snapshot.generation() != *generation {
                    continue;
                }
                let mut ready = Ready::new();
                for (name, service) in snapshot.services() {
                    for (_, endpoint) in service.endpoints() {
                        if endpoint.state.is_ready() {
                            ready.insert(endpoint.address, name.clone());
                        }
                    }
                }
                let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push((at.unwrap().as_nanos(), ready));
            }
        });
        verified
    }

    /// The first time, at `since` or later, at which this endpoint was verified to be ready, or not to be.
    pub(crate) fn first(&self, since: u128, address: SocketAddr, ready: bool) -> Option<u128> {
        let log = self.lock();
        let found = log
            .iter()
            .find(|(at, seen)| *at >= since && seen.contains_key(&address) == ready);
        found.map(|(at, _)| *at)
    }

    /// The endpoints that were ready the last time, of all services.
    pub(crate) fn last(&self) -> Ready {
        self.lock()
            .last()
            .map_or_else(Ready::new, |(_, seen)| seen.clone())
    }

    /// The services that had each address, one after the other.
    pub(crate) fn owners(&self) -> BTreeMap<SocketAddr, Vec<Name>> {
        let mut owners = BTreeMap::<SocketAddr, Vec<Name>>::new();
        for (_, seen) in self.lock().iter() {
            for (address, service) in seen {
                let all = owners.entry(*address).or_default();
                if all.last() != Some(service) {
                    all.push(service.clone());
                }
            }
        }
        owners
    }

    /// Waits until what is ready is as `expected` says.
    pub(crate) async fn until(&self, what: &str, expected: impl Fn(&Ready) -> bool) {
        until(what, || {
            self.lock().last().is_some_and(|(_, seen)| expected(seen))
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u128, Ready)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
