//! Why an attempt to follow a source ended.

use super::SinkClosed;

/// The cause below a [`SourceError`].
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an attempt to follow a source ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The control plane is no longer listening: it is shutting down.
    #[error("the control plane has closed")]
    Closed(#[from] SinkClosed),
    /// The configuration cannot work; another attempt helps only after it was changed outside.
    #[error("{what}")]
    Config {
        /// The problem, naming field, value and expectation.
        what: String,
        /// The cause below.
        #[source]
        cause: Option<Cause>,
    },
    /// The resume cursor is no longer known: the next attempt lists everything.
    #[error("cursor no longer known: {what}")]
    CursorGone {
        /// The event that the source saw, such as a compaction.
        what: String,
    },
    /// The source refused us: credentials or permissions.
    #[error("{what}")]
    Denied {
        /// The request that was refused, and what refused it.
        what: String,
        /// The cause below.
        #[source]
        cause: Option<Cause>,
    },
    /// The source has nothing more to say: what it said stays in effect, and no further attempt is made.
    #[error("{why}")]
    Ended {
        /// Why, such as that every publisher is gone.
        why: String,
    },
    /// Something that may pass: a lost connection, a timeout, a leader election.
    #[error("{what}")]
    Transient {
        /// The operation that failed.
        what: String,
        /// The cause below.
        #[source]
        cause: Option<Cause>,
    },
}

impl SourceError {
    /// A failure that may pass.
    #[must_use]
    pub fn transient(what: impl Into<String>) -> Self {
        Self::Transient {
            what: what.into(),
            cause: None,
        }
    }

    /// A failure that may pass, with its cause.
    #[must_use]
    pub fn transient_from(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Transient {
            what: what.into(),
            cause: Some(cause.into()),
        }
    }

    /// A configuration that cannot work.
    #[must_use]
    pub fn config(what: impl Into<String>) -> Self {
        Self::Config {
            what: what.into(),
            cause: None,
        }
    }

    /// A refusal.
    #[must_use]
    pub fn denied(what: impl Into<String>) -> Self {
        Self::Denied {
            what: what.into(),
            cause: None,
        }
    }
}
