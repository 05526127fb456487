//! The push source: endpoints that the program itself reports.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    Cursor, Descriptor, Record, RecordKey, Sink, Source, SourceError, Ticket, Update, Written,
};
use crate::model::{EndpointState, InvalidEndpoint, Mode, Name, Route, ServiceOptions, Weight};

/// Makes a push source: what is written to the [`Publisher`] comes out of the [`Feed`].
///
/// Writing never blocks, whatever the reading end does: between two reads the latest word on each record wins, so
/// at most one entry per record waits. What one call writes is read as one, never half.
///
/// Each write returns its [`Ticket`]. [`Handle::wait`](crate::Handle::wait) waits until it is in effect on every target,
/// [`Handle::ticket_state`](crate::Handle::ticket_state) says what keeps it from that, and
/// [`Event::InEffect`](crate::Event::InEffect) says when it is. A write that changes nothing, or that a later one undoes
/// before it is read, has a ticket too.
///
/// An endpoint that no target can serve is refused, and the write changes nothing: see
/// [`Endpoint::check`](crate::Endpoint::check).
///
/// Nothing is told before the first call that writes. A program that restarts beside a running target should begin
/// with [`Publisher::reset`], so that what it has not yet listed is not taken for gone.
///
/// When every publisher is dropped, the source has ended: what was written stays in effect (fail static), and the
/// status says so. [`Publisher::close_and_retire`] takes everything away instead.
///
/// ```
/// use lb_core::{Endpoint, Record, RecordKey, feed};
///
/// let (publisher, _feed) = feed("app".parse().unwrap());
/// let key = RecordKey::new("web".parse().unwrap(), "web-1".parse().unwrap());
/// publisher.set(Record::new(key.clone(), Endpoint::new("10.0.0.7:80".parse().unwrap())))?;
/// publisher.drain(&key, None)?;
/// publisher.remove(&key)?;
/// # Ok::<(), lb_core::WriteError>(())
/// ```
#[must_use]
pub fn feed(name: Name) -> (Publisher, Feed) {
    let shared = Arc::new(Shared {
        name,
        state: Mutex::default(),
        unread: Notify::new(),
        written: Written::new(),
    });
    let publisher = Publisher {
        ends: Arc::new(WriteEnd(shared.clone())),
    };
    (publisher, Feed { shared })
}

/// Writes to a [`Feed`], from any thread. Clones write to the same feed; what is written last counts.
#[derive(Debug, Clone)]
pub struct Publisher {
    ends: Arc<WriteEnd>,
}

/// The source that tells what its [`Publisher`]s write.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// A feed lives and dies with its program, so there is one history.
const EPOCH: &str = "feed";

/// Nobody reads what is written any more: the control plane has ended, or the feed was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feed is closed")]
pub struct FeedClosed;

/// Why a write was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The feed is closed.
    #[error(transparent)]
    Closed(#[from] FeedClosed),
    /// No target can serve the endpoint.
    #[error("endpoint {endpoint} of service {service}: {wrong}")]
    Invalid {
        /// The service of the endpoint.
        service: Name,
        /// The endpoint.
        endpoint: Name,
        /// The field, its value and what was expected.
        #[source]
        wrong: InvalidEndpoint,
    },
}

/// Refuses records that no target can serve.
fn check<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<(), WriteError> {
    for record in records {
        let judged = record.endpoint.as_ref().map_or(Ok(()), |own| own.check());
        judged.map_err(|wrong| WriteError::Invalid {
            service: record.key.service.clone(),
            endpoint: record.key.id.clone(),
            wrong,
        })?;
    }
    Ok(())
}

/// All publishers together: dropped with the last of them.
#[derive(Debug)]
struct WriteEnd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Name,
    state: Mutex<State>,
    /// Wakes the reader.
    unread: Notify,
    written: Written,
}

/// The number of keys of writes without effect that wait for the reader, so that their tickets follow the records they
/// name.
const MOST_TOUCHED: usize = 1024;

#[derive(Debug, Default)]
struct State {
    records: HashMap<RecordKey, Record>,
    /// Records whose latest word was not read, and whether the reader knows the record at all.
    unread: HashMap<RecordKey, bool>,
    /// Everything is to be read anew: what is not there is gone.
    reset: bool,
    /// Counts writes.
    revision: u64,
    /// The revision that the reader was told last.
    told: u64,
    /// Something was written: before that, nothing is known.
    begun: bool,
    closed: Option<&'static str>,
}

impl Publisher {
    /// Writes that `records` are all there is. What they do not list is gone, which the guard may hold back.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn reset(&self, records: impl IntoIterator<Item = Record>) -> Result<Ticket, WriteError> {
        let records: HashMap<RecordKey, Record> = records
            .into_iter()
            .map(|record| (record.key.clone(), record))
            .collect();
        check(records.values())?;
        self.write(|state| {
            // The whole is read anew, but for records removed by name: that they were meant to go is still told.
            state.unread.retain(|key, known| {
                *known && !state.records.contains_key(key) && !records.contains_key(key)
            });
            state.records = records;
            state.reset = true;
        })
    }

    /// Writes that these records are set and those are gone, at once. A key in both is set.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn batch(
        &self,
        set: impl IntoIterator<Item = Record>,
        remove: impl IntoIterator<Item = RecordKey>,
    ) -> Result<Ticket, WriteError> {
        // The caller's iterators may do anything, so they run before the lock is taken.
        let set: Vec<Record> = set.into_iter().collect();
        let remove: Vec<RecordKey> = remove.into_iter().collect();
        check(&set)?;
        self.write(|state| {
            for key in &remove {
                state.remove(key);
            }
            for record in set {
                state.set(record);
            }
        })
    }

    /// Writes one record.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn set(&self, record: Record) -> Result<Ticket, WriteError> {
        check([&record])?;
        self.write(|state| state.set(record))
    }

    /// Writes that one record is gone. Without such a record, nothing happens.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn remove(&self, key: &RecordKey) -> Result<Ticket, WriteError> {
        self.write(|state| state.remove(key))
    }

    /// Writes that one endpoint is leaving: no new traffic, what runs may end within `grace` (`None`: the
    /// target's own limit). Without such an endpoint, nothing happens.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn drain(&self, key: &RecordKey, grace: Option<Duration>) -> Result<Ticket, WriteError> {
        self.write(|state| {
            if let Some(mut record) = state.records.get(key).cloned()
                && let Some(endpoint) = &mut record.endpoint
            {
                endpoint.state = EndpointState::Draining { grace };
                state.set(record);
            } else {
                state.touch(key);
            }
        })
    }

    /// Writes another weight of one endpoint. Without such an endpoint, nothing happens.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn weigh(&self, key: &RecordKey, weight: Weight) -> Result<Ticket, WriteError> {
        self.write(|state| {
            if let Some(mut record) = state.records.get(key).cloned()
                && let Some(endpoint) = &mut record.endpoint
            {
                endpoint.weight = weight;
                state.set(record);
            } else {
                state.touch(key);
            }
        })
    }

    /// Writes that a service is there, with routes of its own, whether it has endpoints or not.
    ///
    /// It is the record of [`declaration`](Self::declaration), and lives until that is removed.
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn declare(
        &self,
        service: Name,
        mode: Mode,
        routes: impl IntoIterator<Item = Route>,
    ) -> Result<Ticket, WriteError> {
        self.declare_with_options(service, mode, ServiceOptions::default(), routes)
    }

    /// Writes that a service is there, as [`declare`](Self::declare) does, and how it is to be served: exclusive, for
    /// example. Records of its endpoints need not repeat the options.
    ///
    /// ```
    /// use lb_core::{Mode, OnDown, ServiceOptions, feed};
    ///
    /// let (publisher, _feed) = feed("app".parse().unwrap());
    /// let options = ServiceOptions::default().exclusive(true).on_down(OnDown::ShutdownSessions);
    /// publisher.declare_with_options("db".parse().unwrap(), Mode::Tcp, options, [])?;
    /// # Ok::<(), lb_core::WriteError>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::Closed`] when the control plane no longer reads.
    pub fn declare_with_options(
        &self,
        service: Name,
        mode: Mode,
        options: ServiceOptions,
        routes: impl IntoIterator<Item = Route>,
    ) -> Result<Ticket, WriteError> {
        let routes: Vec<Route> = routes.into_iter().collect();
        let record = Record::declare(Self::declaration(service))
            .with_mode(mode)
            .with_options(options)
            .with_routes(routes);
        self.set(record)
    }

    /// The key under which [`declare`](Self::declare) writes.
    #[must_use]
    pub fn declaration(service: Name) -> RecordKey {
        RecordKey::new(service, Name::from_text(":declared"))
    }

    /// Takes away everything that was written and closes the feed, for all clones. The guard does not hold this
    /// back unless it guards removals by name.
    pub fn close_and_retire(self) {
        let retired = self.write(|state| {
            let keys: Vec<RecordKey> = state.records.keys().cloned().collect();
            for key in &keys {
                state.remove(key);
            }
            state.closed = Some("it was closed and its records were retired");
        });
        // Closed before: there is nothing to take away from anybody.
        let _ = retired;
    }

    fn write(&self, change: impl FnOnce(&mut State)) -> Result<Ticket, WriteError> {
        let shared = &self.ends.0;
        let mut state = shared.lock();
        if state.closed.is_some() {
            return Err(FeedClosed.into());
        }
        state.begun = true;
        change(&mut state);
        // Two for each write: a reset may have to be told apart from the batch that follows it.
        state.revision += 2;
        let revision = state.revision;
        // Under the lock, so that a wait that begins after this write knows of it.
        shared.written.advance(revision);
        drop(state);
        shared.unread.notify_one();
        Ok(shared.written.ticket(shared.name.clone(), revision))
    }
}

impl State {
    fn set(&mut self, record: Record) {
        let key = record.key.clone();
        let known = match self.records.get_mut(&key) {
            Some(own) if *own == record => {
                // Read again all the same: the ticket of this write follows the record.
                self.unread.entry(key).or_insert(true);
                return;
            }
            Some(own) => {
                *own = record;
                true
            }
            None => {
                self.records.insert(key.clone(), record);
                false
            }
        };
        self.unread.entry(key).or_insert(known);
    }

    /// Makes the ticket of a write without effect follow what is known of a record.
    fn touch(&mut self, key: &RecordKey) {
        if self.unread.len() < MOST_TOUCHED {
            self.unread.entry(key.clone()).or_insert(true);
        }
    }

    fn remove(&mut self, key: &RecordKey) {
        if self.records.remove(key).is_none() {
            self.touch(key);
            return;
        }
        // What the reader never learnt of need not be taken back, so coming and going leaves nothing behind.
        match self.unread.get(key) {
            Some(false) => {
                self.unread.remove(key);
            }
            Some(true) => {}
            None => {
                self.unread.insert(key.clone(), true);
            }
        }
    }

    /// The updates for the reader, in order; none when it knows everything.
    fn take(&mut self, everything: bool) -> Vec<Update> {
        if !self.begun {
            return Vec::new();
        }
        let unread = std::mem::take(&mut self.unread);
        let reset = std::mem::take(&mut self.reset) || everything;
        let (set, remove): (Vec<RecordKey>, Vec<RecordKey>) = unread
            .into_keys()
            .partition(|key| self.records.contains_key(key));
        let set: Vec<Record> = if reset {
            Vec::new()
        } else {
            set.iter()
                .filter_map(|key| self.records.get(key).cloned())
                .collect()
        };
        let batch = !set.is_empty() || !remove.is_empty();
        if reset && self.told == self.revision {
            // Told again, it is a later word than the last one.
            self.revision += 2;
        }
        let mut updates = Vec::new();
        if reset {
            updates.push(Update::Reset {
                at: Cursor::new(EPOCH, self.revision - u64::from(batch)),
                records: self.records.values().cloned().collect(),
            });
        }
        if batch {
            updates.push(Update::Batch {
                at: self.cursor(),
                set,
                remove,
            });
        }
        if !reset && !batch && self.told < self.revision {
            updates.push(Update::Progress { at: self.cursor() });
        }
        self.told = self.revision;
        updates
    }

    fn cursor(&self) -> Cursor {
        Cursor::new(EPOCH, self.revision)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, why: &'static str) {
        self.lock().closed.get_or_insert(why);
        self.unread.notify_one();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.0
            .close("every publisher is gone; what they wrote stays");
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.close("nobody reads it");
    }
}

#[async_trait]
impl Source for Feed {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.shared.name.clone(), "feed").with_written(self.shared.written.clone())
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let mut told = false;
        loop {
            let (updates, closed) = {
                let mut state = self.shared.lock();
                (state.take(!told), state.closed)
            };
            told |= !updates.is_empty();
            for update in updates {
                sink.send(update).await?;
            }
            if let Some(why) = closed {
                return Err(SourceError::Ended {
                    why: why.to_owned(),
                });
            }
            self.shared.unread.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn key(id: usize) -> RecordKey {
        RecordKey::new("s".parse().unwrap(), format!("e{id}").parse().unwrap())
    }

    fn record(id: usize, port: u16) -> Record {
        Record::new(key(id), Endpoint::new(([127, 0, 0, 1], port).into()))
    }

    #[test]
    fn i7_an_unread_feed_keeps_one_entry_per_record() {
        let (publisher, feed) = feed("f".parse().unwrap());
        for round in 1..10_000_usize {
            let port = u16::try_from(round).unwrap();
            publisher.set(record(round % 7, port)).unwrap();
            publisher.set(record(100 + round, port)).unwrap();
            publisher.remove(&key(100 + round)).unwrap();
        }
        let state = feed.shared.lock();
        assert_eq!((state.records.len(), state.unread.len()), (7, 7));
    }

    #[test]
    fn what_is_read_after_any_writes_makes_the_reader_know_what_was_written() {
        let (publisher, feed) = feed("f".parse().unwrap());
        let mut known: HashMap<RecordKey, Record> = HashMap::new();
        let mut random = crate::backoff::Jitter::new(3);
        let mut number = |most: u64| {
            usize::try_from(
                random
                    .between(Duration::ZERO, Duration::from_micros(most))
                    .as_micros(),
            )
            .unwrap()
        };
        let mut first = true;
        for round in 1..2_000_u16 {
            match number(9) {
                0 => publisher.reset([record(number(5), round), record(number(5), round)]),
                1..4 => publisher.remove(&key(number(5))),
                _ => publisher.set(record(number(5), round)),
            }
            .unwrap();
            if number(3) > 0 {
                continue;
            }
            for update in feed.shared.lock().take(std::mem::take(&mut first)) {
                match update {
                    Update::Reset { records, .. } => {
                        known = records.into_iter().map(|r| (r.key.clone(), r)).collect();
                    }
                    Update::Batch { set, remove, .. } => {
                        for key in remove {
                            assert!(!set.iter().any(|record| record.key == key));
                            known.remove(&key);
                        }
                        known.extend(set.into_iter().map(|r| (r.key.clone(), r)));
                    }
                    Update::Progress { .. } => {}
                    other => panic!("unexpected {other:?}"),
                }
            }
            assert_eq!(known, feed.shared.lock().records);
        }
    }

    #[test]
    fn a_write_is_told_under_the_cursor_that_its_writer_got() {
        let (publisher, feed) = feed("f".parse().unwrap());
        let told = |everything| -> Vec<u64> {
            let cursor = |update| match update {
                Update::Reset { at, .. } | Update::Batch { at, .. } | Update::Progress { at } => at,
                other => panic!("unexpected {other:?}"),
            };
            let updates = feed.shared.lock().take(everything);
            updates
                .into_iter()
                .map(cursor)
                .map(|at| at.revision)
                .collect()
        };
        let first = publisher.set(record(1, 1)).unwrap().revision;
        assert_eq!(told(true), [first]);
        let second = publisher.set(record(2, 1)).unwrap().revision;
        let third = publisher.set(record(3, 1)).unwrap().revision;
        assert!(first < second && second < third);
        assert_eq!(told(false), [third]);
        assert_eq!(told(false), [0; 0]);
        // Without effect: still told, so that the writer need not wait for ever.
        let same = publisher.set(record(3, 1)).unwrap().revision;
        assert_eq!(told(false), [same]);
        publisher.remove(&key(1)).unwrap();
        let all = publisher.reset([record(2, 1)]).unwrap().revision;
        let both = told(false);
        assert!(
            same < both[0] && both[0] < both[1] && both[1] == all,
            "{both:?}"
        );
        assert!(told(true)[0] > all);
    }

    #[test]
    fn a_closed_feed_refuses_writes() {
        let (publisher, feed) = feed("f".parse().unwrap());
        let clone = publisher.clone();
        publisher.close_and_retire();
        assert_eq!(clone.set(record(1, 1)), Err(FeedClosed.into()));
        drop(feed);
        let (publisher, feed) = super::feed("f".parse().unwrap());
        drop(feed);
        assert_eq!(publisher.remove(&key(1)), Err(FeedClosed.into()));
    }
}
