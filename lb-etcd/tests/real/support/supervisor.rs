//! A plain supervisor: keeps the last good state and the cursor, and tries again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_core::{
    Cursor, Diagnostic, Record, RecordKey, Sink, Source, SourceError, Update,
    source::{Admission, Protocol},
};
use lb_etcd::{EtcdSource, EtcdStatusReader};

use super::eventually;

/// The records and errors that were seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Shared by copies: only the original is told anything.
    protocol: Arc<Mutex<Protocol>>,
    pub(crate) records: BTreeMap<RecordKey, Record>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) resets: usize,
    pub(crate) resumes: usize,
    pub(crate) progress: usize,
    /// The number of records each batch set and removed.
    pub(crate) batches: Vec<(usize, usize)>,
    pub(crate) errors: Vec<String>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The number of them that were told since anything else: those stay in a reset.
    fresh: usize,
    /// The fewest records there were after the first reset.
    pub(crate) fewest: Option<usize>,
}

/// Runs a source until it is dropped.
#[derive(Debug)]
pub(crate) struct Supervisor {
    seen: Arc<Mutex<Seen>>,
    pub(crate) status: EtcdStatusReader,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Supervisor {
    pub(crate) fn start(source: EtcdSource) -> Self {
        let status = source.status();
        Self::run(source, status)
    }

    /// Any source, without a status of its own.
    #[cfg(feature = "v2")]
    pub(crate) fn start_other(source: impl Source) -> Self {
        Self::run(source, EtcdStatusReader::default())
    }

    fn run(mut source: impl Source, status: EtcdStatusReader) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sink, mut updates) = Sink::channel(16);
        let reader = {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                while let Some(update) = updates.recv().await {
                    seen.lock().unwrap().take(update);
                }
            })
        };
        let runner = {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut cursor_gone = false;
                loop {
                    let resume = {
                        let seen = seen.lock().unwrap();
                        let resume = seen.cursor.clone().filter(|_| !cursor_gone);
                        seen.begin(resume.clone());
                        resume
                    };
                    let result = source.watch(resume, &sink).await;
                    let error = result.expect_err("an attempt does not just end");
                    cursor_gone = matches!(error, SourceError::CursorGone { .. });
                    seen.lock().unwrap().errors.push(chain(&error));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        };
        Self {
            seen,
            status,
            tasks: vec![reader, runner],
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until what was seen fulfils a condition.
    pub(crate) async fn until(&self, expected: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let found = std::panic::AssertUnwindSafe(eventually(expected, || {
            Some(self.seen()).filter(&condition)
        }));
        // What was seen instead tells most when it never comes.
        tokio::select! {
            found = found.0 => found,
            () = tokio::time::sleep(super::PATIENCE - Duration::from_secs(1)) => {
                let mut seen = self.seen();
                seen.records.clear();
                panic!("never happened: {expected}; seen {seen:#?}, status {:#?}", self.status.read());
            }
        }
    }

    /// The address of an endpoint, if it is known.
    pub(crate) fn address(&self, key: &str) -> Option<String> {
        self.seen.lock().unwrap().address(key)
    }
}

impl Seen {
    /// The address of an endpoint, if it is known.
    pub(crate) fn address(&self, key: &str) -> Option<String> {
        let record = self
            .records
            .iter()
            .find(|(known, _)| known.to_string() == key)?
            .1;
        Some(record.endpoint.as_ref()?.address.to_string())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Seen {
    /// A new attempt begins.
    pub(crate) fn begin(&self, asked: Option<Cursor>) {
        self.protocol.lock().unwrap().begin(asked);
    }

    pub(crate) fn take(&mut self, update: Update) {
        let admission = self.protocol.lock().unwrap().admit(&update);
        match admission {
            Ok(Admission::Apply) => {}
            Ok(Admission::Alive) => return,
            other => panic!("{other:?}"),
        }
        let fresh = std::mem::take(&mut self.fresh);
        match update {
            Update::Reset { at, records } => {
                self.resets += 1;
                self.diagnostics.drain(..self.diagnostics.len() - fresh);
                self.records = records
                    .into_iter()
                    .map(|record| (record.key.clone(), record))
                    .collect();
                self.cursor = Some(at);
            }
            Update::Resumed { at } => {
                assert_eq!(Some(&at), self.cursor.as_ref(), "resumed where we are");
                self.resumes += 1;
            }
            Update::Batch { at, set, remove } => {
                self.batches.push((set.len(), remove.len()));
                for key in remove {
                    self.records.remove(&key);
                }
                for record in set {
                    self.records.insert(record.key.clone(), record);
                }
                self.cursor = Some(at);
            }
            Update::Progress { at } => {
                self.progress += 1;
                self.cursor = Some(at);
            }
            Update::Diagnostic(diagnostic) => {
                self.diagnostics.push(diagnostic);
                self.fresh = fresh + 1;
            }
            Update::Resolved { object } => {
                self.diagnostics.retain(|known| known.object != object);
            }
        }
        if self.resets > 0 {
            let now = self.records.len();
            self.fewest = Some(self.fewest.map_or(now, |fewest| fewest.min(now)));
        }
    }

    pub(crate) fn error_has(&self, text: &str) -> bool {
        self.errors.iter().any(|error| error.contains(text))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text.push_str(": ");
        text.push_str(&below.to_string());
        cause = below.source();
    }
    text
}
