//! Sessions to an endpoint that is down.

use lb_core::{EndpointState, OnDown};

use super::{World, ready};
use crate::name;

#[test]
fn case_p05_sessions_to_an_endpoint_that_is_down_are_shut_down_where_the_service_asks() {
    for (on_down, kept) in [(OnDown::Keep, true), (OnDown::ShutdownSessions, false)] {
        for removed in [false, true] {
            let mut world = World::new((2, 6), false);
            world.edit(|edit| {
                edit.set_exclusive(&name("db"), false);
                edit.set_on_down(&name("db"), on_down);
            });
            world.desire(ready(&[1, 2]));
            world.trace.clear();
            for _ in 0..10 {
                let plan = world.planner.plan(world.model.now);
                plan.steps()
                    .for_each(|step| world.model.carry_out(&mut world.planner, step));
                world.model.observe(&mut world.planner);
            }
            world.sessions_come();
            let busy = world.slot_of(1);
            let id = world.server(busy.server.as_str()).id;
            let mut desired = world.desired.clone();
            desired.insert(1, (1, 100, EndpointState::Down));
            world.desire(desired.clone());
            let mut settled = false;
            for round in 0..10 {
                if removed && round == 1 {
                    desired.remove(&1);
                    world.desire(desired.clone());
                }
                let plan = world.planner.plan(world.model.now);
                settled = plan.settled;
                for step in plan.steps() {
                    world.model.carry_out(&mut world.planner, step);
                }
                if !plan.is_empty() {
                    world.model.observe(&mut world.planner);
                }
                world.model.read(&mut world.planner, &plan);
            }
            let sessions = world.model.sessions.get(&(name("db"), id)).copied();
            assert_eq!(
                sessions.is_some_and(|all| all > 0),
                kept,
                "{on_down:?} {removed}"
            );
            assert!(settled);
            // Nobody else is touched.
            assert_eq!(
                world.model.sessions.values().sum::<u64>(),
                1 + u64::from(kept)
            );
        }
    }
}
