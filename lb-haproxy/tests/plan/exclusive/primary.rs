//! The choice of the endpoint that serves, where several could.

use std::{collections::BTreeSet, time::Duration};

use lb_core::{Endpoint, EndpointState, UnmetReason};
use lb_haproxy::{
    plan::Plan,
    proto::{AdminState, Command, ServerRef},
};

use super::{Desired, World, ready};
use crate::{address, name};

#[test]
fn case_p06_of_two_ready_endpoints_the_one_that_serves_goes_on() {
    let mut world = World::new((3, 0), false);
    world.desire(ready(&[2, 3]));
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    assert_eq!(end.unmet.len(), 1, "{end}");
    let unmet = &end.unmet[0];
    assert_eq!(
        (unmet.reason, unmet.transient),
        (UnmetReason::Exclusive, false)
    );
    assert_eq!(unmet.endpoint, Some(name("e3")));
    assert!(
        unmet.detail.contains("2 ready endpoints"),
        "{}",
        unmet.detail
    );
    // One with a lesser name comes: the one that serves goes on, also for a planner that knows nothing.
    world.desire(ready(&[1, 2, 3]));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    world.begin();
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    assert_eq!(end.unmet.len(), 2);
    // A weight of 0 asks for nothing.
    world.desire(Desired::from([
        (1, (1, 0, EndpointState::Ready)),
        (2, (2, 100, EndpointState::Ready)),
    ]));
    assert!(world.converge().unmet.is_empty());
}

/// The source decides who is the primary, also while HAProxy's check keeps it out: what is told of the others says so.
#[test]
fn case_p06_a_primary_that_is_chosen_and_does_not_serve_is_told_so() {
    for checked in [true, false] {
        let mut world = World::new((3, 0), checked);
        world.desire(ready(&[1, 2]));
        let slot = |world: &World| world.slot_of(1).server.to_string();
        let end = world.converge();
        let told = |plan: &Plan| {
            assert_eq!(plan.unmet.len(), 1, "{plan}");
            assert_eq!(plan.unmet[0].endpoint, Some(name("e2")));
            plan.unmet[0].detail.clone()
        };
        if !checked {
            assert!(told(&end).ends_with("e1 at 10.0.0.1:1001 serves"), "{end}");
        }
        let slot = slot(&world);
        // Long after it was admitted.
        world.model.now += Duration::from_secs(120);
        let server = world.server(&slot);
        server.has_agent = !checked;
        server.agent_enabled = !checked;
        server.running = false;
        world.model.observe(&mut world.planner);
        let end = world.planner.plan(world.model.now);
        let detail = told(&end);
        assert!(
            detail.contains("e1 at 10.0.0.1:1001 is chosen and does not serve"),
            "{detail}"
        );
        assert!(
            detail.contains("let the source state it down, or remove it"),
            "{detail}"
        );
        assert!(world.serving().is_empty());
        // What helps: the source states it.
        world.desire(Desired::from([
            (1, (1, 100, EndpointState::Down)),
            (2, (2, 100, EndpointState::Ready)),
        ]));
        let end = world.converge();
        assert!(end.unmet.is_empty(), "{end}");
    }
}

/// Two that serve are found: one goes at once, and no time is given to its sessions.
#[test]
fn case_p06_of_two_that_are_found_serving_one_is_left_at_once() {
    let mut world = World::new((3, 0), false);
    for (slot, number) in [("slot1", 1), ("slot2", 2), ("slot3", 3)] {
        let server = world.server(slot);
        server.address = Some(address(number));
        server.admin = AdminState::Ready;
        server.running = true;
    }
    world.server("slot3").admin = AdminState::Drain;
    world.model.sessions.insert((name("db"), 1), 1);
    world.model.sessions.insert((name("db"), 3), 1);
    world.begin();
    world.desired = ready(&[2]);
    world.edit(|edit| edit.set_endpoint(&name("db"), &name("e2"), Endpoint::new(address(2))));
    let plan = world.planner.plan(world.model.now);
    let out: Vec<&Command> = plan.steps().map(|step| &step.command).collect();
    for slot in ["slot1", "slot3"] {
        let server = ServerRef::new(name("db"), name(slot));
        assert!(
            out.contains(&&Command::SetState(server.clone(), AdminState::Maint)),
            "{plan}"
        );
        assert!(out.contains(&&Command::ShutdownSessions(server)), "{plan}");
    }
    for step in plan.steps() {
        world.model.carry_out(&mut world.planner, step);
    }
    world.model.observe(&mut world.planner);
    world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(2)]));
}
