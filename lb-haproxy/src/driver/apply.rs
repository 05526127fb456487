//! Applies a plan: stage by stage, each verified by reading back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::Name;
use tracing::{info, warn};

use super::{
    apply_backend::apply_backend,
    apply_map::apply_map,
    counters::Counters,
    error::DriverError,
    live,
    read_back::{Look, Seen, verify},
};
use crate::{
    client::Client,
    plan::{Expect, Plan, Planner, Stage},
    proto::{Command, Health, Info, Refusal, ServerRef, command_text, encode, verdict},
};

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
    let begun_at = clock();
    let mut applied = 0;
    let mut failed: BTreeSet<Name> = BTreeSet::new();
    let mut seen = Seen::default();
    let mut not_done: Vec<(ServerRef, String)> = Vec::new();
    let mut overruled: Vec<ServerRef> = Vec::new();
    let last = plan.stages.len().saturating_sub(1);
    for (number, stage) in plan.stages.iter().enumerate() {
        for step in &stage.backends {
            match apply_backend(client, planner, counters, step, clock()).await? {
                true => applied += 1,
                false => {
                    failed.insert(step.backend().clone());
                }
            }
        }
        let mut all_taken = true;
        for step in &stage.maps {
            let changes = apply_map(client, planner, counters, step, clock()).await?;
            all_taken &= changes.is_some();
            applied += changes.unwrap_or_default();
        }
        if !all_taken {
            // What comes after may count on the map: the next plan knows that it is as it was.
            break;
        }
        let unsendable = unsendable(stage, &failed);
        let steps: Vec<_> = stage
            .steps
            .iter()
            .filter(|step| !failed.contains(&step.server.backend))
            .filter(|step| !unsendable.contains_key(&step.server))
            .collect();
        if steps.is_empty() && number != last {
            continue;
        }
        let mut commands: Vec<Command> = steps.iter().map(|step| step.command.clone()).collect();
        let asked = commands.len();
        let mut refused: Vec<(ServerRef, Refusal)> = Vec::new();
        let expected: Vec<&Expect> = stage
            .expect
            .iter()
            .filter(|expect| !failed.contains(&expect.server.backend))
            .filter(|expect| !unsendable.contains_key(&expect.server))
            .collect();
        for (server, detail) in unsendable {
            warn!(%server, detail, "a step cannot be sent");
            failed.insert(server.backend.clone());
            counters.add("unsendable", 1);
            not_done.push((server, detail));
        }
        let looks = Look::after(&steps, &expected, planner);
        commands.extend(looks.iter().map(Look::command));
        if number == last {
            commands.push(Command::ShowInfo);
        }
        let moves: Vec<(&ServerRef, SocketAddr)> = steps
            .iter()
            .filter_map(|step| match &step.command {
                Command::SetAddr(server, address) => Some((server, *address)),
                _ => None,
            })
            .collect();
        for step in &steps {
            planner.step_sent(step, clock());
        }
        for (server, address) in &moves {
            planner.address_sent(server, *address, clock());
        }
        for step in &steps {
            match &step.command {
                Command::SetHealth(server, Health::Down) => planner.marked_down(server, clock()),
                Command::SetWeight(server, weight) => planner.weight_sent(server, *weight),
                _ => {}
            }
        }
        let replies = live::exec_all(client, &commands).await?;
        for (step, reply) in steps.iter().zip(&replies) {
            match verdict(&step.command, reply) {
                Ok(_) => {
                    info!(server = %step.server, why = %step.why, "applied: {}", command_text(&step.command));
                    counters.step(&step.command, step.why);
                    applied += 1;
                    match step.command {
                        Command::ShutdownSessions(_) => planner.cut(&step.server, clock()),
                        Command::SetCheckPort(_, port) => {
                            planner.check_port_sent(&step.server, port);
                        }
                        _ => {}
                    }
                }
                Err(refusal) => refused.push((step.server.clone(), refusal)),
            }
        }
        judge_worker(client, &refused)?;
        let answers: Vec<_> = replies.iter().zip(&commands).skip(asked).collect();
        let mut stage_seen = Seen::default();
        for (look, (reply, command)) in looks.iter().zip(&answers) {
            stage_seen.take_in(look, live::accept(command, reply), planner)?;
        }
        if let Some((reply, command)) = answers.get(looks.len()) {
            let info = Info::parse(live::accept(command, reply)?)?;
            if info.stopping || info.epoch() != client.epoch() {
                return Err(DriverError::StaleWorker { pid: info.pid });
            }
        }
        let expected: Vec<&Expect> = expected
            .into_iter()
            .filter(|expect| refused.iter().all(|(server, _)| *server != expect.server))
            .collect();
        let open = verify(client, &expected, &mut stage_seen, planner).await?;
        for (server, _) in &moves {
            planner.address_read(server);
        }
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
            overruled.push(server.clone());
            not_done.push((server, detail));
        }
        seen.append(stage_seen);
    }
    let now = clock();
    planner.asked(begun_at);
    not_done.append(&mut seen.take_unreadable());
    seen.give_to(planner, now);
    for server in overruled {
        planner.step_overruled(&server, now);
    }
    // After what was read: an address may still be on its way, so the servers are read again before anything else.
    for (server, detail) in not_done {
        planner.refused(&server, detail, now);
    }
    Ok(applied)
}

/// The servers of which a step cannot be written, with the reason. None of their steps is sent.
fn unsendable(stage: &Stage, failed: &BTreeSet<Name>) -> BTreeMap<ServerRef, String> {
    let mut scratch = Vec::new();
    let steps = stage.steps.iter();
    steps
        .filter(|step| !failed.contains(&step.server.backend))
        .filter_map(|step| {
            scratch.clear();
            let error = encode(&step.command, &mut scratch).err()?;
            Some((step.server.clone(), error.to_string()))
        })
        .collect()
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
