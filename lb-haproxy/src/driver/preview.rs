//! The plan that the next pass would apply, without applying it.

use std::{sync::Arc, time::Duration};

use lb_core::Snapshot;

use super::{error::DriverError, haproxy_driver::HaproxyDriver, live};
use crate::plan::Plan;

/// Reads between two looks at the plan. Each answers what the last plan asked for, so that few are enough.
const MAX_READS: usize = 32;

/// What passes by itself within this time is waited for: a slot that was just read to be quiet is free a moment later.
const PATIENCE: Duration = Duration::from_secs(3);

impl HaproxyDriver {
    /// Returns the plan that the next pass would apply.
    ///
    /// A pass reads what a plan asks for and plans again; so does this, with a planner of its own. Without those reads
    /// a backend of fresh slots would seem to be full.
    pub(super) async fn look_ahead(
        &mut self,
        desired: &Arc<Snapshot>,
    ) -> Result<Plan, DriverError> {
        let begun_at = self.elapsed();
        self.connect().await?;
        if let Some(known) = &mut self.knowledge {
            known.doubtful = true;
        }
        self.take_in(desired).await?;
        let (clock, wait) = (self.clock(), self.replaced_wait());
        let (Some(session), Some(known)) = (&mut self.session, &self.knowledge) else {
            return Ok(Plan::default());
        };
        // Of a worker that has just begun, it is not known what the one before may still serve.
        let young = Duration::from_secs(session.client.info().uptime) < wait;
        let deadline = begun_at + PATIENCE + if young { wait } else { Duration::ZERO };
        let mut planner = known.planner.clone();
        planner.outdate(begun_at);
        let mut plan = planner.plan(clock());
        for _ in 0..MAX_READS {
            if plan.reads.is_empty() {
                let again = plan.again_at.filter(|at| *at <= deadline && worth(&plan));
                let Some(at) = again else {
                    break;
                };
                tokio::time::sleep(at.saturating_sub(clock())).await;
                plan = planner.plan(clock());
                continue;
            }
            // Steps for other backends are planned again, with what is read now.
            planner.postpone(&plan);
            live::read(&mut session.client, &mut planner, &plan.reads, &clock).await?;
            plan = planner.plan(clock());
        }
        Ok(planner.with_what_follows(plan, clock()))
    }
}

/// Returns `true` if there is nothing to do yet, or endpoints have no place yet.
fn worth(plan: &Plan) -> bool {
    plan.is_empty() && (!plan.settled || !plan.unmet.is_empty())
}
