//! Changes one map, and reads it back.

use std::time::Duration;

use tracing::{debug, warn};

use super::{counters::Counters, error::DriverError, live};
use crate::{
    client::Client,
    plan::{MapStep, Planner},
    proto::{Accepted, Command, MapVersion, Refusal, command_text, parse_map_entries, verdict},
    routes::{MapChange, Transaction},
};

/// Changes the map as the step says and gives the planner what it then has. Returns how many changes were accepted.
pub(super) async fn apply_map(
    client: &mut Client,
    planner: &mut Planner,
    counters: &mut Counters,
    step: &MapStep,
    now: Duration,
) -> Result<usize, DriverError> {
    let outcome = match &step.change {
        MapChange::None => Ok(0),
        MapChange::Steps { commands, .. } => edit(client, commands).await?,
        MapChange::Transaction(transaction) => replace(client, transaction).await?,
    };
    let applied = match outcome {
        Ok(applied) => {
            debug!(map = %step.map, change = %step.change, "changed a map");
            counters.add("map_changes", 1);
            applied
        }
        Err(detail) => {
            warn!(map = %step.map, detail, "a map was not changed");
            counters.add("refused", 1);
            planner.map_refused(&step.map, detail, now);
            0
        }
    };
    live::observe_map(client, planner, &step.map).await?;
    Ok(applied)
}

/// Entry by entry; the first refusal ends it.
async fn edit(
    client: &mut Client,
    commands: &[Command],
) -> Result<Result<usize, String>, DriverError> {
    let replies = live::exec_all(client, commands).await?;
    for (command, reply) in commands.iter().zip(&replies) {
        if let Err(refusal) = verdict(command, reply) {
            return refuse(command, refusal, client);
        }
    }
    Ok(Ok(commands.len()))
}

/// All at once: nothing is seen of it before the commit, and nothing is left of it if that fails.
async fn replace(
    client: &mut Client,
    transaction: &Transaction,
) -> Result<Result<usize, String>, DriverError> {
    let begin = transaction.begin();
    let reply = client.exec(&begin).await?;
    let version = match verdict(&begin, &reply) {
        Ok(Accepted::Version(version)) => version,
        Ok(_) => return Ok(Err("prepare map gave no version".to_owned())),
        Err(refusal) => return refuse(&begin, refusal, client),
    };
    match fill(client, transaction, version).await? {
        Ok(count) => Ok(Ok(count)),
        Err(detail) => {
            client.exec(&transaction.abort(version)).await?;
            Ok(Err(detail))
        }
    }
}

async fn fill(
    client: &mut Client,
    transaction: &Transaction,
    version: MapVersion,
) -> Result<Result<usize, String>, DriverError> {
    let commands = transaction.fill(version);
    match edit(client, &commands).await? {
        Ok(_) => {}
        Err(detail) => return Ok(Err(detail)),
    }
    let check = transaction.check(version);
    let reply = client.exec(&check).await?;
    let entries = parse_map_entries(live::accept(&check, &reply)?)?;
    if let Err(error) = transaction.verify(&entries) {
        return Ok(Err(error.to_string()));
    }
    let commit = transaction.commit(version);
    let reply = client.exec(&commit).await?;
    match verdict(&commit, &reply) {
        Ok(_) => Ok(Ok(entries.len())),
        Err(refusal) => refuse(&commit, refusal, client),
    }
}

fn refuse(
    command: &Command,
    refusal: Refusal,
    client: &Client,
) -> Result<Result<usize, String>, DriverError> {
    match refusal {
        Refusal::ProxyDisabled => Err(DriverError::StaleWorker {
            pid: client.epoch().pid,
        }),
        other => {
            let text: String = command_text(command).chars().take(120).collect();
            Ok(Err(format!("{text:?} was refused: {other}")))
        }
    }
}
