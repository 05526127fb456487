//! A swap of one endpoint for another: the old one is out before the new one is let in.

use std::{collections::BTreeSet, time::Duration};

use lb_core::{Endpoint, EndpointState};
use lb_haproxy::proto::Command;

use super::{DRAINING, Desired, ready, served};
use crate::{address, name};

#[test]
fn case_p06_a_swap_never_has_two_primaries_however_it_is_written() {
    let ready_new = (2, 100, EndpointState::Ready);
    let one = |state| (1, 100, state);
    let ways: Vec<(&str, Vec<Desired>)> = vec![
        (
            "drain, then set",
            vec![
                Desired::from([(
                    1,
                    one(EndpointState::Draining {
                        grace: Some(Duration::ZERO),
                    }),
                )]),
                Desired::from([
                    (
                        1,
                        one(EndpointState::Draining {
                            grace: Some(Duration::ZERO),
                        }),
                    ),
                    (2, ready_new),
                ]),
            ],
        ),
        (
            "one batch",
            vec![Desired::from([(1, one(DRAINING)), (2, ready_new)])],
        ),
        ("remove and set", vec![Desired::from([(2, ready_new)])]),
        ("another address", vec![Desired::from([(1, ready_new)])]),
        (
            "down and set",
            vec![Desired::from([
                (1, one(EndpointState::Down)),
                (2, ready_new),
            ])],
        ),
        (
            "pending and set",
            vec![Desired::from([
                (1, one(EndpointState::Pending)),
                (2, ready_new),
            ])],
        ),
        (
            "weight beside it",
            vec![Desired::from([
                (1, (1, 7, DRAINING)),
                (2, (2, 256, EndpointState::Ready)),
            ])],
        ),
        (
            "by weight alone",
            vec![Desired::from([
                (1, (1, 0, EndpointState::Ready)),
                (2, ready_new),
            ])],
        ),
        (
            "set, then drain",
            vec![
                Desired::from([(1, one(EndpointState::Ready)), (2, ready_new)]),
                Desired::from([(1, one(DRAINING)), (2, ready_new)]),
            ],
        ),
        (
            "prepared, then swapped",
            vec![
                Desired::from([
                    (1, one(EndpointState::Ready)),
                    (2, (2, 100, EndpointState::Pending)),
                ]),
                Desired::from([(1, one(EndpointState::Pending)), (2, ready_new)]),
            ],
        ),
    ];
    for (way, states) in ways {
        for stubborn in [0, 2] {
            for apart in [false, true] {
                let mut world = served();
                world
                    .trace
                    .push(format!("{way}, stubborn {stubborn}, apart {apart}"));
                world.stubborn = stubborn;
                for desired in states.clone() {
                    world.desire(desired);
                    if apart {
                        world.converge();
                    }
                }
                let end = world.converge();
                assert_eq!(
                    world.serving(),
                    BTreeSet::from([address(2)]),
                    "{way}: {end}"
                );
                assert!(end.unmet.is_empty(), "{way}: {end}");
                assert_eq!(world.primaries(), world.serving(), "{way}");
            }
        }
    }
}

/// The old one is out, then without sessions, and only then the new one begins: no time is spent on anything else.
#[test]
fn case_p06_a_swap_takes_no_longer_than_its_three_looks() {
    let mut world = served();
    world.desire(ready(&[2]));
    let began = world.model.now;
    let mut rounds = 0;
    while world.serving() != BTreeSet::from([address(2)]) {
        let (plan, _) = world.round(usize::MAX);
        assert!(
            !plan.settled || world.serving().contains(&address(2)),
            "{plan}"
        );
        rounds += 1;
        assert!(rounds <= 4, "{:#?}", world.trace);
    }
    assert_eq!(world.model.now, began, "nothing is waited for");
}

#[test]
fn case_p06_a_grace_that_the_source_states_is_kept_before_the_swap() {
    let mut world = served();
    let grace = Some(Duration::from_secs(3));
    let draining = (1, 100, EndpointState::Draining { grace });
    world.desire(Desired::from([
        (1, draining),
        (2, (2, 100, EndpointState::Ready)),
    ]));
    let began = world.model.now;
    let (plan, _) = world.round(usize::MAX);
    assert!(
        plan.steps()
            .all(|step| !matches!(step.command, Command::ShutdownSessions(_)))
    );
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    assert!(world.model.now - began >= Duration::from_secs(3));
    assert!(world.model.now - began < Duration::from_secs(60));
}

#[test]
fn case_p06_a_service_that_ceases_to_be_exclusive_in_a_swap_breaks_before_it_makes() {
    let mut world = served();
    world.edit(|edit| {
        edit.set_exclusive(&name("db"), false);
        edit.remove_endpoint(&name("db"), &name("e1"));
        edit.set_endpoint(&name("db"), &name("e2"), Endpoint::new(address(2)));
    });
    while world.serving() != BTreeSet::from([address(2)]) {
        world.round(usize::MAX);
    }
    // From here on it is like any other.
    world.edit(|edit| {
        edit.set_endpoint(&name("db"), &name("e3"), Endpoint::new(address(3)));
    });
    let end = loop {
        let plan = world.planner.plan(world.model.now);
        if plan.is_empty() && plan.reads.is_empty() {
            break plan;
        }
        for step in plan.steps() {
            world.model.carry_out(&mut world.planner, step);
        }
        world.model.observe(&mut world.planner);
        world.model.read(&mut world.planner, &plan);
    };
    assert!(end.unmet.is_empty(), "{end}");
    assert_eq!(world.serving().len(), 2);
}
