//! Faults of the planner that the world simulation found, each as small as it gets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, Snapshot, Weight, model::Changes};
use lb_haproxy::{
    capability::Capabilities,
    observed::{Gauges, Server},
    plan::{Plan, Planner, Read},
    policy::Policy,
    proto::{AdminState, Command, Health, MapName, ServerRef, parse_map_entries},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn server(title: &str, id: u32, number: u8, admin: AdminState) -> Server {
    let mut server = Server::slot(name(title), id);
    server.address = Some(address(number));
    server.admin = admin;
    server.running = admin != AdminState::Maint;
    server.weight = 100;
    server
}

/// A wish: services with the numbers of their addresses and weights.
fn wish(services: &[(&str, &[(u8, u16)])]) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    for (service, endpoints) in services {
        edit.set_service(&name(service), lb_core::Mode::Http);
        for (number, weight) in *endpoints {
            let endpoint =
                Endpoint::new(address(*number)).with_weight(Weight::new(*weight).unwrap());
            edit.set_endpoint(&name(service), &name(&number.to_string()), endpoint);
        }
    }
    edit.commit().unwrap()
}

fn planner(version: (u32, u32), wish: &Snapshot) -> Planner {
    let mut planner = Planner::new(Policy::default(), Capabilities::of(version.0, version.1));
    planner.desire(&Snapshot::default(), wish, &Changes::Everything);
    planner
}

fn commands(plan: &Plan) -> Vec<Command> {
    plan.steps().map(|step| step.command.clone()).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn i1_an_endpoint_that_returns_from_a_drain_waits_until_its_address_has_left_the_other_service() {
    let mut planner = planner((3, 2), &wish(&[("a", &[(1, 100)]), ("b", &[])]));
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
    let mut planner = planner((3, 2), &wish(&[("a", &[(1, 100), (2, 100)])]));
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
fn i1_a_spare_backend_to_which_requests_are_led_is_given_to_nobody() {
    let mut planner = planner((3, 2), &wish(&[("new", &[(1, 100)])]));
    let maps: Vec<MapName> = ["lb-routes.map", "lb-services.map"]
        .iter()
        .map(|file| file.parse().unwrap())
        .collect();
    planner.observe_maps(&maps);
    let entries = parse_map_entries("0x1 old.example/ spare-http-1\n").unwrap();
    planner.observe_map(&maps[0], entries);
    planner.observe_map(&maps[1], Vec::new());
    planner.maps_observed();
    planner.observe(
        &name("spare-http-1"),
        vec![Server::slot(name("slot1"), 1)],
        HOUR,
    );
    let plan = planner.plan(HOUR);
    assert!(commands(&plan).is_empty(), "{plan}");
    planner.observe_map(&maps[0], Vec::new());
    let plan = planner.plan(HOUR);
    assert!(!commands(&plan).is_empty(), "{plan}");
}

#[test]
fn i8_the_time_of_a_drain_found_running_begins_when_it_is_found() {
    let mut planner = planner((3, 2), &wish(&[("a", &[])]));
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

#[test]
fn i12_an_endpoint_of_weight_0_takes_the_place_of_no_other() {
    // 1 serves and leaves; 2 has weight 0; 3 waits for another service to let it go.
    let mut planner = planner((3, 2), &wish(&[("a", &[(2, 0), (3, 100)]), ("b", &[])]));
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

/// The wish for one endpoint in this state.
fn wish_in_state(state: EndpointState) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new(address(1)).with_state(state);
    edit.set_endpoint(&name("a"), &name("1"), endpoint);
    edit.commit().unwrap()
}

#[test]
fn i9_a_check_that_stands_still_makes_nothing_ready_that_must_not_serve() {
    let down = wish_in_state(EndpointState::Down);
    let ready = wish_in_state(EndpointState::Ready);
    for (wish, readies) in [(down, 0), (ready, 1)] {
        let mut planner = planner((3, 2), &wish);
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
fn a_drain_without_end_ends_with_its_requests() {
    let grace = Some(Duration::MAX);
    let mut planner = planner((3, 2), &wish_in_state(EndpointState::Draining { grace }));
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

/// A wish for endpoints of services, by the numbers of their addresses, their states and weights.
fn wish_of(endpoints: &[(&str, u8, EndpointState, u16)]) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    for (service, number, state, weight) in endpoints {
        let endpoint = Endpoint::new(address(*number))
            .with_state(*state)
            .with_weight(Weight::new(*weight).unwrap());
        edit.set_endpoint(&name(service), &name(&number.to_string()), endpoint);
    }
    edit.commit().unwrap()
}

const DRAINING: EndpointState = EndpointState::Draining { grace: None };

fn drains(commands: &[Command], at: &str) -> bool {
    let drains = |command: &Command| matches!(command, Command::SetState(server, AdminState::Drain) if server.to_string() == at);
    commands.iter().any(drains)
}

fn readies(commands: &[Command], at: &str) -> bool {
    let readies = |command: &Command| matches!(command, Command::SetState(server, AdminState::Ready) if server.to_string() == at);
    commands.iter().any(readies)
}

#[test]
fn i1_an_address_that_drains_in_one_service_is_waited_for_in_the_other() {
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("b", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
fn i12_an_endpoint_that_is_refused_keeps_the_last_one_in_place() {
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
    let wish = wish_of(&[
        ("a", 1, EndpointState::Ready, 0),
        ("a", 2, DRAINING, 100),
        ("a", 3, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &wish);
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
fn i1_a_slot_whose_new_address_was_not_read_back_is_not_relied_on() {
    let wish = wish_of(&[("a", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
fn i12_nobody_is_taken_out_because_of_a_check_heard_in_an_earlier_pass() {
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
fn i12_a_server_whose_check_is_to_pass_again_is_nobody_who_stays() {
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
    let wish = wish_of(&[
        ("a", 1, EndpointState::Down, 100),
        ("a", 2, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &wish);
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
fn i1_an_address_that_drains_in_two_servers_has_left_when_both_have() {
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("b", 1, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
fn i9_a_spare_backend_is_filled_when_it_is_noted_whose_it_is() {
    let mut planner = planner((3, 2), &wish(&[("new", &[(1, 100)])]));
    let maps: Vec<MapName> = ["lb-routes.map", "lb-services.map"]
        .iter()
        .map(|file| file.parse().unwrap())
        .collect();
    planner.observe_maps(&maps);
    planner.observe_map(&maps[0], Vec::new());
    planner.observe_map(&maps[1], Vec::new());
    planner.maps_observed();
    let slots = vec![Server::slot(name("slot1"), 1)];
    planner.observe(&name("spare-http-1"), slots, HOUR);
    planner.map_refused(&maps[1], "not now".to_owned(), HOUR);
    let plan = planner.plan(HOUR);
    assert!(commands(&plan).is_empty() && !plan.settled, "{plan}");
    assert_eq!(plan.unmet.len(), 1, "{plan}");
    let again = plan.again_at.unwrap();
    let plan = planner.plan(again);
    let stages: Vec<(usize, usize)> = plan
        .stages
        .iter()
        .map(|stage| (stage.maps.len(), stage.steps.len()))
        .collect();
    assert_eq!(stages.first(), Some(&(1, 1)), "{plan}");
}

#[test]
fn i2_one_server_too_many_leaves_also_while_a_source_is_not_heard() {
    let mut edit = wish_of(&[("a", 1, EndpointState::Ready, 100)]).edit();
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
    let mut planner = planner((3, 2), &wish(&[("a", &[(1, 100)])]));
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
    let wish = wish_of(&[("a", 1, DRAINING, 100), ("a", 2, EndpointState::Ready, 100)]);
    let mut planner = planner((3, 2), &wish);
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
fn i5_one_server_too_many_leaves_when_the_other_was_just_seen() {
    let mut planner = planner((3, 2), &wish(&[("a", &[(1, 100)])]));
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
fn i9_who_was_marked_down_and_has_no_check_serves_again() {
    let wish = wish(&[("a", &[(1, 100)])]);
    let mut down = server("slot1", 1, 1, AdminState::Ready);
    down.running = false;
    let raises = |server: &Server| {
        let mut planner = planner((3, 2), &wish);
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

#[test]
fn i12_what_takes_time_comes_before_what_relies_on_checks() {
    let wish = wish_of(&[
        ("a", 1, DRAINING, 100),
        ("a", 2, EndpointState::Ready, 100),
        ("b", 3, EndpointState::Ready, 100),
    ]);
    let mut planner = planner((3, 2), &wish);
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
