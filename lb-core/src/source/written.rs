//! How far a program has written to a source of its own.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::model::Name;

/// The writes of the program to a source, beside what the control plane has taken in of them.
///
/// A source that the program writes to puts it into its [`Descriptor`](super::Descriptor), so that a wait for "every
/// write before now" knows what to wait for. Clones show the same position.
#[derive(Debug, Clone)]
pub struct Written {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    feed: u64,
    revision: AtomicU64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Written {
    /// The position of a source to which nothing was written.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                feed: NEXT.fetch_add(1, Ordering::Relaxed),
                revision: AtomicU64::new(0),
            }),
        }
    }

    /// Moves on to `revision`, which a later update of the source reports as its cursor. Never goes back.
    pub fn advance(&self, revision: u64) {
        self.inner.revision.fetch_max(revision, Ordering::AcqRel);
    }

    /// The position of the newest write; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.inner.revision.load(Ordering::Acquire)
    }

    /// The ticket of a write at `revision` to the source named `source`.
    #[must_use]
    pub fn ticket(&self, source: Name, revision: u64) -> Ticket {
        Ticket {
            source,
            revision,
            feed: self.inner.feed,
        }
    }

    /// Returns `true` if `ticket` is of a write to this very source, not to another of the same name.
    #[must_use]
    pub fn gave(&self, ticket: &Ticket) -> bool {
        self.inner.feed == ticket.feed
    }
}

impl Default for Written {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        self.inner.feed == other.inner.feed
    }
}

impl Eq for Written {}

/// Identifies one write of the program: see [`Handle::wait`](crate::Handle::wait).
///
/// Of two tickets of one publisher, the later write has the greater revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct Ticket {
    /// The source that was written to.
    pub source: Name,
    /// The position of the write among those to this source.
    pub revision: u64,
    /// Tells sources of one name apart.
    #[serde(skip)]
    feed: u64,
}

impl Ticket {
    pub(crate) fn is_of_same_source(&self, other: &Self) -> bool {
        self.feed == other.feed
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.source, self.revision)
    }
}
