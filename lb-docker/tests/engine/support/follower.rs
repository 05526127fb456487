//! Follows a source as a supervisor does, and keeps what it said.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_core::{Diagnostic, EndpointState, Record, RecordKey, Sink, Source, SourceError, Update};
use tokio::{task::JoinHandle, time::timeout};

/// One thing that a source said, and when.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) update: Update,
}

/// Everything that a source said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) records: BTreeMap<RecordKey, Record>,
    pub(crate) log: Vec<Said>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) resets: usize,
    pub(crate) errors: Vec<String>,
    /// If `true`, the link is known to be dead: since the last error nothing was heard.
    pub(crate) stale: bool,
}

/// A source that is followed in the background until this is dropped.
pub(crate) struct Follower {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Follower {
    pub(crate) fn new(mut source: impl Source) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let shared = Arc::clone(&told);
        let liveness = source.describe().liveness;
        let task = tokio::spawn(async move {
            loop {
                let (sink, mut updates) = Sink::channel(16);
                let error = {
                    let mut attempt = source.watch(None, &sink);
                    loop {
                        let silence = liveness.unwrap_or(Duration::MAX);
                        tokio::select! {
                            biased;
                            update = timeout(silence, updates.recv()) => match update {
                                Ok(Some(update)) => shared.lock().unwrap().hear(update),
                                Ok(None) => unreachable!("the sink lives as long"),
                                Err(_) => break SourceError::transient("silent for too long"),
                            },
                            ended = &mut attempt => break match ended {
                                Ok(()) => SourceError::transient("ended without an error"),
                                Err(error) => error,
                            },
                        }
                    }
                };
                {
                    let mut told = shared.lock().unwrap();
                    while let Ok(update) = updates.try_recv() {
                        told.hear(update);
                    }
                    told.stale = true;
                    told.errors.push(error.to_string());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { told, task }
    }

    /// Looks at what was told.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap())
    }

    /// Waits until what was told is as `expected` says; panics with all of it after a long time.
    pub(crate) async fn until(&self, what: &str, mut expected: impl FnMut(&Told) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !self.look(&mut expected) {
            if Instant::now() > limit {
                self.look(|told| {
                    panic!(
                        "never {what}: {:#?}\n{:?}\n{:?}",
                        told.records, told.diagnostics, told.errors
                    )
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The states of all endpoints, by service and address.
    pub(crate) fn endpoints(&self) -> BTreeMap<(String, String), EndpointState> {
        self.look(Told::endpoints)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Told {
    pub(crate) fn endpoints(&self) -> BTreeMap<(String, String), EndpointState> {
        self.records
            .values()
            .filter_map(|record| {
                let endpoint = record.endpoint.as_ref()?;
                Some((
                    (record.key.service.to_string(), endpoint.address.to_string()),
                    endpoint.state,
                ))
            })
            .collect()
    }

    /// The number of endpoints of a service that are ready.
    pub(crate) fn ready(&self, service: &str) -> usize {
        self.endpoints()
            .iter()
            .filter(|((name, _), state)| name == service && state.is_ready())
            .count()
    }

    /// The state of a service's only endpoint.
    pub(crate) fn state(&self, service: &str) -> Option<EndpointState> {
        self.endpoints()
            .into_iter()
            .find(|((name, _), _)| name == service)
            .map(|(_, state)| state)
    }

    /// All states that a service's endpoints went through, by endpoint id, without repeats; `None` is gone.
    pub(crate) fn states(&self, service: &str) -> BTreeMap<String, Vec<Option<EndpointState>>> {
        let mut states: BTreeMap<String, Vec<Option<EndpointState>>> = BTreeMap::new();
        let mut add = |key: &RecordKey, state| {
            if key.service.as_str() == service {
                let seen = states.entry(key.id.to_string()).or_default();
                if seen.last() != Some(&state) {
                    seen.push(state);
                }
            }
        };
        for said in &self.log {
            match &said.update {
                Update::Reset { records, .. } => {
                    for record in records {
                        add(&record.key, record.endpoint.as_ref().map(|e| e.state));
                    }
                }
                Update::Batch { set, remove, .. } => {
                    for key in remove {
                        add(key, None);
                    }
                    for record in set {
                        add(&record.key, record.endpoint.as_ref().map(|e| e.state));
                    }
                }
                _ => {}
            }
        }
        states
    }

    fn hear(&mut self, update: Update) {
        self.stale = false;
        match &update {
            Update::Reset { records, .. } => {
                self.resets += 1;
                self.records = records
                    .iter()
                    .map(|record| (record.key.clone(), record.clone()))
                    .collect();
                assert_eq!(self.records.len(), records.len(), "a key twice in a reset");
            }
            Update::Batch { set, remove, .. } => {
                for key in remove {
                    assert!(
                        self.records.remove(key).is_some(),
                        "removed {key}, which was not there"
                    );
                }
                for record in set {
                    let old = self.records.insert(record.key.clone(), record.clone());
                    assert_ne!(old.as_ref(), Some(record), "said twice");
                }
            }
            Update::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic.clone()),
            _ => {}
        }
        self.log.push(Said {
            at: Instant::now(),
            update,
        });
    }
}
