//! Who is taken out, and when.

use std::time::Duration;

use lb_core::{EndpointState, model::Changes};
use lb_haproxy::{
    observed::{Gauges, Server},
    plan::{Planner, Read},
    policy::Policy,
    proto::{AdminState, Command, Health, ServerRef},
};

use crate::{
    DRAINING, HOUR, address, commands, desired, desired_in_state, desired_of, drains, name,
    planner, readies, server,
};

#[test]
fn i8_the_time_of_a_drain_found_running_begins_when_it_is_found() {
    let mut planner = planner((3, 2), &desired(&[("a", &[])]));
    let mut draining = server("slot1", 1, 1, AdminState::Drain);
    // Since 3.0 this counts from when the server came up.
    draining.unchanged_secs = 3000;
    planner.observe(&name("a"), vec![draining], HOUR);
    let busy = Gauges {
        sessions: 1,
        used: 1,
        ..Gauges::default()
    };
    planner.observe_gauges(&name("a"), 1, busy, HOUR);
    assert!(planner.plan(HOUR).is_empty());
    let over = HOUR + Policy::default().drain_timeout;
    let cut = commands(&planner.plan(over));
    assert!(
        cut.iter()
            .any(|command| matches!(command, Command::ShutdownSessions(_))),
        "{cut:?}"
    );
}

/// Its agent drained it long ago, and may have let it in again since it was read: it has its time nevertheless.
#[test]
fn i8_the_time_of_one_that_its_agent_drained_begins_when_it_is_to_leave() {
    let before = desired(&[("a", &[(1, 100)])]);
    let mut planner = planner((3, 2), &before);
    let mut drained = server("slot1", 1, 1, AdminState::Drain);
    (drained.has_agent, drained.agent_enabled) = (true, true);
    planner.observe(&name("a"), vec![drained], HOUR);
    planner.plan(HOUR);
    let busy = Gauges {
        sessions: 1,
        used: 1,
        ..Gauges::default()
    };
    let removed = HOUR * 3;
    planner.observe_gauges(&name("a"), 1, busy, removed);
    planner.desire(&before, &desired(&[("a", &[])]), &Changes::Everything);
    let cuts = |planner: &mut Planner, now| {
        let commands = commands(&planner.plan(now));
        let cut = |command: &Command| matches!(command, Command::ShutdownSessions(_));
        commands.iter().any(cut)
    };
    assert!(!cuts(&mut planner, removed));
    assert!(cuts(
        &mut planner,
        removed + Policy::default().drain_timeout
    ));
}

#[test]
fn a_drain_without_end_ends_with_its_requests() {
    let grace = Some(Duration::MAX);
    let mut planner = planner((3, 2), &desired_in_state(EndpointState::Draining { grace }));
    let draining = vec![server("slot1", 1, 1, AdminState::Drain)];
    planner.observe(&name("a"), draining, HOUR);
    let busy = Gauges {
        sessions: 1,
        ..Gauges::default()
    };
    planner.observe_gauges(&name("a"), 1, busy, HOUR);
    assert!(planner.plan(HOUR).is_empty());
    let later = HOUR * 1000;
    planner.observe_gauges(&name("a"), 1, Gauges::default(), later);
    let commands = commands(&planner.plan(later));
    assert!(
        matches!(&commands[..], [Command::SetState(_, AdminState::Maint)]),
        "{commands:?}"
    );
}

#[test]
fn i12_an_endpoint_that_is_refused_keeps_the_last_one_in_place() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    let servers = vec![
        server("slot1", 1, 1, AdminState::Ready),
        server("slot2", 2, 2, AdminState::Maint),
    ];
    planner.observe(&name("a"), servers, HOUR);
    let at = ServerRef::new(name("a"), name("slot2"));
    planner.refused(&at, "not now".to_owned(), HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(!drains(&commands, "a/slot1"), "{commands:?}");
}

#[test]
fn i12_an_endpoint_that_loses_its_weight_is_nobody_who_stays() {
    let desired = desired_of(&[
        ("a", 1, EndpointState::Ready, 0),
        ("a", 2, DRAINING, 100),
        ("a", 3, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &desired);
    let mut servers = vec![
        server("slot1", 1, 1, AdminState::Ready),
        server("slot2", 2, 2, AdminState::Ready),
        Server::slot(name("slot3"), 3),
    ];
    for server in &mut servers {
        server.checked = true;
        server.check_paused = server.admin == AdminState::Maint;
    }
    planner.observe(&name("a"), servers, HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(readies(&commands, "a/slot3"), "{commands:?}");
    assert!(!drains(&commands, "a/slot2"), "{commands:?}");
}

#[test]
fn i12_nobody_is_taken_out_because_of_a_check_heard_in_an_earlier_pass() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    let servers = |running: bool| {
        let leaver = server("slot1", 1, 1, AdminState::Ready);
        let mut stayer = server("slot2", 2, 2, AdminState::Ready);
        stayer.checked = true;
        stayer.check_enabled = true;
        stayer.check_paused = false;
        stayer.running = running;
        vec![leaver, stayer]
    };
    planner.observe(&name("a"), servers(true), HOUR);
    let later = HOUR + Duration::from_secs(1);
    planner.outdate(later);
    let plan = planner.plan(later);
    assert!(commands(&plan).is_empty() && !plan.settled, "{plan}");
    assert_eq!(plan.reads, [Read::States(name("a"))]);
    // Found down, it is on its way in: the other one stays for it.
    planner.observe(&name("a"), servers(false), later);
    assert!(!drains(&commands(&planner.plan(later)), "a/slot1"));
    planner.observe(&name("a"), servers(true), later);
    assert!(drains(&commands(&planner.plan(later)), "a/slot1"));
}

#[test]
fn i12_the_last_but_one_leaves_only_when_the_last_was_just_seen() {
    let (draining, ready) = (DRAINING, EndpointState::Ready);
    let endpoints = [
        ("a", 1, draining, 100),
        ("a", 2, draining, 100),
        ("a", 3, ready, 100),
    ];
    let mut planner = planner((3, 2), &desired_of(&endpoints));
    let servers = |running: bool| {
        let mut first = server("slot1", 1, 1, AdminState::Ready);
        (first.checked, first.check_enabled) = (true, true);
        let mut last = first.clone();
        (last.name, last.id, last.address) = (name("slot2"), 2, Some(address(2)));
        last.running = running;
        vec![first, last, server("slot3", 3, 3, AdminState::Maint)]
    };
    planner.observe(&name("a"), servers(true), HOUR);
    let third = ServerRef::new(name("a"), name("slot3"));
    planner.refused(&third, "not now".to_owned(), HOUR);
    let soon = HOUR + Duration::from_millis(1);
    planner.outdate(soon);
    let plan = planner.plan(soon);
    assert!(!drains(&commands(&plan), "a/slot1"), "{plan}");
    assert_eq!(plan.reads, [Read::States(name("a"))]);
    for (running, leaves) in [(false, false), (true, true)] {
        planner.observe(&name("a"), servers(running), soon);
        let commands = commands(&planner.plan(soon));
        assert_eq!(drains(&commands, "a/slot1"), leaves, "{commands:?}");
    }
}

#[test]
fn i12_a_server_whose_check_is_to_pass_again_is_nobody_who_stays() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    // Its admission was cut after its weight was taken, and somebody drained it.
    let mut returning = server("slot2", 2, 2, AdminState::Drain);
    returning.checked = true;
    returning.weight = 0;
    let servers = vec![server("slot1", 1, 1, AdminState::Ready), returning];
    planner.observe(&name("a"), servers, HOUR);
    let plan = planner.plan(HOUR);
    assert!(readies(&commands(&plan), "a/slot2"), "{plan}");
    assert!(!drains(&commands(&plan), "a/slot1"), "{plan}");
    assert_eq!(plan.held, 1, "{plan}");
}

#[test]
fn i8_every_server_of_an_endpoint_that_is_down_is_taken_out_at_once() {
    let desired = desired_of(&[
        ("a", 1, EndpointState::Down, 100),
        ("a", 2, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &desired);
    let servers = vec![
        server("slot1", 1, 1, AdminState::Ready),
        server("slot2", 2, 2, AdminState::Ready),
        server("slot3", 3, 1, AdminState::Ready),
        server("slot4", 4, 1, AdminState::Drain),
    ];
    planner.observe(&name("a"), servers, HOUR);
    let mut out: Vec<String> = commands(&planner.plan(HOUR))
        .into_iter()
        .map(|command| match command {
            Command::SetState(server, AdminState::Maint) => server.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    out.sort();
    assert_eq!(out, ["a/slot1", "a/slot3", "a/slot4"]);
}

#[test]
fn i2_one_server_too_many_leaves_also_while_a_source_is_not_heard() {
    let mut edit = desired_of(&[("a", 1, EndpointState::Ready, 100)]).edit();
    edit.set_partial(true);
    let mut planner = planner((3, 2), &edit.commit().unwrap());
    let servers = (1..=3).map(|id| {
        let number = if id == 3 { 3 } else { 1 };
        server(&format!("slot{id}"), id, number, AdminState::Ready)
    });
    planner.observe(&name("a"), servers.collect(), HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(
        matches!(&commands[..], [Command::SetState(at, AdminState::Drain)] if at.to_string() == "a/slot2"),
        "{commands:?}"
    );
}

#[test]
fn i5_of_two_servers_of_an_endpoint_the_one_that_serves_stays() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(1, 100)])]));
    let mut down = server("slot1", 1, 1, AdminState::Ready);
    down.running = false;
    let servers = vec![down, server("slot2", 2, 1, AdminState::Ready)];
    planner.observe(&name("a"), servers, HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(drains(&commands, "a/slot1"), "{commands:?}");
    assert!(!drains(&commands, "a/slot2"), "{commands:?}");
}

#[test]
fn i12_what_is_parked_is_parked_before_what_relies_on_checks() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    let mut checked = server("slot2", 2, 2, AdminState::Ready);
    checked.checked = true;
    checked.check_paused = false;
    let rested = server("slot3", 3, 3, AdminState::Maint);
    let servers = vec![server("slot1", 1, 1, AdminState::Ready), checked, rested];
    planner.observe(&name("a"), servers.clone(), Duration::ZERO);
    planner.observe(&name("a"), servers.clone(), HOUR);
    planner.observe_gauges(&name("a"), 3, Gauges::default(), HOUR);
    let plan = planner.plan(HOUR);
    let first = commands(&plan);
    assert!(matches!(&first[..], [Command::SetAddr(..)]), "{plan}");
    assert_eq!(plan.reads, [Read::States(name("a"))]);
}

#[test]
fn i5_of_two_servers_of_an_endpoint_the_one_without_weight_leaves() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(1, 100)])]));
    let mut weightless = server("slot1", 1, 1, AdminState::Ready);
    weightless.weight = 0;
    let servers = vec![weightless, server("slot2", 2, 1, AdminState::Ready)];
    planner.observe(&name("a"), servers, HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(drains(&commands, "a/slot1"), "{commands:?}");
    assert!(!drains(&commands, "a/slot2"), "{commands:?}");
}

#[test]
fn i5_one_server_too_many_waits_for_the_other_although_a_service_waits_for_its_address() {
    let desired = desired(&[("a", &[(1, 100)]), ("b", &[(1, 100)])]);
    let mut planner = planner((3, 2), &desired);
    let parked = vec![Server::slot(name("slot1"), 1)];
    planner.observe(&name("a"), parked, HOUR);
    let mut enters = server("slot1", 1, 1, AdminState::Ready);
    (enters.checked, enters.check_enabled, enters.weight) = (true, true, 0);
    let mut serves = enters.clone();
    (serves.name, serves.id, serves.weight) = (name("slot2"), 2, 100);
    serves.running = false;
    planner.observe(&name("b"), vec![enters, serves], HOUR);
    // A waits for it, as a replaced worker may still send somebody there who asks for b.
    planner.replaced_serves([(address(1), name("b"))], 2 * HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(!readies(&commands, "a/slot1"), "{commands:?}");
    assert!(!drains(&commands, "b/slot2"), "{commands:?}");
}

#[test]
fn i5_one_server_too_many_leaves_when_the_other_was_just_seen() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(1, 100)])]));
    let servers = vec![
        server("slot1", 1, 1, AdminState::Ready),
        server("slot2", 2, 1, AdminState::Ready),
    ];
    planner.observe(&name("a"), servers.clone(), HOUR);
    let now = HOUR + Duration::from_secs(2);
    planner.outdate(now);
    let plan = planner.plan(now);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.reads, [Read::States(name("a"))]);
    let mut taken_out = servers;
    taken_out[0].admin = AdminState::Drain;
    planner.observe(&name("a"), taken_out, now);
    let commands = commands(&planner.plan(now));
    assert!(!drains(&commands, "a/slot2"), "{commands:?}");
}

#[test]
fn i12_what_takes_time_comes_before_what_relies_on_checks() {
    let desired = desired_of(&[
        ("a", 1, DRAINING, 100),
        ("a", 2, EndpointState::Ready, 100),
        ("b", 3, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &desired);
    let mut checked = server("slot2", 2, 2, AdminState::Ready);
    checked.checked = true;
    checked.check_enabled = true;
    checked.check_paused = false;
    let servers = vec![server("slot1", 1, 1, AdminState::Ready), checked];
    planner.observe(&name("a"), servers.clone(), HOUR);
    let parked = vec![Server::slot(name("slot1"), 1)];
    planner.observe(&name("b"), parked, HOUR);
    let plan = planner.plan(HOUR);
    assert!(readies(&commands(&plan), "b/slot1"), "{plan}");
    assert!(!drains(&commands(&plan), "a/slot1"), "{plan}");
    assert_eq!(plan.reads, [Read::States(name("a"))]);
    let filled = vec![server("slot1", 1, 3, AdminState::Ready)];
    planner.observe(&name("b"), filled, HOUR);
    planner.observe(&name("a"), servers, HOUR);
    assert!(drains(&commands(&planner.plan(HOUR)), "a/slot1"));
}

#[test]
fn i12_who_has_to_pass_his_check_again_is_waited_for_from_then_on() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(2, 100)])]));
    let window = Policy::default().admission_timeout;
    let leaves = server("slot1", 1, 1, AdminState::Ready);
    let mut enters = server("slot2", 2, 2, AdminState::Ready);
    (enters.checked, enters.check_enabled, enters.weight) = (true, true, 0);
    enters.unchanged_secs = window.as_secs() - 1;
    planner.observe(&name("a"), vec![leaves.clone(), enters.clone()], HOUR);
    let at = ServerRef::new(name("a"), name("slot2"));
    let asks = Command::SetHealth(at.clone(), Health::Down);
    assert!(commands(&planner.plan(HOUR)).contains(&asks));
    planner.marked_down(&at, HOUR);
    (enters.weight, enters.running) = (100, false);
    let last = HOUR + window - Duration::from_millis(1);
    for (now, waits) in [(HOUR, true), (last, true), (HOUR + window, false)] {
        let servers = vec![leaves.clone(), enters.clone()];
        planner.observe(&name("a"), servers, now);
        let commands = commands(&planner.plan(now));
        assert_eq!(
            drains(&commands, "a/slot1"),
            !waits,
            "{now:?}: {commands:?}"
        );
    }
}
