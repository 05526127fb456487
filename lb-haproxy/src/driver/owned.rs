//! One owner for each backend: claims before the first change, and waits for another owner's end.

use std::{path::PathBuf, time::Duration};

use tracing::{info, warn};

use super::{
    claim::{self, Claim, NoClaim},
    config::TargetConfig,
    error::DriverError,
    haproxy_driver::HaproxyDriver,
    owner::Owner,
};

/// How often another owner's end is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Finds a living process on this machine that manages backends which `config` is to manage.
///
/// Only targets at a Unix socket have locks. Blocks for a few reads of small files.
#[must_use]
pub fn other_owner(config: &TargetConfig) -> Option<Owner> {
    claim::other(&lockable(config)?, &Owner::this(config))
}

/// The socket, where there can be a lock for it.
fn lockable(config: &TargetConfig) -> Option<PathBuf> {
    #[cfg(feature = "simulator")]
    if crate::simulator::identity().is_some() {
        return None;
    }
    config.socket.path().map(PathBuf::from)
}

impl HaproxyDriver {
    /// Makes sure that nobody else on this machine manages the same backends.
    pub(super) async fn claim(&mut self) -> Result<(), DriverError> {
        if self.session.as_ref().is_none_or(|session| session.claimed) {
            return Ok(());
        }
        let Some(socket) = lockable(&self.config) else {
            return Ok(());
        };
        let held = self.claim.take();
        let owner = Owner::this(&self.config);
        let made = tokio::task::spawn_blocking(move || match held {
            Some(claim) if claim.holds() => Ok(claim),
            _ => Claim::make(&socket, &owner),
        });
        match made.await {
            Ok(Ok(claim)) => self.claim = Some(claim),
            Ok(Err(NoClaim::Owned(owner))) => {
                let address = self.config.socket.clone();
                return Err(DriverError::Owned { address, owner });
            }
            Ok(Err(NoClaim::NoPlace)) => warn!(
                target_name = %self.config.name,
                "no folder for a lock: another owner of this HAProxy would be noticed by its changes only"
            ),
            // The runtime is shutting down.
            Err(_) => return Ok(()),
        }
        if let Some(session) = &mut self.session {
            session.claimed = true;
        }
        Ok(())
    }

    /// Returns when the other owner is gone.
    pub(super) async fn await_release(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let config = self.config.clone();
            let other = tokio::task::spawn_blocking(move || other_owner(&config)).await;
            if matches!(other, Ok(None)) {
                info!(target_name = %self.config.name, "the other owner of HAProxy is gone");
                return;
            }
        }
    }
}
