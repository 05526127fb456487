//! What reports endpoints and routes to the control plane.
//!
//! A [`Source`] makes one gap-free attempt at a time; backoff, liveness, resume, resync and the last good
//! state are the supervisor's, written once for all sources.

mod error;
mod feed;
#[cfg(feature = "file")]
mod file;
mod protocol;
mod sink;
mod trust;
mod update;
mod written;

use std::time::Duration;

use async_trait::async_trait;

pub use error::SourceError;
pub use feed::{Feed, FeedClosed, Publisher, WriteError, feed};
#[cfg(feature = "file")]
pub use file::FileSource;
#[cfg(feature = "fuzzing")]
pub(crate) use file::records as file_records;
pub use protocol::{Admission, Protocol, Violation};
pub use sink::{Sink, SinkClosed};
pub use trust::{Restricted, Trust};
pub use update::{Cursor, Diagnostic, Record, RecordKey, Severity, Update};
pub use written::{Ticket, Written};

use crate::{limits::Limits, model::Name};

/// Something that knows endpoints and says when they change.
///
/// # Contract
/// - One call of [`watch`](Self::watch) is one attempt; it never retries inside. Returning ends the attempt,
///   with an error or without; dropping the future cancels it and leaves no task, file or lease behind.
/// - The attempt has no gap: subscribe before listing, or list at a revision and watch from the next.
/// - The first update is [`Update::Reset`], or [`Update::Resumed`] when `resume` was accepted.
/// - Only a complete, successful listing is a reset. An error never removes anything.
/// - Something is sent at least every [`Descriptor::liveness`]; with nothing to tell, [`Update::Progress`].
/// - One bad object gives an [`Update::Diagnostic`] that names it and disturbs no other.
#[async_trait]
pub trait Source: Send + 'static {
    /// Describes the source to the supervisor before the first attempt. Constant over the source's life.
    fn describe(&self) -> Descriptor;

    /// One attempt to follow the source, from `resume` where the source can do that.
    ///
    /// # Errors
    /// [`SourceError`] says whether another attempt can help.
    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError>;
}

/// The description of a source by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// Its name: unique in a control plane, shown in status and metrics.
    pub name: Name,
    /// Its kind: `file`, `docker`, `swarm`, `etcd`, `feed`, or your own.
    pub kind: &'static str,
    /// The longest silence that a healthy attempt keeps; past it the source is stale and the attempt is made
    /// again. `None`: silence proves nothing (a feed from the program itself).
    pub liveness: Option<Duration>,
    /// If `true`, [`Source::watch`] can resume at a cursor.
    pub resumable: bool,
    /// If `true`, the name of an endpoint means another endpoint in each source of this kind: containers of two engines
    /// may have one name. Defaults to `false`.
    pub local_ids: bool,
    /// The limits of what it may ask for. Defaults to [`Limits::default`].
    pub limits: Limits,
    /// If `true`, nothing that it reports is in effect before each earlier source that it shares no services with has told
    /// everything once. Defaults to `false`.
    pub yields: bool,
    trust: Option<Name>,
    /// The writes of the program to the source, where it is one that the program writes to. The source reports
    /// each of these revisions, or a later one, as the cursor of an update.
    pub written: Option<Written>,
}

impl Descriptor {
    /// A source that cannot resume and whose silence proves nothing.
    #[must_use]
    pub fn new(name: Name, kind: &'static str) -> Self {
        Self {
            name,
            kind,
            liveness: None,
            resumable: false,
            local_ids: false,
            limits: Limits::default(),
            yields: false,
            trust: None,
            written: None,
        }
    }

    /// The same with a bound on silence.
    #[must_use]
    pub fn with_liveness(mut self, bound: Duration) -> Self {
        self.liveness = Some(bound);
        self
    }

    /// The same of a source that the program writes to.
    #[must_use]
    pub fn with_written(mut self, written: Written) -> Self {
        self.written = Some(written);
        self
    }

    /// The same, able to resume.
    #[must_use]
    pub fn with_resume(mut self) -> Self {
        self.resumable = true;
        self
    }
}
