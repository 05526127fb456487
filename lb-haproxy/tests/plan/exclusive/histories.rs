//! Any history of changes, restarts and losses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::EndpointState;
use proptest::prelude::*;

use super::{DRAINING, World};
use crate::address;

#[derive(Debug, Clone)]
enum Act {
    Set(u16, u16, u16, EndpointState),
    Remove(u16),
    Swap(u16, u16),
    Rounds(u8, u8),
    Kill,
    Wait(u16),
    SessionsEnd,
}

fn act() -> impl Strategy<Value = Act> {
    let state = prop_oneof![
        4 => Just(EndpointState::Ready),
        1 => Just(DRAINING),
        1 => Just(EndpointState::Draining { grace: Some(Duration::from_millis(700)) }),
        1 => Just(EndpointState::Down),
        1 => Just(EndpointState::Pending),
    ];
    let weight = prop::sample::select(vec![0_u16, 1, 100, 256]);
    prop_oneof![
        4 => (1..5_u16, 1..5_u16, weight, state)
            .prop_map(|(id, at, weight, state)| Act::Set(id, at, weight, state)),
        1 => (1..5_u16).prop_map(Act::Remove),
        3 => (1..5_u16, 1..5_u16).prop_map(|(from, to)| Act::Swap(from, to)),
        5 => (1..6_u8, 0..6_u8).prop_map(|(rounds, cut)| Act::Rounds(rounds, cut)),
        1 => Just(Act::Kill),
        2 => (1..3000_u16).prop_map(Act::Wait),
        1 => Just(Act::SessionsEnd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written and wherever lb dies, there are never two primaries, and in the end one serves if one is to.
    #[test]
    fn case_p06_no_history_has_two_primaries(
        acts in prop::collection::vec(act(), 1..40),
        version in prop::sample::select(vec![(2, 2), (2, 6), (3, 4)]),
        checked in any::<bool>(),
        stubborn in 0..4_u32,
    ) {
        let mut world = World::new(version, checked);
        world.stubborn = stubborn;
        for act in acts {
            match act {
                Act::Set(id, at, weight, state) => {
                    let mut desired = world.desired.clone();
                    desired.insert(id, (at, weight, state));
                    world.desire(desired);
                }
                Act::Remove(id) => {
                    let mut desired = world.desired.clone();
                    desired.remove(&id);
                    world.desire(desired);
                }
                Act::Swap(from, to) => {
                    let mut desired = world.desired.clone();
                    desired.remove(&from);
                    desired.insert(to, (to, 100, EndpointState::Ready));
                    world.desire(desired);
                }
                Act::Rounds(rounds, cut) => {
                    for _ in 0..rounds {
                        world.round(usize::MAX);
                    }
                    if cut > 0 {
                        let (plan, sent) = world.round(usize::from(cut));
                        if sent < plan.steps().count() {
                            world.begin();
                        }
                    }
                }
                Act::Kill => world.begin(),
                Act::Wait(millis) => {
                    world.model.advance(Duration::from_millis(millis.into()));
                    world.sessions_come();
                    world.check();
                }
                Act::SessionsEnd => world.model.sessions.clear(),
            }
        }
        let end = world.converge();
        // Of endpoints with one address, the first that is ready decides.
        let mut weights: BTreeMap<u16, u16> = BTreeMap::new();
        for (at, weight, state) in world.desired.values() {
            if state.is_ready() {
                weights.entry(*at).or_insert(*weight);
            }
        }
        let ready: BTreeSet<SocketAddr> = weights
            .iter()
            .filter(|(_, weight)| **weight > 0)
            .map(|(at, _)| address(*at))
            .collect();
        let serving = world.serving();
        prop_assert_eq!(serving.len(), usize::from(!ready.is_empty()), "{} {:#?}", end, world.trace);
        prop_assert!(serving.is_subset(&ready));
        prop_assert!(end.settled, "{}", end);
    }
}
