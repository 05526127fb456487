//! Brings one map of one HAProxy to its wanted entries: observe, decide, apply, verify.

use tracing::debug;

use crate::{
    capability::Capabilities,
    client::{Client, ClientError},
    proto::{
        Accepted, BoundedText, Command, MapEntry, MapName, MapVersion, ParseError, Refusal,
        command_text, parse_map_entries, verdict,
    },
    routes::{MapChange, MapStage, PAUSE, RouteMap, Transaction, TransactionError},
};

/// Makes a map have the wanted entries and reads it back. Returns what had to be changed.
///
/// With nothing to change, one `show map` is all that is sent. Cut anywhere, it leaves the map such that every
/// request finds what it found before or what it is to find; the next call finishes.
///
/// # Errors
/// [`MapError`]; the next call begins by reading what has become of the map.
pub async fn converge_map(
    client: &mut Client,
    map: &MapName,
    wanted: &RouteMap,
    capabilities: &Capabilities,
) -> Result<MapChange, MapError> {
    let observed = entries(client, Command::ShowMap(Some(map.clone()))).await?;
    let change = MapChange::new(map, &observed, wanted, capabilities);
    if change.is_none() {
        return Ok(change);
    }
    debug!(%map, %change, "changing a map");
    apply_change(client, &change).await?;
    let seen = entries(client, Command::ShowMap(Some(map.clone()))).await?;
    match MapChange::new(map, &seen, wanted, capabilities).is_none() {
        true => Ok(change),
        false => Err(MapError::NotInEffect { map: map.clone() }),
    }
}

/// Why a map could not be brought to its wanted entries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The conversation failed.
    #[error("the runtime socket failed")]
    Client(#[from] ClientError),
    /// A reply could not be read.
    #[error("a reply could not be read")]
    Parse(#[from] ParseError),
    /// HAProxy refused a command: the map may not be in its configuration, or someone else changes it too.
    #[error("HAProxy refused `{command}`")]
    Refused {
        /// The command.
        command: String,
        /// Its refusal.
        #[source]
        refusal: Refusal,
    },
    /// The transaction was given up, as it did not hold what was written into it.
    #[error("the transaction was given up")]
    Transaction(#[from] TransactionError),
    /// Everything was accepted, and the map has other entries all the same.
    #[error("map {map} does not have the entries that were written; something else may change it")]
    NotInEffect {
        /// The map.
        map: MapName,
    },
}

/// Sends what a change consists of, and believes it where HAProxy accepts it: read the map to verify.
pub(super) async fn apply_change(client: &mut Client, change: &MapChange) -> Result<(), MapError> {
    for (number, stage) in change.stages.iter().enumerate() {
        if number > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match stage {
            MapStage::Edits(commands) => {
                // A delete uncovers what the writes have prepared, so none goes out before all of those are in.
                let (deletes, writes): (Vec<_>, Vec<_>) = commands
                    .iter()
                    .cloned()
                    .partition(|command| matches!(command, Command::DelMap { .. }));
                run(client, &writes).await?;
                run(client, &deletes).await?;
            }
            MapStage::Transaction(transaction) => replace(client, transaction).await?,
        }
    }
    Ok(())
}

async fn replace(client: &mut Client, transaction: &Transaction) -> Result<(), MapError> {
    let begin = transaction.begin();
    let reply = client.exec(&begin).await?;
    let version = match verdict(&begin, &reply) {
        Ok(Accepted::Version(version)) => version,
        Ok(_) => {
            return Err(refused(
                &begin,
                Refusal::Other(BoundedText::new(reply.text())),
            ));
        }
        Err(refusal) => return Err(refused(&begin, refusal)),
    };
    let filled = fill(client, transaction, version).await;
    if filled.is_err() && client.is_usable() {
        // What is not committed costs memory only, until the next commit; the first error says more than this one.
        let _ignored = client.exec(&transaction.abort(version)).await;
    }
    filled?;
    run(client, &[transaction.commit(version)]).await
}

async fn fill(
    client: &mut Client,
    transaction: &Transaction,
    version: MapVersion,
) -> Result<(), MapError> {
    run(client, &transaction.fill(version)).await?;
    let held = entries(client, transaction.check(version)).await?;
    Ok(transaction.verify(&held)?)
}

async fn run(client: &mut Client, commands: &[Command]) -> Result<(), MapError> {
    let results = client.exec_all(commands).await;
    for (command, reply) in commands.iter().zip(results) {
        verdict(command, &reply?).map_err(|refusal| refused(command, refusal))?;
    }
    Ok(())
}

async fn entries(client: &mut Client, show: Command) -> Result<Vec<MapEntry>, MapError> {
    let reply = client.exec(&show).await?;
    verdict(&show, &reply).map_err(|refusal| refused(&show, refusal))?;
    Ok(parse_map_entries(reply.text())?)
}

fn refused(command: &Command, refusal: Refusal) -> MapError {
    MapError::Refused {
        command: command_text(command),
        refusal,
    }
}
