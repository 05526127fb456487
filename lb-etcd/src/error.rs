//! What can go wrong between us and etcd.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lb_core::SourceError;

use crate::layout::InvalidLayout;

/// A problem between us and etcd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// A member answered a call with an error that may pass, such as having no leader.
    #[error("{call} failed at {endpoint}: {message} ({code})")]
    Call {
        /// The endpoint that was asked.
        call: &'static str,
        /// Who was asked.
        endpoint: Arc<str>,
        /// The kind of the error, in gRPC's words.
        code: String,
        /// The message of the member.
        message: String,
    },
    /// The history that was asked for has been compacted.
    #[error("{call} failed at {endpoint}: the revision asked for has been compacted")]
    Compacted {
        /// The endpoint that was asked.
        call: &'static str,
        /// Who was asked.
        endpoint: Arc<str>,
    },
    /// A setting cannot work.
    #[error("{field} is {value}, expected {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// The text of what was expected.
        expected: &'static str,
    },
    /// The member refused us: user, password, token, permission or certificate.
    #[error("{call} was refused at {endpoint}: {message}")]
    Denied {
        /// The endpoint that was asked.
        call: &'static str,
        /// Who refused it.
        endpoint: Arc<str>,
        /// The message of the member.
        message: String,
    },
    /// A file that the configuration names cannot be read.
    #[error("{field} {} cannot be read", path.display())]
    File {
        /// The setting.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The layouts cannot be used.
    #[error("layouts cannot be used")]
    Layout(#[from] InvalidLayout),
    /// The lease has ended: its holder was silent for too long, or somebody revoked it.
    #[error("lease {lease:x} has ended")]
    LeaseLost {
        /// Its number.
        lease: i64,
    },
    /// A call or a stream was not answered in time.
    #[error("{call} was not answered by {endpoint} within {after:?}")]
    Silent {
        /// The endpoint that was asked.
        call: &'static str,
        /// Who was asked.
        endpoint: Arc<str>,
        /// The time that was waited.
        after: Duration,
    },
    /// An answer is larger than `max_message_bytes`.
    #[error("{call} at {endpoint} has an answer larger than max_message_bytes")]
    TooLarge {
        /// The endpoint that was asked.
        call: &'static str,
        /// Who was asked.
        endpoint: Arc<str>,
    },
    /// No member could be used.
    #[error("no endpoint can be used: {}", tried.join("; "))]
    Unreachable {
        /// Each member that was tried, with what happened there.
        tried: Vec<String>,
    },
}

impl From<EtcdError> for SourceError {
    fn from(error: EtcdError) -> Self {
        let what = "etcd cannot be followed";
        match error {
            EtcdError::Compacted { .. } | EtcdError::TooLarge { .. } => Self::CursorGone {
                what: error.to_string(),
            },
            EtcdError::Config { .. } | EtcdError::File { .. } | EtcdError::Layout(_) => {
                Self::Config {
                    what: what.to_owned(),
                    cause: Some(Box::new(error)),
                }
            }
            EtcdError::Denied { .. } => Self::Denied {
                what: what.to_owned(),
                cause: Some(Box::new(error)),
            },
            EtcdError::Call { .. }
            | EtcdError::LeaseLost { .. }
            | EtcdError::Silent { .. }
            | EtcdError::Unreachable { .. } => Self::transient_from(what, error),
        }
    }
}
