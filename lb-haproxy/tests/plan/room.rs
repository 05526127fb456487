//! Room for endpoints that are to serve: before servers are made, and before endpoints that are not to serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use lb_core::{EndpointState, Mode, Snapshot, UnmetReason, model::Changes};
use lb_haproxy::{
    capability::Capabilities,
    observed::PARKED,
    plan::Planner,
    policy::{DynamicServers, Policy},
    proto::{AdminState, Command},
};

use crate::{Desired, address, model::Model, name, planner_of, ready, snapshot};

/// Slots whose template is parked at another address than `127.0.0.1:1`.
#[test]
fn case_p23_slots_parked_elsewhere_are_used_before_servers_are_made() {
    for version in [(2, 2), (2, 6), (3, 0), (3, 2), (3, 4)] {
        let mut model = Model::new(&["web"], 4, false);
        for server in model.backends.get_mut(&name("web")).unwrap() {
            server.address = Some("192.0.2.9:80".parse().unwrap());
        }
        let mut planner = planner_of(version.0, version.1);
        let desired = snapshot(&Snapshot::default(), &ready("web", &[1, 2, 3]));
        planner.desire(&Snapshot::default(), &desired, &Changes::Everything);
        model.observe(&mut planner);
        let first = planner.plan(model.now);
        assert!(
            first.unmet.iter().all(|unmet| unmet.transient),
            "{version:?}: {first}"
        );
        let plan = model.converge(&mut planner, |_, command, _| {
            assert!(
                !matches!(command, Command::AddServer { .. }),
                "{version:?}: {command:?}"
            );
        });
        assert!(plan.unmet.is_empty(), "{version:?}: {plan}");
        let wanted = BTreeSet::from([address(1), address(2), address(3)]);
        assert_eq!(model.serving(&name("web")), wanted);
        assert!(model.now.as_secs() < 3, "{version:?}: {:?}", model.now);
    }
}

/// Every slot is held by an endpoint that is out: a ready one gets a slot all the same.
#[test]
fn case_p03_endpoints_that_are_not_to_serve_keep_no_slot_from_one_that_is() {
    let draining = EndpointState::Draining { grace: None };
    for exclusive in [false, true] {
        for state in [EndpointState::Pending, EndpointState::Down, draining] {
            let mut model = Model::new(&["web"], 2, false);
            let mut planner = planner_of(2, 6);
            let mut edit = Snapshot::default().edit();
            edit.set_service(&name("web"), Mode::Http);
            edit.set_exclusive(&name("web"), exclusive);
            let begin = edit.commit().unwrap();
            let mut old = Snapshot::default();
            // Ready first, so that each has a slot when it goes out.
            let mut desired: Desired = ready("web", &[1]);
            let out = (100, state);
            for step in 0..4_u16 {
                let endpoints = desired.get_mut("web").unwrap();
                match step {
                    1 => {
                        endpoints.insert(1, out);
                        endpoints.insert(2, (100, EndpointState::Ready));
                    }
                    2 => {
                        endpoints.insert(2, out);
                    }
                    3 => {
                        endpoints.insert(3, (100, EndpointState::Ready));
                    }
                    _ => {}
                }
                let from = if step == 0 { &begin } else { &old };
                let new = snapshot(from, &desired);
                let changes = match step {
                    0 => Changes::Everything,
                    _ => new.changes_since(old.generation()),
                };
                planner.desire(&old, &new, &changes);
                model.observe(&mut planner);
                if step == 3 {
                    let plan = planner.plan(model.now);
                    let no_slot = plan.unmet.iter();
                    let no_slot = no_slot.filter(|unmet| unmet.reason == UnmetReason::NoCapacity);
                    assert!(
                        no_slot.clone().count() == 1 && no_slot.clone().all(|own| own.transient)
                    );
                }
                let plan = model.converge(&mut planner, |_, _, _| {});
                assert!(
                    plan.unmet.is_empty(),
                    "{exclusive} {state:?} {step}: {plan}"
                );
                old = new;
            }
            let serving = model.serving(&name("web"));
            assert_eq!(
                serving,
                BTreeSet::from([address(3)]),
                "{exclusive} {state:?}"
            );
            // And no slot changes hands any more.
            let before = model.backends.clone();
            model.observe(&mut planner);
            model.converge(&mut planner, |_, command, _| panic!("{command:?}"));
            assert_eq!(model.backends, before);
        }
    }
}

/// A planner and a HAProxy, and the desired state that both have.
struct Place {
    model: Model,
    planner: Planner,
    desired: Snapshot,
}

impl Place {
    fn new(version: (u32, u32), slots: u32, desired: &Desired, exclusive: bool) -> Self {
        let mut policy = Policy::default();
        policy.dynamic_servers = DynamicServers::Never;
        let mut place = Self {
            model: Model::new(&["web"], slots, false),
            planner: Planner::new(policy, Capabilities::of(version.0, version.1)),
            desired: Snapshot::default(),
        };
        let mut edit = Snapshot::default().edit();
        edit.set_service(&name("web"), Mode::Http);
        edit.set_exclusive(&name("web"), exclusive);
        let new = snapshot(&edit.commit().unwrap(), desired);
        place.desire(new, &Changes::Everything);
        place
    }

    fn desire(&mut self, new: Snapshot, changes: &Changes) {
        self.planner.desire(&self.desired, &new, changes);
        self.desired = new;
        self.model.observe(&mut self.planner);
    }

    /// Changes the desired state, converges, and returns the addresses that were set.
    fn becomes(&mut self, desired: &Desired) -> Vec<SocketAddr> {
        let new = snapshot(&self.desired, desired);
        let changes = new.changes_since(self.desired.generation());
        self.desire(new, &changes);
        self.converge()
    }

    fn converge(&mut self) -> Vec<SocketAddr> {
        let mut set = Vec::new();
        self.model.converge(&mut self.planner, |_, command, _| {
            if let Command::SetAddr(_, address) = command {
                set.push(*address);
            }
        });
        // All is in effect: nothing more is written.
        self.model.observe(&mut self.planner);
        self.model
            .converge(&mut self.planner, |_, command, _| panic!("{command:?}"));
        set
    }

    fn held(&self) -> BTreeSet<SocketAddr> {
        let servers = self.model.backends[&name("web")].iter();
        let addresses = servers.filter_map(|server| server.address);
        addresses.filter(|at| *at != PARKED).collect()
    }
}

const VERSIONS: [(u32, u32); 5] = [(2, 2), (2, 6), (3, 0), (3, 2), (3, 4)];

fn desired(endpoints: &[(u16, u16, EndpointState)]) -> Desired {
    let endpoints = endpoints
        .iter()
        .map(|(number, weight, state)| (*number, (*weight, *state)));
    BTreeMap::from([("web", endpoints.collect())])
}

/// One slot is freed for one endpoint, once, and those that gave way come back when there is room.
#[test]
fn case_p03_room_is_made_once_and_only_as_much_as_is_needed() {
    const PENDING: EndpointState = EndpointState::Pending;
    const READY: EndpointState = EndpointState::Ready;
    for version in VERSIONS {
        let pending = [(1, 100, PENDING), (2, 100, PENDING), (3, 100, PENDING)];
        let mut place = Place::new(version, 3, &desired(&pending), false);
        place.converge();
        assert_eq!(place.held(), BTreeSet::from([1, 2, 3].map(address)));

        let with = |more: &[(u16, u16, EndpointState)]| desired(&[&pending[..], more].concat());
        let set = place.becomes(&with(&[(4, 100, READY)]));
        assert_eq!(set, [PARKED, address(4)], "{version:?}");
        // Another one, which is ready and gets no traffic yet.
        let set = place.becomes(&with(&[(4, 100, READY), (5, 0, READY)]));
        assert_eq!(set, [PARKED, address(5)], "{version:?}");
        assert_eq!(
            place.model.serving(&name("web")),
            BTreeSet::from([address(4)])
        );
        // More than there are slots: those that are to serve have all of them.
        let more = [
            (4, 100, READY),
            (5, 0, READY),
            (6, 100, READY),
            (7, 100, READY),
        ];
        let set = place.becomes(&with(&more));
        assert_eq!(set, [PARKED, address(6)], "{version:?}");
        assert_eq!(place.held(), BTreeSet::from([4, 5, 6].map(address)));
        // And back.
        place.becomes(&desired(&pending));
        assert_eq!(place.held(), BTreeSet::from([1, 2, 3].map(address)));
    }
}

/// Of an exclusive service, one of weight 0 only stands by: it keeps no slot from the one that may serve.
#[test]
fn case_p03_an_endpoint_that_stands_by_keeps_no_slot_from_the_one_that_may_serve() {
    const READY: EndpointState = EndpointState::Ready;
    for version in VERSIONS {
        let standing = [(1, 0, READY), (2, 0, READY)];
        let mut place = Place::new(version, 2, &desired(&standing), true);
        place.converge();
        assert_eq!(place.held().len(), 2, "{version:?}");
        place.becomes(&desired(&[&standing[..], &[(3, 100, READY)]].concat()));
        assert_eq!(
            place.model.serving(&name("web")),
            BTreeSet::from([address(3)]),
            "{version:?}"
        );
    }
}

/// Sessions that go on at an endpoint that is out are waited for: another slot is freed, where there is one.
#[test]
fn case_p03_a_slot_without_requests_is_freed_first() {
    const READY: EndpointState = EndpointState::Ready;
    for version in VERSIONS {
        let mut place = Place::new(version, 2, &ready("web", &[1, 2]), false);
        place.converge();
        let servers = place.model.backends[&name("web")].iter();
        let last = servers.max_by_key(|server| server.id).unwrap();
        let (id, busy) = (last.id, last.address.unwrap());
        place.model.sessions.insert((name("web"), id), 1);
        let other = if busy == address(1) {
            address(2)
        } else {
            address(1)
        };
        let down = [(1, 100, EndpointState::Down), (2, 100, EndpointState::Down)];
        place.becomes(&desired(&down));
        place.becomes(&desired(&[&down[..], &[(3, 100, READY)]].concat()));
        assert_eq!(
            place.model.serving(&name("web")),
            BTreeSet::from([address(3)]),
            "{version:?}"
        );
        assert_eq!(
            place.held(),
            BTreeSet::from([busy, address(3)]),
            "{other} gave way"
        );
    }
}

/// A slot that is free once it is in maintenance again is waited for: nobody gives way.
#[test]
fn case_p03_nobody_gives_way_where_a_slot_becomes_free_by_itself() {
    const PENDING: EndpointState = EndpointState::Pending;
    for version in VERSIONS {
        let pending = [(1, 100, PENDING)];
        let mut place = Place::new(version, 2, &desired(&pending), false);
        place.converge();
        let servers = place.model.backends.get_mut(&name("web")).unwrap();
        let free = servers
            .iter_mut()
            .find(|server| server.address == Some(PARKED));
        // By another client.
        free.unwrap().admin = AdminState::Drain;
        let both = [&pending[..], &[(2, 100, EndpointState::Ready)]].concat();
        let set = place.becomes(&desired(&both));
        assert_eq!(set, [address(2)], "{version:?}");
        assert_eq!(place.held(), BTreeSet::from([1, 2].map(address)));
    }
}

/// Slots in quarantine take no endpoint yet: the end of a shortage is told once a slot is free.
#[test]
fn the_end_of_a_shortage_is_told_once_a_slot_is_free() {
    let mut model = Model::new(&["web"], 4, false);
    let mut planner = planner_of(3, 0);
    let none = Snapshot::default();
    let all = snapshot(&none, &ready("web", &[1, 2, 3, 4]));
    planner.desire(&none, &all, &Changes::Everything);
    model.observe(&mut planner);
    model.converge(&mut planner, |_, _, _| {});
    let told = |planner: &mut Planner| -> Vec<String> {
        let notices = planner.take_notices().into_iter();
        notices.map(|notice| format!("{notice:?}")).collect()
    };
    let low = told(&mut planner);
    assert!(low.len() == 1 && low[0].contains("slots_low"), "{low:?}");
    let gone = snapshot(&all, &ready("web", &[1]));
    planner.desire(&all, &gone, &gone.changes_since(all.generation()));
    model.converge(&mut planner, |_, _, _| {});
    let room = told(&mut planner);
    let text = "backend web has room again: 3 of 4 slots are free, 0 more are in quarantine";
    assert!(room.len() == 1 && room[0].contains(text), "{room:?}");
}

/// Where endpoints are replaced in a full backend, their slots become free, and no reload is needed for that many.
#[test]
fn a_plan_asks_for_a_reload_only_for_what_leaving_slots_do_not_give() {
    for (next, waits, reload) in [
        (&[1, 3][..], "backend web: 1 endpoint waits for slots", None),
        (&[3, 4], "backend web: 2 endpoints wait for slots", None),
        (
            &[1, 3, 4],
            "backend web: 1 endpoint waits for slots",
            Some("only a reload gives more: backend web has 2 slots and needs 1 more"),
        ),
    ] {
        let mut model = Model::new(&["web"], 2, false);
        let mut planner = planner_of(2, 6);
        let old = snapshot(&Snapshot::default(), &ready("web", &[1, 2]));
        planner.desire(&Snapshot::default(), &old, &Changes::Everything);
        model.observe(&mut planner);
        model.converge(&mut planner, |_, _, _| {});
        let new = snapshot(&old, &ready("web", next));
        planner.desire(&old, &new, &Changes::Everything);
        model.observe(&mut planner);
        let plan = planner.plan(model.now).to_string();
        assert!(plan.contains(waits), "{plan}");
        let said = plan.lines().find(|line| line.contains("reload"));
        assert_eq!(said, reload, "{plan}");
    }
}
