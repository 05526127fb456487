//! The driver's last rung: decides with the [`Schedule`] and tells what came of it.

#[cfg(feature = "process")]
use lb_core::Notice;
use lb_core::UnmetReason;

#[cfg(feature = "process")]
use super::conversation::identity;
#[cfg(feature = "process")]
use super::grow::{Done, GrowError, grow_by_reload};
use super::haproxy_driver::HaproxyDriver;
#[cfg(feature = "process")]
use crate::{client::ReloadError, growth::Decision};
use crate::{growth::Schedule, plan::Plan};

/// What the driver remembers of reloads.
#[derive(Debug)]
pub(super) struct Ladder {
    #[cfg_attr(
        not(feature = "process"),
        expect(
            dead_code,
            reason = "without `process` no configuration can be checked"
        )
    )]
    schedule: Schedule,
    /// Why the last try did not help, until one does.
    problem: Option<String>,
    /// Whether the present need was told.
    #[cfg(feature = "process")]
    told: bool,
}

impl Ladder {
    /// No reload yet. Targets of different seeds reload at different times.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            schedule: Schedule::new(seed),
            problem: None,
            #[cfg(feature = "process")]
            told: false,
        }
    }

    /// Says with every unmet condition that waits for a reload why there is none.
    pub(super) fn explain(&self, plan: &mut Plan) {
        let Some(problem) = &self.problem else {
            return;
        };
        for unmet in &mut plan.unmet {
            if matches!(
                unmet.reason,
                UnmetReason::NoCapacity | UnmetReason::NoSuchService
            ) {
                unmet.detail.push_str("; not reloaded: ");
                unmet.detail.push_str(problem);
            }
        }
    }
}

impl HaproxyDriver {
    /// Without `process` no configuration can be checked, so none is written.
    #[cfg(not(feature = "process"))]
    pub(super) async fn climb(&mut self, plan: &mut Plan) -> bool {
        if self.config.growth.is_some() && !plan.need.is_empty() {
            self.ladder.problem = Some("lb was built without the feature `process`".to_owned());
        }
        false
    }

    /// Reloads with a larger configuration where nothing less gives what is desired, and tells whether it did.
    #[cfg(feature = "process")]
    pub(super) async fn climb(&mut self, plan: &mut Plan) -> bool {
        let Some(growth) = self.config.growth.clone() else {
            return false;
        };
        let now = self.elapsed();
        match self.ladder.schedule.decide(&plan.need, &growth, now) {
            Decision::Nothing => {
                self.ladder.problem = None;
                self.ladder.told = false;
                return false;
            }
            Decision::Wait(at) => {
                plan.come_back(Some(at));
                if !std::mem::replace(&mut self.ladder.told, true) {
                    let detail = format!("only a reload gives what is needed: {}", plan.need);
                    self.notices.push(Notice::info("reload_wanted", detail));
                }
                return false;
            }
            Decision::Reload => {}
        }
        let (Some(session), Some(known)) = (&mut self.session, &self.knowledge) else {
            return false;
        };
        let begun_at = now;
        self.ladder.schedule.begun(&growth, begun_at);
        let outcome = grow_by_reload(
            &self.config,
            &growth,
            &mut session.client,
            &known.planner,
            &plan.need,
        )
        .await;
        let now = self.elapsed();
        match outcome {
            Ok(done) => {
                self.counters.add("reloads", 1);
                self.ladder.schedule.succeeded();
                self.ladder.problem = None;
                self.ladder.told = false;
                let detail = told(&done);
                self.notices.push(Notice::info("reloaded", detail));
                self.old_workers.look_at_once(now);
                let identity = identity(&self.config.socket);
                self.disconnect();
                self.adopt(done.client, identity, begun_at);
                true
            }
            Err(error) => {
                self.ladder.schedule.failed(&growth, now);
                let detail = error.to_string();
                self.notices
                    .push(Notice::warning("reload_failed", detail.clone()));
                self.ladder.problem = Some(detail);
                self.counters.add("reloads_failed", 1);
                // There may be a new worker all the same: whoever answers now is asked again.
                let unknown = matches!(
                    error,
                    GrowError::Reload {
                        source: ReloadError::Unknown { .. }
                    } | GrowError::Worker { .. }
                );
                if unknown {
                    self.disconnect();
                } else {
                    plan.come_back(self.ladder.next(&plan.need, &growth, now));
                }
                unknown
            }
        }
    }
}

#[cfg(feature = "process")]
impl Ladder {
    fn next(
        &mut self,
        need: &crate::growth::Need,
        growth: &crate::growth::GrowthConfig,
        now: std::time::Duration,
    ) -> Option<std::time::Duration> {
        match self.schedule.decide(need, growth, now) {
            Decision::Wait(at) => Some(at),
            Decision::Nothing | Decision::Reload => None,
        }
    }
}

#[cfg(feature = "process")]
fn told(done: &Done) -> String {
    let Done {
        grown, reloaded, ..
    } = done;
    let mut text = format!("worker {} has taken over", reloaded.worker);
    for (backend, slots) in &grown.slots {
        text.push_str(&format!("; backend {backend} has {} slots", slots.last));
    }
    for backend in &grown.backends {
        text.push_str(&format!("; there is a spare backend {backend}"));
    }
    for left in &grown.left {
        text.push_str(&format!("; {left}"));
    }
    text
}
