//! Changes one map, and reads it back.

use std::{error::Error as _, time::Duration};

use tracing::{debug, warn};

use super::{
    counters::Counters,
    error::DriverError,
    live,
    maps::{MapError, apply_change},
};
use crate::{
    client::Client,
    plan::{MapStep, Planner},
    proto::Refusal,
};

/// Changes the map as the step says and gives the planner what it then has. Returns how many changes were accepted, or
/// nothing where one was refused.
pub(super) async fn apply_map(
    client: &mut Client,
    planner: &mut Planner,
    counters: &mut Counters,
    step: &MapStep,
    now: Duration,
) -> Result<Option<usize>, DriverError> {
    let applied = match apply_change(client, &step.change).await {
        Ok(()) => {
            debug!(map = %step.map, change = %step.change, "changed a map");
            counters.add("map_changes", 1);
            Some(step.change.entries().max(1))
        }
        Err(MapError::Client(error)) => return Err(error.into()),
        Err(MapError::Parse(error)) => return Err(error.into()),
        Err(MapError::Refused {
            refusal: Refusal::ProxyDisabled,
            ..
        }) => {
            return Err(DriverError::StaleWorker {
                pid: client.epoch().pid,
            });
        }
        Err(error) => {
            let detail = match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            warn!(map = %step.map, detail, "a map was not changed");
            counters.add("refused", 1);
            planner.map_refused(&step.map, detail, now);
            None
        }
    };
    live::observe_map(client, planner, &step.map).await?;
    Ok(applied)
}
