//! Exclusive services and the fate of sessions: at any moment at most one endpoint can get traffic or has any.

mod admission;
mod histories;
mod primary;
mod sessions;
mod swap;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Endpoint, EndpointState, Mode, Snapshot, Weight, model::Changes};
use lb_haproxy::{
    capability::Capabilities,
    observed::{Server, is_parked},
    plan::{Plan, Planner},
    policy::Policy,
    proto::{AdminState, Command, ServerRef},
};

use crate::{address, model::Model, name};

/// The endpoints of `db`, by number: address, weight, state.
type Desired = BTreeMap<u16, (u16, u16, EndpointState)>;

const DRAINING: EndpointState = EndpointState::Draining { grace: None };

/// One `db` in HAProxy, and who drives it.
struct World {
    model: Model,
    planner: Planner,
    version: (u32, u32),
    snapshot: Snapshot,
    desired: Desired,
    /// Servers whose sessions outlive so many orders to end.
    stubborn: u32,
    trace: Vec<String>,
}

fn ready(numbers: &[u16]) -> Desired {
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
            desired: Desired::new(),
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

    fn desire(&mut self, desired: Desired) {
        let db = name("db");
        let old = std::mem::replace(&mut self.desired, desired.clone());
        self.trace.push(format!("desired state {desired:?}"));
        self.edit(|edit| {
            for number in old.keys().filter(|number| !desired.contains_key(number)) {
                edit.remove_endpoint(&db, &name(&format!("e{number}")));
            }
            for (number, (at, weight, state)) in &desired {
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
    world.desire(ready(&[1]));
    world.converge();
    assert_eq!(world.serving(), BTreeSet::from([address(1)]));
    world.sessions_come();
    world
}
