//! Why a pass failed.

use std::time::Duration;

use lb_core::{DriveError, Name};

use super::owner::Owner;
use crate::{
    client::{ClientError, Interruption, SocketAddress},
    proto::{OtherEnd, ParseError, Refusal, ServerRef, SessionError},
};

/// Why a pass over one HAProxy failed. What was applied before stays applied; the next pass begins by reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The conversation failed.
    #[error("the runtime socket failed")]
    Client(#[from] ClientError),
    /// A reply could not be read.
    #[error("a reply could not be read")]
    Parse(#[from] ParseError),
    /// HAProxy listed the same thing twice, which it never does.
    #[error("HAProxy contradicts itself: it listed {what} twice")]
    Contradiction {
        /// The backend or the server.
        what: String,
    },
    /// After more plans than any change needs there was still something to do.
    #[error(
        "HAProxy contradicts itself: after {rounds} plans it still shows something else than was read back"
    )]
    Endless {
        /// How many plans were made.
        rounds: usize,
    },
    /// HAProxy has more than can be kept.
    #[error("HAProxy has more than {limit} {what}; name those that lb is to manage with `manage`")]
    TooMuch {
        /// The limit.
        limit: usize,
        /// The things.
        what: &'static str,
    },
    /// HAProxy refused to tell its state.
    #[error("HAProxy refused to answer {command}")]
    Refused {
        /// The command.
        command: String,
        /// Its refusal.
        #[source]
        refusal: Refusal,
    },
    /// The conversation turned out to be with a worker that is on its way out: the newest one must be asked.
    #[error("the worker {pid} that was spoken to has been replaced")]
    StaleWorker {
        /// The process that answered.
        pid: u32,
    },
    /// HAProxy accepts connections and does not answer: it was stopped, or one of its threads does not go on.
    #[error(
        "HAProxy does not answer: no reply within {limit:?}, although connections are accepted"
    )]
    Hung {
        /// For how long it was asked.
        limit: Duration,
    },
    /// The socket leads to something else than a HAProxy that can be driven.
    #[error(
        "{address} is {found}, expected the stats socket of HAProxy 2.2 or later with `level admin`: {}",
        found.help()
    )]
    WrongTarget {
        /// The socket.
        address: SocketAddress,
        /// What it leads to.
        found: OtherEnd,
    },
    /// Another process manages backends that are to be managed here. Nothing was changed.
    #[error(
        "HAProxy at {address} is managed by {owner}; end that one, or give each its own backends with `manage`"
    )]
    Owned {
        /// The socket.
        address: SocketAddress,
        /// The other process.
        owner: Box<Owner>,
    },
    /// HAProxy refused a change for a reason that concerns all changes.
    #[error("HAProxy refused to change {server}")]
    Forbidden {
        /// The server.
        server: ServerRef,
        /// Its refusal.
        #[source]
        refusal: Refusal,
    },
}

impl DriverError {
    /// The same as the core sees it.
    pub(super) fn into_core(self, target: &Name) -> DriveError {
        let target = target.clone();
        match self {
            Self::StaleWorker { .. }
            | Self::Hung { .. }
            | Self::Client(
                ClientError::Connect { .. }
                | ClientError::ConnectTimeout { .. }
                // One that is just ending, or beginning.
                | ClientError::NotHaproxy {
                    source: Interruption::Io(_) | Interruption::Session(SessionError::Eof { .. }),
                    ..
                }
                | ClientError::Ended
                | ClientError::NotSent
                | ClientError::Unknown { .. },
            ) => DriveError::Unreachable {
                target,
                cause: Box::new(self),
            },
            Self::Owned { .. } => DriveError::Owned {
                target,
                cause: Box::new(self),
            },
            Self::WrongTarget { .. } => DriveError::WrongTarget {
                target,
                cause: Box::new(self),
            },
            _ => DriveError::Unusable {
                target,
                cause: Box::new(self),
            },
        }
    }
}
