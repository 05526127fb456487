//! What can go wrong between us and an admin socket.

use std::{io, sync::Arc, time::Duration};

use super::SocketAddress;
use crate::proto::{ParseError, Reply, SessionError, SubmitError};

/// A problem between us and an admin socket.
///
/// After [`Connect`](Self::Connect) to [`Processes`](Self::Processes) nothing was changed. After
/// [`Unknown`](Self::Unknown) a change may have been made or not: observe before deciding.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection: no such socket, no right to it, nobody listening.
    #[error("cannot connect to {address}")]
    Connect {
        /// The socket that was asked.
        address: SocketAddress,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// No connection, or no greeting, in time: HAProxy hangs, or all its `stats maxconn` connections are taken.
    #[error("no answer from {address} within {limit:?}")]
    ConnectTimeout {
        /// The socket that was asked.
        address: SocketAddress,
        /// The time that was waited.
        limit: Duration,
    },
    /// The other end is not HAProxy, or not its admin socket.
    #[error("{address} does not answer as an admin socket")]
    NotHaproxy {
        /// The socket that was asked.
        address: SocketAddress,
        /// The interruption.
        #[source]
        source: Interruption,
    },
    /// An answer about the process itself that does not read.
    #[error("{address} does not tell what it is")]
    Unreadable {
        /// The socket that was asked.
        address: SocketAddress,
        /// Why not.
        #[source]
        source: ParseError,
    },
    /// The socket's `level` is too low to change anything.
    #[error("{address} has level {found:?}, expected `level admin`")]
    Level {
        /// The socket that was asked.
        address: SocketAddress,
        /// The level it has, or what it said instead.
        found: String,
    },
    /// Several processes behind one configuration, of which one socket reaches one.
    #[error("{address} is one of {found} processes (`nbproc`), expected 1")]
    Processes {
        /// The socket that was asked.
        address: SocketAddress,
        /// The number of processes.
        found: u32,
    },
    /// This command cannot be sent. None of its batch was.
    #[error("command refused before it was sent")]
    Refused(#[source] SubmitError),
    /// This command was not sent, as something before it went wrong: it has not been executed.
    #[error("command not sent")]
    NotSent,
    /// The conversation ended before this command's reply: it may have been executed or not.
    #[error("outcome of the command unknown: no reply from command {first} of the batch on")]
    Unknown {
        /// The first command without a reply, counted from 0 in its batch.
        first: usize,
        /// The interruption that ended the conversation.
        #[source]
        source: Interruption,
    },
    /// The connection had ended before, by an error or because a call was dropped half-way: connect anew.
    #[error("connection has ended")]
    Ended,
}

impl ClientError {
    /// Returns `true` if the command may have been executed although no reply says so.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    pub(super) fn level(address: &SocketAddress, reply: &Reply) -> Self {
        Self::Level {
            address: address.clone(),
            found: reply.text().chars().take(200).collect(),
        }
    }
}

/// The end of a conversation.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// The socket failed.
    #[error("socket failed")]
    Io(#[source] Arc<io::Error>),
    /// The other side ended it or broke the protocol.
    #[error(transparent)]
    Session(SessionError),
    /// No reply in time.
    #[error("no reply within {limit:?}")]
    Timeout {
        /// The time that was waited.
        limit: Duration,
    },
}
