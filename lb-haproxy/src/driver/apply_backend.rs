//! Makes or removes one backend at run time.

use std::time::Duration;

use tracing::{info, warn};

use super::{counters::Counters, error::DriverError, live};
use crate::{
    client::Client,
    plan::{BackendStep, Planner},
    proto::{Refusal, command_text, verdict},
};

/// Does the step and tells the planner what came of it. Returns whether it was done.
///
/// Both commands go out together, so that hardly anything can come between: a backend without servers may not be
/// published yet, one with servers is.
pub(super) async fn apply_backend(
    client: &mut Client,
    planner: &mut Planner,
    counters: &mut Counters,
    step: &BackendStep,
    now: Duration,
) -> Result<bool, DriverError> {
    let commands = step.commands();
    let replies = live::exec_all(client, &commands).await?;
    for (command, reply) in commands.iter().zip(&replies) {
        match verdict(command, reply) {
            // Half of it may have been done before.
            Ok(_) | Err(Refusal::BackendExists) => {}
            Err(Refusal::NoSuchBackend) if matches!(step, BackendStep::Remove { .. }) => {}
            Err(refusal) => {
                let text = command_text(command);
                warn!(backend = %step.backend(), %refusal, "HAProxy refused `{text}`");
                counters.add("refused", 1);
                planner.backend_refused(step, refusal.to_string(), now);
                return Ok(false);
            }
        }
    }
    for command in &commands {
        info!(backend = %step.backend(), "applied: {}", command_text(command));
    }
    counters.add("steps", 1);
    counters.add(
        match step {
            BackendStep::Create { .. } => "rung_dynamic_backend",
            BackendStep::Remove { .. } => "rung_state",
        },
        1,
    );
    planner.backend_done(step);
    Ok(true)
}
