//! One conversation with one worker, and what was learnt in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::Name;

use super::{
    error::DriverError,
    known_slots::read_backups,
    shown::{Shown, too_much},
};
use crate::{
    client::{Client, ClientError},
    observed::{Gauges, Server},
    plan::{Planner, Read},
    proto::{
        Command, MapEntry, MapName, Reply, ServerRef, ServersConn, Stat, command_text,
        parse_map_entries, parse_maps, verdict,
    },
};

/// Above this many servers to look at, the whole backend is read at once.
const SINGLE_STATS: usize = 8;

/// The most entries of a map, others' entries included.
const MOST_ENTRIES: usize = 500_000;

/// Reads all servers of all backends and gives them to the planner. Backends that are gone become empty.
pub(super) async fn observe_all(
    client: &mut Client,
    planner: &mut Planner,
    clock: &impl Fn() -> Duration,
) -> Result<(), DriverError> {
    planner.forget_gone();
    planner.asked(clock());
    let shown = read_states(client, None, planner).await?;
    let mut names: Option<Vec<Name>> = None;
    if planner.makes_backends() {
        let command = Command::ShowBackend;
        let reply = client.exec(&command).await?;
        let lines = accept(&command, &reply)?.lines().skip(1);
        names = Some(lines.filter_map(|line| line.trim().parse().ok()).collect());
    }
    take_all(planner, shown, names.as_deref(), clock());
    Ok(())
}

/// Takes in the servers of all backends, and the names of all backends where those were asked for.
pub(super) fn take_all(planner: &mut Planner, shown: Shown, names: Option<&[Name]>, now: Duration) {
    let mut by_backend: BTreeMap<Name, Vec<Server>> = planner
        .backends()
        .map(|name| (name.clone(), Vec::new()))
        .collect();
    if let Some(names) = names {
        planner.observe_backends(names);
    }
    let Shown {
        mut backends,
        others,
        unreadable,
    } = shown;
    by_backend.append(&mut backends);
    planner.observe_others(others);
    for (backend, servers) in by_backend {
        planner.observe(&backend, servers, now);
    }
    leave_alone(planner, unreadable, now);
}

/// Nothing is done to servers of whose line something could not be read.
fn leave_alone(planner: &mut Planner, unreadable: BTreeMap<ServerRef, String>, now: Duration) {
    for (server, problem) in unreadable {
        planner.refused(&server, problem, now);
    }
}

/// Reads which maps there are and what those that matter have.
pub(super) async fn observe_maps(
    client: &mut Client,
    planner: &mut Planner,
) -> Result<(), DriverError> {
    let command = Command::ShowMap(None);
    let reply = client.exec(&command).await?;
    let files: Vec<MapName> = parse_maps(accept(&command, &reply)?)?
        .into_iter()
        // A file whose name cannot be written in a command is none of ours.
        .filter_map(|map| map.file.parse().ok())
        .collect();
    planner.observe_maps(&files);
    for map in planner.maps() {
        observe_map(client, planner, &map).await?;
    }
    planner.maps_observed();
    Ok(())
}

/// Reads one map.
pub(super) async fn observe_map(
    client: &mut Client,
    planner: &mut Planner,
    map: &MapName,
) -> Result<(), DriverError> {
    let entries = map_entries(client, map).await?;
    planner.observe_map(map, entries);
    tokio::task::yield_now().await;
    Ok(())
}

/// The entries of one map.
pub(super) async fn map_entries(
    client: &mut Client,
    map: &MapName,
) -> Result<Vec<MapEntry>, DriverError> {
    let command = Command::ShowMap(Some(map.clone()));
    let reply = client.exec(&command).await?;
    let text = accept(&command, &reply)?;
    if text.lines().nth(MOST_ENTRIES).is_some() {
        return Err(too_much(MOST_ENTRIES, "entries of a map"));
    }
    Ok(parse_map_entries(text)?)
}

/// Reads the servers of some backends.
pub(super) async fn observe_backends(
    client: &mut Client,
    planner: &mut Planner,
    backends: &BTreeSet<Name>,
    clock: &impl Fn() -> Duration,
) -> Result<(), DriverError> {
    for backend in backends {
        planner.asked(clock());
        let shown = match read_states(client, Some(backend), planner).await {
            Err(DriverError::Refused {
                refusal: crate::proto::Refusal::NoSuchBackend,
                ..
            }) => Shown::default(),
            shown => shown?,
        };
        take_backend(planner, backend, shown, clock());
    }
    Ok(())
}

/// Takes in the servers of one backend.
pub(super) fn take_backend(planner: &mut Planner, backend: &Name, mut shown: Shown, now: Duration) {
    let servers = shown.backends.remove(backend).unwrap_or_default();
    planner.observe(backend, servers, now);
    leave_alone(planner, shown.unreadable, now);
}

/// Reads what the plan asks for.
pub(super) async fn read(
    client: &mut Client,
    planner: &mut Planner,
    reads: &[Read],
    clock: &impl Fn() -> Duration,
) -> Result<(), DriverError> {
    let mut states = BTreeSet::new();
    for read in reads {
        match read {
            Read::States(backend) => {
                states.insert(backend.clone());
            }
            Read::Backups(backend) => read_backups(client, planner, backend).await?,
            // What is beside HAProxy is looked at by the driver.
            Read::ReloadIsSafe(_) => {}
            Read::Gauges(backend, ids) => read_gauges(client, planner, backend, ids, clock).await?,
        }
    }
    observe_backends(client, planner, &states, clock).await
}

async fn read_gauges(
    client: &mut Client,
    planner: &mut Planner,
    backend: &Name,
    ids: &[u32],
    clock: &impl Fn() -> Duration,
) -> Result<(), DriverError> {
    planner.asked(clock());
    let mut commands: Vec<Command> = if ids.len() <= SINGLE_STATS {
        ids.iter()
            .map(|id| Command::ShowStat(backend.clone(), Some(*id)))
            .collect()
    } else {
        vec![Command::ShowStat(backend.clone(), None)]
    };
    if planner.is_exclusive(backend) {
        // A session is counted a moment after its thread has opened it, and no longer a moment before it has closed it.
        commands.insert(0, Command::AwaitThreads);
        commands.push(Command::AwaitThreads);
    }
    let wanted: BTreeSet<u32> = ids.iter().copied().collect();
    let mut gauges: BTreeMap<Name, (u32, Gauges)> = BTreeMap::new();
    let mut connections_told = true;
    for (command, reply) in commands.iter().zip(exec_all(client, &commands).await?) {
        let text = accept(command, &reply)?;
        if *command == Command::AwaitThreads {
            continue;
        }
        let stat = Stat::parse(text)?;
        for row in &stat.rows {
            if let Some(id) = row.id.filter(|id| wanted.contains(id)) {
                connections_told &= row.used_connections.is_some();
                gauges.insert(row.name.clone(), (id, Gauges::of(row)));
            }
        }
    }
    if !connections_told {
        // Before 2.3 only this command tells the connections.
        let command = Command::ShowServersConn(Some(backend.clone()));
        let reply = client.exec(&command).await?;
        for row in ServersConn::parse(accept(&command, &reply)?)?.rows {
            if let Some((_, known)) = gauges.get_mut(&row.server.server) {
                known.used = u64::from(row.used);
                known.idle = u64::from(row.idle);
            }
        }
    }
    let now = clock();
    for (id, gauges) in gauges.into_values() {
        planner.observe_gauges(backend, id, gauges, now);
    }
    Ok(())
}

/// Sends commands together; all replies, or the first thing that went wrong.
pub(super) async fn exec_all(
    client: &mut Client,
    commands: &[Command],
) -> Result<Vec<Reply>, ClientError> {
    client.exec_all(commands).await.into_iter().collect()
}

async fn read_states(
    client: &mut Client,
    backend: Option<&Name>,
    planner: &Planner,
) -> Result<Shown, DriverError> {
    let command = Command::ShowServersState(backend.cloned());
    let reply = client.exec(&command).await?;
    Shown::of_all(accept(&command, &reply)?, planner).await
}

/// The text of a reply that was asked for and given.
pub(super) fn accept<'r>(command: &Command, reply: &'r Reply) -> Result<&'r str, DriverError> {
    match verdict(command, reply) {
        Ok(_) => Ok(reply.text()),
        Err(refusal) => Err(DriverError::Refused {
            command: command_text(command),
            refusal,
        }),
    }
}
