//! Agents that let a server in and out while nobody reads it.

use std::time::Duration;

use lb_core::{Endpoint, Mode, Snapshot, Unmet, UnmetReason, Weight, model::SnapshotEdit};
use lb_haproxy::{
    observed::Gauges,
    plan::Planner,
    proto::{AdminState, Command},
};

use crate::{address, model::Model, name, planner, planner_of};

/// A HAProxy that serves the endpoints of this edit from slots that all have agents, its planner, and what it serves.
fn served(services: &[&str], edit: impl FnOnce(&mut SnapshotEdit)) -> (Model, Planner, Snapshot) {
    let mut model = Model::new(services, 2, false);
    for server in model.backends.values_mut().flatten() {
        server.has_agent = true;
    }
    let mut planner = planner();
    let desired = desire(&mut planner, edit);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    (model, planner, desired)
}

/// Gives a new planner its first desired state.
fn desire(planner: &mut Planner, edit: impl FnOnce(&mut SnapshotEdit)) -> Snapshot {
    let nothing = Snapshot::default();
    let mut first = nothing.edit();
    edit(&mut first);
    let desired = first.commit().unwrap();
    let changes = desired.changes_since(nothing.generation());
    planner.desire(&nothing, &desired, &changes);
    desired
}

/// I1: a server that its agent keeps in maintenance may have served until just before it was read again, so it rests
/// from when its agent is silent, not from when it was first seen there.
#[test]
fn case_p10_a_server_rests_from_when_its_agent_is_silent() {
    let (mut model, mut planner, wanted) = served(&["web"], |edit| {
        edit.set_endpoint(&name("web"), &name("a"), Endpoint::new(address(1)));
    });
    let servers = model.backends.get_mut(&name("web")).unwrap();
    let held = servers
        .iter_mut()
        .find(|server| server.address == Some(address(1)))
        .unwrap();
    assert!(held.agent_enabled);
    held.admin = AdminState::Maint;
    held.running = false;
    model.observe(&mut planner);
    let plan = planner.plan(model.now);
    assert!(plan.is_empty(), "{plan}");

    // Its agent lets it in and out again, which no reading shows, and then its source drops it.
    model.now += Duration::from_secs(60);
    let let_out = model.now;
    let mut edit = wanted.edit();
    edit.remove_endpoint(&name("web"), &name("a"));
    let none = edit.commit().unwrap();
    planner.desire(&wanted, &none, &none.changes_since(wanted.generation()));
    let mut parked_at = None;
    model.converge(&mut planner, |model, command, _| {
        if let Command::SetAddr(..) = command {
            parked_at = Some(model.now);
        }
    });
    let rested = parked_at.unwrap() - let_out;
    assert!(rested >= Duration::from_millis(50), "after {rested:?}");
}

/// I1: an address does not enter another service while the agent of the server that had it could still let that one in,
/// also where the plan that silences the agent is never carried out.
#[test]
fn case_p10_an_address_stays_where_an_agent_could_let_it_in() {
    let (mut model, mut planner, wanted) = served(&["web", "api"], |edit| {
        edit.set_endpoint(&name("web"), &name("a"), Endpoint::new(address(1)));
    });

    let web = model.backends.get_mut(&name("web")).unwrap();
    let mut held = web.iter_mut().filter(|server| server.agent_enabled);
    held.next().unwrap().admin = AdminState::Maint;
    let mut edit = wanted.edit();
    edit.remove_endpoint(&name("web"), &name("a"));
    edit.set_endpoint(&name("api"), &name("a"), Endpoint::new(address(1)));
    let moved = edit.commit().unwrap();
    planner.desire(&wanted, &moved, &moved.changes_since(wanted.generation()));
    // Gauges that were read while it rested say nothing of what its agent may do next.
    for _ in 0..20 {
        model.now += Duration::from_secs(1);
        model.observe(&mut planner);
        let plan = planner.plan(model.now);
        let lets_in = |command: &Command| matches!(command, Command::SetState(server, AdminState::Ready) if server.backend == name("api"));
        let admits = plan.steps().any(|step| lets_in(&step.command));
        assert!(!admits, "{plan}");
        model.now += Duration::from_secs(1);
        for server in &model.backends[&name("web")] {
            planner.observe_gauges(&name("web"), server.id, Gauges::default(), model.now);
        }
    }
    model.converge(&mut planner, |_, _, _| {});
    assert_eq!(model.serving(&name("api")), [address(1)].into());
}

/// An exclusive service whose server is drained by its agent: the agent stays in charge, also while another client may
/// have changed the other servers since they were read.
#[test]
fn case_p10_the_one_that_may_serve_stays_drained_by_its_agent() {
    let (mut model, mut planner, _) = served(&["db"], |edit| {
        edit.set_service(&name("db"), Mode::Tcp);
        edit.set_exclusive(&name("db"), true);
        edit.set_endpoint(&name("db"), &name("a"), Endpoint::new(address(1)));
    });
    let servers = model.backends.get_mut(&name("db")).unwrap();
    let drained = servers
        .iter_mut()
        .find(|server| server.agent_enabled)
        .unwrap();
    drained.admin = AdminState::Drain;
    model.now += Duration::from_secs(10);
    model.observe(&mut planner);
    model.now += Duration::from_millis(1);
    planner.outdate(model.now);
    for _ in 0..20 {
        let plan = planner.plan(model.now);
        assert!(plan.is_empty(), "{plan}");
        model.read(&mut planner, &plan);
        model.now += Duration::from_secs(1);
        model.observe(&mut planner);
        planner.outdate(model.now + Duration::from_millis(1));
    }
}

/// Endpoints in a backend of slots with agents, on a HAProxy that makes servers at run time: all that is sent until nothing
/// is left to do, and what is then unmet.
fn settle(model: &mut Model, endpoints: &[&str]) -> (Vec<Command>, Vec<Unmet>) {
    for server in model.backends.get_mut(&name("web")).unwrap() {
        server.has_agent = true;
        server.agent_enabled = true;
    }
    let mut planner = planner_of(3, 2);
    desire(&mut planner, |edit| {
        for (number, id) in (1..).zip(endpoints) {
            edit.set_endpoint(&name("web"), &name(id), Endpoint::new(address(number)));
        }
    });
    model.observe(&mut planner);
    let mut sent = Vec::new();
    let last = model.converge(&mut planner, |_, command, _| sent.push(command.clone()));
    (sent, last.unmet.clone())
}

/// An empty slot whose agent is on is let in by it, at the address of its parking place.
#[test]
fn case_p10_the_agents_of_empty_slots_are_switched_off() {
    let mut model = Model::new(&["web"], 4, false);
    settle(&mut model, &["a"]);
    for server in &model.backends[&name("web")] {
        let serves = server.address == Some(address(1));
        assert_eq!(server.agent_enabled, serves, "{server:?}");
    }
}

/// Slots that their agents have let in are emptied first: a server made at run time has no agent, so what the agent says
/// would be lost.
#[test]
fn case_p10_no_server_is_made_while_slots_with_agents_are_emptied() {
    let mut model = Model::new(&["web"], 2, false);
    for server in model.backends.get_mut(&name("web")).unwrap() {
        server.admin = AdminState::Ready;
        server.running = true;
    }
    let (sent, unmet) = settle(&mut model, &["a"]);
    assert!(!sent.iter().any(makes_server), "{sent:?}");
    assert_eq!(unmet, []);
    assert_eq!(model.serving(&name("web")), [address(1)].into());
}

#[test]
fn case_p10_an_endpoint_without_a_slot_beside_agents_is_told_why() {
    let mut model = Model::new(&["web"], 1, false);
    let (sent, unmet) = settle(&mut model, &["a", "b"]);
    assert!(!sent.iter().any(makes_server), "{sent:?}");
    let [unmet] = &unmet[..] else {
        panic!("{unmet:?}");
    };
    assert_eq!(unmet.reason, UnmetReason::NoCapacity);
    assert!(unmet.detail.contains("no agent check"), "{unmet:?}");
}

fn makes_server(command: &Command) -> bool {
    matches!(command, Command::AddServer { .. })
}

/// What an agent does to a weight counts from when it is heard, also where the source changed the weight to what the server
/// had already.
#[test]
fn case_p10_a_weight_that_needs_no_command_is_the_agents_too() {
    let mut model = Model::new(&["web"], 1, false);
    for server in model.backends.get_mut(&name("web")).unwrap() {
        server.has_agent = true;
    }
    let mut planner = planner();
    let old = Snapshot::default();
    let mut edit = old.edit();
    let heavy = Endpoint::new(address(1));
    edit.set_endpoint(&name("web"), &name("a"), heavy.clone());
    let wanted = edit.commit().unwrap();
    planner.desire(&old, &wanted, &wanted.changes_since(old.generation()));
    model.observe(&mut planner);
    // It gets its address, and before it is admitted its source wants the weight that slots have.
    let plan = planner.plan(model.now);
    let fill = plan
        .steps()
        .find(|step| matches!(step.command, Command::SetAddr(..)));
    model.carry_out(&mut planner, fill.unwrap());
    model.observe(&mut planner);
    planner.plan(model.now);
    let mut edit = wanted.edit();
    let light = heavy.with_weight(Weight::new(1).unwrap());
    edit.set_endpoint(&name("web"), &name("a"), light);
    let lighter = edit.commit().unwrap();
    planner.desire(
        &wanted,
        &lighter,
        &lighter.changes_since(wanted.generation()),
    );
    model.converge(&mut planner, |_, _, _| {});
    let server = &mut model.backends.get_mut(&name("web")).unwrap()[0];
    assert!(server.agent_enabled && server.weight == 1);
    server.weight = 0;
    model.observe(&mut planner);
    let plan = planner.plan(model.now);
    assert!(plan.is_empty(), "the agent says so: {plan}");
}
