//! What the program gives to be called.

use std::{collections::BTreeMap, ffi::c_void, sync::mpsc, thread::JoinHandle, time::Duration};

use async_trait::async_trait;
use lb_core::{Cursor, Descriptor, Name, Record, Sink, Source, SourceError, Update};
use tokio::sync::oneshot;

use super::{
    batch::{Batch, Contents},
    boundary::{Within, within},
    status::{Failure, Status},
    thread::masked,
};

/// Puts everything that there is now into `everything`, which is empty and lives until the callback returns. Returns
/// LB_STATUS_OK; with anything else, what was known before stays in effect and it is called again after a pause.
pub type DiscoverFn =
    Option<unsafe extern "C" fn(userdata: *mut c_void, everything: *mut Batch) -> u32>;

/// Is called when `userdata` is used no more. May be NULL where nothing is to be done.
pub type ReleaseFn = Option<unsafe extern "C" fn(userdata: *mut c_void)>;

/// The program's own data of a callback: released exactly once, when dropped.
#[derive(Debug)]
pub(super) struct Userdata {
    pointer: *mut c_void,
    release: ReleaseFn,
}

// SAFETY: the header says from which threads the data is used, and that the library uses it from one at a time or,
// for the log, from several; what it points to is the program's business.
unsafe impl Send for Userdata {}
// SAFETY: as above.
unsafe impl Sync for Userdata {}

impl Userdata {
    pub(super) fn new(pointer: *mut c_void, release: ReleaseFn) -> Self {
        Self { pointer, release }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for Userdata {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: a function of the program for this very data, called once as this is dropped once.
            unsafe { release(self.pointer) };
        }
    }
}

/// One question to the callback's thread.
type Question = oneshot::Sender<Result<Contents, u32>>;

/// A source that asks a callback of the program.
#[derive(Debug)]
pub(super) struct CallbackSource {
    name: Name,
    interval: Duration,
    questions: mpsc::Sender<Question>,
    revision: u64,
}

/// A callback that waits to be asked.
#[derive(Debug)]
pub(super) struct Callback {
    discover: unsafe extern "C" fn(*mut c_void, *mut Batch) -> u32,
    userdata: Userdata,
    questions: mpsc::Receiver<Question>,
}

/// A source, and the thread's work that it asks.
pub(super) fn callback_source(
    name: Name,
    interval: Duration,
    discover: unsafe extern "C" fn(*mut c_void, *mut Batch) -> u32,
    userdata: Userdata,
) -> (CallbackSource, Callback) {
    let (sender, questions) = mpsc::channel();
    let source = CallbackSource {
        name,
        interval,
        questions: sender,
        revision: 0,
    };
    let callback = Callback {
        discover,
        userdata,
        questions,
    };
    (source, callback)
}

impl Callback {
    /// Starts the thread, which ends when the source is gone.
    pub(super) fn start(self) -> Result<JoinHandle<()>, Failure> {
        let thread = std::thread::Builder::new().name("lb-callback".to_owned());
        masked(|| thread.spawn(move || self.run()))
            .map_err(|error| Failure::caused(Status::Io, &error))
    }

    fn run(self) {
        while let Ok(question) = self.questions.recv() {
            // Whoever asked may have gone while an earlier question was answered.
            if question.is_closed() {
                continue;
            }
            let mut batch = Batch::empty();
            let status = within(Within::Discovery, || {
                // SAFETY: the program's function with its own data, on one thread; the batch lives beyond the call.
                unsafe { (self.discover)(self.userdata.pointer(), &raw mut batch) }
            });
            let answer = if status == Status::Ok as u32 {
                batch.take().map_err(|failure| failure.status as u32)
            } else {
                Err(status)
            };
            // Nobody may wait for it any more.
            let _ = question.send(answer);
        }
        within(Within::Discovery, || drop(self.userdata));
    }
}

impl CallbackSource {
    async fn ask(&self) -> Result<Vec<Record>, SourceError> {
        let (question, answer) = oneshot::channel();
        let ended = || SourceError::Ended {
            why: "the callback's thread has ended".to_owned(),
        };
        self.questions.send(question).map_err(|_| ended())?;
        match answer.await {
            Ok(Ok(contents)) if !contents.remove.is_empty() => Err(SourceError::transient(
                "the callback told removals, expected everything there is",
            )),
            Ok(Ok(contents)) => {
                // Of what is told twice, the last counts.
                let records = contents.into_records().into_iter();
                let by_key: BTreeMap<_, _> =
                    records.map(|record| (record.key.clone(), record)).collect();
                Ok(by_key.into_values().collect())
            }
            Ok(Err(number)) => {
                let name = Status::of(number).map_or("no status", Status::name);
                Err(SourceError::transient(format!(
                    "the callback returned {number} ({name}), expected 0"
                )))
            }
            Err(_) => Err(ended()),
        }
    }

    fn next(&mut self) -> Cursor {
        self.revision += 1;
        Cursor::new("callback", self.revision)
    }
}

#[async_trait]
impl Source for CallbackSource {
    fn describe(&self) -> Descriptor {
        // A callback that hangs is noticed.
        let bound = self.interval * 3 + Duration::from_secs(10);
        Descriptor::new(self.name.clone(), "callback").with_liveness(bound)
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let mut told: Option<Vec<Record>> = None;
        loop {
            let records = self.ask().await?;
            let at = self.next();
            if told.as_ref() == Some(&records) {
                sink.send(Update::Progress { at }).await?;
            } else {
                told = Some(records.clone());
                sink.send(Update::Reset { at, records }).await?;
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}
