//! The plan that the next pass would apply, without applying it.

use std::{sync::Arc, time::Duration};

use lb_core::{Condition, ConditionKind, Preview, Snapshot};
use serde::Serialize;

use super::{
    error::DriverError, haproxy_driver::HaproxyDriver, live, owned::other_owner, owner::Owner,
};
use crate::{
    client::Client,
    plan::{Plan, Planner, Step},
    proto::{Command, Stat, StatKind},
};

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
    ) -> Result<Outlook, DriverError> {
        let begun_at = self.elapsed();
        self.connect().await?;
        if let Some(known) = &mut self.knowledge {
            known.doubtful = true;
        }
        self.take_in(desired).await?;
        let (clock, wait) = (self.clock(), self.replaced_wait());
        let (Some(session), Some(known)) = (&mut self.session, &self.knowledge) else {
            return Ok(Outlook::default());
        };
        // Of a worker that has just begun, it is not known what the one before may still serve.
        let young = Duration::from_secs(session.client.info().uptime) < wait;
        let deadline = begun_at + PATIENCE + if young { wait } else { Duration::ZERO };
        let mut planner = known.planner.clone();
        planner.outdate(begun_at);
        // No file is written for a look.
        planner.loads_state(false);
        let mut plan = planner.plan(clock());
        let mut asked = false;
        for _ in 0..MAX_READS {
            if !asked && plan.steps().any(is_weight) {
                asked = true;
                // Steps of other backends are planned again.
                planner.postpone(&plan);
                learn_fixed_weights(&mut session.client, &mut planner).await?;
                plan = planner.plan(clock());
                continue;
            }
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
        let mut plan = planner.with_what_follows(plan, clock());
        let mut running = None;
        if let Some(owner) = self.found_owner().await {
            match owner.is_same_target(&Owner::this(&self.config)) {
                true => running = Some(owner.to_string()),
                false => plan.conditions.push(self.refused_by(&owner)),
            }
        }
        Ok(Outlook { plan, running })
    }

    /// The other driver that manages the same backends.
    async fn found_owner(&self) -> Option<Owner> {
        if self.claim.is_some() {
            return None;
        }
        other_owner(&self.config).await
    }

    /// What a run would say before its first change.
    fn refused_by(&self, owner: &Owner) -> Condition {
        let detail = format!(
            "{owner} manages these backends of HAProxy at {}: while it does, a run is refused",
            self.config.socket
        );
        Condition::new(ConditionKind::Owned, detail)
            .with_help("end that one, or give each its own backends with `manage`")
    }
}

/// A plan, and who applies it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outlook {
    #[serde(flatten)]
    plan: Plan,
    /// The process that runs this very target.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
}

impl Outlook {
    pub(super) fn preview(&self) -> Preview {
        let mut text = self.plan.to_string();
        if let Some(running) = &self.running {
            text.push_str(&format!("running: {running} applies this plan\n"));
        }
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        Preview::new(self.plan.steps().count(), text, json)
    }
}

/// Returns `true` if there is nothing to do yet, or endpoints have no place yet.
fn worth(plan: &Plan) -> bool {
    plan.is_empty() && (!plan.settled || !plan.unmet.is_empty())
}

/// Returns `true` if HAProxy refuses the step where servers keep their configured weight.
fn is_weight(step: &Step) -> bool {
    matches!(step.command, Command::SetWeight(_, weight) if weight.get() != 0)
}

/// The algorithms that hash, as HAProxy shows them: with `hash-type map-based`, the default, they take no weights.
const HASHES: [&str; 6] = ["source", "uri", "url_param", "hdr", "rdp-cookie", "hash"];

/// Learns which backends take no weights: a pass learns it from a weight that is refused, and a plan sends none.
///
/// HAProxy does not show the type of a hash. It is consistent where a server has a weight that only such a hash takes.
async fn learn_fixed_weights(
    client: &mut Client,
    planner: &mut Planner,
) -> Result<(), DriverError> {
    let command = Command::ShowBackendStats;
    let reply = client.exec(&command).await?;
    // Without an answer the weights are taken for settable, as by a pass.
    let stat = live::accept(&command, &reply).ok().map(Stat::parse);
    let rows = stat.and_then(Result::ok).into_iter();
    for row in rows.flat_map(|stat| stat.rows) {
        let Some(algorithm) = row.algorithm.filter(|_| row.kind == StatKind::Backend) else {
            continue;
        };
        let maps = HASHES.contains(&&*algorithm) && !planner.has_set_weight(&row.proxy);
        if &*algorithm == "static-rr" || maps {
            planner.fixed_weights(&row.proxy);
        }
    }
    Ok(())
}
