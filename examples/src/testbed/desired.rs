//! The desired state, and what of it was verified: tells the oracle both.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use lb_core::{Endpoint, FeedClosed, Name, Publisher, Record, RecordKey, WriteError};

use crate::traffic::{Latencies, Oracle, now};

/// The desired states of one program, written to a feed or elsewhere, each followed until it was verified.
///
/// The order is what makes the oracle right: it learns of a new owner before the feed does, and of a departure only
/// when the control plane has reported it, unless the address was desired again meanwhile.
#[derive(Debug)]
pub struct Desired {
    oracle: Arc<Oracle>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    publisher: Option<Publisher>,
    /// Counts the feeds: what is verified of an older one says nothing of the present one.
    feed: u64,
    records: BTreeMap<RecordKey, Endpoint>,
    /// Writes that were not verified, oldest first.
    open: VecDeque<Write>,
    /// Addresses on their way out, and since which write of the present feed.
    leaving: BTreeMap<(SocketAddr, Name), u64>,
    changes: u64,
    verified_changes: u64,
    latencies: Latencies,
}

/// One write to the feed.
#[derive(Debug)]
struct Write {
    revision: u64,
    at: Instant,
    changes: u64,
}

/// A desired state that the oracle knows of and that is not written yet.
#[derive(Debug)]
pub struct Announced {
    gone: Vec<(SocketAddr, Name)>,
    changes: u64,
}

/// The progress of the desired states.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Endpoints set or removed.
    pub changes: u64,
    /// Those of them whose effect was verified.
    pub verified: u64,
    /// From a write to its verification.
    pub latencies: Latencies,
}

impl Desired {
    /// No desired states yet.
    #[must_use]
    pub fn new(oracle: Arc<Oracle>) -> Self {
        Self {
            oracle,
            state: Mutex::default(),
        }
    }

    /// Writes everything to a new feed and gives its number. The former one, if any, is closed.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the feed's reading end is gone.
    pub fn write_to(&self, publisher: Publisher) -> Result<u64, WriteError> {
        let mut state = self.lock();
        let records: Vec<Record> = state
            .records
            .iter()
            .map(|(key, endpoint)| Record::new(key.clone(), endpoint.clone()))
            .collect();
        let revision = publisher.reset(records)?.revision;
        state.publisher = Some(publisher);
        for write in &mut state.open {
            write.revision = revision;
        }
        for since in state.leaving.values_mut() {
            *since = revision;
        }
        state.feed += 1;
        Ok(state.feed)
    }

    /// Desires these endpoints, and for those keys no more, at once. Does not wait for anything.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the feed's reading end is gone. The desired state is kept for the next feed.
    pub fn change(
        &self,
        set: impl IntoIterator<Item = (RecordKey, Endpoint)>,
        remove: impl IntoIterator<Item = RecordKey>,
    ) -> Result<(), WriteError> {
        let write = |publisher: Option<&Publisher>, set: Vec<(RecordKey, Endpoint)>, remove| {
            let publisher = publisher.ok_or(WriteError::Closed(FeedClosed))?;
            let set = set
                .into_iter()
                .map(|(key, endpoint)| Record::new(key, endpoint));
            Ok(publisher.batch(set, remove)?.revision)
        };
        self.change_with(set, remove, write)
    }

    /// The same for desired states that are written elsewhere, where a source of lb reads them: `write` does so, and gives
    /// the revision that the source will tell.
    ///
    /// # Errors
    /// The error of `write`. The desired state is then never verified.
    pub fn change_elsewhere<E>(
        &self,
        set: impl IntoIterator<Item = (RecordKey, Endpoint)>,
        remove: impl IntoIterator<Item = RecordKey>,
        write: impl FnOnce() -> Result<u64, E>,
    ) -> Result<(), E> {
        self.change_with(set, remove, |_, _, _| write())
    }

    /// The first half of a desired state that takes its time to be written: the oracle learns of it. To be followed by
    /// [`written`](Self::written), whatever becomes of it, and by nothing else before.
    #[must_use]
    pub fn announce(
        &self,
        set: impl IntoIterator<Item = (RecordKey, Endpoint)>,
        remove: impl IntoIterator<Item = RecordKey>,
    ) -> Announced {
        let set: Vec<(RecordKey, Endpoint)> = set.into_iter().collect();
        let remove: Vec<RecordKey> = remove.into_iter().collect();
        self.lock().announce(&self.oracle, &set, &remove)
    }

    /// The second half: it was written, and the source will tell it at this revision; without one, it is verified by
    /// [`all_verified`](Self::all_verified) alone.
    pub fn written(&self, announced: Announced, revision: Option<u64>) {
        self.lock().written(announced, revision.unwrap_or(u64::MAX));
    }

    /// Says that all desired states so far are in effect, and nothing but them.
    pub fn all_verified(&self) {
        self.verified(self.feed(), u64::MAX);
    }

    fn change_with<E>(
        &self,
        set: impl IntoIterator<Item = (RecordKey, Endpoint)>,
        remove: impl IntoIterator<Item = RecordKey>,
        write: impl FnOnce(
            Option<&Publisher>,
            Vec<(RecordKey, Endpoint)>,
            Vec<RecordKey>,
        ) -> Result<u64, E>,
    ) -> Result<(), E> {
        let set: Vec<(RecordKey, Endpoint)> = set.into_iter().collect();
        let remove: Vec<RecordKey> = remove.into_iter().collect();
        let mut state = self.lock();
        let announced = state.announce(&self.oracle, &set, &remove);
        let written = write(state.publisher.as_ref(), set, remove);
        // A desired state that no feed took is verified by the next one's first revision at the earliest.
        let revision = written.as_ref().map_or(u64::MAX, |revision| *revision);
        state.written(announced, revision);
        written.map(drop)
    }

    /// Says that the writes to feed `feed` up to `revision` were applied and verified.
    pub fn verified(&self, feed: u64, revision: u64) {
        let at = now();
        let mut state = self.lock();
        if state.feed != feed {
            return;
        }
        while let Some(write) = state.open.pop_front_if(|write| write.revision <= revision) {
            state.verified_changes += write.changes;
            let took = at.saturating_duration_since(write.at);
            state.latencies.add(took);
        }
        let left: Vec<(SocketAddr, Name)> = state
            .leaving
            .iter()
            .filter(|(_, since)| **since <= revision)
            .map(|(gone, _)| gone.clone())
            .collect();
        for gone in left {
            state.leaving.remove(&gone);
            let (address, service) = gone;
            self.oracle.released(address, &service);
        }
    }

    /// The last write that was not verified: the number of its feed and its revision there.
    #[must_use]
    pub fn open(&self) -> Option<(u64, u64)> {
        let state = self.lock();
        state.open.back().map(|write| (state.feed, write.revision))
    }

    /// The number of the present feed; 0 when there was none.
    pub(super) fn feed(&self) -> u64 {
        self.lock().feed
    }

    /// The endpoints desired now.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<RecordKey, Endpoint> {
        self.lock().records.clone()
    }

    /// The addresses that are to serve each service now.
    #[must_use]
    pub fn ready(&self) -> BTreeSet<(SocketAddr, Name)> {
        self.lock().ready()
    }

    /// The progress of the desired states.
    #[must_use]
    pub fn followed(&self) -> Followed {
        let state = self.lock();
        Followed {
            changes: state.changes,
            verified: state.verified_changes,
            latencies: state.latencies.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn announce(
        &mut self,
        oracle: &Oracle,
        set: &[(RecordKey, Endpoint)],
        remove: &[RecordKey],
    ) -> Announced {
        let before = self.ready();
        for key in remove {
            self.records.remove(key);
        }
        for (key, endpoint) in set {
            self.records.insert(key.clone(), endpoint.clone());
        }
        let after = self.ready();
        for (address, service) in after.difference(&before) {
            self.leaving.remove(&(*address, service.clone()));
            oracle.publish(*address, service);
        }
        let changes = (set.len() + remove.len()) as u64;
        self.changes += changes;
        Announced {
            gone: before.difference(&after).cloned().collect(),
            changes,
        }
    }

    fn written(&mut self, announced: Announced, revision: u64) {
        for gone in announced.gone {
            self.leaving.insert(gone, revision);
        }
        self.open.push_back(Write {
            revision,
            at: now(),
            changes: announced.changes,
        });
    }

    fn ready(&self) -> BTreeSet<(SocketAddr, Name)> {
        self.records
            .iter()
            .filter(|(_, endpoint)| endpoint.state.is_ready() && endpoint.weight.get() > 0)
            .map(|(key, endpoint)| (endpoint.address, key.service.clone()))
            .collect()
    }
}
