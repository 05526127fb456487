//! One bad record, one bad step: all others become as desired.

use std::collections::BTreeSet;

use lb_core::{Endpoint, Snapshot, UnmetReason, model::Changes};
use lb_haproxy::{observed::Server, plan::Planner, proto::Command};
use proptest::prelude::*;

use crate::{address, model::Model, name, planner, ready, snapshot};

/// A HAProxy of which one server, or one kind of command for one server, never does what it is told.
fn converge(model: &mut Model, planner: &mut Planner, refuses: impl Fn(&Command) -> bool) {
    for _ in 0..400 {
        let plan = planner.plan(model.now);
        let mut failed = BTreeSet::new();
        for step in plan.steps() {
            if failed.contains(&step.server) {
                continue;
            }
            match refuses(&step.command) {
                true => {
                    failed.insert(step.server.clone());
                }
                false => model.carry_out(planner, step),
            }
        }
        model.read(planner, &plan);
        model.observe(planner);
        for server in failed {
            planner.refused(&server, "it refuses".to_owned(), model.now);
        }
        if plan.is_empty() && plan.reads.is_empty() {
            let next = plan
                .again_at
                .unwrap_or(model.now + std::time::Duration::from_secs(1));
            model.advance(next.max(model.now + std::time::Duration::from_millis(1)) - model.now);
        }
    }
}

/// The kind of a command, without the server it is about.
fn kind(command: &Command) -> usize {
    match command {
        Command::SetAddr(..) => 0,
        Command::SetState(..) => 1,
        Command::SetWeight(..) => 2,
        Command::SetHealth(..) => 3,
        _ => 4,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn case_p01_one_poisoned_record_and_one_failing_step_disturb_no_other(
        bad_slot in 0_usize..6,
        bad_kind in 0_usize..6,
        poison in 0_usize..5,
        checked in any::<bool>(),
        count in 1_u16..5,
    ) {
        let mut model = Model::new(&["web", "db"], 6, checked);
        let mut planner = planner();
        let numbers: Vec<u16> = (1..=count).collect();
        let mut desired = ready("web", &numbers);
        desired.extend(ready("db", &[11, 12]));
        let desired = snapshot(&Snapshot::default(), &desired);
        let mut edit = desired.edit();
        let bad = ["0.0.0.0:80", "[::]:80", "10.0.0.9:0", "127.0.0.1:1", "[fe80::1%2]:80"][poison];
        edit.set_endpoint(&name("web"), &name("bad"), Endpoint::new(bad.parse().unwrap()));
        let desired = edit.commit().unwrap();
        planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
        model.observe(&mut planner);
        let slot = name(&format!("slot{}", bad_slot + 1));
        converge(&mut model, &mut planner, |command| {
            let of = command.server().is_some_and(|at| at.backend == name("web") && at.server == slot);
            of && (bad_kind == 5 || kind(command) == bad_kind)
        });
        // At most the endpoint in the slot that refuses is not served, and it is named.
        let plan = planner.plan(model.now);
        let served = model.serving(&name("web"));
        let missing: Vec<u16> = numbers
            .into_iter()
            .filter(|number| !served.contains(&address(*number)))
            .collect();
        let holds = |server: &Server| missing.iter().any(|number| server.address == Some(address(*number)));
        let holder = model.backends[&name("web")].iter().find(|server| holds(server));
        prop_assert!(missing.len() <= 1, "{missing:?} {plan}");
        prop_assert!(holder.is_none_or(|server| server.name == slot), "{plan}");
        prop_assert_eq!(model.serving(&name("db")).len(), 2);
        let named = |id: &str, reason| {
            plan.unmet.iter().any(|unmet| unmet.endpoint == Some(name(id)) && unmet.reason == reason)
        };
        prop_assert!(named("bad", UnmetReason::Unsupported), "{plan}");
        for number in missing {
            prop_assert!(named(&number.to_string(), UnmetReason::Refused), "{plan}");
        }
        prop_assert!(plan.unmet.len() <= 2, "{plan}");
    }
}
