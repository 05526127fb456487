//! No endpoint is let in while another one may still serve.

use std::{collections::BTreeSet, time::Duration};

use lb_core::{Endpoint, UnmetReason};
use lb_haproxy::{
    observed::{Server, is_parked},
    plan::Why,
    proto::AdminState,
};

use super::{World, ready, served};
use crate::{address, name};

#[test]
fn case_p06_nobody_is_admitted_while_the_old_one_cannot_be_taken_out() {
    let mut world = served();
    world.desire(ready(&[2]));
    let old = world.slot_of(1);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.steps().any(|step| step.why == Why::Handover));
    world
        .planner
        .refused(&old, "permission denied".to_owned(), world.model.now);
    let plan = world.planner.plan(world.model.now);
    assert!(!plan.settled);
    let unmet = plan
        .unmet
        .iter()
        .find(|unmet| unmet.reason == UnmetReason::Exclusive)
        .unwrap();
    assert!(
        !unmet.transient && unmet.detail.contains("permission denied"),
        "{}",
        unmet.detail
    );
    assert_eq!(unmet.endpoint, Some(name("e2")));
    // When it is possible again, it happens.
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
}

/// A backup serves while no other server does, and keeps its sessions when one does again.
#[test]
fn case_p06_nobody_is_admitted_beside_a_fixed_backup() {
    let backup = || {
        let mut server = Server::slot(name("spare"), 9);
        server.declared_disabled = false;
        server.address = Some(address(9));
        server.admin = AdminState::Ready;
        server.running = true;
        server
    };
    let backups = BTreeSet::from([name("spare")]);
    let mut world = World::new((3, 0), false);
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(backup());
    world.begin();
    world.planner.observe_backups(&name("db"), &backups);
    world.desire(ready(&[1]));
    let end = world.converge();
    assert!(end.settled, "{end}");
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    let mut unmet = end.unmet.iter();
    let unmet = unmet
        .find(|unmet| unmet.endpoint == Some(name("e1")))
        .unwrap();
    assert!(
        !unmet.transient
            && unmet.detail.contains("waits until server db/spare")
            && unmet.detail.contains("backup"),
        "{end}"
    );
    // At the endpoint's own address it is no other endpoint.
    world.desire(ready(&[9]));
    let end = world.converge();
    assert!(end.unmet.is_empty(), "{end}");
    // One that serves already goes on, and both are told of.
    let mut world = served();
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(backup());
    world.model.observe(&mut world.planner);
    world.planner.observe_backups(&name("db"), &backups);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.is_empty() && plan.unmet.len() == 1, "{plan}");
}

#[test]
fn case_p06_nobody_is_admitted_beside_a_fixed_server_that_serves() {
    let fixed = || {
        let mut fixed = Server::slot(name("legacy"), 9);
        fixed.declared_disabled = false;
        fixed.address = Some(address(9));
        fixed.admin = AdminState::Ready;
        fixed.running = true;
        fixed
    };
    // One that serves already goes on, and both are told of.
    let mut world = served();
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(fixed());
    world.model.observe(&mut world.planner);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.unmet.len(), 1, "{plan}");
    let detail = &plan.unmet[0].detail;
    assert!(detail.contains("server db/legacy is no slot"), "{detail}");
    // Nobody is admitted while it serves.
    let mut world = World::new((3, 0), false);
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(fixed());
    world.begin();
    world.desire(ready(&[1]));
    let end = world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    let unmet = end
        .unmet
        .iter()
        .find(|unmet| unmet.endpoint == Some(name("e1")));
    let unmet = unmet.unwrap();
    assert!(
        !unmet.transient && unmet.detail.contains("waits until server db/legacy"),
        "{end}"
    );
    // Where it serves the endpoint itself, all is well.
    world.desire(ready(&[9]));
    let end = world.converge();
    assert!(end.unmet.is_empty(), "{end}");
    world.desire(ready(&[1, 9]));
    let end = world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    assert!(end.unmet[0].detail.contains("2 ready endpoints"), "{end}");
}

/// An endpoint that a source that has not reported yet may want is not taken out, so no other is admitted.
#[test]
fn case_p06_nobody_is_admitted_beside_what_an_unheard_source_may_want() {
    let mut world = served();
    world.edit(|edit| edit.set_partial(true));
    world.desire(ready(&[2]));
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(1)]));
    assert!(end.unmet[0].transient, "{end}");
    world.edit(|edit| edit.set_partial(false));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
}

/// A worker that was replaced may have sessions to the old endpoint for as long as it lives.
#[test]
fn case_p06_nobody_is_admitted_while_a_replaced_worker_may_serve_the_old_one() {
    let mut world = served();
    let serving = world.planner.serving();
    assert_eq!(serving, [(address(1), name("db"))]);
    world.model.sessions.clear();
    world.begin();
    world.edit(|edit| edit.set_endpoint(&name("db"), &name("e1"), Endpoint::new(address(1))));
    let until = world.model.now + Duration::from_secs(100);
    world.planner.replaced_serves(serving, until);
    world.desire(ready(&[2]));
    for _ in 0..20 {
        world.round(usize::MAX);
    }
    assert_eq!(world.serving(), BTreeSet::new());
    assert!(world.planner.replaced_is_gone(), "somebody waits for it");
    for _ in 0..20 {
        world.round(usize::MAX);
    }
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
}

/// A free slot is taken out of maintenance by another client, which is not read before an endpoint that stands by gets it.
#[test]
fn case_p06_one_that_stands_by_gets_no_traffic_in_a_slot_that_another_client_has_opened() {
    for opened in [AdminState::Drain, AdminState::Ready] {
        let mut world = served();
        for slot in ["slot1", "slot2", "slot3", "slot4"] {
            if world.server(slot).address.is_some_and(is_parked) {
                world.server(slot).admin = opened;
            }
        }
        world.desire(ready(&[1, 2]));
        // No line of the plan gives the service a second primary: `round` looks after each.
        world.round(usize::MAX);
        world.converge();
        assert_eq!(world.serving(), BTreeSet::from([address(1)]));
        let stands_by = world.slot_of(2);
        assert_eq!(
            world.server(stands_by.server.as_str()).admin,
            AdminState::Maint
        );
    }
}
