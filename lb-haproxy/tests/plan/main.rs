//! The planner against a small model of HAProxy: what must hold after every single command, and where it must end.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agents;
mod exclusive;
mod fixed;
mod isolation;
mod model;
mod reloads;
mod room;
mod same_address;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{
    ConditionKind, Endpoint, EndpointState, Name, Snapshot, UnmetReason, Weight, model::Changes,
};
use lb_haproxy::{
    capability::Capabilities,
    observed::is_parked,
    plan::{Planner, Why},
    policy::Policy,
    proto::{AdminState, Command},
};
use model::Model;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1000 + number))
}

fn planner() -> Planner {
    planner_of(2, 6)
}

fn planner_of(major: u32, minor: u32) -> Planner {
    Planner::new(Policy::default(), Capabilities::of(major, minor))
}

/// Services by name, each with its endpoints: number of the address, weight and state.
type Desired = BTreeMap<&'static str, BTreeMap<u16, (u16, EndpointState)>>;

fn snapshot(from: &Snapshot, desired: &Desired) -> Snapshot {
    let mut edit = from.edit();
    for (service, known) in from.services() {
        for (id, _) in known.endpoints() {
            let number: u16 = id.as_str().parse().unwrap();
            if !desired
                .get(service.as_str())
                .is_some_and(|w| w.contains_key(&number))
            {
                edit.remove_endpoint(service, id);
            }
        }
    }
    for (service, endpoints) in desired {
        for (number, (weight, state)) in endpoints {
            let endpoint = Endpoint::new(address(*number))
                .with_weight(Weight::new(*weight).unwrap())
                .with_state(*state);
            edit.set_endpoint(&name(service), &name(&number.to_string()), endpoint);
        }
    }
    edit.commit().unwrap_or_else(|| from.clone())
}

fn ready(service: &'static str, numbers: &[u16]) -> Desired {
    let endpoints = numbers
        .iter()
        .map(|n| (*n, (100, EndpointState::Ready)))
        .collect();
    BTreeMap::from([(service, endpoints)])
}

#[test]
fn a_new_endpoint_goes_in_by_two_stages_and_the_second_plan_is_empty() {
    let mut model = Model::new(&["web"], 4, false);
    let mut planner = planner();
    let desired = snapshot(&Snapshot::default(), &ready("web", &[1]));
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut planner);
    let plan = planner.plan(model.now);
    assert_eq!(plan.stages.len(), 2, "{plan}");
    assert!(
        matches!(plan.stages[0].steps[..], [ref s] if matches!(s.command, Command::SetAddr(..)))
    );
    assert_eq!(plan.stages[0].expect[0].address, Some(address(1)));
    for step in plan.steps() {
        model.carry_out(&mut planner, step);
    }
    model.observe(&mut planner);
    let again = planner.plan(model.now);
    assert!(
        again.is_empty() && again.settled && again.again_at.is_none(),
        "{again}"
    );
    assert_eq!(model.serving(&name("web")), BTreeSet::from([address(1)]));
}

/// A server that was made for an address has had another tenant since, and the address returns while there is no slot.
#[test]
fn a_server_made_at_run_time_gets_a_name_that_is_not_taken() {
    let mut model = Model::new(&["web"], 1, false);
    let mut planner = planner_of(3, 0);
    let mut old = Snapshot::default();
    for numbers in [&[1, 7][..], &[1], &[1, 2], &[1, 2, 7]] {
        let new = snapshot(&old, &ready("web", numbers));
        let changes = new.changes_since(old.generation());
        planner.desire(&old, &new, &changes);
        model.observe(&mut planner);
        let end = model.converge(&mut planner, |_, _, _| {});
        assert!(end.unmet.is_empty(), "{end}");
        let wanted: BTreeSet<_> = numbers.iter().map(|number| address(*number)).collect();
        assert_eq!(model.serving(&name("web")), wanted);
        old = new;
    }
    assert_eq!(model.backends[&name("web")].len(), 3);
}

#[test]
fn a_checked_endpoint_is_let_in_by_its_check() {
    let mut model = Model::new(&["web"], 4, true);
    let mut planner = planner();
    let desired = snapshot(&Snapshot::default(), &ready("web", &[1]));
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut planner);
    let mut served_before_check = false;
    let plan = planner.plan(model.now);
    for step in plan.steps() {
        model.carry_out(&mut planner, step);
        served_before_check |= !model.serving(&name("web")).is_empty();
    }
    assert!(!served_before_check);
    model.observe(&mut planner);
    assert!(!planner.plan(model.now).settled);
    let end = model.converge(&mut planner, |_, _, _| {});
    assert!(end.settled);
    assert_eq!(model.serving(&name("web")), BTreeSet::from([address(1)]));
}

/// What an endpoint asks of a check that its slot does not have is told, and the endpoint is in effect.
#[test]
fn the_port_of_a_check_that_a_slot_does_not_have_is_told() {
    for checked in [false, true] {
        let mut model = Model::new(&["web"], 4, checked);
        let mut planner = planner();
        let plain = snapshot(&Snapshot::default(), &ready("web", &[1, 2]));
        let mut edit = plain.edit();
        let endpoint = Endpoint::new(address(2)).with_check_port(Some(9000));
        edit.set_endpoint(&name("web"), &name("2"), endpoint);
        let with_port = edit.commit().unwrap();
        let mut old = Snapshot::default();
        for (new, asks) in [(with_port, true), (plain, false)] {
            planner.desire(&old, &new, &Changes::Everything);
            model.observe(&mut planner);
            let end = model.converge(&mut planner, |_, _, _| {});
            assert!(end.unmet.is_empty(), "{end}");
            assert_eq!(end.conditions.len(), usize::from(asks && !checked), "{end}");
            for condition in &end.conditions {
                assert_eq!(condition.kind, ConditionKind::Diagnostic);
                assert_eq!(condition.endpoint, Some(name("2")));
                let server = condition.object.as_deref().unwrap();
                assert!(server.starts_with("web/slot"), "{condition}");
                assert!(condition.detail.contains("port 9000"), "{condition}");
                assert!(condition.help.as_deref().unwrap().contains("`check`"));
            }
            old = new;
        }
    }
}

#[test]
fn i8_a_running_request_keeps_its_server_until_it_ends() {
    let mut model = Model::new(&["web"], 4, false);
    let mut planner = planner();
    let two = snapshot(&Snapshot::default(), &ready("web", &[1, 2]));
    planner.desire(&Snapshot::default(), &two, &Changes::Everything);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    let id = model.backends[&name("web")]
        .iter()
        .find(|server| server.address == Some(address(1)))
        .unwrap()
        .id;
    model.sessions.insert((name("web"), id), 1);
    let one = snapshot(&two, &ready("web", &[2]));
    planner.desire(&two, &one, &one.changes_since(two.generation()));
    for _ in 0..40 {
        let plan = planner.plan(model.now);
        for step in plan.steps() {
            assert!(
                matches!(step.command, Command::SetState(_, AdminState::Drain)),
                "busy, so only drained: {step}"
            );
            model.carry_out(&mut planner, step);
        }
        model.observe(&mut planner);
        model.read(&mut planner, &plan);
        model.advance(Duration::from_millis(100));
    }
    model.sessions.clear();
    model.converge(&mut planner, |_, _, _| {});
    assert!(model.backends[&name("web")].iter().all(|server| {
        server.address == Some(address(2)) || server.address.is_some_and(is_parked)
    }));
}

#[test]
fn a_dead_endpoint_is_out_at_once_even_if_it_is_the_last() {
    let mut model = Model::new(&["web"], 4, false);
    let mut planner = planner();
    let up = snapshot(&Snapshot::default(), &ready("web", &[1]));
    planner.desire(&Snapshot::default(), &up, &Changes::Everything);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    let dead = BTreeMap::from([("web", BTreeMap::from([(1, (100, EndpointState::Down))]))]);
    let down = snapshot(&up, &dead);
    planner.desire(&up, &down, &down.changes_since(up.generation()));
    let plan = planner.plan(model.now);
    assert_eq!(plan.steps().count(), 1);
    for step in plan.steps() {
        model.carry_out(&mut planner, step);
        assert_eq!(step.why, Why::Out);
    }
    assert!(model.serving(&name("web")).is_empty());
    model.observe(&mut planner);
    assert!(planner.plan(model.now).is_empty());
}

#[test]
fn too_few_slots_are_an_unmet_condition_that_stops_nothing_else() {
    let mut model = Model::new(&["web", "api"], 2, false);
    let mut planner = planner();
    let mut desired = ready("web", &[1, 2, 3]);
    desired.extend(ready("api", &[7]));
    desired.extend(ready("nowhere", &[9]));
    let desired = snapshot(&Snapshot::default(), &desired);
    planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut planner);
    let end = model.converge(&mut planner, |_, _, _| {});
    assert_eq!(model.serving(&name("web")).len(), 2);
    assert_eq!(model.serving(&name("api")).len(), 1);
    let reasons: Vec<_> = end
        .unmet
        .iter()
        .map(|u| (u.service.as_str(), u.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("nowhere", UnmetReason::NoSuchService),
            ("web", UnmetReason::NoCapacity)
        ]
    );
}

#[test]
fn two_services_swap_their_addresses_without_a_deadlock() {
    let mut model = Model::new(&["a", "b"], 3, false);
    let mut planner = planner();
    let mut desired = ready("a", &[1]);
    desired.extend(ready("b", &[2]));
    let first = snapshot(&Snapshot::default(), &desired);
    planner.desire(&Snapshot::default(), &first, &Changes::Everything);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    let mut desired = ready("a", &[2]);
    desired.extend(ready("b", &[1]));
    let second = snapshot(&first, &desired);
    let began = model.now;
    planner.desire(&first, &second, &second.changes_since(first.generation()));
    let mut swapped_at = None;
    model.converge(&mut planner, |model, _, _| {
        let (a, b) = (model.serving(&name("a")), model.serving(&name("b")));
        assert!(a.is_disjoint(&b), "two services on one address");
        if a.contains(&address(2)) && b.contains(&address(1)) {
            swapped_at.get_or_insert(model.now);
        }
    });
    let took = swapped_at.expect("swapped") - began;
    assert!(took < Duration::from_secs(1), "took {took:?}");
}

#[test]
fn a_found_service_is_not_emptied_before_the_hold_ends() {
    let mut model = Model::new(&["web"], 3, false);
    let mut first = planner();
    let desired = snapshot(&Snapshot::default(), &ready("web", &[1]));
    first.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut first);
    model.converge(&mut first, |_, _, _| {});

    let mut second = planner();
    let empty = snapshot(
        &Snapshot::default(),
        &BTreeMap::from([("web", BTreeMap::new())]),
    );
    second.desire(&Snapshot::default(), &empty, &Changes::Everything);
    model.observe(&mut second);
    second.hold_found_until(model.now + Duration::from_secs(10));
    let plan = second.plan(model.now);
    assert!(plan.is_empty() && plan.held == 1, "{plan}");
    let began = model.now;
    model.converge(&mut second, |model, _, _| {
        assert!(model.now >= began + Duration::from_secs(10));
    });
    assert!(model.serving(&name("web")).is_empty(), "the hold ends");
}

#[test]
fn i2_a_partial_desired_state_takes_nothing_away() {
    let mut model = Model::new(&["web"], 3, false);
    let mut first = planner();
    let desired = snapshot(&Snapshot::default(), &ready("web", &[1, 2]));
    first.desire(&Snapshot::default(), &desired, &Changes::Everything);
    model.observe(&mut first);
    model.converge(&mut first, |_, _, _| {});

    let mut second = planner();
    let mut edit = Snapshot::default().edit();
    edit.set_partial(true);
    edit.set_endpoint(&name("web"), &name("3"), Endpoint::new(address(3)));
    let partial = edit.commit().unwrap();
    second.desire(&Snapshot::default(), &partial, &Changes::Everything);
    model.observe(&mut second);
    model.converge(&mut second, |_, _, _| {});
    assert_eq!(
        model.serving(&name("web")),
        BTreeSet::from([address(1), address(2), address(3)])
    );
    let mut edit = partial.edit();
    edit.set_partial(false);
    let whole = edit.commit().unwrap();
    second.desire(&partial, &whole, &whole.changes_since(partial.generation()));
    model.converge(&mut second, |_, _, _| {});
    assert_eq!(model.serving(&name("web")), BTreeSet::from([address(3)]));
}

fn desired_states() -> impl Strategy<Value = Vec<(Desired, u8, u64)>> {
    let state = prop_oneof![
        4 => Just(EndpointState::Ready),
        1 => Just(EndpointState::Pending),
        1 => Just(EndpointState::Draining { grace: None }),
        1 => Just(EndpointState::Down),
    ];
    // An address belongs to one service at a time, and often moves to the other.
    let placed = prop::collection::btree_map(0_u16..8, (any::<bool>(), 1_u16..=256, state), 0..8);
    let desired = placed.prop_map(|placed| {
        let mut desired: Desired = BTreeMap::from([("a", BTreeMap::new()), ("b", BTreeMap::new())]);
        for (number, (in_a, weight, state)) in placed {
            desired
                .get_mut(if in_a { "a" } else { "b" })
                .unwrap()
                .insert(number, (weight, state));
        }
        desired
    });
    prop::collection::vec((desired, any::<u8>(), any::<u64>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// I1, I3, I8, I12: desired states change at random, plans are cut at random, sessions come and go, `lb` is restarted at
    /// random. After every single command no address serves two services, no server with traffic was re-pointed (the
    /// model refuses), and no service that keeps a ready endpoint is emptied. In the end exactly the desired state serves, and one
    /// more plan is empty.
    #[test]
    fn any_history_is_safe_at_every_command_and_ends_right(
        history in desired_states(),
        checked in any::<bool>(),
        slots in prop_oneof![9_u32..14, 2_u32..9],
        restarts in any::<u8>(),
    ) {
        // With few slots the rest are servers made at run time.
        let planner_of_version = || if slots < 9 { planner_of(3, 0) } else { planner_of(2, 6) };
        let mut model = Model::new(&["a", "b"], slots, checked);
        let mut planner = planner_of_version();
        let mut old = Snapshot::default();
        model.observe(&mut planner);
        let mut last = Desired::new();
        for (round, (desired, cut, busy)) in history.iter().enumerate() {
            if restarts >> (round % 8) & 1 == 1 {
                planner = planner_of_version();
                model.observe(&mut planner);
                old = Snapshot::default();
            }
            let new = snapshot(&old, desired);
            let changes = if old.generation() == 0 {
                Changes::Everything
            } else {
                new.changes_since(old.generation())
            };
            planner.desire(&old, &new, &changes);
            // Some of the servers that serve now have a session.
            for (backend, servers) in &model.backends {
                for server in servers {
                    if server.admin == AdminState::Ready && busy >> (server.id % 64) & 1 == 1 {
                        model.sessions.insert((backend.clone(), server.id), 1);
                    }
                }
            }
            let mut budget = usize::from(*cut);
            'passes: for _ in 0..8 {
                let plan = planner.plan(model.now);
                for step in plan.steps() {
                    if budget == 0 {
                        break 'passes;
                    }
                    budget -= 1;
                    let before = model.clone();
                    model.carry_out(&mut planner, step);
                    check_safe(&before, &model, desired, &last)?;
                }
                model.read(&mut planner, &plan);
                model.observe(&mut planner);
                model.advance(Duration::from_millis(20));
            }
            // What was cut is only seen by reading back.
            model.observe(&mut planner);
            model.sessions.clear();
            last = desired.clone();
            old = new;
        }
        let last_desired = &history.last().unwrap().0;
        let mut broken = Ok(());
        let mut before = model.clone();
        let end = model.converge(&mut planner, |model, _, _| {
            if broken.is_ok() {
                broken = check_safe(&before, model, last_desired, last_desired);
            }
            before = model.clone();
        });
        broken?;
        prop_assert!(end.settled && end.unmet.is_empty(), "{end}");
        for (service, endpoints) in last_desired {
            let wanted: BTreeSet<SocketAddr> = endpoints
                .iter()
                .filter(|(_, (_, state))| state.is_ready())
                .map(|(number, _)| address(*number))
                .collect();
            prop_assert_eq!(model.serving(&name(service)), wanted);
        }
        // A fresh planner on the same HAProxy writes nothing: it adopts.
        let mut adopting = planner_of_version();
        adopting.desire(&Snapshot::default(), &old, &Changes::Everything);
        model.observe(&mut adopting);
        let adopted = adopting.plan(model.now);
        prop_assert!(adopted.is_empty() && adopted.settled, "{adopted}");
    }

    /// The same input gives the same plan.
    #[test]
    fn same_input_same_plan(history in desired_states(), slots in 1_u32..12) {
        let run = || {
            let mut model = Model::new(&["a", "b"], slots, false);
            let mut planner = planner();
            model.observe(&mut planner);
            let mut old = Snapshot::default();
            let mut plans = Vec::new();
            for (desired, ..) in &history {
                let new = snapshot(&old, desired);
                planner.desire(&old, &new, &new.changes_since(old.generation()));
                let plan = planner.plan(model.now);
                for step in plan.steps() {
                    model.carry_out(&mut planner, step);
                }
                model.read(&mut planner, &plan);
                model.observe(&mut planner);
                plans.push(plan);
                old = new;
            }
            plans
        };
        prop_assert_eq!(run(), run());
    }
}

fn check_safe(
    before: &Model,
    after: &Model,
    desired: &Desired,
    last: &Desired,
) -> Result<(), TestCaseError> {
    let (a, b) = (after.serving(&name("a")), after.serving(&name("b")));
    let both: Vec<_> = a.intersection(&b).collect();
    prop_assert!(both.is_empty(), "two services on one address: {:?}", both);
    for service in ["a", "b"] {
        let emptied =
            !before.serving(&name(service)).is_empty() && after.serving(&name(service)).is_empty();
        let stays = |desired: &Desired| -> BTreeSet<u16> {
            desired
                .get(service)
                .into_iter()
                .flatten()
                .filter(|(_, (_, state))| state.is_ready())
                .map(|(number, _)| *number)
                .collect()
        };
        let kept: BTreeSet<u16> = stays(desired).intersection(&stays(last)).copied().collect();
        let kept_served = kept
            .iter()
            .any(|n| before.serving(&name(service)).contains(&address(*n)));
        prop_assert!(!(emptied && kept_served), "service {} was emptied", service);
    }
    Ok(())
}
