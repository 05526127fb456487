//! Follows a source strictly, as a supervisor would, and remembers everything.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    guard::{GuardConfig, GuardPolicy, Guarded},
    model::EndpointState,
    source::{Admission, Cursor, Diagnostic, Protocol, Record, RecordKey, Sink, Source, Update},
    time::Time,
};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The records in effect, by key.
pub(super) type Records = BTreeMap<RecordKey, Arc<Record>>;

/// The knowledge of a follower at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) records: Records,
    pub(super) synced: bool,
    /// The number of attempts that began with a reset or resumed.
    pub(super) opened: u64,
    /// The number of attempts that ended.
    pub(super) ended: u64,
    /// The number of attempts that were given up because of silence.
    pub(super) silences: u64,
    pub(super) updates: u64,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The records that were ever seen draining or down.
    pub(super) seen_leaving: Vec<RecordKey>,
    /// The first breach of the contract.
    pub(super) violation: Option<String>,
}

/// A task that follows a source until it is dropped or told to stop.
pub(super) struct Follower {
    task: Option<JoinHandle<Box<dyn Source>>>,
    view: watch::Receiver<View>,
    stop: watch::Sender<bool>,
    log: Arc<Mutex<Vec<Update>>>,
    patience: Duration,
}

impl Follower {
    pub(super) fn start(source: Box<dyn Source>, patience: Duration) -> Self {
        let (sender, view) = watch::channel(View::default());
        let (stop, stopped) = watch::channel(false);
        let log: Arc<Mutex<Vec<Update>>> = Arc::default();
        let follow = Follow {
            source,
            view: sender,
            stopped,
            log: log.clone(),
            store: Store::default(),
        };
        Self {
            task: Some(tokio::spawn(follow.run())),
            view,
            stop,
            log,
            patience,
        }
    }

    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Waits until the view is as wanted, and says what it was instead when it never was.
    pub(super) async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&View) -> bool,
    ) -> Result<View, String> {
        let patience = self.patience;
        let reached = self
            .view
            .wait_for(|view| view.violation.is_some() || wanted(view));
        let reached = match tokio::time::timeout(patience, reached).await {
            Ok(Ok(view)) => Some(view.clone()),
            Ok(Err(_)) => return Err(format!("the source panicked before: {what}")),
            Err(_) => None,
        };
        match reached {
            Some(View {
                violation: Some(violation),
                ..
            }) => Err(violation),
            Some(view) => Ok(view),
            None => Err(format!(
                "not within {patience:?}: {what}; followed: {}",
                describe(&self.view().records)
            )),
        }
    }

    /// Everything the source said so far.
    pub(super) fn log(&self) -> Vec<Update> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Cancels the attempt and gives the source back.
    pub(super) async fn stop(mut self) -> Result<Box<dyn Source>, String> {
        // The task may have ended by a violation.
        let _ = self.stop.send(true);
        let Some(task) = self.task.take() else {
            return Err("stopped twice".to_owned());
        };
        match tokio::time::timeout(Duration::from_secs(1), task).await {
            Ok(Ok(source)) => Ok(source),
            Ok(Err(_)) => Err("the source panicked".to_owned()),
            Err(_) => Err("cancelling the attempt took more than a second".to_owned()),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Some records, for people.
pub(super) fn describe(records: &Records) -> String {
    let texts: Vec<String> = records
        .iter()
        .take(12)
        .map(|(key, record)| match &record.endpoint {
            Some(endpoint) => format!("{key}={}*{}", endpoint.address, endpoint.weight),
            None => format!("{key} without endpoint"),
        })
        .collect();
    format!("[{}]", texts.join(", "))
}

/// Applies updates without a guard.
#[derive(Debug, Default)]
pub(super) struct Store {
    records: Guarded,
    pub(super) in_effect: Records,
}

impl Store {
    /// Applies one update; returns how many records it changed.
    pub(super) fn apply(&mut self, update: Update) -> usize {
        let config = GuardConfig::new(GuardPolicy::disabled());
        let outcome = match update {
            Update::Reset { records, .. } => self.records.reset(Time::ZERO, records, &config),
            Update::Batch { set, remove, .. } => {
                self.records.batch(Time::ZERO, set, remove, &config)
            }
            _ => return 0,
        };
        let count = outcome.changes.len();
        for change in outcome.changes {
            match change.record {
                Some(record) => self.in_effect.insert(change.key, record),
                None => self.in_effect.remove(&change.key),
            };
        }
        count
    }
}

struct Follow {
    source: Box<dyn Source>,
    view: watch::Sender<View>,
    stopped: watch::Receiver<bool>,
    log: Arc<Mutex<Vec<Update>>>,
    store: Store,
}

impl Follow {
    async fn run(mut self) -> Box<dyn Source> {
        let descriptor = self.source.describe();
        let mut protocol = Protocol::default();
        let mut lost_cursor = false;
        loop {
            let resume: Option<Cursor> = protocol
                .applied()
                .filter(|_| descriptor.resumable && !lost_cursor)
                .cloned();
            protocol.begin(resume.clone());
            let (sink, mut updates) = Sink::channel(4);
            let mut watch = self.source.watch(resume, &sink);
            lost_cursor = false;
            loop {
                let bound = descriptor.liveness.unwrap_or(Duration::from_secs(3600));
                tokio::select! {
                    biased;
                    Some(update) = updates.recv() => {
                        if !hear(&mut protocol, &mut self.store, &self.view, &self.log, update) {
                            drop(watch);
                            return self.source;
                        }
                    }
                    _ = self.stopped.wait_for(|stopped| *stopped) => {
                        drop(watch);
                        return self.source;
                    }
                    result = &mut watch => {
                        lost_cursor = matches!(result, Err(crate::SourceError::CursorGone { .. }));
                        break;
                    }
                    () = tokio::time::sleep(bound) => {
                        self.view.send_modify(|view| view.silences += 1);
                        break;
                    }
                }
            }
            drop(watch);
            while let Ok(update) = updates.try_recv() {
                if !hear(
                    &mut protocol,
                    &mut self.store,
                    &self.view,
                    &self.log,
                    update,
                ) {
                    return self.source;
                }
            }
            self.view.send_modify(|view| view.ended += 1);
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => return self.source,
            }
        }
    }
}

/// Takes in one update; false when it breaks the contract.
fn hear(
    protocol: &mut Protocol,
    store: &mut Store,
    view: &watch::Sender<View>,
    log: &Mutex<Vec<Update>>,
    update: Update,
) -> bool {
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(update.clone());
    let admission = protocol.admit(&update);
    let opens = matches!(update, Update::Reset { .. } | Update::Resumed { .. });
    let diagnostic = match &update {
        Update::Diagnostic(diagnostic) => Some(diagnostic.clone()),
        _ => None,
    };
    let violation = match admission {
        Ok(Admission::Apply) => {
            store.apply(update);
            None
        }
        Ok(Admission::Alive) => None,
        Ok(Admission::Outdated { at, applied }) => {
            Some(format!("a batch at {at} came after {applied}"))
        }
        Err(violation) => Some(violation.to_string()),
    };
    let goes_on = violation.is_none();
    view.send_modify(|view| {
        view.updates += 1;
        view.opened += u64::from(opens && goes_on);
        view.synced |= opens && goes_on;
        view.diagnostics.extend(diagnostic);
        view.violation = violation;
        view.records.clone_from(&store.in_effect);
        for (key, record) in &store.in_effect {
            let leaving = record.endpoint.as_ref().is_some_and(|endpoint| {
                matches!(
                    endpoint.state,
                    EndpointState::Draining { .. } | EndpointState::Down
                )
            });
            if leaving && !view.seen_leaving.contains(key) {
                view.seen_leaving.push(key.clone());
            }
        }
    });
    goes_on
}
