//! Reloads through the master's socket.

use std::time::Duration;

use super::{ClientConfig, ClientError, Deadline, MasterClient, SocketAddress};
use crate::proto::{Accepted, BoundedText, Command, Processes, Refusal, verdict};

/// A reload that went through: there is a new worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The worker that served before, if there was one.
    pub before: Option<u32>,
    /// The worker that serves now.
    pub worker: u32,
}

/// Why there is no new worker, or none that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The new configuration did not load: the worker that served before goes on.
    #[error("HAProxy did not take the new configuration: {detail:?}")]
    Failed {
        /// The text of the master; up to 2.6 there is none.
        detail: BoundedText,
    },
    /// The master could not be spoken with: nothing was reloaded.
    #[error("the master's socket failed")]
    Master(#[source] ClientError),
    /// The conversation broke or the time was over: it may have been reloaded or not.
    #[error("the master did not show a new worker within {limit:?}")]
    Unknown {
        /// The time that was waited.
        limit: Duration,
    },
}

/// Between two looks at the master's processes.
const PAUSE: Duration = Duration::from_millis(15);

/// The time one look at the master's processes may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many looks in a row without a worker in use mean a reload that failed: 2.2, and 3.1 and later, list the worker
/// that serves on as an old one.
const WITHOUT_WORKER: u32 = 20;

/// Asks the master at `address` to reload, and waits until there is a new worker or will be none.
///
/// From 2.7 on the master answers when it knows. Up to 2.6 it begins anew without an answer, and its processes tell.
///
/// # Errors
/// [`ReloadError`]; only after [`Unknown`](ReloadError::Unknown) there may be a new worker all the same.
pub async fn reload(address: &SocketAddress, limit: Duration) -> Result<Reloaded, ReloadError> {
    let deadline = Deadline::after(limit);
    let config = ClientConfig {
        connect: limit,
        reply: limit,
        batch: limit,
        ..ClientConfig::default()
    };
    let mut master = MasterClient::connect(address, config)
        .await
        .map_err(ReloadError::Master)?;
    let before = master.processes().await.map_err(ReloadError::Master)?;
    let reply = match master.exec(&Command::Reload).await {
        Ok(reply) => Some(reply),
        // Whether it was heard is seen in the processes.
        Err(error) if error.is_unknown() => None,
        Err(error) => return Err(ReloadError::Master(error)),
    };
    if let Some(reply) = reply {
        match verdict(&Command::Reload, &reply) {
            Ok(Accepted::Done | Accepted::Unconfirmed) => {}
            Ok(_) => {
                let detail = BoundedText::new(reply.text());
                return Err(ReloadError::Failed { detail });
            }
            Err(Refusal::Reload(detail)) => return Err(ReloadError::Failed { detail }),
            Err(other) => {
                let detail = BoundedText::new(&other.to_string());
                return Err(ReloadError::Failed { detail });
            }
        }
    }
    drop(master);
    watch(address, &before, limit, &deadline).await
}

/// Looks at the processes until there is a new worker.
async fn watch(
    address: &SocketAddress,
    before: &Processes,
    limit: Duration,
    deadline: &Deadline,
) -> Result<Reloaded, ReloadError> {
    let old = before.current().map(|worker| worker.pid);
    let mut without_worker = 0;
    loop {
        let left = super::remaining(deadline);
        if left.is_zero() {
            return Err(ReloadError::Unknown { limit });
        }
        // What an old master accepts while it begins anew, nobody answers or closes.
        let patience = left.min(PATIENCE);
        let config = ClientConfig {
            connect: patience,
            reply: patience,
            batch: patience,
            ..ClientConfig::default()
        };
        // While the master begins anew nobody listens, or nobody answers.
        if let Ok(mut master) = MasterClient::connect(address, config).await
            && let Ok(now) = master.processes().await
        {
            let newest = now.workers.iter().min_by_key(|worker| worker.reloads);
            if let Some(worker) = newest.filter(|worker| Some(worker.pid) != old) {
                return Ok(Reloaded {
                    before: old,
                    worker: worker.pid,
                });
            }
            without_worker += u32::from(now.workers.is_empty());
            let counted = now.failed_reloads > before.failed_reloads;
            if without_worker > WITHOUT_WORKER || counted {
                let detail = BoundedText::new("the worker that served before serves on");
                return Err(ReloadError::Failed { detail });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
