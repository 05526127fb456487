//! A target that keeps what it is given.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    driver::{DriveError, Driver, Preview, Report, Unmet},
    model::{Name, Snapshot},
};

/// The driver of a [`FakeTarget`].
#[derive(Debug)]
pub struct FakeDriver {
    name: Name,
    target: FakeTarget,
}

/// A test's view of a [`FakeDriver`], and its way to disturb it. Clones show the same target.
#[derive(Debug, Clone)]
pub struct FakeTarget {
    state: Arc<Mutex<State>>,
    attention: Arc<Notify>,
    resumed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    given: Vec<u64>,
    applied: Option<Arc<Snapshot>>,
    unreachable: bool,
    hanging: bool,
    panics: bool,
    closed: bool,
    again: Option<Duration>,
    unmet: Vec<Unmet>,
    unsettled: bool,
}

impl FakeDriver {
    /// A driver and its reachable, empty target.
    #[must_use]
    pub fn new(name: Name) -> (Self, FakeTarget) {
        let target = FakeTarget {
            state: Arc::default(),
            attention: Arc::default(),
            resumed: Arc::default(),
        };
        let driver = Self {
            name,
            target: target.clone(),
        };
        (driver, target)
    }
}

impl FakeTarget {
    /// Returns `true` if its driver was closed in order.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The generation of every pass, in order.
    #[must_use]
    pub fn given(&self) -> Vec<u64> {
        self.lock().given.clone()
    }

    /// The snapshot that is applied.
    #[must_use]
    pub fn applied(&self) -> Option<Arc<Snapshot>> {
        self.lock().applied.clone()
    }

    /// Makes passes fail, or no longer.
    pub fn set_reachable(&self, reachable: bool) {
        self.lock().unreachable = !reachable;
    }

    /// Makes passes never end, or end again.
    pub fn set_hanging(&self, hanging: bool) {
        self.lock().hanging = hanging;
        self.resumed.notify_one();
    }

    /// Makes the next pass panic.
    pub fn panic_next(&self) {
        self.lock().panics = true;
    }

    /// Makes the next report ask for another pass, once.
    pub fn ask_again(&self, after: Duration) {
        self.lock().again = Some(after);
    }

    /// Sets the unmet conditions of reports from now on.
    pub fn set_unmet(&self, unmet: Vec<Unmet>) {
        self.lock().unmet = unmet;
    }

    /// Makes passes end with something still on its way, or no longer.
    pub fn set_settled(&self, settled: bool) {
        self.lock().unsettled = !settled;
    }

    /// The target gives a reason for a pass.
    pub fn call_attention(&self) {
        self.attention.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, name: &Name) -> Result<(), DriveError> {
        if self.lock().unreachable {
            return Err(DriveError::Unreachable {
                target: name.clone(),
                cause: "connection refused".into(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &Name {
        &self.name
    }

    #[expect(clippy::panic, reason = "a test asked for it")]
    async fn converge(&mut self, desired: &Arc<Snapshot>) -> Result<Report, DriveError> {
        self.target.lock().given.push(desired.generation());
        while self.target.lock().hanging {
            self.target.resumed.notified().await;
        }
        if std::mem::take(&mut self.target.lock().panics) {
            panic!("the fake driver was told to");
        }
        self.target.check(&self.name)?;
        let mut state = self.target.lock();
        let same = state
            .applied
            .as_ref()
            .is_some_and(|applied| applied == desired);
        state.applied = Some(desired.clone());
        Ok(Report {
            generation: desired.generation(),
            applied: usize::from(!same),
            again: state.again.take(),
            unmet: state.unmet.clone(),
            converged: !state.unsettled,
            ..Report::default()
        })
    }

    async fn preview(&mut self, desired: &Arc<Snapshot>) -> Result<Preview, DriveError> {
        self.target.check(&self.name)?;
        let same = self.target.lock().applied.as_ref() == Some(desired);
        let steps = usize::from(!same);
        Ok(Preview::new(
            steps,
            format!("{steps} steps\n"),
            format!("{{\"steps\":{steps}}}"),
        ))
    }

    async fn attention(&mut self) {
        self.target.attention.notified().await;
    }

    async fn close(&mut self) {
        self.target.lock().closed = true;
        while self.target.lock().hanging {
            self.target.resumed.notified().await;
        }
    }
}
