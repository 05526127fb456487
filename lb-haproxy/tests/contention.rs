//! Another client that undoes each change: the planner stops where that takes traffic away, and says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lb_core::{ConditionKind, Endpoint, Name, Snapshot, model::Changes};
use lb_haproxy::{
    Policy,
    capability::Capabilities,
    observed::Server,
    plan::{Plan, Planner},
    proto::{AdminState, Command},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Plans and applies until nothing is to be done at once; returns the last plan and how many steps were applied.
fn apply(planner: &mut Planner, server: &mut Server, now: Duration) -> (Plan, usize) {
    let mut applied = 0;
    for _ in 0..20 {
        let plan = planner.plan(now);
        if plan.steps().count() == 0 {
            return (plan, applied);
        }
        for step in plan.steps() {
            planner.step_sent(&step.server, now);
            match &step.command {
                Command::SetAddr(_, address) => server.address = Some(*address),
                Command::SetState(_, state) => {
                    server.admin = *state;
                    server.running = *state != AdminState::Maint;
                }
                Command::SetWeight(_, weight) => server.weight = weight.get(),
                _ => {}
            }
            applied += 1;
        }
        planner.observe(&name("web"), vec![server.clone()], now);
    }
    (planner.plan(now), applied)
}

#[test]
fn case_p07_a_server_that_is_taken_out_each_time_is_left_out_and_reported() {
    let mut planner = Planner::new(Policy::default(), Capabilities::of(3, 2));
    let mut server = Server::slot(name("slot1"), 1);
    planner.observe(&name("web"), vec![server.clone()], Duration::ZERO);
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new("10.0.0.1:80".parse().unwrap());
    edit.set_endpoint(&name("web"), &name("a"), endpoint);
    let desired = edit.commit().unwrap();
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    let mut now = Duration::from_secs(1);
    apply(&mut planner, &mut server, now);
    for round in 0..3 {
        assert_eq!(server.admin, AdminState::Ready, "round {round}");
        now += Duration::from_secs(30);
        server.admin = AdminState::Maint;
        server.running = false;
        planner.observe(&name("web"), vec![server.clone()], now);
        apply(&mut planner, &mut server, now);
    }
    assert_eq!(server.admin, AdminState::Maint, "taken out wins");
    let (plan, applied) = apply(&mut planner, &mut server, now);
    assert_eq!(applied, 0);
    let contention = |plan: &Plan| {
        let mut found = plan.conditions.iter();
        found.any(|condition| {
            condition.kind == ConditionKind::Contention
                && condition.object.as_deref() == Some("web/slot1")
                && condition
                    .detail
                    .contains("set it to maint at 10.0.0.1:80 3 times in 60 s")
        })
    };
    assert!(contention(&plan), "{:?}", plan.conditions);
    assert_eq!(plan.unmet.len(), 1, "{:?}", plan.unmet);
    // Left alone, it is admitted again.
    now += Duration::from_secs(301);
    planner.observe(&name("web"), vec![server.clone()], now);
    let (plan, _) = apply(&mut planner, &mut server, now);
    assert_eq!(server.admin, AdminState::Ready);
    assert!(!contention(&plan) && plan.unmet.is_empty());
}
