//! The task of one target: makes the passes it is given, one after the other.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::shared::{Job, Shared};
use crate::{
    driver::{DriveError, Driver, PassFailure, Preview},
    model::Snapshot,
    reconciler::TargetId,
};

/// The time a driver may take to close.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A question for a preview.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) desired: Arc<Snapshot>,
    pub(super) answer: oneshot::Sender<Result<Preview, DriveError>>,
}

pub(super) struct Drive {
    pub(super) shared: Arc<Shared>,
    pub(super) id: TargetId,
    pub(super) driver: Box<dyn Driver>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) asks: mpsc::Receiver<Ask>,
    /// The time one pass may take.
    pub(super) limit: Duration,
}

impl Drive {
    /// Runs until the target is removed.
    pub(super) async fn run(mut self) {
        // A target that has asked for a pass is not listened to again before it had one.
        let mut listening = true;
        loop {
            tokio::select! {
                biased;
                job = self.jobs.recv() => match job {
                    Some(job) => {
                        self.pass(job).await;
                        listening = true;
                    }
                    None => {
                        let _ = tokio::time::timeout(CLOSE_LIMIT, self.driver.close()).await;
                        return;
                    }
                },
                Some(ask) = self.asks.recv() => self.preview(ask).await,
                () = self.driver.attention(), if listening => {
                    listening = false;
                    self.shared.with(|engine, now| engine.attention(now, self.id));
                }
            }
        }
    }

    async fn pass(&mut self, job: Job) {
        let Job { pass, desired } = job;
        // What a driver logs leads back to the generation, and with it to the cursors that caused it.
        let span = tracing::info_span!(
            "pass",
            target_name = %self.driver.name(),
            generation = desired.generation()
        );
        let work = self.driver.converge(&desired).instrument(span);
        let result = match tokio::time::timeout(self.limit, work).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(PassFailure::from(&error)),
            Err(_) => Err(format!("the pass did not end within {:?}", self.limit).into()),
        };
        self.shared
            .with(|engine, now| engine.pass_ended(now, pass, result));
        self.shared.progressed();
    }

    async fn preview(&mut self, ask: Ask) {
        let Ask {
            desired,
            mut answer,
        } = ask;
        let work = tokio::time::timeout(self.limit, self.driver.preview(&desired));
        let result = tokio::select! {
            result = work => result,
            // Nobody waits for it any more.
            () = answer.closed() => return,
        };
        if let Ok(result) = result {
            // Whoever asked may have gone.
            let _ = answer.send(result);
        }
    }
}
