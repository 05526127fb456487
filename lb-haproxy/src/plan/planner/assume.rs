//! What a plan leads to, for a preview.

use std::time::Duration;

use super::Planner;
use crate::plan::{Plan, Stage};

/// Plans that a preview looks ahead. Two are enough for a slot that is parked first and filled then.
const MOST_AHEAD: usize = 4;

impl Planner {
    /// Returns the plan together with those that follow it at once, as far as they give endpoints a place that this one
    /// does not.
    ///
    /// A slot that has to be parked before it is filled is no reason to say that only a reload helps. What is assumed is
    /// that each step succeeds; what would have to be read then is not known here and ends it.
    pub(crate) fn with_what_follows(mut self, plan: Plan, now: Duration) -> Plan {
        let mut whole = plan.clone();
        let mut last = plan;
        for _ in 0..MOST_AHEAD {
            if last.is_empty() || whole.unmet.is_empty() {
                break;
            }
            self.assume(&last.stages, now);
            let next = self.plan(now);
            if next.unmet.len() >= whole.unmet.len() {
                if next.is_empty() || !next.reads.is_empty() {
                    break;
                }
                last = next;
                continue;
            }
            let new = |stage: &&Stage| !whole.stages.contains(stage);
            let mut stages: Vec<Stage> = next.stages.iter().filter(new).cloned().collect();
            whole.stages.append(&mut stages);
            whole.unmet.clone_from(&next.unmet);
            whole.need.clone_from(&next.need);
            whole.waits_for_slot.clone_from(&next.waits_for_slot);
            whole.held = next.held;
            last = next;
        }
        whole
    }

    /// Takes in what the stages expect HAProxy to show after them.
    fn assume(&mut self, stages: &[Stage], now: Duration) {
        for expect in stages.iter().flat_map(|stage| &stage.expect) {
            let Some(mut server) = self.server(&expect.server).cloned() else {
                continue;
            };
            server.address = expect.address.or(server.address);
            server.admin = expect.admin.unwrap_or(server.admin);
            server.weight = expect.weight.unwrap_or(server.weight);
            server.running |= expect.running;
            if expect.checking {
                server.check_enabled = true;
                server.check_paused = false;
            }
            self.observe_server(&expect.server.backend, server, now);
        }
    }
}
