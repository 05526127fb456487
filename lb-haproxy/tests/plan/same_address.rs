//! Several endpoints of one service at one address: one of them decides, and what the others want is not lost silently.

use std::time::Duration;

use lb_core::{ConditionKind, Endpoint, EndpointState, Snapshot, Unmet, UnmetReason, Weight};
use lb_haproxy::plan::Planner;

use crate::{address, model::Model, name, planner};

const READY: EndpointState = EndpointState::Ready;

/// One desired state after the other for endpoints `a` and `b` at one address, and what is then unmet.
struct World {
    model: Model,
    planner: Planner,
    snapshot: Snapshot,
}

impl World {
    fn new(checked: bool) -> Self {
        Self {
            model: Model::new(&["web"], 4, checked),
            planner: planner(),
            snapshot: Snapshot::default(),
        }
    }

    fn desire(&mut self, endpoints: &[(&str, u16, EndpointState, Option<u16>)]) -> Vec<Unmet> {
        let mut edit = self.snapshot.edit();
        for id in ["a", "b"] {
            edit.remove_endpoint(&name("web"), &name(id));
        }
        for (id, weight, state, check_port) in endpoints {
            let endpoint = Endpoint::new(address(1))
                .with_weight(Weight::new(*weight).unwrap())
                .with_check_port(*check_port)
                .with_state(*state);
            edit.set_endpoint(&name("web"), &name(id), endpoint);
        }
        let new = edit.commit().unwrap();
        let changes = new.changes_since(self.snapshot.generation());
        self.planner.desire(&self.snapshot, &new, &changes);
        self.snapshot = new;
        self.model.observe(&mut self.planner);
        self.model
            .converge(&mut self.planner, |_, _, _| {})
            .unmet
            .clone()
    }
}

#[test]
fn an_endpoint_whose_address_another_one_decides_for_is_told_while_they_differ() {
    let draining = EndpointState::Draining { grace: None };
    let mut world = World::new(false);
    for (a, b, loser, in_effect, asked) in [
        (
            (100, READY, None),
            (7, READY, None),
            "b",
            "weight 100",
            "weight 7",
        ),
        (
            (100, READY, None),
            (100, EndpointState::Down, None),
            "b",
            "ready",
            "down",
        ),
        (
            (100, draining, None),
            (100, READY, None),
            "a",
            "ready",
            "draining",
        ),
        (
            (100, draining, None),
            (100, EndpointState::Pending, None),
            "b",
            "draining",
            "pending",
        ),
        (
            (9, READY, Some(81)),
            (9, READY, Some(82)),
            "b",
            "check port 81",
            "check port 82",
        ),
    ] {
        let unmet = world.desire(&[("a", a.0, a.1, a.2), ("b", b.0, b.1, b.2)]);
        let decides = if loser == "a" { "b" } else { "a" };
        assert_eq!(unmet.len(), 1, "{unmet:?}");
        assert_eq!(unmet[0].reason, UnmetReason::Conflict);
        assert_eq!(unmet[0].endpoint, Some(name(loser)), "{unmet:?}");
        // One that drains is soon gone.
        assert_eq!(unmet[0].transient, asked == "draining", "{unmet:?}");
        for part in [
            format!("endpoint {decides} "),
            address(1).to_string(),
            format!("{in_effect} is in effect, and not {asked};"),
        ] {
            assert!(unmet[0].detail.contains(&part), "{part}: {unmet:?}");
        }
        // It ends with its cause.
        assert!(world.desire(&[("a", a.0, a.1, a.2)]).is_empty());
    }
}

#[test]
fn endpoints_at_one_address_that_want_the_same_are_silent() {
    let mut world = World::new(false);
    let grace = Some(Duration::from_secs(3));
    for (first, second) in [
        ((9, READY, Some(81)), (9, READY, Some(81))),
        // Who is out has no weight.
        (
            (9, EndpointState::Down, None),
            (8, EndpointState::Down, None),
        ),
        (
            (9, EndpointState::Draining { grace }, None),
            (8, EndpointState::Draining { grace }, None),
        ),
    ] {
        let a = ("a", first.0, first.1, first.2);
        let unmet = world.desire(&[a, ("b", second.0, second.1, second.2)]);
        assert!(unmet.is_empty(), "{unmet:?}");
    }
}

/// A server that its agent alone looks at is down by its agent's word.
#[test]
fn case_p10_what_an_agent_takes_down_is_told_of_the_agent() {
    for (checked, kind, who) in [
        (
            false,
            ConditionKind::AgentHold,
            "the agent check of server web/slot",
        ),
        (
            true,
            ConditionKind::CheckFailing,
            "the check or the agent of server web/slot",
        ),
    ] {
        let mut world = World::new(checked);
        for server in world.model.backends.get_mut(&name("web")).unwrap() {
            server.has_agent = true;
        }
        world.desire(&[("a", 100, READY, None)]);
        let servers = world.model.backends.get_mut(&name("web")).unwrap();
        let holder = servers
            .iter_mut()
            .find(|server| server.address == Some(address(1)));
        let holder = holder.unwrap();
        assert!(holder.agent_enabled);
        holder.running = false;
        // Long after it was admitted.
        world.model.now += Duration::from_secs(120);
        world.model.observe(&mut world.planner);
        let plan = world.planner.plan(world.model.now);
        assert_eq!(plan.conditions.len(), 1, "{plan}");
        let condition = &plan.conditions[0];
        assert_eq!(condition.kind, kind, "{condition}");
        assert_eq!(condition.endpoint, Some(name("a")));
        assert!(condition.detail.contains(who), "{condition}");
        assert!(
            condition.detail.contains("says that it is down"),
            "{condition}"
        );
    }
}
