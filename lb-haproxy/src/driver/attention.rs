//! What the target itself gives as a reason for another pass: a new worker, a HAProxy that stands still, and one that
//! is back.

use std::time::Duration;

use lb_core::backoff::Jitter;
use tracing::{info, warn};

use super::{
    conversation::{client_config, identity},
    error::DriverError,
    haproxy_driver::HaproxyDriver,
};
use crate::{
    client::{Client, ClientError, SocketAddress},
    proto::Command,
};

/// How often a new connection is asked who answers: after a reload that is another worker, though the socket and the
/// connections to the old one stay as they were.
const ASK_WHO: Duration = Duration::from_secs(1);

/// How long such a connection waits for an answer. A process that was stopped accepts connections and never answers.
const ANSWER: Duration = Duration::from_secs(2);

/// How long the session itself is then asked: connections may be used up (`stats maxconn`) while it works.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// The pause between two looks at a socket that could not be reached, before jitter.
const LOCAL_PAUSE: Duration = Duration::from_millis(250);
const REMOTE_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause, for a target that answers and fails again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long one connection waits for a process that accepts and does not answer. It is answered as soon as the process
/// goes on, so there is no need for another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of a target that is not spoken with.
#[derive(Debug)]
pub(super) struct Absence {
    /// Whether its return is watched for: the last pass did not reach it.
    watched: bool,
    /// How often it was back and failed again, since the last successful pass.
    relapses: u32,
    jitter: Jitter,
}

impl Absence {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            watched: false,
            relapses: 0,
            jitter: Jitter::new(seed),
        }
    }

    /// A pass succeeded.
    pub(super) fn ended(&mut self) {
        self.watched = false;
        self.relapses = 0;
    }

    /// A pass failed. A target that answers, but not as it should, is left to the pauses between passes.
    pub(super) fn failed(&mut self, unreachable: bool) {
        self.watched = unreachable;
    }

    fn pause(&mut self, socket: &SocketAddress) -> Duration {
        let first = match socket {
            SocketAddress::Unix(_) => LOCAL_PAUSE,
            SocketAddress::Tcp { .. } => REMOTE_PAUSE,
        };
        let factor = 1_u32.checked_shl(self.relapses).unwrap_or(u32::MAX);
        let most = first.saturating_mul(factor).min(LONGEST_PAUSE);
        self.jitter.between(most / 2, most)
    }
}

impl HaproxyDriver {
    /// Returns when a target that could not be reached answers again.
    pub(super) async fn await_return(&mut self) {
        if self.owned {
            return self.await_release().await;
        }
        if !self.absence.watched {
            return std::future::pending().await;
        }
        let socket = self.config.socket.clone();
        let config = client_config(PATIENCE);
        loop {
            tokio::time::sleep(self.absence.pause(&socket)).await;
            let before = identity(&socket);
            if socket.path().is_some() && before.is_none() {
                continue;
            }
            let moved = async {
                // Another process may bind the path while one that stands still holds the old socket.
                while identity(&socket) == before {
                    tokio::time::sleep(LOCAL_PAUSE).await;
                }
            };
            tokio::select! {
                biased;
                client = Client::connect(&socket, config) => {
                    if client.is_ok_and(|client| !client.info().stopping) {
                        break;
                    }
                }
                () = moved => {}
            }
        }
        self.absence.relapses += 1;
        info!(target_name = %self.config.name, "HAProxy answers again");
    }

    /// Returns when the session ends, another worker answers, or nobody does.
    pub(super) async fn await_end(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let known_at = self.knowledge.as_ref().map(|known| known.read_all_at);
        let resync_at = self.began + known_at.unwrap_or_default() + self.config.policy.resync;
        let resync = tokio::time::sleep_until(resync_at.into());
        tokio::pin!(resync);
        let config = client_config(self.config.timeout.min(ANSWER));
        loop {
            tokio::select! {
                // In one order, so that a simulation repeats exactly.
                biased;
                () = session.client.closed() => return,
                () = &mut resync => return,
                () = tokio::time::sleep(ASK_WHO) => {
                    // A connection of its own, so that giving up half-way leaves the session as it is.
                    match Client::connect(&self.config.socket, config).await {
                        Ok(other) if other.epoch() != session.client.epoch() => break,
                        Err(ClientError::ConnectTimeout { .. }) => {
                            self.silent = true;
                            return;
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
        info!(target_name = %self.config.name, "HAProxy worker was replaced, reconnecting");
        self.disconnect();
    }

    /// After a connection without an answer: whether the session still gets one.
    pub(super) async fn ask_after_silence(&mut self) -> Result<(), DriverError> {
        if !std::mem::take(&mut self.silent) {
            return Ok(());
        }
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        // Giving up half-way ends the session.
        let asked = session.client.exec(&Command::ShowInfo);
        match tokio::time::timeout(LAST_ANSWER, asked).await {
            Ok(reply) => {
                reply?;
                warn!(
                    target_name = %self.config.name,
                    "HAProxy answers on the open connection only; raise `stats maxconn` if new ones must be possible"
                );
                Ok(())
            }
            Err(_) => Err(DriverError::Hung {
                limit: ANSWER.min(self.config.timeout) + LAST_ANSWER,
            }),
        }
    }
}
