//! Exclusive services and the fate of sessions: at any moment at most one endpoint can get traffic or has any.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{
    Endpoint, EndpointState, Mode, OnDown, Snapshot, UnmetReason, Weight, model::Changes,
};
use lb_haproxy::{
    capability::Capabilities,
    observed::{Server, is_parked},
    plan::{Plan, Planner, Why},
    policy::Policy,
    proto::{AdminState, Command, ServerRef},
};
use proptest::prelude::*;

use crate::{address, model::Model, name};

/// The endpoints of `db`, by number: address, weight, state.
type Wish = BTreeMap<u16, (u16, u16, EndpointState)>;

const DRAINING: EndpointState = EndpointState::Draining { grace: None };

/// One `db` in HAProxy, and who drives it.
struct World {
    model: Model,
    planner: Planner,
    version: (u32, u32),
    snapshot: Snapshot,
    wish: Wish,
    /// Servers whose sessions outlive so many orders to end.
    stubborn: u32,
    trace: Vec<String>,
}

fn ready(numbers: &[u16]) -> Wish {
    numbers
        .iter()
        .map(|number| (*number, (*number, 100, EndpointState::Ready)))
        .collect()
}

fn planner_of(version: (u32, u32)) -> Planner {
    Planner::new(Policy::default(), Capabilities::of(version.0, version.1))
}

impl World {
    fn new(version: (u32, u32), checked: bool) -> Self {
        let mut edit = Snapshot::default().edit();
        edit.set_service(&name("db"), Mode::Tcp);
        edit.set_exclusive(&name("db"), true);
        let snapshot = edit.commit().unwrap();
        let mut world = Self {
            model: Model::new(&["db"], 4, checked),
            planner: planner_of(version),
            version,
            snapshot,
            wish: Wish::new(),
            stubborn: 0,
            trace: Vec::new(),
        };
        world.begin();
        world
    }

    /// A planner that knows nothing begins.
    fn begin(&mut self) {
        self.planner = planner_of(self.version);
        self.model.observe(&mut self.planner);
        let hold = self.model.now + Duration::from_secs(10);
        self.planner.hold_found_until(hold);
        let nothing = Snapshot::default();
        self.planner
            .desire(&nothing, &self.snapshot, &Changes::Everything);
    }

    fn edit(&mut self, change: impl FnOnce(&mut lb_core::model::SnapshotEdit)) {
        let mut edit = self.snapshot.edit();
        change(&mut edit);
        if let Some(next) = edit.commit() {
            let changes = next.changes_since(self.snapshot.generation());
            self.planner.desire(&self.snapshot, &next, &changes);
            self.snapshot = next;
        }
    }

    fn wish(&mut self, wish: Wish) {
        let db = name("db");
        let old = std::mem::replace(&mut self.wish, wish.clone());
        self.trace.push(format!("wish {wish:?}"));
        self.edit(|edit| {
            for number in old.keys().filter(|number| !wish.contains_key(number)) {
                edit.remove_endpoint(&db, &name(&format!("e{number}")));
            }
            for (number, (at, weight, state)) in &wish {
                let endpoint = Endpoint::new(address(*at))
                    .with_weight(Weight::new(*weight).unwrap())
                    .with_state(*state);
                edit.set_endpoint(&db, &name(&format!("e{number}")), endpoint);
            }
        });
    }

    /// Sessions come where HAProxy may send them, which is also where it drains.
    fn sessions_come(&mut self) {
        let db = name("db");
        for server in &self.model.backends[&db] {
            let parked = server.address.is_some_and(is_parked);
            if server.admin != AdminState::Maint && server.running && !parked {
                *self
                    .model
                    .sessions
                    .entry((db.clone(), server.id))
                    .or_default() += 1;
            }
        }
    }

    /// The addresses that can get traffic or have some.
    fn primaries(&self) -> BTreeSet<SocketAddr> {
        let db = name("db");
        let open = |server: &&Server| {
            let busy = self.model.sessions.get(&(db.clone(), server.id));
            server.admin != AdminState::Maint || busy.is_some_and(|busy| *busy > 0)
        };
        let servers = self.model.backends[&db].iter().filter(open);
        servers
            .filter_map(|server| server.address)
            .filter(|address| !is_parked(*address))
            .collect()
    }

    fn check(&self) {
        assert!(
            self.primaries().len() <= 1,
            "two primaries: {:#?}",
            self.trace
        );
    }

    /// One plan, of which only the first `most` commands arrive.
    fn round(&mut self, most: usize) -> (Plan, usize) {
        let plan = self.planner.plan(self.model.now);
        let steps: Vec<_> = plan.steps().take(most).cloned().collect();
        for step in &steps {
            let sessions = self.model.sessions.clone();
            self.model.carry_out(&mut self.planner, step);
            if let Command::ShutdownSessions(server) = &step.command {
                if self.stubborn > 0 {
                    self.stubborn -= 1;
                    self.model.sessions = sessions;
                }
                self.planner.cut(server, self.model.now);
            }
            self.trace.push(format!("{:?} {step}", self.model.now));
            self.check();
            self.sessions_come();
            self.check();
        }
        if steps.len() < plan.steps().count() {
            return (plan, steps.len());
        }
        if !plan.is_empty() {
            self.model.observe(&mut self.planner);
            self.planner.outdate(self.model.now);
        }
        self.model.read(&mut self.planner, &plan);
        (plan, steps.len())
    }

    /// Until nothing is left to do now or later.
    fn converge(&mut self) -> Plan {
        for _ in 0..2000 {
            let (plan, _) = self.round(usize::MAX);
            if !plan.is_empty() || !plan.reads.is_empty() {
                continue;
            }
            match plan.again_at {
                Some(at) if at > self.model.now => self.model.advance(at - self.model.now),
                Some(_) => {}
                None => return plan,
            }
        }
        panic!(
            "no end: {} {:#?}",
            self.planner.plan(self.model.now),
            self.trace
        );
    }

    fn serving(&self) -> BTreeSet<SocketAddr> {
        self.model.serving(&name("db"))
    }

    fn server(&mut self, slot: &str) -> &mut Server {
        self.model.server(&name("db"), &name(slot))
    }

    /// The slot with this address.
    fn slot_of(&self, number: u16) -> ServerRef {
        let db = name("db");
        let slot = self.model.backends[&db]
            .iter()
            .find(|server| server.address == Some(address(number)));
        ServerRef::new(db, slot.unwrap().name.clone())
    }
}

/// A world in which the first endpoint serves and has a session.
fn served() -> World {
    let mut world = World::new((3, 0), false);
    world.wish(ready(&[1]));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(1)]));
    world.sessions_come();
    world
}

#[test]
fn case_p06_a_swap_never_has_two_primaries_however_it_is_written() {
    let ready_new = (2, 100, EndpointState::Ready);
    let one = |state| (1, 100, state);
    let ways: Vec<(&str, Vec<Wish>)> = vec![
        (
            "drain, then set",
            vec![
                Wish::from([(
                    1,
                    one(EndpointState::Draining {
                        grace: Some(Duration::ZERO),
                    }),
                )]),
                Wish::from([
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
            vec![Wish::from([(1, one(DRAINING)), (2, ready_new)])],
        ),
        ("remove and set", vec![Wish::from([(2, ready_new)])]),
        ("another address", vec![Wish::from([(1, ready_new)])]),
        (
            "down and set",
            vec![Wish::from([(1, one(EndpointState::Down)), (2, ready_new)])],
        ),
        (
            "pending and set",
            vec![Wish::from([
                (1, one(EndpointState::Pending)),
                (2, ready_new),
            ])],
        ),
        (
            "weight beside it",
            vec![Wish::from([
                (1, (1, 7, DRAINING)),
                (2, (2, 256, EndpointState::Ready)),
            ])],
        ),
        (
            "by weight alone",
            vec![Wish::from([
                (1, (1, 0, EndpointState::Ready)),
                (2, ready_new),
            ])],
        ),
        (
            "set, then drain",
            vec![
                Wish::from([(1, one(EndpointState::Ready)), (2, ready_new)]),
                Wish::from([(1, one(DRAINING)), (2, ready_new)]),
            ],
        ),
        (
            "prepared, then swapped",
            vec![
                Wish::from([
                    (1, one(EndpointState::Ready)),
                    (2, (2, 100, EndpointState::Pending)),
                ]),
                Wish::from([(1, one(EndpointState::Pending)), (2, ready_new)]),
            ],
        ),
    ];
    for (way, wishes) in ways {
        for stubborn in [0, 2] {
            for apart in [false, true] {
                let mut world = served();
                world
                    .trace
                    .push(format!("{way}, stubborn {stubborn}, apart {apart}"));
                world.stubborn = stubborn;
                for wish in wishes.clone() {
                    world.wish(wish);
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
    world.wish(ready(&[2]));
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
    world.wish(Wish::from([
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
fn case_p06_of_two_ready_endpoints_the_one_that_serves_goes_on() {
    let mut world = World::new((3, 0), false);
    world.wish(ready(&[2, 3]));
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    assert_eq!(end.unmet.len(), 1, "{end}");
    let unmet = &end.unmet[0];
    assert_eq!(
        (unmet.reason, unmet.transient),
        (UnmetReason::Exclusive, false)
    );
    assert_eq!(unmet.endpoint, Some(name("e3")));
    assert!(
        unmet.detail.contains("2 ready endpoints"),
        "{}",
        unmet.detail
    );
    // One with a lesser name comes: the one that serves goes on, also for a planner that knows nothing.
    world.wish(ready(&[1, 2, 3]));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    world.begin();
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
    assert_eq!(end.unmet.len(), 2);
    // A weight of 0 asks for nothing.
    world.wish(Wish::from([
        (1, (1, 0, EndpointState::Ready)),
        (2, (2, 100, EndpointState::Ready)),
    ]));
    assert!(world.converge().unmet.is_empty());
}

/// The source decides who is the primary, also while HAProxy's check keeps it out: what is told of the others says so.
#[test]
fn case_p06_a_primary_that_is_chosen_and_does_not_serve_is_told_so() {
    for checked in [true, false] {
        let mut world = World::new((3, 0), checked);
        world.wish(ready(&[1, 2]));
        let slot = |world: &World| world.slot_of(1).server.to_string();
        let end = world.converge();
        let told = |plan: &Plan| {
            assert_eq!(plan.unmet.len(), 1, "{plan}");
            assert_eq!(plan.unmet[0].endpoint, Some(name("e2")));
            plan.unmet[0].detail.clone()
        };
        if !checked {
            assert!(told(&end).ends_with("e1 at 10.0.0.1:1001 serves"), "{end}");
        }
        let slot = slot(&world);
        // Long after it was admitted.
        world.model.now += Duration::from_secs(120);
        let server = world.server(&slot);
        server.has_agent = !checked;
        server.agent_enabled = !checked;
        server.running = false;
        world.model.observe(&mut world.planner);
        let end = world.planner.plan(world.model.now);
        let detail = told(&end);
        assert!(
            detail.contains("e1 at 10.0.0.1:1001 is chosen and does not serve"),
            "{detail}"
        );
        assert!(
            detail.contains("let the source state it down, or remove it"),
            "{detail}"
        );
        assert!(world.serving().is_empty());
        // What helps: the source states it.
        world.wish(Wish::from([
            (1, (1, 100, EndpointState::Down)),
            (2, (2, 100, EndpointState::Ready)),
        ]));
        let end = world.converge();
        assert!(end.unmet.is_empty(), "{end}");
    }
}

/// Two that serve are found: one goes at once, and no time is given to its sessions.
#[test]
fn case_p06_of_two_that_are_found_serving_one_is_left_at_once() {
    let mut world = World::new((3, 0), false);
    for (slot, number) in [("slot1", 1), ("slot2", 2), ("slot3", 3)] {
        let server = world.server(slot);
        server.address = Some(address(number));
        server.admin = AdminState::Ready;
        server.running = true;
    }
    world.server("slot3").admin = AdminState::Drain;
    world.model.sessions.insert((name("db"), 1), 1);
    world.model.sessions.insert((name("db"), 3), 1);
    world.begin();
    world.wish = ready(&[2]);
    world.edit(|edit| edit.set_endpoint(&name("db"), &name("e2"), Endpoint::new(address(2))));
    let plan = world.planner.plan(world.model.now);
    let out: Vec<&Command> = plan.steps().map(|step| &step.command).collect();
    for slot in ["slot1", "slot3"] {
        let server = ServerRef::new(name("db"), name(slot));
        assert!(
            out.contains(&&Command::SetState(server.clone(), AdminState::Maint)),
            "{plan}"
        );
        assert!(out.contains(&&Command::ShutdownSessions(server)), "{plan}");
    }
    for step in plan.steps() {
        world.model.carry_out(&mut world.planner, step);
    }
    world.model.observe(&mut world.planner);
    world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(2)]));
}

#[test]
fn case_p06_nobody_is_admitted_while_the_old_one_cannot_be_taken_out() {
    let mut world = served();
    world.wish(ready(&[2]));
    let old = world.slot_of(1);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.steps().any(|step| step.why == Why::Handover));
    world
        .planner
        .refused(&old, "permission denied".to_owned(), world.model.now);
    let plan = world.planner.plan(world.model.now);
    assert!(!plan.settled);
    let unmet = plan
        .unmet
        .iter()
        .find(|unmet| unmet.reason == UnmetReason::Exclusive)
        .unwrap();
    assert!(
        !unmet.transient && unmet.detail.contains("permission denied"),
        "{}",
        unmet.detail
    );
    assert_eq!(unmet.endpoint, Some(name("e2")));
    // When it is possible again, it happens.
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
}

/// A backup serves while no other server does, and keeps its sessions when one does again.
#[test]
fn case_p06_nobody_is_admitted_beside_a_fixed_backup() {
    let backup = || {
        let mut server = Server::slot(name("spare"), 9);
        server.declared_disabled = false;
        server.address = Some(address(9));
        server.admin = AdminState::Ready;
        server.running = true;
        server
    };
    let backups = BTreeSet::from([name("spare")]);
    let mut world = World::new((3, 0), false);
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(backup());
    world.begin();
    world.planner.observe_backups(&name("db"), &backups);
    world.wish(ready(&[1]));
    let end = world.converge();
    assert!(end.settled, "{end}");
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    let mut unmet = end.unmet.iter();
    let unmet = unmet
        .find(|unmet| unmet.endpoint == Some(name("e1")))
        .unwrap();
    assert!(
        !unmet.transient
            && unmet.detail.contains("waits until server db/spare")
            && unmet.detail.contains("backup"),
        "{end}"
    );
    // At the endpoint's own address it is no other endpoint.
    world.wish(ready(&[9]));
    let end = world.converge();
    assert!(end.unmet.is_empty(), "{end}");
    // One that serves already goes on, and both are told of.
    let mut world = served();
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(backup());
    world.model.observe(&mut world.planner);
    world.planner.observe_backups(&name("db"), &backups);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.is_empty() && plan.unmet.len() == 1, "{plan}");
}

#[test]
fn case_p06_nobody_is_admitted_beside_a_fixed_server_that_serves() {
    let fixed = || {
        let mut fixed = Server::slot(name("legacy"), 9);
        fixed.declared_disabled = false;
        fixed.address = Some(address(9));
        fixed.admin = AdminState::Ready;
        fixed.running = true;
        fixed
    };
    // One that serves already goes on, and both are told of.
    let mut world = served();
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(fixed());
    world.model.observe(&mut world.planner);
    let plan = world.planner.plan(world.model.now);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.unmet.len(), 1, "{plan}");
    let detail = &plan.unmet[0].detail;
    assert!(detail.contains("server db/legacy is no slot"), "{detail}");
    // Nobody is admitted while it serves.
    let mut world = World::new((3, 0), false);
    let servers = world.model.backends.get_mut(&name("db")).unwrap();
    servers.push(fixed());
    world.begin();
    world.wish(ready(&[1]));
    let end = world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    let unmet = end
        .unmet
        .iter()
        .find(|unmet| unmet.endpoint == Some(name("e1")));
    let unmet = unmet.unwrap();
    assert!(
        !unmet.transient && unmet.detail.contains("waits until server db/legacy"),
        "{end}"
    );
    // Where it serves the endpoint itself, all is well.
    world.wish(ready(&[9]));
    let end = world.converge();
    assert!(end.unmet.is_empty(), "{end}");
    world.wish(ready(&[1, 9]));
    let end = world.converge();
    assert_eq!(world.primaries(), BTreeSet::from([address(9)]));
    assert!(end.unmet[0].detail.contains("2 ready endpoints"), "{end}");
}

/// What a source that has not reported yet may want is not taken out, so nobody else is admitted.
#[test]
fn case_p06_nobody_is_admitted_beside_what_an_unheard_source_may_want() {
    let mut world = served();
    world.edit(|edit| edit.set_partial(true));
    world.wish(ready(&[2]));
    let end = world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(1)]));
    assert!(end.unmet[0].transient, "{end}");
    world.edit(|edit| edit.set_partial(false));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
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

/// A worker that was replaced may have sessions to the old endpoint for as long as it lives.
#[test]
fn case_p06_nobody_is_admitted_while_a_replaced_worker_may_serve_the_old_one() {
    let mut world = served();
    let serving = world.planner.serving();
    assert_eq!(serving, [(address(1), name("db"))]);
    world.model.sessions.clear();
    world.begin();
    world.edit(|edit| edit.set_endpoint(&name("db"), &name("e1"), Endpoint::new(address(1))));
    let until = world.model.now + Duration::from_secs(100);
    world.planner.replaced_serves(serving, until);
    world.wish(ready(&[2]));
    for _ in 0..20 {
        world.round(usize::MAX);
    }
    assert_eq!(world.serving(), BTreeSet::new());
    assert!(world.planner.replaced_is_gone(), "somebody waits for it");
    for _ in 0..20 {
        world.round(usize::MAX);
    }
    assert_eq!(world.serving(), BTreeSet::from([address(2)]));
}

#[test]
fn case_p05_sessions_to_an_endpoint_that_is_down_are_shut_down_where_the_service_asks() {
    for (on_down, kept) in [(OnDown::Keep, true), (OnDown::ShutdownSessions, false)] {
        for removed in [false, true] {
            let mut world = World::new((2, 6), false);
            world.edit(|edit| {
                edit.set_exclusive(&name("db"), false);
                edit.set_on_down(&name("db"), on_down);
            });
            world.wish(ready(&[1, 2]));
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
            let mut wish = world.wish.clone();
            wish.insert(1, (1, 100, EndpointState::Down));
            world.wish(wish.clone());
            let mut settled = false;
            for round in 0..10 {
                if removed && round == 1 {
                    wish.remove(&1);
                    world.wish(wish.clone());
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
                    let mut wish = world.wish.clone();
                    wish.insert(id, (at, weight, state));
                    world.wish(wish);
                }
                Act::Remove(id) => {
                    let mut wish = world.wish.clone();
                    wish.remove(&id);
                    world.wish(wish);
                }
                Act::Swap(from, to) => {
                    let mut wish = world.wish.clone();
                    wish.remove(&from);
                    wish.insert(to, (to, 100, EndpointState::Ready));
                    world.wish(wish);
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
        for (at, weight, state) in world.wish.values() {
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

/// A free slot is taken out of maintenance by another client, which is not read before an endpoint that stands by gets it.
#[test]
fn case_p06_one_that_stands_by_gets_no_traffic_in_a_slot_that_another_client_has_opened() {
    for opened in [AdminState::Drain, AdminState::Ready] {
        let mut world = served();
        for slot in ["slot1", "slot2", "slot3", "slot4"] {
            if world.server(slot).address.is_some_and(is_parked) {
                world.server(slot).admin = opened;
            }
        }
        world.wish(ready(&[1, 2]));
        // No line of the plan gives the service a second primary: `round` looks after each.
        world.round(usize::MAX);
        world.converge();
        assert_eq!(world.serving(), BTreeSet::from([address(1)]));
        let stands_by = world.slot_of(2);
        assert_eq!(
            world.server(stands_by.server.as_str()).admin,
            AdminState::Maint
        );
    }
}
