//! Exclusive services on a HAProxy that loads a server-state file when it is reloaded, and fixed servers of others.

use std::time::Duration;

use lb_core::{ConditionKind, Endpoint, Mode, Snapshot, UnmetReason, model::Changes};
use lb_haproxy::{
    observed::Server,
    plan::{Plan, Planner, Read},
    proto::{AdminState, Command},
};

use crate::{address, model::Model, name, planner_of};

/// A `db` whose endpoint 1 serves is given endpoint 2 in its place.
fn swap() -> (Model, Planner) {
    let mut model = Model::new(&["db"], 3, false);
    let mut planner = planner_of(3, 2);
    planner.loads_state(true);
    let mut edit = Snapshot::default().edit();
    edit.set_service(&name("db"), Mode::Tcp);
    edit.set_exclusive(&name("db"), true);
    edit.set_endpoint(&name("db"), &name("1"), Endpoint::new(address(1)));
    let first = edit.commit().unwrap();
    planner.desire(&Snapshot::default(), &first, &Changes::Everything);
    model.observe(&mut planner);
    let plan = until_asked(&mut model, &mut planner);
    assert!(!admits(&plan), "{plan}");
    planner.reload_is_safe(&name("db"), model.now);
    until_asked(&mut model, &mut planner);
    assert_eq!(model.serving(&name("db")), [address(1)].into());
    model.now += Duration::from_secs(60);
    planner.outdate(model.now);
    let mut edit = first.edit();
    edit.remove_endpoint(&name("db"), &name("1"));
    edit.set_endpoint(&name("db"), &name("2"), Endpoint::new(address(2)));
    let second = edit.commit().unwrap();
    planner.desire(&first, &second, &second.changes_since(first.generation()));
    (model, planner)
}

fn asks(plan: &Plan) -> bool {
    plan.reads.contains(&Read::ReloadIsSafe(name("db")))
}

fn admits(plan: &Plan) -> bool {
    let admits = |command: &Command| matches!(command, Command::SetState(_, AdminState::Ready));
    plan.steps().any(|step| admits(&step.command))
}

/// Plans and applies until it is asked about a reload, or nothing is left to do.
fn until_asked(model: &mut Model, planner: &mut Planner) -> Plan {
    for _ in 0..50 {
        let plan = planner.plan(model.now);
        if asks(&plan) {
            return plan;
        }
        for step in plan.steps() {
            model.carry_out(planner, step);
        }
        model.read(planner, &plan);
        if !plan.is_empty() {
            model.observe(planner);
        } else if plan.reads.is_empty() {
            return plan;
        }
    }
    panic!("no end");
}

/// The others are out, and a reload would let one of them in again: the file is older.
#[test]
fn case_p06_nobody_is_admitted_before_a_reload_would_leave_the_others_out() {
    let (mut model, mut planner) = swap();
    let plan = until_asked(&mut model, &mut planner);
    assert!(asks(&plan) && !admits(&plan) && !plan.settled, "{plan}");
    assert_eq!(model.serving(&name("db")), [].into());
    // What was so before it was asked says nothing.
    planner.reload_is_safe(&name("db"), Duration::ZERO);
    let plan = planner.plan(model.now);
    assert!(asks(&plan) && !admits(&plan), "{plan}");
    planner.reload_is_safe(&name("db"), model.now);
    until_asked(&mut model, &mut planner);
    assert_eq!(model.serving(&name("db")), [address(2)].into());
}

#[test]
fn case_p06_a_reload_that_is_under_way_is_waited_for_and_told() {
    let (mut model, mut planner) = swap();
    until_asked(&mut model, &mut planner);
    let until = model.now + Duration::from_millis(50);
    planner.reload_is_under_way(&name("db"), until);
    let plan = planner.plan(model.now);
    assert!(!asks(&plan) && !admits(&plan) && !plan.settled, "{plan}");
    assert!(plan.again_at.is_some_and(|at| at <= until), "{plan}");
    let unmet: Vec<_> = plan.unmet.iter().collect();
    assert_eq!(unmet.len(), 1, "{plan}");
    assert!(unmet[0].transient && unmet[0].reason == UnmetReason::Exclusive);
    assert!(unmet[0].detail.contains("reloaded"), "{plan}");
    model.now = until;
    assert!(asks(&until_asked(&mut model, &mut planner)));
}

/// A service whose fixed server has an address that another service has: nothing can be done but to tell.
#[test]
fn case_p09_a_fixed_server_at_the_address_of_another_service_is_a_conflict() {
    let mut model = Model::new(&["shop", "pay"], 2, false);
    let mut fixed = Server::slot(name("shop3x"), 9);
    fixed.declared_disabled = false;
    fixed.admin = AdminState::Ready;
    fixed.running = true;
    fixed.address = Some(address(1));
    model.backends.get_mut(&name("shop")).unwrap().push(fixed);
    let mut planner = planner_of(3, 2);
    let mut edit = Snapshot::default().edit();
    edit.set_endpoint(&name("shop"), &name("1"), Endpoint::new(address(1)));
    edit.set_endpoint(&name("pay"), &name("2"), Endpoint::new(address(2)));
    let first = edit.commit().unwrap();
    planner.desire(&Snapshot::default(), &first, &Changes::Everything);
    model.observe(&mut planner);
    let plan = model.converge(&mut planner, |_, _, _| {});
    let conflicts = |plan: &Plan| {
        let all = plan.conditions.iter();
        let found = all.filter(|found| found.kind == ConditionKind::Conflict);
        found.cloned().collect::<Vec<_>>()
    };
    assert_eq!(conflicts(&plan), []);
    let mut edit = first.edit();
    edit.remove_endpoint(&name("shop"), &name("1"));
    edit.set_endpoint(&name("pay"), &name("1"), Endpoint::new(address(1)));
    let second = edit.commit().unwrap();
    planner.desire(&first, &second, &second.changes_since(first.generation()));
    let plan = model.converge(&mut planner, |_, _, _| {});
    let [conflict] = &conflicts(&plan)[..] else {
        panic!("{plan}");
    };
    assert_eq!(conflict.object.as_deref(), Some("shop/shop3x"));
    assert_eq!(conflict.service, Some(name("pay")));
    assert_eq!(conflict.endpoint, Some(name("1")));
    // An operator takes it out.
    let server = model.server(&name("shop"), &name("shop3x"));
    server.admin = AdminState::Maint;
    model.observe(&mut planner);
    let plan = model.converge(&mut planner, |_, _, _| {});
    assert_eq!(conflicts(&plan), []);
}
