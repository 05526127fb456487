//! Who is let in, and when.

use std::time::Duration;

use lb_core::{EndpointState, Name};
use lb_haproxy::{
    observed::{Gauges, PARKED, Server},
    policy::Policy,
    proto::{AdminState, Command, Health, ServerRef},
};

use crate::{
    DRAINING, HOUR, address, commands, desired, desired_in_state, desired_of, name, planner,
    readies, server,
};

#[test]
fn i1_an_endpoint_that_returns_from_a_drain_waits_until_its_address_has_left_the_other_service() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(1, 100)]), ("b", &[])]));
    planner.observe(
        &name("a"),
        vec![server("slot1", 1, 1, AdminState::Drain)],
        HOUR,
    );
    planner.observe(
        &name("b"),
        vec![server("slot1", 1, 1, AdminState::Ready)],
        HOUR,
    );
    let first = commands(&planner.plan(HOUR));
    assert!(
        matches!(&first[..], [Command::SetState(at, AdminState::Drain)] if at.backend == name("b")),
        "{first:?}"
    );
}

#[test]
fn i3_a_made_server_that_holds_another_address_leaves_its_name_to_no_other() {
    let mut planner = planner((3, 2), &desired(&[("a", &[(1, 100), (2, 100)])]));
    let taken = Policy::default().dynamic_name(address(1));
    let servers = vec![server(taken.as_str(), 1, 2, AdminState::Ready)];
    planner.observe(&name("a"), servers, HOUR);
    let commands = commands(&planner.plan(HOUR));
    let made = commands.iter().find_map(|command| match command {
        Command::AddServer { server, .. } => Some(server.server.clone()),
        _ => None,
    });
    assert_eq!(made.unwrap().as_str(), "dyn-10.0.0.1:80-2");
}

#[test]
fn i12_an_endpoint_of_weight_0_takes_the_place_of_no_other() {
    // 1 serves and leaves; 2 has weight 0; 3 waits for another service to let it go.
    let mut planner = planner((3, 2), &desired(&[("a", &[(2, 0), (3, 100)]), ("b", &[])]));
    let parked = |id: u32| Server::slot(name(&format!("slot{id}")), id);
    let own = vec![
        server("slot1", 1, 1, AdminState::Ready),
        parked(2),
        parked(3),
    ];
    planner.observe(&name("a"), own, HOUR);
    planner.observe(
        &name("b"),
        vec![server("slot1", 1, 3, AdminState::Ready)],
        HOUR,
    );
    let drained: Vec<Name> = commands(&planner.plan(HOUR))
        .into_iter()
        .filter_map(|command| match command {
            Command::SetState(at, AdminState::Drain) => Some(at.backend),
            _ => None,
        })
        .collect();
    assert_eq!(drained, [name("b")]);
}

#[test]
fn i9_a_check_that_stands_still_makes_nothing_ready_that_must_not_serve() {
    let down = desired_in_state(EndpointState::Down);
    let ready = desired_in_state(EndpointState::Ready);
    for (desired, readies) in [(down, 0), (ready, 1)] {
        let mut planner = planner((3, 2), &desired);
        let mut stuck = server("slot1", 1, 1, AdminState::Ready);
        stuck.checked = true;
        stuck.check_enabled = false;
        stuck.check_paused = true;
        planner.observe(&name("a"), vec![stuck], HOUR);
        let commands = commands(&planner.plan(HOUR));
        let ready = |command: &&Command| matches!(command, Command::SetState(_, AdminState::Ready));
        assert_eq!(
            commands.iter().filter(ready).count(),
            readies,
            "{commands:?}"
        );
    }
}

#[test]
fn i1_an_address_that_drains_in_one_service_is_waited_for_in_the_other() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("b", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    planner.observe(&name("b"), vec![Server::slot(name("slot1"), 1)], HOUR);
    for admin in [AdminState::Ready, AdminState::Drain] {
        planner.observe(&name("a"), vec![server("slot1", 1, 1, admin)], HOUR);
        let commands = commands(&planner.plan(HOUR));
        assert!(!readies(&commands, "b/slot1"), "{admin:?}: {commands:?}");
    }
    let left = vec![server("slot1", 1, 1, AdminState::Maint)];
    planner.observe(&name("a"), left, HOUR);
    assert!(readies(&commands(&planner.plan(HOUR)), "b/slot1"));
}

#[test]
fn i1_a_slot_whose_new_address_was_not_read_back_is_not_relied_on() {
    let desired = desired_of(&[("a", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    let parked = vec![Server::slot(name("slot1"), 1)];
    let filled = vec![server("slot1", 1, 1, AdminState::Maint)];
    planner.observe(&name("a"), parked, HOUR);
    planner.observe(&name("a"), filled.clone(), HOUR);
    let at = ServerRef::new(name("a"), name("slot1"));
    planner.address_sent(&at, address(9), HOUR);
    assert!(!readies(&commands(&planner.plan(HOUR)), "a/slot1"));
    let later = HOUR + Duration::from_secs(2);
    assert!(!readies(&commands(&planner.plan(later)), "a/slot1"));
    planner.observe(&name("a"), filled, later);
    assert!(readies(&commands(&planner.plan(later)), "a/slot1"));
}

#[test]
fn i1_what_was_asked_for_too_early_tells_nothing_of_an_address_on_its_way() {
    let desired = desired_of(&[("a", 1, EndpointState::Ready, 100)]);
    let filled = vec![server("slot1", 1, 1, AdminState::Maint)];
    let at = ServerRef::new(name("a"), name("slot1"));
    let second = Duration::from_secs(1);
    for (asked, told) in [(HOUR, false), (HOUR + 2 * second, true)] {
        let mut planner = planner((3, 2), &desired);
        planner.observe(&name("a"), vec![Server::slot(name("slot1"), 1)], HOUR);
        planner.observe(&name("a"), filled.clone(), HOUR);
        planner.address_sent(&at, PARKED, HOUR);
        // The answer is heard late, as by somebody whose process stood still.
        planner.asked(asked);
        let heard = HOUR + 3 * second;
        planner.observe(&name("a"), filled.clone(), heard);
        let plan = planner.plan(heard);
        assert_eq!(readies(&commands(&plan), "a/slot1"), told, "{plan}");
        assert_eq!(plan.reads.is_empty(), told, "{plan}");
    }
}

#[test]
fn i3_a_check_is_switched_on_when_its_address_has_left_the_other_service() {
    let desired = desired_of(&[("a", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    let mut off = server("slot1", 1, 1, AdminState::Ready);
    (off.checked, off.check_enabled, off.check_paused) = (true, false, false);
    planner.observe(&name("a"), vec![off], HOUR);
    let holder = vec![server("slot1", 1, 1, AdminState::Maint)];
    planner.observe(&name("b"), holder, HOUR);
    let plan = planner.plan(HOUR);
    assert!(commands(&plan).is_empty() && !plan.settled, "{plan}");
    planner.observe(&name("b"), vec![Server::slot(name("slot1"), 1)], HOUR);
    let commands = commands(&planner.plan(HOUR));
    assert!(
        matches!(&commands[..], [Command::EnableHealth(at)] if at.backend == name("a")),
        "{commands:?}"
    );
}

#[test]
fn i1_an_address_that_drains_in_two_servers_has_left_when_both_have() {
    let desired = desired_of(&[("a", 1, DRAINING, 100), ("b", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &desired);
    planner.observe(&name("b"), vec![Server::slot(name("slot1"), 1)], HOUR);
    for (second, enters) in [(AdminState::Drain, false), (AdminState::Maint, true)] {
        let servers = vec![
            server("slot1", 1, 1, AdminState::Maint),
            server("slot2", 2, 1, second),
        ];
        planner.observe(&name("a"), servers, HOUR);
        let busy = Gauges {
            sessions: 1,
            ..Gauges::default()
        };
        planner.observe_gauges(&name("a"), 2, busy, HOUR);
        let commands = commands(&planner.plan(HOUR));
        assert_eq!(readies(&commands, "b/slot1"), enters, "{commands:?}");
    }
}

#[test]
fn i9_who_was_marked_down_and_has_no_check_serves_again() {
    let desired = desired(&[("a", &[(1, 100)])]);
    let mut down = server("slot1", 1, 1, AdminState::Ready);
    down.running = false;
    let raises = |server: &Server| {
        let mut planner = planner((3, 2), &desired);
        planner.observe(&name("a"), vec![server.clone()], HOUR);
        let commands = commands(&planner.plan(HOUR));
        matches!(&commands[..], [Command::SetHealth(_, Health::Up)])
    };
    assert!(raises(&down));
    for speaks in [true, false] {
        let mut other = down.clone();
        other.has_agent = speaks;
        other.checked = !speaks;
        other.check_paused = false;
        assert!(!raises(&other), "{other:?}");
    }
}
