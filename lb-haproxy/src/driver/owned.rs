//! One owner for each backend: claims before the first change, and waits for another owner's end.

use std::time::Duration;

use tracing::{info, warn};

use super::{
    claim::{Claim, Found, NoClaim, Sockets},
    config::TargetConfig,
    error::DriverError,
    haproxy_driver::HaproxyDriver,
    owner::Owner,
};
use crate::{
    client::{ask_epoch, ask_sockets, is_another_process, is_same_process, other_sockets},
    proto::{Command, Epoch},
};

/// How often another owner's end is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Finds a living process on this machine that manages backends which `config` is to manage.
///
/// It may use another socket of the same HAProxy: HAProxy is asked for those, for a second at most. A lock is beside a
/// Unix socket, so a HAProxy that has none on this machine has no owner that could be found.
pub async fn other_owner(config: &TargetConfig) -> Option<Owner> {
    let told = ask_sockets(&config.socket).await;
    let epoch = ask_epoch(&config.socket).await;
    let mut sockets = sockets(config, &told, epoch).await?;
    let owner = Owner::this(config);
    loop {
        let (at, who) = (sockets.clone(), owner.clone());
        let found = tokio::task::spawn_blocking(move || at.find(&who, None)).await;
        let found = found.ok().flatten()?;
        if is_there(epoch, &found, &mut sockets).await {
            return Some(found.owner.at(&found.socket, config));
        }
    }
}

/// The sockets beside which there may be locks of the HAProxy of `config`, which told of its sockets.
async fn sockets(config: &TargetConfig, told: &str, epoch: Option<Epoch>) -> Option<Sockets> {
    #[cfg(feature = "simulator")]
    if crate::simulator::identity().is_some() {
        return None;
    }
    let mut others = other_sockets(told, &config.socket);
    if let Some(path) = config.socket.path() {
        let own = path.to_owned();
        return Some(Sockets { own, others });
    }
    while !others.is_empty() {
        let own = others.remove(0);
        if is_same_process(epoch?, &own).await {
            return Some(Sockets { own, others });
        }
    }
    None
}

/// Returns `true` if the found owner is one of the HAProxy whose process this is. Another one may be at a path that this
/// one has in a file system of its own: that path is taken out of `sockets`.
async fn is_there(epoch: Option<Epoch>, found: &Found, sockets: &mut Sockets) -> bool {
    if found.socket == sockets.own {
        return true;
    }
    if let Some(epoch) = epoch
        && !is_another_process(epoch, &found.socket).await
    {
        return true;
    }
    sockets.others.retain(|other| *other != found.socket);
    false
}

impl HaproxyDriver {
    /// Makes sure that nobody else on this machine manages the same backends.
    pub(super) async fn claim(&mut self) -> Result<(), DriverError> {
        if self.session.as_ref().is_none_or(|session| session.claimed) {
            return Ok(());
        }
        if self.claim.as_ref().is_none_or(|claim| !claim.holds()) {
            self.claim = None;
            self.claim = self.made_claim().await?;
        }
        if let Some(session) = &mut self.session {
            session.claimed = true;
        }
        Ok(())
    }

    /// Claims the backends anew. `None` where there can be no lock.
    async fn made_claim(&mut self) -> Result<Option<Claim>, DriverError> {
        #[cfg(feature = "simulator")]
        if crate::simulator::identity().is_some() {
            return Ok(None);
        }
        let Some(session) = &mut self.session else {
            return Ok(None);
        };
        // On this conversation: HAProxy may have no room for another connection.
        let reply = session.client.exec(&Command::ShowCliSockets).await?;
        let epoch = Some(session.client.epoch());
        let Some(mut sockets) = sockets(&self.config, reply.text(), epoch).await else {
            return Ok(None);
        };
        let owner = Owner::this(&self.config);
        loop {
            let (at, who) = (sockets.clone(), owner.clone());
            let made = tokio::task::spawn_blocking(move || Claim::make(&at, &who)).await;
            match made {
                Ok(Ok(claim)) => return Ok(Some(claim)),
                Ok(Err(NoClaim::Owned(found))) => {
                    if is_there(epoch, &found, &mut sockets).await {
                        let address = self.config.socket.clone();
                        let owner = Box::new(found.owner.at(&found.socket, &self.config));
                        return Err(DriverError::Owned { address, owner });
                    }
                }
                Ok(Err(NoClaim::NoPlace)) => {
                    warn!(
                        target_name = %self.config.name,
                        "no folder for a lock: another owner of this HAProxy would be noticed by its changes only"
                    );
                    return Ok(None);
                }
                // The runtime is shutting down.
                Err(_) => return Ok(None),
            }
        }
    }

    /// Returns when the other owner is gone.
    pub(super) async fn await_release(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if other_owner(&self.config).await.is_none() {
                info!(target_name = %self.config.name, "the other owner of HAProxy is gone");
                return;
            }
        }
    }
}
