//! The driver: one pass at a time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lb_core::{About, DriveError, Driver, Name, Notice, Preview, Report, Snapshot};
use tracing::{info, warn};

use super::{
    apply::apply,
    attention::Absence,
    certificates::Certificates,
    claim::Claim,
    config::TargetConfig,
    conversation::{Knowledge, Session, client_config, seed},
    counters::Counters,
    disk::Disk,
    error::DriverError,
    ladder::Ladder,
    live,
    workers::OldWorkers,
};
use crate::{
    client::{ClientError, Counters as ClientCounters, Interruption},
    plan::Plan,
};

/// Plans within one pass. Each moves something, so more means that HAProxy does not do what it says.
const MAX_ROUNDS: usize = 64;

/// Keeps one HAProxy converged through its runtime socket.
///
/// HAProxy is the store of what was applied: a driver that begins adopts what it finds. See the
/// [crate documentation](crate) for what HAProxy's configuration needs.
#[derive(Debug)]
pub struct HaproxyDriver {
    pub(super) config: TargetConfig,
    pub(super) began: Instant,
    pub(super) session: Option<Session>,
    /// What is known of a worker; kept while the same worker answers.
    pub(super) knowledge: Option<Knowledge>,
    pub(super) counters: Counters,
    /// What went over conversations that have ended.
    pub(super) past: ClientCounters,
    pub(super) ever_connected: bool,
    pub(super) disk: Disk,
    /// Whether the files may differ from what HAProxy has: something was sent, or was by whoever was here before.
    pub(super) behind: bool,
    /// If `true`, an endpoint of an exclusive service may just have been admitted: the files follow at once.
    pub(super) handover: bool,
    /// Since when the master did not answer when it was asked about a reload.
    pub(super) master_silent_since: Option<Duration>,
    pub(super) ladder: Ladder,
    pub(super) old_workers: OldWorkers,
    pub(super) notices: Vec<Notice>,
    pub(super) certificates: Certificates,
    pub(super) absence: Absence,
    /// If `true`, a new connection got no answer: the session is asked before anything else.
    pub(super) silent: bool,
    pub(super) claim: Option<Claim>,
    /// If `true`, another process manages this target: its end is waited for.
    pub(super) owned: bool,
}

impl HaproxyDriver {
    /// A driver for one target. It connects at its first pass.
    #[must_use]
    pub fn new(config: TargetConfig) -> Self {
        let seed = seed(&config.name);
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
            handover: false,
            master_silent_since: None,
            ladder: Ladder::new(seed ^ u64::from(std::process::id())),
            old_workers: OldWorkers::default(),
            notices: Vec::new(),
            certificates: Certificates::default(),
            absence: Absence::new(seed),
            silent: false,
            claim: None,
            owned: false,
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
        self.clock()()
    }

    /// The time since the driver began.
    pub(super) fn clock(&self) -> impl Fn() -> Duration + use<> {
        let began = self.began;
        move || now().saturating_duration_since(began)
    }

    async fn pass(&mut self, desired: &Arc<Snapshot>) -> Result<(Plan, usize), DriverError> {
        let begun_at = self.elapsed();
        self.ask_after_silence().await?;
        self.connect().await?;
        self.claim().await?;
        self.take_in(desired).await?;
        let clock = self.clock();
        if let Some(known) = &mut self.knowledge {
            known.planner.outdate(begun_at);
        }
        let mut applied = 0;
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
                // The desired state is in effect: that is worth telling before what has left is tidied up.
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
                let begun_at = clock();
                applied += apply(
                    &mut session.client,
                    &mut known.planner,
                    &mut self.counters,
                    &plan,
                    &clock,
                )
                .await?;
                session.newest_at = begun_at;
                known.planner.outdate(clock());
            }
            live::read(&mut session.client, &mut known.planner, &plan.reads, &clock).await?;
            known.doubtful = false;
            self.look_at_reload(&plan.reads).await?;
        }
        self.counters.add("endless_passes", 1);
        Err(DriverError::Endless { rounds: MAX_ROUNDS })
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
        if std::mem::take(&mut self.handover) {
            self.disk.hurry();
        }
        self.write_files(now).await?;
        let files = &self.config.files;
        if let Some(session) = &mut self.session {
            self.certificates
                .follow(
                    &files.certificates,
                    &mut session.client,
                    &mut self.counters,
                    self.config.policy.resync,
                    now,
                )
                .await?;
        }
        plan.come_back(self.disk.due_at());
        plan.come_back(self.certificates.due_at());
        Ok(())
    }

    /// Writes the files, where that is due.
    pub(super) async fn write_files(&mut self, now: Duration) -> Result<(), DriverError> {
        if let (Some(session), Some(known)) = (&mut self.session, &self.knowledge) {
            let (client, planner) = (&mut session.client, &known.planner);
            let files = &self.config.files;
            self.disk
                .write(files, client, planner, &mut self.counters, now)
                .await?;
        }
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
            gauges.insert("fixed_servers", u64::from(used.fixed));
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
            // One that stands still is not asked again at once: that would only take as long again to notice.
            Err(DriverError::Client(ClientError::Unknown {
                source: Interruption::Timeout { .. },
                ..
            })) => false,
            Err(DriverError::Client(ClientError::Unknown { .. } | ClientError::Ended)) => used,
            _ => false,
        };
        if replaced {
            // Whoever was spoken to is gone, most likely for a newer worker: that one is asked at once.
            info!(target_name = %self.config.name, "HAProxy worker was replaced, reconnecting");
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
            // What the new worker lacks of the desired state is given to it now.
            outcome = self.pass(desired).await;
        }
        if let Some(known) = &mut self.knowledge {
            let given = known.planner.take_spares_given();
            self.counters.add("rung_spare_backend", given);
            self.notices.append(&mut known.planner.take_notices());
        }
        match outcome {
            Ok((mut plan, applied)) => {
                self.absence.ended();
                self.watch_old_workers(&mut plan).await;
                self.ladder.explain(&mut plan);
                let mut report = Report::default();
                report.generation = desired.generation();
                report.applied = applied;
                report.converged = plan.settled;
                report.again = plan.again_at.map(|at| at.saturating_sub(self.elapsed()));
                report.unmet = plan.unmet;
                report.about = self.session.as_ref().map(|session| {
                    let version = session.client.info().version.to_string();
                    About::new("HAProxy", version)
                });
                report.conditions = plan.conditions;
                report.conditions.extend(self.unknown_version());
                let now = self.elapsed();
                report.conditions.extend(self.certificates.conditions(now));
                let problem = self
                    .knowledge
                    .as_ref()
                    .and_then(|known| known.file_problem.clone());
                report.conditions.extend(problem);
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
                let error = error.into_core(&self.config.name);
                let unreachable = matches!(error, DriveError::Unreachable { .. });
                self.absence.failed(unreachable);
                self.owned = matches!(error, DriveError::Owned { .. });
                Err(error)
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
        let found = self.look_ahead(desired).await;
        found
            .map(|outlook| outlook.preview())
            .map_err(|error| error.into_core(&self.config.name))
    }

    async fn attention(&mut self) {
        match self.session {
            Some(_) => self.await_end().await,
            None => self.await_return().await,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the driver is the edge: it reads the clock for the planner"
)]
fn now() -> Instant {
    // The runtime's clock, which a simulation may hold and push on.
    tokio::time::Instant::now().into_std()
}
