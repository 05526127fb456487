//! What was done since the driver began.

use std::collections::BTreeMap;

use crate::{plan::Why, proto::Command};

/// Cumulative counts, by the names they have in status and metrics.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub(super) fn add(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// Counts an accepted step: all, by reason, and by the rung of the ladder it used.
    pub(super) fn step(&mut self, command: &Command, why: Why) {
        self.add("steps", 1);
        self.add(
            match why {
                Why::Create => "steps_create",
                Why::Delete => "steps_delete",
                Why::Fill => "steps_fill",
                Why::Admit => "steps_admit",
                Why::Return => "steps_return",
                Why::Adjust => "steps_adjust",
                Why::Repair => "steps_repair",
                Why::Agent => "steps_agent",
                Why::Drain => "steps_drain",
                Why::Retire => "steps_retire",
                Why::Deadline => "steps_deadline",
                Why::Out => "steps_out",
                Why::Handover => "steps_handover",
                Why::ShutDown => "steps_shut_down",
                Why::Park => "steps_park",
            },
            1,
        );
        let rung = match (command, why) {
            (Command::SetAddr(..), Why::Fill) => "rung_slot",
            (Command::AddServer { .. }, _) => "rung_dynamic_server",
            _ => "rung_state",
        };
        self.add(rung, 1);
    }

    pub(super) fn read(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.0.clone();
        // A reload is the last resort: its absence is worth saying.
        all.entry("reloads").or_default();
        all
    }
}
