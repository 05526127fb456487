//! The driver: one pass at a time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lb_core::{DriveError, Driver, Name, Notice, Preview, Report, Snapshot, model::Changes};
use tracing::{info, warn};

use super::{
    apply::apply, certificates::Certificates, config::TargetConfig, counters::Counters, disk::Disk,
    error::DriverError, ladder::Ladder, live, workers::OldWorkers,
};
use crate::{
    capability::Capabilities,
    client::{
        Client, ClientConfig, ClientError, Counters as ClientCounters, SocketAddress,
        SocketIdentity, socket_identity,
    },
    plan::{Plan, Planner},
    proto::{Command, Epoch, Info},
};

/// Plans within one pass. Each moves something, so more means that HAProxy does not do what it says.
const MAX_ROUNDS: usize = 64;

/// The pause after a pass that found no end.
const PAUSE: Duration = Duration::from_millis(200);

/// How often somebody new who connects is asked who answers: after a reload that is another worker, though the socket and
/// the connections to the old one stay as they were.
const ASK_WHO: Duration = Duration::from_secs(1);

/// Keeps one HAProxy converged through its runtime socket.
///
/// HAProxy is the store of what was applied: a driver that begins adopts what it finds. See the
/// [crate documentation](crate) for what HAProxy's configuration needs.
#[derive(Debug)]
pub struct HaproxyDriver {
    pub(super) config: TargetConfig,
    began: Instant,
    pub(super) session: Option<Session>,
    /// What is known of a worker; kept while the same worker answers.
    pub(super) knowledge: Option<Knowledge>,
    pub(super) counters: Counters,
    /// What went over conversations that have ended.
    past: ClientCounters,
    ever_connected: bool,
    disk: Disk,
    /// Whether the files may differ from what HAProxy has: something was sent, or was by whoever was here before.
    behind: bool,
    pub(super) ladder: Ladder,
    pub(super) old_workers: OldWorkers,
    pub(super) notices: Vec<Notice>,
    certificates: Certificates,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    identity: Option<SocketIdentity>,
    /// Whether it was used for an earlier pass, so that its end may be old news.
    used: bool,
    /// When the worker last said that it is the newest one.
    newest_at: Duration,
}

#[derive(Debug)]
pub(super) struct Knowledge {
    epoch: Epoch,
    pub(super) planner: Planner,
    /// The wish that the planner was given last.
    desired: Option<Arc<Snapshot>>,
    read_all_at: Duration,
    /// Whether what HAProxy shows must be read again before anything is planned.
    doubtful: bool,
}

/// For so long, at most, no address changes its service because a worker that was replaced may not be gone: where a
/// master can be asked, and where none can. One that lives on for hours does so for connections that it has, and has
/// long stopped to listen.
const REPLACED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// For so long a worker that said that it is the newest one is believed.
const NEWEST: Duration = Duration::from_secs(1);

impl Session {
    /// Makes sure that nobody took over since: where there was nothing to write, HAProxy was not asked.
    async fn ask_worker(&mut self, now: Duration) -> Result<(), DriverError> {
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
    /// A driver for one target. It connects at its first pass.
    #[must_use]
    pub fn new(config: TargetConfig) -> Self {
        let ladder = Ladder::new(&config.name);
        Self {
            config,
            began: now(),
            session: None,
            knowledge: None,
            counters: Counters::default(),
            past: ClientCounters::default(),
            ever_connected: false,
            disk: Disk::default(),
            behind: false,
            ladder,
            old_workers: OldWorkers::default(),
            notices: Vec::new(),
            certificates: Certificates::default(),
        }
    }

    /// What went over the runtime socket since the driver began.
    #[must_use]
    pub fn traffic(&self) -> ClientCounters {
        let mut all = self.past;
        if let Some(session) = &self.session {
            all.add(session.client.counters());
        }
        all
    }

    pub(super) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.began)
    }

    /// How long a worker that was replaced is waited for, at most.
    fn replaced_wait(&self) -> Duration {
        match self.config.master {
            Some(_) => REPLACED.0,
            None => REPLACED.1,
        }
    }

    async fn pass(&mut self, desired: &Arc<Snapshot>) -> Result<(Plan, usize), DriverError> {
        let begun_at = self.elapsed();
        self.connect().await?;
        self.take_in(desired).await?;
        let began = self.began;
        let clock = move || now().saturating_duration_since(began);
        if let Some(known) = &mut self.knowledge {
            known.planner.outdate(begun_at);
        }
        let mut applied = 0;
        let mut last = Plan::default();
        for _ in 0..MAX_ROUNDS {
            let (Some(session), Some(known)) = (&mut self.session, &mut self.knowledge) else {
                break;
            };
            let plan = known.planner.plan(clock());
            if plan.is_empty() && plan.reads.is_empty() {
                if plan.again_at.is_some_and(|at| at <= clock()) {
                    continue;
                }
                if plan.settled {
                    session.ask_worker(clock()).await?;
                }
                return Ok((plan, applied));
            }
            if plan.settled && applied > 0 {
                // The wish is in effect: that is worth telling before what has left is tidied up.
                known.planner.postpone(&plan);
                let plan = Plan {
                    again_at: Some(Duration::ZERO),
                    ..plan
                };
                return Ok((plan, applied));
            }
            // A pass that is cut here has changed what was observed.
            known.doubtful = true;
            if !plan.is_empty() {
                self.behind = true;
                applied += apply(
                    &mut session.client,
                    &mut known.planner,
                    &mut self.counters,
                    &plan,
                    clock,
                )
                .await?;
                session.newest_at = clock();
                known.planner.outdate(session.newest_at);
            }
            live::read(
                &mut session.client,
                &mut known.planner,
                &plan.reads,
                clock(),
            )
            .await?;
            known.doubtful = false;
            last = plan;
        }
        warn!(target_name = %self.config.name, "a pass found no end; it goes on after a pause");
        self.counters.add("endless_passes", 1);
        let plan = Plan {
            again_at: Some(clock() + PAUSE),
            settled: false,
            ..last
        };
        Ok((plan, applied))
    }

    /// Makes sure that the worker that answers is the newest one.
    async fn connect(&mut self) -> Result<(), DriverError> {
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
        let config = client_config(self.config.timeout);
        let client = Client::connect(&self.config.socket, config).await?;
        if client.info().stopping {
            let pid = client.epoch().pid;
            return Err(DriverError::StaleWorker { pid });
        }
        self.adopt(client, identity);
        Ok(())
    }

    /// Goes on with another conversation.
    pub(super) fn adopt(&mut self, client: Client, identity: Option<SocketIdentity>) {
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
            let mut planner = Planner::new(self.config.policy.clone(), capabilities);
            if let Some(before) = &self.knowledge {
                let served = before.planner.serving().into_iter();
                let all = served.chain(before.planner.served_by_replaced());
                planner.replaced_serves(all, self.elapsed() + self.replaced_wait());
            }
            self.knowledge = Some(Knowledge {
                epoch,
                planner,
                desired: None,
                read_all_at: Duration::ZERO,
                doubtful: true,
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
            newest_at: self.elapsed(),
        });
    }

    /// Gives the planner the wish, and what HAProxy shows where that is in doubt or long ago.
    async fn take_in(&mut self, desired: &Arc<Snapshot>) -> Result<(), DriverError> {
        let now = self.elapsed();
        let wait = self.replaced_wait();
        let (Some(session), Some(known)) = (&mut self.session, &mut self.knowledge) else {
            return Ok(());
        };
        if known.doubtful || now >= known.read_all_at.saturating_add(self.config.policy.resync) {
            live::observe_all(&mut session.client, &mut known.planner, now).await?;
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
        Ok(())
    }

    /// Lets the files follow what was applied, and comes back for them in time.
    async fn keep_files(&mut self, plan: &mut Plan) -> Result<(), DriverError> {
        let now = self.elapsed();
        let files = &self.config.files;
        let maps = files.maps
            && self
                .knowledge
                .as_ref()
                .is_some_and(|known| !known.planner.maps().is_empty());
        if std::mem::take(&mut self.behind) && (maps || files.server_state.is_some()) {
            self.disk.changed(now);
        }
        if let (Some(session), Some(known)) = (&mut self.session, &self.knowledge) {
            self.disk
                .write(
                    files,
                    &mut session.client,
                    &known.planner,
                    &mut self.counters,
                    now,
                )
                .await?;
        }
        if let Some(session) = &mut self.session {
            let files = &files.certificates;
            self.certificates
                .follow(files, &mut session.client, &mut self.counters, now)
                .await?;
        }
        plan.come_back(self.disk.due_at());
        plan.come_back(self.certificates.due_at());
        Ok(())
    }

    /// Asks after workers that were replaced, and comes back while there are any.
    async fn watch_old_workers(&mut self, plan: &mut Plan) {
        let Some(master) = &self.config.master else {
            return;
        };
        let now = self.elapsed();
        let config = client_config(self.config.timeout);
        self.old_workers
            .look(master, config, now, &mut self.notices)
            .await;
        plan.come_back(self.old_workers.due_at());
        if self.old_workers.are_gone()
            && let Some(known) = &mut self.knowledge
            && known.planner.replaced_is_gone()
        {
            plan.come_back(Some(now));
        }
    }

    fn gauges(&self) -> BTreeMap<&'static str, u64> {
        let mut gauges = BTreeMap::new();
        if let Some(known) = &self.knowledge {
            let used = known.planner.slot_use();
            gauges.insert("slots", u64::from(used.slots));
            gauges.insert("slots_free", u64::from(used.free));
            gauges.insert("slots_quarantined", u64::from(used.quarantined));
            gauges.insert("dynamic_servers", u64::from(used.dynamic));
            gauges.insert("spare_backends", known.planner.spare_backends());
        }
        if self.config.master.is_some() {
            let age = self.old_workers.age(self.elapsed());
            gauges.insert("old_workers", self.old_workers.count());
            gauges.insert("oldest_old_worker_seconds", age.as_secs());
        }
        gauges
    }

    pub(super) fn disconnect(&mut self) {
        self.past = self.traffic();
        self.session = None;
    }
}

#[async_trait]
impl Driver for HaproxyDriver {
    fn name(&self) -> &Name {
        &self.config.name
    }

    async fn converge(&mut self, desired: &Arc<Snapshot>) -> Result<Report, DriveError> {
        let mut outcome = self.pass(desired).await;
        let used = self.session.as_ref().is_some_and(|session| session.used);
        let replaced = match &outcome {
            Err(DriverError::StaleWorker { .. }) => true,
            Err(DriverError::Client(ClientError::Unknown { .. } | ClientError::Ended)) => used,
            _ => false,
        };
        if replaced {
            // Whoever was spoken to is gone, most likely for a newer worker: that one is asked at once.
            info!(target_name = %self.config.name, "the conversation is over; asking the newest worker");
            self.disconnect();
            outcome = self.pass(desired).await;
        }
        if let Ok((plan, _)) = &mut outcome
            && let Err(error) = self.keep_files(plan).await
        {
            outcome = Err(error);
        }
        if let Ok((plan, _)) = &mut outcome
            && self.climb(plan).await
        {
            // What the new worker lacks of the wish is given to it now.
            outcome = self.pass(desired).await;
        }
        if let Some(known) = &mut self.knowledge {
            let given = known.planner.take_spares_given();
            self.counters.add("rung_spare_backend", given);
            self.notices.append(&mut known.planner.take_notices());
        }
        match outcome {
            Ok((mut plan, applied)) => {
                self.watch_old_workers(&mut plan).await;
                self.ladder.explain(&mut plan);
                let mut report = Report::default();
                report.generation = desired.generation();
                report.applied = applied;
                report.converged = plan.settled;
                report.again = plan.again_at.map(|at| at.saturating_sub(self.elapsed()));
                report.unmet = plan.unmet;
                report.counters = self.counters.read();
                let traffic = self.traffic();
                report
                    .counters
                    .insert("bytes_written", traffic.bytes_written);
                report.counters.insert("bytes_read", traffic.bytes_read);
                report.counters.insert("commands", traffic.commands);
                report.gauges = self.gauges();
                report.notices = std::mem::take(&mut self.notices);
                Ok(report)
            }
            Err(error) => {
                warn!(target_name = %self.config.name, error = &error as &dyn std::error::Error, "a pass failed");
                self.disconnect();
                Err(error.into_core(&self.config.name))
            }
        }
    }

    async fn close(&mut self) {
        // Whoever starts HAProxy next begins with what was applied last.
        self.disk.hurry();
        if self.session.is_some()
            && let Err(error) = self.keep_files(&mut Plan::default()).await
        {
            warn!(target_name = %self.config.name, error = &error as &dyn std::error::Error, "the files are not the newest");
        }
        self.disconnect();
    }

    async fn preview(&mut self, desired: &Arc<Snapshot>) -> Result<Preview, DriveError> {
        let plan = async {
            self.connect().await?;
            if let Some(known) = &mut self.knowledge {
                known.doubtful = true;
            }
            self.take_in(desired).await?;
            let now = self.elapsed();
            Ok(self
                .knowledge
                .as_ref()
                .map(|known| known.planner.clone().plan(now))
                .unwrap_or_default())
        }
        .await
        .map_err(|error: DriverError| error.into_core(&self.config.name))?;
        let json = serde_json::to_string_pretty(&plan).unwrap_or_default();
        Ok(Preview::new(plan.steps().count(), plan.to_string(), json))
    }

    async fn attention(&mut self) {
        let Some(session) = &mut self.session else {
            return std::future::pending().await;
        };
        let known_at = self.knowledge.as_ref().map(|known| known.read_all_at);
        let resync_at = self.began + known_at.unwrap_or_default() + self.config.policy.resync;
        let resync = tokio::time::sleep_until(resync_at.into());
        tokio::pin!(resync);
        let config = client_config(self.config.timeout);
        loop {
            tokio::select! {
                // In one order, so that a simulation repeats exactly.
                biased;
                () = session.client.closed() => return,
                () = &mut resync => return,
                () = tokio::time::sleep(ASK_WHO) => {
                    // A connection of its own, so that giving up half-way leaves the session as it is.
                    let other = Client::connect(&self.config.socket, config).await;
                    if other.is_ok_and(|other| other.epoch() != session.client.epoch()) {
                        break;
                    }
                }
            }
        }
        info!(target_name = %self.config.name, "a new worker has taken over");
        self.disconnect();
    }
}

fn client_config(timeout: Duration) -> ClientConfig {
    ClientConfig {
        connect: timeout,
        reply: timeout,
        ..ClientConfig::default()
    }
}

/// What the socket's path is now; `None` for TCP and for a path that is not there.
pub(super) fn identity(socket: &SocketAddress) -> Option<SocketIdentity> {
    socket.path().and_then(|path| socket_identity(path).ok())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the driver is the edge: it reads the clock for the planner"
)]
fn now() -> Instant {
    // The runtime's clock, which a simulation may hold and push on.
    tokio::time::Instant::now().into_std()
}
