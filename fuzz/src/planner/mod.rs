//! The planner and a small model of HAProxy, driven through any history. It panics where what it states does not hold.

mod checks;
mod haproxy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Endpoint, EndpointState, Name, Snapshot, Weight, model::Changes};
use lb_haproxy::{
    Scope,
    capability::Capabilities,
    observed::{Gauges, Server, is_parked},
    plan::{Plan, Planner, Read},
    policy::{DynamicServers, Policy},
    proto::{AdminState, Command, ServerRef},
};

use crate::bytes::Bytes;

/// The first bytes choose version, policy, slots and the backends that are managed; then each operation is a byte and its
/// arguments: desired states, which service is exclusive, time, sessions, edits by another client, restarts of `lb`, reloads of
/// HAProxy, answers that are heard late, and passes that are
/// whole, cut, refused or late.
///
/// After every command: no server that may have traffic is re-pointed, and none from one tenant to the next but by way
/// of the parking place; none is made ready but where its service desires it, and no server is made ready at an address
/// that another service has not left, or that a replaced worker serves for another. Nothing is changed in a backend that
/// is not managed. No endpoint of an exclusive service is made ready while another one can get traffic or has some. When nothing goes wrong any more,
/// planning ends within a bounded number of rounds, and every ready desired state is served or told to be unmet.
pub fn planner(data: &[u8]) {
    let mut bytes = Bytes(data.get(..MOST_BYTES).unwrap_or(data));
    let mut world = World::new(&mut bytes);
    while !bytes.0.is_empty() {
        let operation = bytes.next();
        match operation % 16 {
            0..=5 => world.change_endpoint(&mut bytes),
            6 if operation & 16 == 0 => world.partial(),
            6 => world.exclusive(bytes.pick(&SERVICES), operation & 32 == 0),
            7..=9 => world.pass(&mut bytes),
            10 => world.advance(bytes.pick(&STEPS)),
            11 => world.begin_sessions(bytes.next()),
            12 => world.end_sessions(bytes.next()),
            13 => world.edit(&mut bytes),
            14 => world.checks_pass = bytes.next() & 1 == 0,
            _ => match operation >> 4 & 3 {
                1 => world.reload(),
                2 => world.replaced_is_gone(),
                3 => world.hear_late(bytes.pick(&STEPS)),
                _ => {
                    // What the one before knew is forgotten.
                    world.replaced.clear();
                    world.restart();
                }
            },
        }
    }
    world.end();
}

/// More is more of the same.
const MOST_BYTES: usize = 1024;
const SERVICES: [&str; 3] = ["a", "b", "c"];
/// Whatever time limits there are, one step goes beyond each and one stays below.
const STEPS: [Duration; 6] = [
    Duration::from_millis(3),
    Duration::from_millis(60),
    Duration::from_millis(300),
    Duration::from_millis(1100),
    Duration::from_secs(11),
    Duration::from_secs(61),
];

/// The time for which an old worker is waited for.
const REPLACED: Duration = Duration::from_secs(5);

/// Places of servers: backend and name.
type At = (Name, Name);

struct World {
    policy: Policy,
    capabilities: Capabilities,
    manage: Scope,
    planner: Planner,
    backends: BTreeMap<Name, Vec<Server>>,
    sessions: BTreeSet<At>,
    /// Addresses that were sent and take effect when time goes on.
    late: Vec<(ServerRef, SocketAddr)>,
    checks_pass: bool,
    /// The addresses that an old worker serves, with their services, until a time.
    replaced: BTreeSet<(SocketAddr, Name)>,
    replaced_until: Duration,
    desired: Snapshot,
    now: Duration,
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let (major, minor) = bytes.pick(&[(2, 4), (2, 6), (3, 0), (3, 2)]);
        let choice = bytes.next();
        let mut policy = Policy::default();
        policy.cut_at_deadline = choice & 1 == 0;
        policy.persistence = choice & 6 == 6;
        policy.dynamic_servers = match choice >> 3 & 3 {
            0 => DynamicServers::Never,
            1 => DynamicServers::Always,
            _ => DynamicServers::Auto,
        };
        let checked = choice & 32 != 0;
        let slots = |count: u8| {
            (1..=u32::from(count % 5)).map(move |id| {
                let mut slot = Server::slot(name(&format!("slot{id}")), id);
                slot.checked = checked;
                slot
            })
        };
        let backends: BTreeMap<Name, Vec<Server>> = SERVICES
            .iter()
            .map(|service| (name(service), slots(bytes.next()).collect()))
            .collect();
        let capabilities = Capabilities::of(major, minor);
        let manage = match choice >> 6 {
            1 => Scope::only(SERVICES.iter().take(2).map(|service| name(service))),
            _ => Scope::default(),
        };
        let mut world = Self {
            planner: Planner::new(policy.clone(), capabilities.clone()).managing(manage.clone()),
            policy,
            manage,
            capabilities,
            backends,
            sessions: BTreeSet::new(),
            late: Vec::new(),
            checks_pass: true,
            replaced: BTreeSet::new(),
            replaced_until: Duration::ZERO,
            desired: Snapshot::default(),
            now: Duration::ZERO,
        };
        world.observe();
        world
    }

    /// One endpoint is set or removed. Several may have one address, of one service or of several.
    fn change_endpoint(&mut self, bytes: &mut Bytes<'_>) {
        let (service, id) = (name(bytes.pick(&SERVICES)), bytes.next() % 6);
        let (number, state) = (bytes.next(), bytes.next());
        let mut edit = self.desired.edit();
        let id = name(&format!("e{id}"));
        let ready = Endpoint::new(address(number));
        let mut set = |endpoint| edit.set_endpoint(&service, &id, endpoint);
        match state % 12 {
            0..=4 => set(ready),
            5 => set(ready.with_weight(weight(state))),
            6 => set(ready.with_weight(weight(0))),
            7 => set(ready.with_state(EndpointState::Pending)),
            8 => set(ready.with_state(EndpointState::Down)),
            9 => set(ready.with_state(EndpointState::Draining { grace: None })),
            10 => {
                let grace = Some(bytes.pick(&STEPS));
                set(ready.with_state(EndpointState::Draining { grace }));
            }
            _ => edit.remove_endpoint(&service, &id),
        }
        if let Some(next) = edit.commit() {
            self.desire(next);
        }
    }

    fn partial(&mut self) {
        let mut edit = self.desired.edit();
        edit.set_partial(!self.desired.is_partial());
        if let Some(next) = edit.commit() {
            self.desire(next);
        }
    }

    fn exclusive(&mut self, service: &str, exclusive: bool) {
        let service = name(service);
        let Some(mode) = self.desired.service(&service).map(|known| known.mode()) else {
            return;
        };
        let mut edit = self.desired.edit();
        edit.set_service(&service, mode);
        edit.set_exclusive(&service, exclusive);
        if let Some(next) = edit.commit() {
            self.desire(next);
        }
    }

    fn is_exclusive(&self, service: &Name) -> bool {
        let known = self.desired.service(service);
        known.is_some_and(|known| known.is_exclusive())
    }

    fn desire(&mut self, next: Snapshot) {
        let changes = next.changes_since(self.desired.generation());
        self.planner.desire(&self.desired, &next, &changes);
        self.desired = next;
    }

    /// `lb` begins anew on the same HAProxy.
    fn restart(&mut self) {
        self.settle();
        self.planner = Planner::new(self.policy.clone(), self.capabilities.clone())
            .managing(self.manage.clone());
        let nothing = Snapshot::default();
        self.planner
            .desire(&nothing, &self.desired, &Changes::Everything);
        self.observe();
        self.planner
            .hold_found_until(self.now + self.policy.adoption_hold);
    }

    /// A new worker begins as the one before is, which lives on for a while.
    fn reload(&mut self) {
        self.settle();
        if self.now >= self.replaced_until {
            // Nobody waits any more for those before.
            self.replaced.clear();
        }
        for (backend, servers) in &self.backends {
            let serving = servers
                .iter()
                .filter(|server| server.admin != AdminState::Maint);
            let addresses = serving.filter_map(|server| server.address);
            let addresses = addresses.filter(|address| !is_parked(*address));
            self.replaced
                .extend(addresses.map(|address| (address, backend.clone())));
        }
        self.sessions.clear();
        self.replaced_until = self.now + REPLACED;
        let before = self.planner.clone();
        self.restart();
        let served = before.serving().into_iter();
        let all = served.chain(before.served_by_replaced(self.now));
        self.planner.replaced_serves(all, self.replaced_until);
    }

    fn replaced_is_gone(&mut self) {
        self.replaced.clear();
        self.planner.replaced_is_gone();
    }

    /// Plans and applies as the driver does. Now and then only the first commands go out, one is refused, or an
    /// address takes effect late.
    fn pass(&mut self, bytes: &mut Bytes<'_>) {
        let (how, mut at) = (bytes.next(), bytes.next());
        if how & 0x80 != 0 {
            // Not the next look after the last one, but a pass that begins.
            self.now += Duration::from_millis(1);
            self.planner.outdate(self.now);
        }
        let plan = self.plan();
        let mut failed: BTreeSet<Name> = BTreeSet::new();
        let mut not_done = Vec::new();
        for stage in &plan.stages {
            let steps = stage
                .steps
                .iter()
                .filter(|step| !failed.contains(&step.server.backend));
            let steps: Vec<_> = steps.collect();
            for step in &steps {
                if let Command::SetAddr(server, address) = &step.command {
                    self.planner.address_sent(server, *address, self.now);
                }
            }
            for step in &steps {
                let here = at == 0;
                at = at.wrapping_sub(1);
                match (how % 4, &step.command) {
                    (1, _) if here => return self.observe(),
                    (2, _) if here => not_done.push(step.server.clone()),
                    (3, Command::SetAddr(server, address)) if here => {
                        self.late.push((server.clone(), *address));
                        not_done.push(step.server.clone());
                    }
                    // Its making was refused.
                    (_, command) if !adds(command) && self.find(&step.server).is_none() => {}
                    (_, command) => self.apply(command),
                }
            }
            for step in &steps {
                if matches!(step.command, Command::SetAddr(..)) {
                    self.planner.address_read(&step.server);
                }
            }
            failed.extend(not_done.iter().map(|server| server.backend.clone()));
        }
        self.observe();
        for server in not_done {
            self.planner
                .refused(&server, "refused".to_owned(), self.now);
        }
        self.read(&plan);
    }

    fn plan(&mut self) -> Plan {
        self.planner.plan(self.now)
    }

    /// Reads some time later what HAProxy showed. Meanwhile what was sent before takes effect.
    fn hear_late(&mut self, by: Duration) {
        let (asked, shown) = (self.now, self.backends.clone());
        self.now += by;
        self.settle();
        self.planner.asked(asked);
        for (backend, servers) in shown {
            self.planner.observe(&backend, servers, self.now);
        }
    }

    fn observe(&mut self) {
        self.planner.asked(self.now);
        for (backend, servers) in &self.backends {
            self.planner.observe(backend, servers.clone(), self.now);
        }
    }

    fn read(&mut self, plan: &Plan) {
        for read in &plan.reads {
            let Read::Gauges(backend, ids) = read else {
                // All states were just read.
                continue;
            };
            for server in self.backends.get(backend).into_iter().flatten() {
                let busy = self
                    .sessions
                    .contains(&(backend.clone(), server.name.clone()));
                let gauges = Gauges {
                    sessions: u64::from(busy),
                    ..Gauges::default()
                };
                if ids.contains(&server.id) {
                    self.planner
                        .observe_gauges(backend, server.id, gauges, self.now);
                }
            }
        }
    }

    /// Nothing goes wrong any more, and everybody has been heard.
    fn end(mut self) {
        self.checks_pass = true;
        self.sessions.clear();
        if self.desired.is_partial() {
            self.partial();
        }
        self.advance(STEPS[0]);
        for _ in 0..MOST_ROUNDS {
            let plan = self.plan();
            for step in plan.steps() {
                self.apply(&step.command);
            }
            if !plan.is_empty() || !plan.reads.is_empty() {
                self.observe();
                self.read(&plan);
                continue;
            }
            match plan.again_at {
                Some(at) => self.advance(at.saturating_sub(self.now)),
                None => return self.check_end(&plan),
            }
        }
        panic!("no end: {}", self.planner.plan(self.now));
    }
}

/// Many more than any end takes.
const MOST_ROUNDS: usize = 2000;

fn adds(command: &Command) -> bool {
    matches!(command, Command::AddServer { .. })
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + number % 8], 80))
}

fn weight(number: u8) -> Weight {
    Weight::new(u16::from(number)).unwrap_or_default()
}

/// A name of this file that is known to be valid.
fn name(text: &str) -> Name {
    match text.parse() {
        Ok(name) => name,
        Err(error) => panic!("{text:?} in the target itself: {error}"),
    }
}
