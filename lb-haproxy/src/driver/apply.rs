//! Applies a plan: stage by stage, each verified by reading back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::Name;
use tracing::{info, warn};

use super::{apply_map::apply_map, counters::Counters, error::DriverError, live};
use crate::{
    client::Client,
    observed::Server,
    plan::{Expect, Plan, Planner},
    proto::{AdminState, Command, Info, Refusal, ServerRef, ServersState, command_text, verdict},
};

/// Pauses, in milliseconds, before reading again an address that HAProxy applies in its own time: mostly that is within
/// a round trip or two. Their sum bounds the wait.
const READ_AGAIN: [u64; 13] = [0, 0, 0, 0, 1, 1, 2, 5, 10, 20, 50, 100, 200];

/// Above this many backends, all are read back at once.
const SINGLE_BACKENDS: usize = 32;

/// Applies `plan` and gives the planner what HAProxy then shows. Returns how many steps were accepted.
///
/// A backend in which anything was refused or not verified is left out of the later stages: the next plan, made from
/// what was read back, decides about it anew.
pub(super) async fn apply(
    client: &mut Client,
    planner: &mut Planner,
    counters: &mut Counters,
    plan: &Plan,
    clock: impl Fn() -> Duration,
) -> Result<usize, DriverError> {
    let mut applied = 0;
    let mut failed: BTreeSet<Name> = BTreeSet::new();
    let mut seen: BTreeMap<Name, Vec<Server>> = BTreeMap::new();
    let mut not_done: Vec<(ServerRef, String)> = Vec::new();
    let last = plan.stages.len().saturating_sub(1);
    for (number, stage) in plan.stages.iter().enumerate() {
        for step in &stage.maps {
            applied += apply_map(client, planner, counters, step, clock()).await?;
        }
        let steps: Vec<_> = stage
            .steps
            .iter()
            .filter(|step| !failed.contains(&step.server.backend))
            .collect();
        if steps.is_empty() && number != last {
            continue;
        }
        let touched: BTreeSet<Name> = steps
            .iter()
            .map(|step| step.server.backend.clone())
            .collect();
        let mut commands: Vec<Command> = steps.iter().map(|step| step.command.clone()).collect();
        let asked = commands.len();
        let mut refused: Vec<(ServerRef, Refusal)> = Vec::new();
        read_back_commands(&touched, &mut commands);
        if number == last {
            commands.push(Command::ShowInfo);
        }
        let replies = live::exec_all(client, &commands).await?;
        for (step, reply) in steps.iter().zip(&replies) {
            match verdict(&step.command, reply) {
                Ok(_) => {
                    info!(server = %step.server, why = %step.why, "applied: {}", command_text(&step.command));
                    counters.step(&step.command, step.why);
                    applied += 1;
                    if matches!(step.command, Command::ShutdownSessions(_)) {
                        planner.cut(&step.server, clock());
                    }
                }
                Err(refusal) => refused.push((step.server.clone(), refusal)),
            }
        }
        judge_worker(client, &refused)?;
        let mut states = BTreeMap::new();
        let mut rest = replies.iter().zip(&commands).skip(asked);
        for (reply, command) in rest.by_ref() {
            match command {
                Command::ShowInfo => {
                    let info = Info::parse(live::accept(command, reply)?)?;
                    if info.stopping || info.epoch() != client.epoch() {
                        return Err(DriverError::StaleWorker { pid: info.pid });
                    }
                }
                _ => take_states(&mut states, live::accept(command, reply)?)?,
            }
        }
        let expected: Vec<&Expect> = stage
            .expect
            .iter()
            .filter(|expect| !failed.contains(&expect.server.backend))
            .filter(|expect| refused.iter().all(|(server, _)| *server != expect.server))
            .collect();
        let open = verify(client, &expected, &mut states).await?;
        for (server, refusal) in refused {
            warn!(%server, %refusal, "HAProxy refused a step");
            failed.insert(server.backend.clone());
            counters.add("refused", 1);
            if refusal == Refusal::FixedWeight {
                planner.fixed_weights(&server.backend);
                continue;
            }
            let missing = matches!(refusal, Refusal::NoSuchBackend | Refusal::NoSuchServer);
            if !missing {
                not_done.push((server, refusal.to_string()));
            }
        }
        for (server, detail) in open {
            warn!(%server, detail, "a step was accepted but did not take effect");
            failed.insert(server.backend.clone());
            counters.add("unverified", 1);
            not_done.push((server, detail));
        }
        seen.append(&mut states);
    }
    let now = clock();
    for (backend, servers) in seen {
        planner.observe(&backend, servers, now);
    }
    // After what was read: an address may still be on its way, so the servers are read again before anything else.
    for (server, detail) in not_done {
        planner.refused(&server, detail, now);
    }
    Ok(applied)
}

/// Refusals that say something of the whole conversation end it.
fn judge_worker(client: &Client, refused: &[(ServerRef, Refusal)]) -> Result<(), DriverError> {
    for (server, refusal) in refused {
        match refusal {
            Refusal::ProxyDisabled => {
                return Err(DriverError::StaleWorker {
                    pid: client.epoch().pid,
                });
            }
            Refusal::PermissionDenied => {
                return Err(DriverError::Forbidden {
                    server: server.clone(),
                    refusal: refusal.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads back until every expectation holds or the time for it is over; tells those that do not hold.
async fn verify(
    client: &mut Client,
    expected: &[&Expect],
    states: &mut BTreeMap<Name, Vec<Server>>,
) -> Result<Vec<(ServerRef, String)>, DriverError> {
    let mut open = unfulfilled(expected, states);
    for pause in READ_AGAIN {
        if open.is_empty() {
            break;
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let backends: BTreeSet<Name> = open
            .iter()
            .map(|(expect, _)| expect.server.backend.clone())
            .collect();
        let mut commands = Vec::new();
        read_back_commands(&backends, &mut commands);
        for (reply, command) in live::exec_all(client, &commands)
            .await?
            .iter()
            .zip(&commands)
        {
            take_states(states, live::accept(command, reply)?)?;
        }
        open = unfulfilled(expected, states);
    }
    Ok(open
        .into_iter()
        .map(|(expect, detail)| (expect.server.clone(), detail))
        .collect())
}

fn unfulfilled<'e>(
    expected: &[&'e Expect],
    states: &BTreeMap<Name, Vec<Server>>,
) -> Vec<(&'e Expect, String)> {
    let mut index: BTreeMap<(&Name, &Name), &Server> = BTreeMap::new();
    for (backend, servers) in states {
        index.extend(
            servers
                .iter()
                .map(|server| ((backend, &server.name), server)),
        );
    }
    expected
        .iter()
        .filter_map(|expect| {
            let key = (&expect.server.backend, &expect.server.server);
            let Some(server) = index.get(&key) else {
                if expect.gone {
                    return None;
                }
                return Some((
                    *expect,
                    "HAProxy does not show the server any more".to_owned(),
                ));
            };
            mismatch(expect, server).map(|detail| (*expect, detail))
        })
        .collect()
}

fn mismatch(expect: &Expect, server: &Server) -> Option<String> {
    if expect.gone {
        return Some("the server is still there".to_owned());
    }
    if let Some(address) = expect.address
        && server.address != Some(address)
    {
        let shown = server
            .address
            .map_or_else(|| "none".to_owned(), |shown| shown.to_string());
        return Some(format!("address reads back as {shown}, expected {address}"));
    }
    if let Some(admin) = expect.admin
        && server.admin != admin
    {
        let (shown, expected) = (state_word(server.admin), state_word(admin));
        return Some(format!("state reads back as {shown}, expected {expected}"));
    }
    if let Some(weight) = expect.weight
        && server.weight != weight
    {
        return Some(format!(
            "weight reads back as {}, expected {weight}",
            server.weight
        ));
    }
    None
}

fn state_word(admin: AdminState) -> &'static str {
    match admin {
        AdminState::Drain => "drain",
        AdminState::Maint => "maint",
        AdminState::Ready => "ready",
    }
}

fn read_back_commands(backends: &BTreeSet<Name>, commands: &mut Vec<Command>) {
    if backends.len() > SINGLE_BACKENDS {
        commands.push(Command::ShowServersState(None));
    } else {
        commands.extend(
            backends
                .iter()
                .map(|backend| Command::ShowServersState(Some(backend.clone()))),
        );
    }
}

fn take_states(states: &mut BTreeMap<Name, Vec<Server>>, text: &str) -> Result<(), DriverError> {
    let mut fresh: BTreeMap<Name, Vec<Server>> = BTreeMap::new();
    for row in ServersState::parse(text)?.rows {
        match fresh.get_mut(&row.backend) {
            Some(servers) => servers.push(row.into()),
            None => {
                fresh.insert(row.backend.clone(), vec![row.into()]);
            }
        }
    }
    states.append(&mut fresh);
    Ok(())
}
