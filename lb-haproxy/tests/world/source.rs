//! Simulated sources: each tells its part of the truth, late, twice, out of order, or not at all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lb_core::{
    Cursor, Descriptor, Endpoint, Limits, Name, Record, RecordKey, Sink, Source, SourceError,
    Update,
};
use lb_haproxy::simulator::Random;
use tokio::{sync::Notify, time::sleep};

/// The contents of a source, whether they can be read or not. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    name: Name,
    random: Random,
    epoch: u32,
    /// Every change, with its revision.
    log: Vec<(u64, RecordKey, Option<Record>)>,
    revision: u64,
    current: BTreeMap<RecordKey, Record>,
    mode: Mode,
    /// The life of the control plane that is told things.
    life: u64,
    /// The revisions that this life was told, and the time of each.
    told: Vec<(Duration, u64)>,
    /// In how many updates each of them was said.
    updates: Vec<usize>,
    /// It has said that there is nothing, which is not true.
    lying: bool,
    may_lie: bool,
    /// It did so once.
    ever_lied: bool,
    /// The service names it shares, if not all, and its limits.
    restricted: Option<(Name, Limits)>,
    /// The next attempt must tell everything.
    must_list: bool,
    late: u64,
    /// The last attempt was given up, maybe with something unheard.
    doubt: bool,
}

/// Notes that an attempt is over, however it ends.
struct Ending(Store);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.state().doubt = true;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    Down,
    Hung,
}

impl Store {
    pub(crate) fn new(name: &str, seed: u64, may_lie: bool) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                name: name.parse().unwrap(),
                random: Random::new(seed),
                epoch: 1,
                log: Vec::new(),
                revision: 1,
                current: BTreeMap::new(),
                mode: Mode::Up,
                life: 0,
                told: Vec::new(),
                updates: Vec::new(),
                lying: false,
                may_lie,
                ever_lied: false,
                restricted: None,
                must_list: false,
                late: 30,
                doubt: false,
            })),
            changed: Arc::default(),
        }
    }

    /// The same, sharing services with sources of this trust alone.
    pub(crate) fn restricted(self, trust: &str, limits: Limits) -> Self {
        self.state().restricted = Some((trust.parse().unwrap(), limits));
        self
    }

    pub(crate) fn ever_lied(&self) -> bool {
        self.state().ever_lied
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &RecordKey) -> Option<Record> {
        self.state().current.get(key).cloned()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.state().current.values().cloned().collect()
    }

    /// Changes one record, or several together.
    pub(crate) fn set(&self, changes: impl IntoIterator<Item = (RecordKey, Option<Record>)>) {
        let mut state = self.state();
        state.revision += 1;
        for (key, record) in changes {
            match &record {
                Some(record) => state.current.insert(key.clone(), record.clone()),
                None => state.current.remove(&key),
            };
            let revision = state.revision;
            state.log.push((revision, key, record));
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
        self.changed.notify_one();
    }

    /// Another history: cursors of the old one mean nothing any more.
    pub(crate) fn renew(&self) {
        self.state().epoch += 1;
        self.changed.notify_one();
    }

    pub(crate) fn set_late(&self, millis: u64) {
        self.state().late = millis;
    }

    pub(crate) fn is_lying(&self) -> bool {
        self.state().lying
    }

    /// From now on it tells the truth, at once.
    pub(crate) fn be_good(&self) {
        let mut state = self.state();
        state.mode = Mode::Up;
        state.may_lie = false;
        state.late = 20;
        drop(state);
        self.changed.notify_one();
    }

    /// A new life of the control plane: a source for it.
    pub(crate) fn attach(&self) -> WorldSource {
        let mut state = self.state();
        state.life += 1;
        state.told.clear();
        state.updates.clear();
        state.lying = false;
        WorldSource {
            store: self.clone(),
            life: state.life,
            resumable: state.random.chance(500),
            liveness: state.random.chance(600).then_some(Duration::from_secs(3)),
        }
    }

    /// The revision that this life of the control plane has surely heard and published at `now`; `None` before it heard any.
    pub(crate) fn heard(&self, now: Duration) -> Option<u64> {
        let state = self.state();
        let before = state
            .told
            .iter()
            .rev()
            .find(|(at, _)| *at + state.delay(now) < now);
        before.map(|(_, revision)| *revision)
    }

    /// Every endpoint that this life may have been told of.
    pub(crate) fn ever_told(&self) -> Vec<(RecordKey, Endpoint)> {
        let state = self.state();
        let last = state.told.last().map_or(0, |(_, revision)| *revision);
        let told = state.log.iter().take_while(|(at, ..)| *at <= last);
        told.filter_map(|(_, key, record)| Some((key.clone(), record.as_ref()?.endpoint.clone()?)))
            .collect()
    }

    /// The contents at a revision.
    pub(crate) fn at(&self, revision: u64) -> BTreeMap<RecordKey, Record> {
        let state = self.state();
        if revision == state.revision {
            return state.current.clone();
        }
        let mut view = BTreeMap::new();
        for (_, key, record) in state.log.iter().take_while(|(at, ..)| *at <= revision) {
            match record {
                Some(record) => view.insert(key.clone(), record.clone()),
                None => view.remove(key),
            };
        }
        view
    }

    /// Returns `true` if what was heard may differ from what is to come: something was said since.
    pub(crate) fn is_in_doubt(&self, now: Duration) -> bool {
        let state = self.state();
        let told = state.told.last();
        state.doubt || told.is_some_and(|(at, _)| *at + state.delay(now) >= now)
    }
}

/// The number of updates of a source in two seconds without a wait: see the pace of sources in the engine.
const BURST: usize = 20;

impl State {
    /// The time it may take until an update is published. Those of a source that never pauses are kept for a moment.
    fn delay(&self, now: Duration) -> Duration {
        let lately = self.told.iter().zip(&self.updates).rev();
        let lately = lately.take_while(|((at, _), _)| *at + Duration::from_secs(2) >= now);
        let updates: usize = lately.map(|(_, updates)| updates).sum();
        Duration::from_millis(if updates > BURST { 51 } else { 1 })
    }
}

#[derive(Debug)]
pub(crate) struct WorldSource {
    store: Store,
    life: u64,
    resumable: bool,
    liveness: Option<Duration>,
}

/// The next thing an attempt does.
enum Next {
    Say(Vec<Update>, u64),
    Lie(Update),
    End(SourceError),
    Hang,
    Wait(Duration),
}

impl WorldSource {
    fn next(&self, position: u64, epoch: u32) -> Next {
        let mut state = self.store.state();
        if state.life != self.life || state.mode == Mode::Hung {
            return Next::Hang;
        }
        if state.mode == Mode::Down || state.epoch != epoch {
            return Next::End(SourceError::transient("the connection was lost"));
        }
        let at = |revision| Cursor::new(format!("e{epoch}"), revision);
        if state.may_lie && !state.lying && state.random.chance(25) {
            state.lying = true;
            state.ever_lied = true;
            state.must_list = true;
            return Next::Lie(Update::Reset {
                at: at(position),
                records: Vec::new(),
            });
        }
        let newest = state.revision;
        if newest == position {
            let beat = self
                .liveness
                .map_or(Duration::from_secs(5), |bound| bound / 3);
            if state.random.chance(300) {
                return Next::Say(vec![Update::Progress { at: at(newest) }], newest);
            }
            return Next::Wait(beat);
        }
        let batch = |state: &State, from: u64, to: u64| {
            let mut net: BTreeMap<RecordKey, Option<Record>> = BTreeMap::new();
            for (revision, key, record) in &state.log {
                if *revision > from && *revision <= to {
                    net.insert(key.clone(), record.clone());
                }
            }
            let (mut set, mut remove) = (Vec::new(), Vec::new());
            for (key, record) in net {
                match record {
                    Some(record) => set.push(record),
                    None => remove.push(key),
                }
            }
            Update::Batch {
                at: at(to),
                set,
                remove,
            }
        };
        let mut updates = Vec::new();
        match state.random.below(10) {
            0 => updates.push(Update::Reset {
                at: at(newest),
                records: state.current.values().cloned().collect(),
            }),
            1..5 => updates.push(batch(&state, position, newest)),
            _ => updates.extend((position..newest).map(|from| batch(&state, from, from + 1))),
        }
        // What is told again, or too late, changes nothing.
        if state.random.chance(200)
            && let Some(last) = updates.last().cloned()
        {
            updates.push(last);
        }
        if state.random.chance(200) && newest > 2 {
            let old = 1 + state.random.below(newest - 1);
            let stale = batch(
                &state,
                old.saturating_sub(1 + state.random.clone().below(3)),
                old,
            );
            updates.push(stale);
        }
        Next::Say(updates, newest)
    }

    fn told(&self, revision: u64, updates: usize) {
        let now = crate::clock::elapsed();
        let mut state = self.store.state();
        if state.life == self.life {
            state.doubt = false;
            state.told.push((now, revision));
            state.updates.push(updates);
        }
    }
}

#[async_trait]
impl Source for WorldSource {
    fn describe(&self) -> Descriptor {
        let state = self.store.state();
        let mut descriptor = Descriptor::new(state.name.clone(), "world");
        if let Some((trust, limits)) = state.restricted.clone() {
            descriptor = descriptor.with_trust(trust).with_limits(limits).yielding();
        }
        drop(state);
        if let Some(bound) = self.liveness {
            descriptor = descriptor.with_liveness(bound);
        }
        if self.resumable {
            descriptor = descriptor.with_resume();
        }
        descriptor
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let (pause, epoch) = {
            let mut state = self.store.state();
            let late = state.late;
            (state.random.below(late + 1), state.epoch)
        };
        let _ending = Ending(self.store.clone());
        sleep(Duration::from_millis(pause)).await;
        let position = {
            let mut state = self.store.state();
            let resumed = resume.filter(|at| {
                *at.epoch == *format!("e{epoch}")
                    && !state.must_list
                    && at.revision <= state.revision
            });
            if state.life != self.life || state.mode == Mode::Hung {
                None
            } else if state.mode == Mode::Down {
                return Err(SourceError::transient("nobody answers"));
            } else if let Some(at) = resumed
                && state.random.chance(800)
            {
                let position = at.revision;
                Some((Update::Resumed { at }, position))
            } else {
                let at = Cursor::new(format!("e{epoch}"), state.revision);
                let records = state.current.values().cloned().collect();
                let position = state.revision;
                state.must_list = false;
                state.lying = false;
                Some((Update::Reset { at, records }, position))
            }
        };
        let Some((first, mut place)) = position else {
            self.store.changed.notified().await;
            return Err(SourceError::transient("it took too long"));
        };
        sink.send(first).await?;
        self.told(place, 1);
        loop {
            match self.next(place, epoch) {
                Next::Say(updates, to) => {
                    let late = {
                        let mut state = self.store.state();
                        let late = state.late;
                        state.random.below(late + 1)
                    };
                    let count = updates.len();
                    for update in updates {
                        sink.send(update).await?;
                    }
                    place = to;
                    self.told(place, count);
                    sleep(Duration::from_millis(late + 1)).await;
                }
                Next::Lie(update) => {
                    sink.send(update).await?;
                    let time = 100 + self.store.state().random.below(1500);
                    sleep(Duration::from_millis(time)).await;
                    let (at, records, revision) = {
                        let mut state = self.store.state();
                        if state.life != self.life {
                            return Err(SourceError::transient("an earlier life"));
                        }
                        let at = Cursor::new(format!("e{epoch}"), state.revision);
                        state.lying = false;
                        state.must_list = false;
                        let records = state.current.values().cloned().collect();
                        (at, records, state.revision)
                    };
                    sink.send(Update::Reset { at, records }).await?;
                    place = revision;
                    self.told(place, 2);
                }
                Next::End(error) => return Err(error),
                Next::Hang => self.store.changed.notified().await,
                Next::Wait(beat) => {
                    let _ = tokio::time::timeout(beat, self.store.changed.notified()).await;
                }
            }
        }
    }
}
