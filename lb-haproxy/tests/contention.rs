//! Another client that undoes each change: the planner stops where that takes traffic away, and says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lb_core::{ConditionKind, Endpoint, Name, Snapshot, model::Changes};
use lb_haproxy::{
    Policy,
    capability::Capabilities,
    observed::Server,
    plan::{Plan, Planner, Why},
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
            planner.step_sent(step, now);
            match &step.command {
                Command::SetAddr(_, address) => server.address = Some(*address),
                Command::SetState(_, state) => {
                    server.admin = *state;
                    server.running = *state != AdminState::Maint;
                }
                Command::SetWeight(_, weight) => server.weight = weight.get(),
                Command::SetCheckPort(_, port) => server.check_port = *port,
                Command::SetCheckAddr { address, .. } => {
                    server.check_address = Some(*address).filter(|at| !at.is_unspecified());
                }
                Command::SetSsl(_, is) => server.ssl = Some(*is),
                Command::EnableHealth(_) => server.check_enabled = true,
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

/// A slot with an endpoint that serves at 10.0.0.1:80 with weight 100.
fn serving() -> (Planner, Server, Duration) {
    serving_in(Server::slot(name("slot1"), 1))
}

/// The same in this slot.
fn serving_in(mut server: Server) -> (Planner, Server, Duration) {
    let mut planner = Planner::new(Policy::default(), Capabilities::of(3, 2));
    planner.observe(&name("web"), vec![server.clone()], Duration::ZERO);
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new("10.0.0.1:80".parse().unwrap());
    edit.set_endpoint(&name("web"), &name("a"), endpoint);
    let desired = edit.commit().unwrap();
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    let now = Duration::from_secs(1);
    apply(&mut planner, &mut server, now);
    assert_eq!((server.admin, server.weight), (AdminState::Ready, 100));
    (planner, server, now)
}

fn told(plan: &Plan, kind: ConditionKind) -> Vec<String> {
    let all = plan.conditions.iter().filter(|found| found.kind == kind);
    all.map(ToString::to_string).collect()
}

/// Each edit of another client is named with what lb does, its step says why, and after a while it is no news.
#[test]
fn case_p13_what_another_client_changed_is_named_and_undone() {
    type Edit = fn(&mut Server);
    let edits: [(Edit, &str); 4] = [
        (
            |server| server.admin = AdminState::Maint,
            "from ready to maint",
        ),
        (
            |server| server.admin = AdminState::Drain,
            "from ready to drain",
        ),
        (|server| server.weight = 7, "its weight from 100 to 7"),
        (
            |server| server.address = Some("10.0.0.9:80".parse().unwrap()),
            "its address from 10.0.0.1:80 to 10.0.0.9:80",
        ),
    ];
    for (edit, text) in edits {
        let (mut planner, mut server, mut now) = serving();
        assert!(planner.plan(now).conditions.is_empty());
        now += Duration::from_secs(30);
        edit(&mut server);
        server.running = server.admin != AdminState::Maint;
        planner.observe(&name("web"), vec![server.clone()], now);
        let plan = planner.plan(now);
        if server.address == Some("10.0.0.1:80".parse().unwrap()) {
            let mut steps = plan.steps();
            assert!(steps.all(|step| step.why == Why::Repair), "{plan}");
        }
        let found = told(&plan, ConditionKind::ForeignEdit);
        assert!(found.len() == 1 && found[0].contains(text), "{plan}");
        assert!(
            found[0].contains("web/slot1") && found[0].contains("lb "),
            "{plan}"
        );
        let (plan, _) = apply(&mut planner, &mut server, now);
        assert_eq!(
            told(&plan, ConditionKind::ForeignEdit),
            found,
            "it is still to be seen"
        );
        assert!(
            plan.conditions
                .iter()
                .all(|found| found.transient && !found.kind.keeps_from_effect())
        );
        assert!(plan.again_at.is_some());
        now += Duration::from_secs(61);
        let plan = planner.plan(now);
        assert!(told(&plan, ConditionKind::ForeignEdit).is_empty(), "{plan}");
    }
}

/// The same of a check and of TLS, where an endpoint is in the slot.
#[test]
fn case_p12_what_another_client_changed_of_a_check_is_named_and_undone() {
    type Edit = fn(&mut Server);
    let edits: [(Edit, &str); 4] = [
        (|server| server.check_enabled = false, "its check off"),
        (|server| server.check_port = 1, "the port of its check to 1"),
        (
            |server| server.check_address = Some("127.0.0.99".parse().unwrap()),
            "the address of its check to 127.0.0.99",
        ),
        (|server| server.ssl = Some(true), "its TLS on"),
    ];
    for (edit, text) in edits {
        let mut slot = Server::slot(name("slot1"), 1);
        slot.checked = true;
        slot.check_paused = false;
        slot.ssl = Some(false);
        let (mut planner, mut server, mut now) = serving_in(slot);
        let before = server.clone();
        assert!(planner.plan(now).conditions.is_empty());
        now += Duration::from_secs(30);
        edit(&mut server);
        planner.observe(&name("web"), vec![server.clone()], now);
        let plan = planner.plan(now);
        assert!(plan.steps().count() > 0, "{text}");
        assert!(plan.steps().all(|step| step.why == Why::Repair), "{plan}");
        let found = told(&plan, ConditionKind::ForeignEdit);
        assert!(found.len() == 1 && found[0].contains(text), "{plan}");
        planner.postpone(&plan);
        let (plan, _) = apply(&mut planner, &mut server, now);
        // What lb sets is no edit, also where it is not what it was.
        assert_eq!(told(&plan, ConditionKind::ForeignEdit), found);
        server.check_port = before.check_port;
        assert_eq!(server, before);
        now += Duration::from_secs(61);
        let plan = planner.plan(now);
        assert!(told(&plan, ConditionKind::ForeignEdit).is_empty(), "{plan}");
    }
}

/// A change that lb makes itself, and one that an agent asks for, is no edit of another client.
#[test]
fn case_p13_what_lb_and_an_agent_change_is_no_foreign_edit() {
    let (mut planner, mut server, mut now) = serving();
    server.has_agent = true;
    server.agent_enabled = true;
    planner.observe(&name("web"), vec![server.clone()], now);
    planner.plan(now);
    for admin in [AdminState::Drain, AdminState::Maint, AdminState::Ready] {
        now += Duration::from_secs(30);
        server.admin = admin;
        server.weight -= 1;
        planner.observe(&name("web"), vec![server.clone()], now);
        let plan = planner.plan(now);
        assert!(told(&plan, ConditionKind::ForeignEdit).is_empty(), "{plan}");
    }
}

#[test]
fn case_p07_a_weight_that_is_changed_back_each_time_is_reported() {
    let (mut planner, mut server, mut now) = serving();
    for round in 0..3 {
        let plan = planner.plan(now);
        assert!(
            told(&plan, ConditionKind::Contention).is_empty(),
            "round {round}: {plan}"
        );
        now += Duration::from_secs(30);
        server.weight = 7 + round;
        planner.observe(&name("web"), vec![server.clone()], now);
        apply(&mut planner, &mut server, now);
        assert_eq!(server.weight, 100, "it is what its source wants");
    }
    let plan = planner.plan(now);
    let found = told(&plan, ConditionKind::Contention);
    assert!(found.len() == 1 && found[0].contains("weight"), "{plan}");
    assert!(found[0].contains("service web endpoint a"), "{plan}");
    assert!(
        told(&plan, ConditionKind::ForeignEdit).is_empty(),
        "said once: {plan}"
    );
    now += Duration::from_secs(301);
    let plan = planner.plan(now);
    assert!(plan.conditions.is_empty(), "{plan}");
}
