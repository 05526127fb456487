//! Keeps a registration in etcd for as long as it lives.

use std::{collections::hash_map::RandomState, hash::BuildHasher, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    entry::{Entry, Phase},
    health::{self, Health},
    write,
};
use crate::{
    client::{Connector, Session, Stream, wire},
    config::ConnectionConfig,
    error::EtcdError,
};

/// Signs of life within the life of a lease.
const SIGNS: u32 = 3;

/// The registration of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrationConfig {
    /// The connection to the cluster.
    pub connection: ConnectionConfig,
    /// The handler that is written.
    pub entries: Vec<Entry>,
    /// The time the keys outlive us when we die without a word. etcd grants no less than some seconds. Default 10 s.
    pub ttl: Duration,
    /// The check that admits the endpoint. Default: none.
    pub health: Health,
    /// The time the endpoint serves on after it was told to leave. Default 0.
    pub drain: Duration,
    /// The longest wait between attempts to reach etcd. Default 5 s.
    pub max_backoff: Duration,
}

impl RegistrationConfig {
    /// These keys, with the defaults.
    #[must_use]
    pub fn new(connection: ConnectionConfig, entries: impl Into<Vec<Entry>>) -> Self {
        Self {
            connection,
            entries: entries.into(),
            ttl: Duration::from_secs(10),
            health: Health::Assumed,
            drain: Duration::ZERO,
            max_backoff: Duration::from_secs(5),
        }
    }
}

/// A registered endpoint: registered again after everything that loses it, and gone within milliseconds of
/// [`leave`](Self::leave). Dropping it says nothing to etcd: the keys end with their lease.
///
/// ```no_run
/// use lb_etcd::{ConnectionConfig, registration::{Advert, Registration, RegistrationConfig}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let advert = Advert::new("web".parse()?, "web-1".parse()?, "192.0.2.7:80".parse()?);
/// let etcd = ConnectionConfig::new(["http://127.0.0.1:2379"]);
/// let registration = Registration::start(RegistrationConfig::new(etcd, [advert.entry()]))?;
/// // … serve …
/// registration.leave().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Registration {
    health: watch::Sender<Option<bool>>,
    leaving: watch::Sender<Option<Leave>>,
    status: watch::Receiver<RegistrationStatus>,
    /// Ends with the registration, as the keeper does.
    _prober: JoinSet<()>,
    keeper: JoinSet<Result<(), EtcdError>>,
    patience: Duration,
}

/// The way an endpoint leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leave {
    /// It still serves what runs: it drains first.
    Drain,
    /// It does not serve any more: it is removed at once.
    Now,
}

/// The state of a registration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RegistrationStatus {
    /// The state of the endpoint in etcd; `None` while there is none, or we do not know.
    pub written: Option<Phase>,
    /// The lease that the keys are under.
    pub lease: Option<i64>,
    /// The number of leases there were.
    pub leases: u64,
    /// The last problem; cleared when it works again.
    pub error: Option<String>,
}

impl Registration {
    /// Begins to register. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`EtcdError`] names the setting that cannot work. That etcd is not reachable is no error: it is tried again.
    pub fn start(config: RegistrationConfig) -> Result<Self, EtcdError> {
        let connector = Connector::new(config.connection.clone())?;
        if config.entries.is_empty() || config.entries.len() > 100 {
            return Err(EtcdError::Config {
                field: "entries",
                value: config.entries.len().to_string(),
                expected: "1 to 100 keys",
            });
        }
        if config.ttl < Duration::from_secs(1) {
            return Err(EtcdError::Config {
                field: "ttl",
                value: format!("{:?}", config.ttl),
                expected: "1s or more",
            });
        }
        let (health, health_seen) = watch::channel(None);
        let (leaving, leaving_seen) = watch::channel(None);
        let (status_told, status) = watch::channel(RegistrationStatus {
            written: None,
            lease: None,
            leases: 0,
            error: None,
        });
        let mut prober = JoinSet::new();
        prober.spawn(health::follow(config.health.clone(), health.clone()));
        let patience = config.drain
            + 2 * config.connection.request_timeout
            + config.connection.connect_timeout;
        let mut keeper = JoinSet::new();
        let task = Keeper {
            config,
            connector,
            health: health_seen,
            leaving: leaving_seen,
            status: status_told,
            lease: None,
        };
        keeper.spawn(task.run());
        Ok(Self {
            health,
            leaving,
            status,
            _prober: prober,
            keeper,
            patience,
        })
    }

    /// The program's word on the endpoint's health, where that is what admits it.
    pub fn report(&self, healthy: bool) {
        self.health
            .send_if_modified(|known| known.replace(healthy) != Some(healthy));
    }

    /// The present state of the registration; the receiver also reports changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RegistrationStatus> {
        self.status.clone()
    }

    /// Begins to leave; [`left`](Self::left) waits for the end. Calling it again can hasten the leave, never slow it.
    pub fn begin_leave(&self, how: Leave) {
        self.leaving.send_if_modified(|known| {
            let hastened = known.is_none_or(|known| known < how);
            if hastened {
                *known = Some(how);
            }
            hastened
        });
    }

    /// Says that the endpoint drains, waits as long as it may, then removes it.
    ///
    /// # Errors
    /// As for [`left`](Self::left).
    pub async fn leave(mut self) -> Result<(), EtcdError> {
        self.begin_leave(Leave::Drain);
        self.left().await
    }

    /// Waits until the endpoint has left. It takes the drain time, and where etcd does not answer, a bounded time
    /// more; the keys then end with their lease. Without a leave begun before, it waits that long and gives up.
    ///
    /// # Errors
    /// [`EtcdError`] when etcd could not be told.
    pub async fn left(&mut self) -> Result<(), EtcdError> {
        match timeout(self.patience, self.keeper.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            // It was ended with its runtime, and there is nobody left to be told.
            Ok(Some(Err(_)) | None) => Ok(()),
            Err(_) => Err(EtcdError::Silent {
                call: "leaving",
                endpoint: "etcd".into(),
                after: self.patience,
            }),
        }
    }
}

/// The task behind a registration.
struct Keeper {
    config: RegistrationConfig,
    connector: Connector,
    health: watch::Receiver<Option<bool>>,
    leaving: watch::Receiver<Option<Leave>>,
    status: watch::Sender<RegistrationStatus>,
    lease: Option<i64>,
}

/// Why a session with etcd ended without an error.
enum Over {
    /// We left.
    Left,
}

impl Keeper {
    async fn run(mut self) -> Result<(), EtcdError> {
        let mut backoff = Duration::from_millis(50);
        let mut last_words = self.config.connection.endpoints.len();
        loop {
            if self.leaving.borrow().is_some() && self.lease.is_none() {
                return Ok(());
            }
            let error = match self.session().await {
                Ok(Over::Left) => return Ok(()),
                Err(error) => error,
            };
            tracing::warn!(
                error = crate::client::chain(&error),
                "registration in etcd interrupted"
            );
            let worked = self.status.borrow().error.is_none();
            if matches!(error, EtcdError::LeaseLost { .. }) {
                self.lease = None;
            } else {
                self.connector.distrust();
            }
            if self.leaving.borrow().is_some() {
                last_words -= 1;
                if last_words == 0 {
                    return Err(error);
                }
            }
            self.status.send_modify(|status| {
                status.written = None;
                status.error = Some(crate::client::chain(&error));
            });
            backoff = if worked {
                Duration::from_millis(50)
            } else {
                (backoff * 2).min(self.config.max_backoff)
            };
            let mut leaving = self.leaving.clone();
            tokio::select! {
                () = sleep(jittered(backoff)) => {}
                _ = leaving.wait_for(Option::is_some) => {}
            }
        }
    }

    /// Registers and stays with one member until that fails or we leave.
    async fn session(&mut self) -> Result<Over, EtcdError> {
        let session = self.connector.open().await?;
        let lease = match self.lease {
            Some(lease) => lease,
            None => self.grant(&session).await?,
        };
        let mut signs = session.lease_keep_alive(lease).await?;
        let alive = self.sign(&session, &mut signs, lease).await?;
        let period = (alive / SIGNS).max(Duration::from_millis(100));
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;

        let mut written = None;
        loop {
            if *self.leaving.borrow_and_update() == Some(Leave::Now) {
                return self.revoke(&session, lease).await;
            }
            let phase = self.phase();
            if written != Some(phase) {
                session
                    .txn(write::bring(&self.config.entries, phase, lease))
                    .await?;
                written = Some(phase);
                self.status.send_modify(|status| {
                    status.written = Some(phase);
                    status.lease = Some(lease);
                    status.error = None;
                });
            }
            if phase == Phase::Draining {
                return self.drain(&session, &mut signs, lease, period).await;
            }
            tokio::select! {
                _ = ticks.tick() => {
                    signs.ask(wire::LeaseKeepAliveRequest { id: lease });
                    self.sign(&session, &mut signs, lease).await?;
                    if let Some(mend) = write::mend(&self.config.entries, phase, lease) {
                        let answer = session.txn(mend).await?;
                        if !answer.succeeded {
                            tracing::warn!("keys of the registration were gone or not ours, written again");
                        }
                    }
                }
                changed = self.health.changed() => {
                    if changed.is_err() {
                        // Whoever registered us is gone without leaving.
                        return Ok(Over::Left);
                    }
                }
                changed = self.leaving.changed() => {
                    if changed.is_err() {
                        return Ok(Over::Left);
                    }
                }
            }
        }
    }

    async fn drain(
        &self,
        session: &Session,
        signs: &mut Stream<wire::LeaseKeepAliveRequest, wire::LeaseKeepAliveResponse>,
        lease: i64,
        period: Duration,
    ) -> Result<Over, EtcdError> {
        let mut left = self.config.drain;
        let mut hastened = self.leaving.clone();
        while !left.is_zero() && *hastened.borrow() != Some(Leave::Now) {
            let step = left.min(period);
            tokio::select! {
                () = sleep(step) => left -= step,
                _ = hastened.wait_for(|how| *how == Some(Leave::Now)) => {}
            }
            signs.ask(wire::LeaseKeepAliveRequest { id: lease });
            self.sign(session, signs, lease).await?;
        }
        self.revoke(session, lease).await
    }

    async fn revoke(&self, session: &Session, lease: i64) -> Result<Over, EtcdError> {
        session.lease_revoke(lease).await?;
        self.status.send_modify(|status| {
            status.written = None;
            status.lease = None;
        });
        Ok(Over::Left)
    }

    async fn grant(&mut self, session: &Session) -> Result<i64, EtcdError> {
        let ttl = i64::try_from(self.config.ttl.as_secs()).unwrap_or(i64::MAX);
        let granted = session.lease_grant(ttl).await?;
        self.lease = Some(granted.id);
        self.status.send_modify(|status| status.leases += 1);
        Ok(granted.id)
    }

    /// The answer to a sign of life: for how long the lease lives on.
    async fn sign(
        &self,
        session: &Session,
        signs: &mut Stream<wire::LeaseKeepAliveRequest, wire::LeaseKeepAliveResponse>,
        lease: i64,
    ) -> Result<Duration, EtcdError> {
        let after = self.config.ttl.min(self.config.connection.request_timeout);
        let answer = timeout(after, signs.next())
            .await
            .map_err(|_| EtcdError::Silent {
                call: "lease keep-alive",
                endpoint: session.endpoint().clone(),
                after,
            })??;
        match u64::try_from(answer.ttl) {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(EtcdError::LeaseLost { lease }),
        }
    }

    fn phase(&self) -> Phase {
        if self.leaving.borrow().is_some() {
            return Phase::Draining;
        }
        match *self.health.borrow() {
            None => Phase::Unknown,
            Some(true) => Phase::Ready,
            Some(false) => Phase::Down,
        }
    }
}

/// Between half of it and all of it, so that many who lost the same server do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1000;
    wait / 2 + wait.mul_f64(f64::from(u32::try_from(random).unwrap_or_default()) / 2000.0)
}
