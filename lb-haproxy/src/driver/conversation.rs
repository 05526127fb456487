//! With which worker the driver speaks, and what it knows of it.

use std::{sync::Arc, time::Duration};

use lb_core::{Condition, ConditionKind, Name, Snapshot, model::Changes};
use tracing::info;

use super::{error::DriverError, haproxy_driver::HaproxyDriver, known_slots::read_backups, live};
use crate::{
    capability::Capabilities,
    client::{Client, ClientConfig, SocketAddress, SocketIdentity, identify, socket_identity},
    plan::Planner,
    proto::{Command, Epoch, Info, OtherEnd},
};

/// One conversation with one worker.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    identity: Option<SocketIdentity>,
    /// Whether it was used for an earlier pass, so that its end may be old news.
    pub(super) used: bool,
    /// If `true`, no other owner was found since the conversation began.
    pub(super) claimed: bool,
    /// When the worker was last asked, and said that it is the newest one.
    pub(super) newest_at: Duration,
}

/// What is known of one worker, over any number of conversations with it.
#[derive(Debug)]
pub(super) struct Knowledge {
    epoch: Epoch,
    pub(super) planner: Planner,
    /// The desired state that the planner was given last.
    desired: Option<Arc<Snapshot>>,
    /// When everything was last read, by when that was asked for.
    pub(super) read_all_at: Duration,
    /// Whether what HAProxy shows must be read again before anything is planned.
    pub(super) doubtful: bool,
    /// Whether the slots of the configuration file are known.
    pub(super) learned: bool,
    /// Why they are not.
    pub(super) file_problem: Option<Condition>,
}

/// For so long, at most, no address changes its service because a worker that was replaced may not be gone: where a
/// master can be asked, and where none can. One that lives on for hours does so for connections that it has, and has
/// long stopped to listen.
const REPLACED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// For so long a worker that said that it is the newest one is believed.
const NEWEST: Duration = Duration::from_secs(1);

impl Session {
    /// Makes sure that nobody took over since: where there was nothing to write, HAProxy was not asked.
    pub(super) async fn ask_worker(&mut self, now: Duration) -> Result<(), DriverError> {
        if now < self.newest_at + NEWEST {
            return Ok(());
        }
        let reply = self.client.exec(&Command::ShowInfo).await?;
        let info = Info::parse(live::accept(&Command::ShowInfo, &reply)?)?;
        if info.stopping || info.epoch() != self.client.epoch() {
            return Err(DriverError::StaleWorker { pid: info.pid });
        }
        self.newest_at = now;
        Ok(())
    }
}

impl HaproxyDriver {
    /// How long a worker that was replaced is waited for, at most.
    pub(super) fn replaced_wait(&self) -> Duration {
        match self.config.master {
            Some(_) => REPLACED.0,
            None => REPLACED.1,
        }
    }

    /// Makes sure that the worker that answers is the newest one.
    pub(super) async fn connect(&mut self) -> Result<(), DriverError> {
        if let Some(session) = &mut self.session {
            let moved = session.identity != identity(&self.config.socket);
            if !moved && session.client.is_usable() {
                session.used = true;
                return Ok(());
            }
            self.disconnect();
        }
        // Taken before connecting: a worker that takes the path in between is then noticed, not missed.
        let identity = identity(&self.config.socket);
        let asked_at = self.elapsed();
        let config = client_config(self.config.timeout);
        let address = &self.config.socket;
        let wrong = |found| DriverError::WrongTarget {
            address: address.clone(),
            found,
        };
        let client = match Client::connect(address, config).await {
            Ok(client) => client,
            Err(error) => {
                return Err(match identify(address, &error).await {
                    Some(found) => wrong(found),
                    None => error.into(),
                });
            }
        };
        if let Some(found) = OtherEnd::of_version(&client.info().version) {
            return Err(wrong(found));
        }
        if client.info().stopping {
            let pid = client.epoch().pid;
            return Err(DriverError::StaleWorker { pid });
        }
        self.adopt(client, identity, asked_at);
        Ok(())
    }

    /// Goes on with another conversation, whose worker was not asked who it is before `asked_at`.
    pub(super) fn adopt(
        &mut self,
        client: Client,
        identity: Option<SocketIdentity>,
        asked_at: Duration,
    ) {
        let epoch = client.epoch();
        if self
            .knowledge
            .as_ref()
            .is_none_or(|known| known.epoch != epoch)
        {
            let version = &client.info().version;
            info!(target_name = %self.config.name, %version, %epoch, "connected to HAProxy");
            let capabilities =
                Capabilities::of(u32::from(version.major()), u32::from(version.minor()));
            let mut planner = Planner::new(self.config.policy.clone(), capabilities)
                .managing(self.config.manage.clone());
            planner.loads_state(self.config.files.server_state.is_some());
            if let Some(before) = &self.knowledge {
                let now = self.elapsed();
                let served = before.planner.serving().into_iter();
                let all = served.chain(before.planner.served_by_replaced(now));
                planner.replaced_serves(all, now + self.replaced_wait());
            }
            self.knowledge = Some(Knowledge {
                epoch,
                planner,
                desired: None,
                read_all_at: Duration::ZERO,
                doubtful: true,
                learned: false,
                file_problem: None,
            });
            self.counters.add("workers_seen", 1);
            if self.config.master.is_some() {
                let now = self.elapsed();
                self.old_workers.look_at_once(now);
            }
            self.certificates.forget();
        }
        if let Some(known) = &mut self.knowledge {
            known.doubtful = true;
        }
        self.behind = true;
        self.counters.add("connections", 1);
        self.session = Some(Session {
            client,
            identity,
            used: false,
            claimed: false,
            newest_at: asked_at,
        });
    }

    /// Gives the planner the desired state, and what HAProxy shows where that is in doubt or long ago.
    pub(super) async fn take_in(&mut self, desired: &Arc<Snapshot>) -> Result<(), DriverError> {
        let (now, clock) = (self.elapsed(), self.clock());
        let wait = self.replaced_wait();
        let (Some(session), Some(known)) = (&mut self.session, &mut self.knowledge) else {
            return Ok(());
        };
        let reads_all =
            known.doubtful || now >= known.read_all_at.saturating_add(self.config.policy.resync);
        if reads_all {
            known.learn_slots(self.config.slots_file()).await;
            live::observe_all(&mut session.client, &mut known.planner, &clock).await?;
            live::observe_maps(&mut session.client, &mut known.planner).await?;
            known.read_all_at = now;
            known.doubtful = false;
            if !self.ever_connected {
                self.ever_connected = true;
                known
                    .planner
                    .hold_found_until(now.saturating_add(self.config.policy.adoption_hold));
            }
        }
        match &known.desired {
            Some(given) if Arc::ptr_eq(given, desired) => {}
            Some(given) => {
                let changes = desired.changes_since(given.generation());
                known.planner.desire(given, desired, &changes);
            }
            None => {
                known
                    .planner
                    .desire(&Snapshot::default(), desired, &Changes::Everything);
                if Duration::from_secs(session.client.info().uptime) < wait {
                    // The files that a new worker begins with say what the last one served, of which this process may
                    // know nothing.
                    let serving = known.planner.serving();
                    known.planner.replaced_serves(serving, now + wait);
                }
            }
        }
        known.desired = Some(Arc::clone(desired));
        if reads_all {
            let unknown: Vec<Name> = known.planner.unknown_backups().cloned().collect();
            for backend in unknown {
                read_backups(&mut session.client, &mut known.planner, &backend).await?;
            }
        }
        Ok(())
    }

    /// What there is to say of a version that is newer than all that were tried: it is driven as the newest known one.
    pub(super) fn unknown_version(&self) -> Option<Condition> {
        let version = &self.session.as_ref()?.client.info().version;
        let (major, minor) = OtherEnd::NEWEST;
        if (version.major(), version.minor()) <= (major, minor) {
            return None;
        }
        let detail = format!(
            "HAProxy {version} is newer than {major}.{minor}, the newest version that lb was tried with, and is driven \
             as that one"
        );
        Some(Condition::new(ConditionKind::UnknownVersion, detail))
    }

    pub(super) fn disconnect(&mut self) {
        self.past = self.traffic();
        self.session = None;
    }
}

pub(super) fn client_config(timeout: Duration) -> ClientConfig {
    ClientConfig {
        connect: timeout,
        reply: timeout,
        ..ClientConfig::default()
    }
}

/// A number that differs between targets, for what they must not do at the same time.
pub(super) fn seed(target: &Name) -> u64 {
    target
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// What the socket's path is now; `None` for TCP and for a path that is not there.
pub(super) fn identity(socket: &SocketAddress) -> Option<SocketIdentity> {
    socket.path().and_then(|path| socket_identity(path).ok())
}
