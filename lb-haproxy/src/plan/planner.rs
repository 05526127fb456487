//! All backends together: what changed, what waits, and the order across them.

#[cfg(feature = "io")]
mod assume;
mod bindings;
mod fixed_elsewhere;
mod managed;
mod need;
mod order;
mod ownership;
mod replaced;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Condition, Mode, Name, Snapshot, Unmet, UnmetReason, Weight, model::Changes};

use self::{
    fixed_elsewhere::FixedElsewhere, managed::Managed, ownership::Withheld, replaced::Replaced,
};
use super::{
    backend::Backend,
    decide::{Context, Decision, decide},
    exclusive::{Reload, Rule},
    routes::Routes,
    slot::{Moment, Refused, Slot},
    step::{Plan, Read, Stage, Step, earlier},
    usage::Usage,
};
use crate::{
    capability::Capabilities,
    growth::SlotTemplate,
    observed::{Gauges, Server},
    policy::Policy,
    proto::{MapEntry, MapName, ServerRef},
    routes::RouteMap,
};

/// Decides what to do next, from the desired state and what was observed.
///
/// A value like any other: it reads no clock and no socket. Feed it desired states ([`desire`](Self::desire)) and observations
/// ([`observe`](Self::observe), [`observe_gauges`](Self::observe_gauges)), then ask for the [`plan`](Self::plan).
/// Only backends that something happened to are looked at, so a plan costs the size of the change.
///
/// Everything it remembers can be lost: a new planner given the same desired states and observations ends in the same state.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(super) policy: Policy,
    pub(super) capabilities: Capabilities,
    pub(super) backends: BTreeMap<Name, Backend>,
    /// The backend of each service.
    bindings: BTreeMap<Name, Name>,
    /// Services in the desired state, with their modes.
    pub(super) services: BTreeMap<Name, Mode>,
    /// The rules of services that ask for more than others.
    rules: BTreeMap<Name, Rule>,
    /// Services whose backend HAProxy does not have.
    homeless: BTreeSet<Name>,
    /// Something changed by which a service without a backend may find one.
    pub(super) places_changed: bool,
    /// Services that have no backend because it is another's.
    withheld: BTreeMap<Name, Withheld>,
    pub(super) routes: Routes,
    maps_known: bool,
    /// If `true`, the desired state is partial: the initial sync of a source has not completed.
    pub(super) partial: bool,
    /// Backends to look at, whatever the time.
    pub(super) dirty: BTreeSet<Name>,
    /// The time before which a reading is stale: it may have changed by itself.
    fresh_from: Duration,
    /// If `true`, HAProxy loads a server-state file when it is reloaded.
    loads_state: bool,
    /// The request time of what is observed now.
    asked_at: Option<Duration>,
    /// Backends to look at when their time has come, and the last decision's other results.
    waiting: BTreeMap<Name, Waiting>,
    /// Addresses that have still to leave a backend.
    blocked: HashMap<SocketAddr, BTreeSet<Name>>,
    /// Addresses that a backend waits for to leave another.
    contested: HashMap<SocketAddr, BTreeSet<Name>>,
    fixed_elsewhere: FixedElsewhere,
    /// The addresses that each backend contributes to `blocked`.
    blocking: BTreeMap<Name, BTreeSet<SocketAddr>>,
    /// The addresses that an old worker may still serve.
    replaced: Replaced,
    pub(super) usage: Usage,
    /// Lines of the configuration file that declare slots.
    pub(super) templates: BTreeMap<Name, Vec<SlotTemplate>>,
    /// The conditions of each backend that an operator should know.
    conditions: BTreeMap<Name, Vec<Condition>>,
    /// Spare backends given to services, not counted yet.
    spares_given: u64,
    managed: Managed,
}

#[derive(Debug, Clone, Default)]
struct Waiting {
    again_at: Option<Duration>,
    unmet: Vec<Unmet>,
    short: usize,
    soon: usize,
    held: usize,
    unsettled: bool,
    waits_for: BTreeSet<SocketAddr>,
}

/// The time for which a backend in which a check or an agent keeps an endpoint out is not read again, and that added
/// for each backend that something is reported of: many such backends are much to read.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
const WATCH_PER_BACKEND: Duration = Duration::from_millis(10);

impl Planner {
    /// A planner that knows nothing yet.
    #[must_use]
    pub fn new(policy: Policy, capabilities: Capabilities) -> Self {
        Self {
            policy,
            capabilities,
            backends: BTreeMap::new(),
            bindings: BTreeMap::new(),
            services: BTreeMap::new(),
            rules: BTreeMap::new(),
            homeless: BTreeSet::new(),
            places_changed: true,
            withheld: BTreeMap::new(),
            routes: Routes::default(),
            maps_known: false,
            partial: false,
            dirty: BTreeSet::new(),
            fresh_from: Duration::ZERO,
            loads_state: false,
            asked_at: None,
            waiting: BTreeMap::new(),
            blocked: HashMap::new(),
            fixed_elsewhere: FixedElsewhere::default(),
            contested: HashMap::new(),
            blocking: BTreeMap::new(),
            replaced: Replaced::default(),
            usage: Usage::default(),
            templates: BTreeMap::new(),
            conditions: BTreeMap::new(),
            spares_given: 0,
            managed: Managed::default(),
        }
    }

    /// Takes in that the desired state went from `old` to `new`, which differ by `changes`.
    ///
    /// While `new` is [partial](Snapshot::is_partial), nothing leaves that it does not name.
    pub fn desire(&mut self, old: &Snapshot, new: &Snapshot, changes: &Changes) {
        if self.partial != new.is_partial() {
            self.partial = new.is_partial();
            self.routes.set_partial(self.partial);
            self.dirty.extend(self.backends.keys().cloned());
        }
        let routes_changed = match changes {
            Changes::Only { routes, .. } => *routes,
            Changes::Everything => true,
        };
        self.note_services(new, changes);
        match changes {
            Changes::Only { endpoints, .. } => {
                for (service, ids) in endpoints {
                    self.desire_service(service, old, new, ids.iter());
                }
            }
            Changes::Everything => {
                let names: BTreeSet<&Name> = old
                    .services()
                    .chain(new.services())
                    .map(|(name, _)| name)
                    .collect();
                for service in names {
                    let ids: BTreeSet<&Name> = [old, new]
                        .into_iter()
                        .filter_map(|snapshot| snapshot.service(service))
                        .flat_map(|known| known.endpoints().map(|(id, _)| id))
                        .collect();
                    self.desire_service(service, old, new, ids.into_iter());
                }
            }
        }
        if routes_changed {
            self.routes.desire(new);
        }
    }

    /// Updates which services there are, before any of them is given a backend.
    fn note_services(&mut self, new: &Snapshot, changes: &Changes) {
        match changes {
            Changes::Only { endpoints, .. } => {
                for service in endpoints.keys() {
                    let mode = new.service(service).map(|known| known.mode());
                    let before = match mode {
                        Some(mode) => self.services.insert(service.clone(), mode),
                        None => self.services.remove(service),
                    };
                    self.places_changed |= before != mode;
                }
            }
            Changes::Everything => {
                let all = new.services();
                self.places_changed = true;
                self.services = all
                    .map(|(name, service)| (name.clone(), service.mode()))
                    .collect();
            }
        }
    }

    fn desire_service<'a>(
        &mut self,
        service: &Name,
        old: &Snapshot,
        new: &Snapshot,
        ids: impl Iterator<Item = &'a Name>,
    ) {
        let (was, is) = (old.service(service), new.service(service));
        match is.map(Rule::of).filter(|rule| *rule != Rule::default()) {
            Some(rule) => self.rules.insert(service.clone(), rule),
            None => self.rules.remove(service),
        };
        let Some(name) = self.bind(service) else {
            for id in ids {
                let before = was.and_then(|known| known.endpoint(id));
                let after = is.and_then(|known| known.endpoint(id));
                self.want_withheld(service, id, before, after);
            }
            return;
        };
        let rule = self.rules.get(service).copied();
        let backend = self.backend_mut(&name);
        for id in ids {
            let before = was.and_then(|known| known.endpoint(id));
            let after = is.and_then(|known| known.endpoint(id));
            if before != after {
                backend.wants.change(id, before, after);
            }
        }
        if is.is_some() {
            backend.service = Some(service.clone());
            backend.take_rule(rule);
        }
        self.dirty.insert(name);
    }

    /// The number of spare backends that were given to services since the last call.
    pub fn take_spares_given(&mut self) -> u64 {
        std::mem::take(&mut self.spares_given)
    }

    /// Takes in which maps HAProxy has; those that matter are then to be read.
    pub fn observe_maps(&mut self, files: &[MapName]) {
        self.routes.observe_maps(files, &self.policy);
        self.places_changed = true;
    }

    /// The maps that matter.
    #[must_use]
    pub fn maps(&self) -> Vec<MapName> {
        self.routes.names().cloned().collect()
    }

    /// The maps that matter, with what they are to have: for their files.
    pub fn wanted_maps(&self) -> impl Iterator<Item = (&MapName, &RouteMap)> {
        self.routes.wanted()
    }

    /// The content that the file of a map is to have, given what HAProxy has in it now.
    #[must_use]
    pub fn map_file(&self, map: &MapName, observed: &[MapEntry]) -> Option<RouteMap> {
        self.routes.file_of(map, observed)
    }

    /// Takes in what a map has.
    pub fn observe_map(&mut self, map: &MapName, entries: Vec<MapEntry>) {
        self.routes.observe(map, entries, !self.maps_known);
        self.places_changed = true;
    }

    /// All maps have been read once: from now on assignments are this planner's.
    pub fn maps_observed(&mut self) {
        self.maps_known = true;
        self.places_changed = true;
    }

    /// Takes in that a map could not be changed: it is left alone for a while.
    pub fn map_refused(&mut self, map: &MapName, detail: String, now: Duration) {
        self.routes.refused(map, detail, now);
    }

    /// Keeps what is found serving until then, where the desired state would empty it: for a planner that begins on a HAProxy
    /// with a past it does not know.
    pub fn hold_found_until(&mut self, until: Duration) {
        for backend in self.backends.values_mut() {
            backend.hold_until = until;
            backend.adopting = true;
        }
    }

    /// Takes in when what is observed next was asked for: it may be as old as that, whenever it is heard. Without it, it
    /// is believed to be from the moment in which it is observed.
    pub fn asked(&mut self, at: Duration) {
        self.asked_at = Some(at);
    }

    /// The time of what is observed now.
    fn observed(&self, now: Duration) -> Moment {
        let asked = self.asked_at.map_or(now, |at| at.min(now));
        Moment { asked, now }
    }

    /// Takes in what HAProxy shows of all servers of one backend.
    pub fn observe(&mut self, backend: &Name, servers: Vec<Server>, now: Duration) {
        if !self.observe_owned(backend, !servers.is_empty()) {
            return;
        }
        let moment = self.observed(now);
        self.places_changed = true;
        self.backend_mut(backend);
        if let Some(known) = self.backends.get_mut(backend) {
            known.observe(servers, moment, &self.policy);
        }
        self.dirty.insert(backend.clone());
    }

    /// Takes in what HAProxy shows of one server that it has shown before.
    pub fn observe_server(&mut self, backend: &Name, server: Server, now: Duration) {
        let moment = self.observed(now);
        let known = self.backends.get_mut(backend);
        if let Some(slot) = known.and_then(|known| known.slot_mut(&server.name)) {
            slot.observe(server, moment);
            self.places_changed = true;
            self.dirty.insert(backend.clone());
        }
    }

    /// The capabilities of this HAProxy.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// A server as it was observed last.
    #[must_use]
    pub fn server(&self, server: &ServerRef) -> Option<&Server> {
        let slot = self.backends.get(&server.backend)?.slot(&server.server)?;
        Some(&slot.server)
    }

    /// The number of servers that a backend was observed to have.
    #[must_use]
    pub fn server_count(&self, backend: &Name) -> usize {
        self.backends
            .get(backend)
            .map_or(0, |known| known.slots.len())
    }

    /// Takes in the gauges of one server, by its number.
    pub fn observe_gauges(&mut self, backend: &Name, id: u32, gauges: Gauges, now: Duration) {
        let asked = self.observed(now).asked;
        if let Some(known) = self.backends.get_mut(backend) {
            known.observe_gauges(id, gauges, asked);
            self.dirty.insert(backend.clone());
        }
    }

    /// Takes in that HAProxy refused a step for a server: it is left alone for a while, and its desired state is unmet.
    pub fn refused(&mut self, server: &ServerRef, detail: String, now: Duration) {
        let Some(backend) = self.backends.get_mut(&server.backend) else {
            return;
        };
        match backend.slot_mut(&server.server) {
            Some(slot) => slot.refuse(detail, now),
            // A server that was to be made: another one would be refused as well.
            None => {
                let earlier = backend.no_new_servers.as_ref();
                backend.no_new_servers = Some(Refused::again(earlier, detail, now));
            }
        }
        self.dirty.insert(server.backend.clone());
    }

    /// Takes in that a step is being sent to a server: how it is seen next may be the step's effect.
    pub fn step_sent(&mut self, step: &Step, now: Duration) {
        if let Some(slot) = self.slot_mut(&step.server) {
            slot.edits.sent(&step.command, now);
        }
    }

    /// Takes in that HAProxy accepted a step and showed the server otherwise for as long as it was read back.
    pub fn step_overruled(&mut self, server: &ServerRef, now: Duration) {
        if let Some(slot) = self.slot_mut(server) {
            slot.edits.overruled(&slot.server, now);
        }
    }

    /// Takes in that a new address is being sent to a server: until it was read back, what the server shows may change
    /// by itself.
    pub fn address_sent(&mut self, server: &ServerRef, address: SocketAddr, now: Duration) {
        if let Some(slot) = self.slot_mut(server) {
            slot.doubt(address, now);
        }
    }

    /// Takes in that the address that was [sent](Self::address_sent) was read back, or not in the time for it.
    pub fn address_read(&mut self, server: &ServerRef) {
        if let Some(slot) = self.slot_mut(server) {
            slot.trust();
        }
    }

    fn slot_mut(&mut self, server: &ServerRef) -> Option<&mut Slot> {
        self.backends
            .get_mut(&server.backend)?
            .slot_mut(&server.server)
    }

    /// Takes in that a backend's load-balancing algorithm takes no weights but 0 and the configured one: every other
    /// desired state is then for the configured one.
    pub fn fixed_weights(&mut self, backend: &Name) {
        if let Some(known) = self.backends.get_mut(backend) {
            known.fixed_weights = true;
            self.dirty.insert(backend.clone());
        }
    }

    /// Returns `true` if a server of a backend has a weight that is neither 0 nor its configured one.
    #[cfg(feature = "io")]
    pub(crate) fn has_set_weight(&self, backend: &Name) -> bool {
        let slots = self.backends.get(backend).map(|known| &known.slots);
        slots.into_iter().flatten().any(|slot| {
            let Server {
                weight,
                initial_weight,
                ..
            } = slot.server;
            weight != 0 && weight != initial_weight
        })
    }

    /// Takes in that HAProxy is being told to take a server for down until its check passes: it is waited for from now
    /// on.
    pub fn marked_down(&mut self, server: &ServerRef, now: Duration) {
        if let Some(slot) = self.slot_mut(server) {
            slot.marked_down_at = Some(now);
        }
    }

    /// Takes in that a weight is being sent to a server: until the service wants another one, its agent may change it.
    pub fn weight_sent(&mut self, server: &ServerRef, weight: Weight) {
        if let Some(slot) = self.slot_mut(server) {
            slot.weight_told = Some(weight.get());
        }
    }

    /// Takes in that a check port was accepted, which HAProxy before 2.4 does not show.
    pub fn check_port_sent(&mut self, server: &ServerRef, port: u16) {
        let shown = self.capabilities.shows_checks;
        if let Some(slot) = self.slot_mut(server).filter(|_| !shown) {
            slot.check_port_sent = Some(port);
        }
    }

    /// Says if HAProxy loads a server-state file when it is reloaded: no endpoint of an exclusive service is admitted then
    /// while a reload could bring another one back. Defaults to `false`.
    pub fn loads_state(&mut self, is: bool) {
        self.loads_state = is;
    }

    /// Takes in that a reload leaves out what is out of this backend, by when that was asked for.
    pub fn reload_is_safe(&mut self, backend: &Name, asked: Duration) {
        self.set_reload(backend, Reload::Safe(asked));
    }

    /// Takes in that a worker is being started with an earlier server-state file: not to be asked again before `until`.
    pub fn reload_is_under_way(&mut self, backend: &Name, until: Duration) {
        self.set_reload(backend, Reload::UnderWay { until });
    }

    fn set_reload(&mut self, backend: &Name, is: Reload) {
        if let Some(known) = self.backends.get_mut(backend) {
            known.reload = Some(is);
            self.dirty.insert(backend.clone());
        }
    }

    /// Takes in that a server's sessions were cut.
    pub fn cut(&mut self, server: &ServerRef, now: Duration) {
        if let Some(slot) = self.slot_mut(server) {
            slot.cut_at = Some(now);
        }
    }

    /// Takes in that a plan will not be applied now: the next one looks at the same backends again.
    pub fn postpone(&mut self, plan: &Plan) {
        self.dirty
            .extend(plan.steps().map(|step| step.server.backend.clone()));
        let backends = plan.stages.iter().flat_map(|stage| &stage.backends);
        self.dirty
            .extend(backends.map(|step| step.backend().clone()));
        self.dirty.extend(plan.reads.iter().map(|read| match read {
            Read::Gauges(backend, _)
            | Read::States(backend)
            | Read::Backups(backend)
            | Read::ReloadIsSafe(backend) => backend.clone(),
        }));
    }

    /// The backends known, desired or observed.
    pub fn backends(&self) -> impl Iterator<Item = &Name> {
        self.backends.keys()
    }

    /// Takes in that what was read before `now` may have changed by itself meanwhile. Before somebody is taken out
    /// because others serve, those that have a check are then read once more.
    pub fn outdate(&mut self, now: Duration) {
        self.fresh_from = now;
    }

    /// Plans the steps to do now.
    ///
    /// `now` is the time since the driver began and must not go backwards. Ask again after every observation, and at
    /// [`Plan::again_at`].
    pub fn plan(&mut self, now: Duration) -> Plan {
        self.end_wait_for_replaced(now);
        self.rebind();
        let due = self.due(now);
        let roles = self.look(&due, now);
        let create = self.backends_to_make(&roles, now);
        let making: BTreeSet<Name> = create.iter().map(|step| step.backend().clone()).collect();
        let remove = self.backends_to_remove(&roles, now);
        let mut plan = Plan::default();
        let (mut prepare, mut admit, mut leave) =
            (Stage::default(), Stage::default(), Stage::default());
        let mut relying: Vec<(Name, Stage)> = Vec::new();
        let reported = u32::try_from(self.conditions.len()).unwrap_or(u32::MAX);
        for (name, roles) in &roles {
            let Some(backend) = self.backends.get(name) else {
                continue;
            };
            self.usage.take(backend, roles, &self.policy, now);
            let served_elsewhere = match backend.exclusive {
                true => self.served_elsewhere(backend, backend.holder(roles)),
                false => Vec::new(),
            };
            let context = Context {
                policy: &self.policy,
                capabilities: &self.capabilities,
                now,
                fresh_from: self.fresh_from,
                loads_state: self.loads_state,
                watch_pause: WATCH_PAUSE + WATCH_PER_BACKEND.saturating_mul(reported),
                partial: self.partial,
                making: making.contains(name),
                served_elsewhere: &served_elsewhere,
                unrecorded: backend
                    .service
                    .as_ref()
                    .and_then(|service| self.routes.unrecorded_until(service, name, now)),
            };
            let elsewhere = |address: SocketAddr| {
                self.replaced.serves_another(backend, address)
                    || self
                        .blocked
                        .get(&address)
                        .is_some_and(|holders| holders.iter().any(|holder| holder != name))
            };
            let needed = |address: SocketAddr| {
                self.contested.get(&address).is_some_and(|claimants| {
                    claimants
                        .iter()
                        .any(|claimant| claimant != name && self.claims(claimant, address))
                })
            };
            let mut decision = decide(backend, roles, context, elsewhere, needed);
            if !self.is_being_made(backend, &making) {
                self.missing(backend, &mut decision);
            }
            self.wait_for_backend(backend, &mut decision, now);
            append(&mut prepare, decision.prepare);
            append(&mut admit, decision.admit);
            append(&mut leave, decision.leave);
            if !decision.relying.is_empty() {
                relying.push((name.clone(), decision.relying));
            }
            let conflicts = self.fixed_elsewhere.conflicts(backend, roles);
            decision.conditions.extend(conflicts);
            plan.reads.append(&mut decision.reads);
            match decision.conditions.is_empty() {
                true => self.conditions.remove(name),
                false => self
                    .conditions
                    .insert(name.clone(), std::mem::take(&mut decision.conditions)),
            };
            let waiting = Waiting {
                again_at: earlier(decision.again_at, self.replaced_until(&decision.waits_for)),
                unmet: decision.unmet,
                short: decision.short,
                soon: decision.soon,
                held: decision.held,
                unsettled: !decision.settled,
                waits_for: decision.waits_for,
            };
            self.contest(name, &waiting.waits_for);
            self.waiting.insert(name.clone(), waiting);
        }
        let left_out = self.left_to_others();
        self.routes.leave_out(left_out);
        prepare.maps = self.routes.record(&self.capabilities, now);
        prepare.backends = create;
        leave.backends = remove;
        let known = |service: &Name| {
            // Whatever a source calls its services: these names are no service's.
            if lb_core::model::is_withheld(service) {
                return None;
            }
            let bound = self.bindings.get(service)?;
            let backend = self.backends.get(bound)?;
            let there = !backend.slots.is_empty() || making.contains(bound);
            there.then(|| bound.clone())
        };
        let (maps, try_again) = self.routes.route(known, &self.capabilities, now);
        let route = Stage {
            maps,
            ..Stage::default()
        };
        plan.settled = route.is_empty() && prepare.maps.is_empty() && !self.routes.is_refused(now);
        // Addresses that are parked are waited for as well.
        let at_once = [&prepare, &admit, &route, &leave]
            .iter()
            .all(|stage| stage.is_empty());
        for (name, stage) in relying {
            if at_once {
                append(&mut leave, stage);
            } else {
                // What comes first may take long, and a check fail meanwhile.
                plan.reads.push(Read::States(name.clone()));
                self.dirty.insert(name);
            }
        }
        plan.again_at = try_again;
        plan.unmet.append(&mut self.routes.unmet(now));
        plan.unmet.extend(self.unmet_withheld());
        plan.stages = [prepare, admit, route, leave]
            .into_iter()
            .filter(|stage| !stage.is_empty())
            .collect();
        for waiting in self.waiting.values() {
            plan.unmet.extend_from_slice(&waiting.unmet);
            plan.held += waiting.held;
            plan.settled &= !waiting.unsettled;
            plan.come_back(waiting.again_at);
        }
        plan.conditions = self.conditions.values().flatten().cloned().collect();
        plan.conditions.extend(self.unrecorded_spares());
        plan.need = self.need();
        plan.waits_for_slot = self.waits_for_slot(&plan.need);
        if !self.dirty.is_empty() {
            plan.again_at = Some(now);
            plan.settled = false;
        }
        self.waiting.retain(|_, waiting| {
            waiting.again_at.is_some()
                || !waiting.unmet.is_empty()
                || waiting.unsettled
                || waiting.held > 0
        });
        plan
    }

    /// A service whose backend HAProxy does not have.
    fn missing(&self, backend: &Backend, decision: &mut Decision) {
        let Some(service) = &backend.service else {
            return;
        };
        if backend.slots.is_empty() && backend.wants.len() > 0 {
            decision
                .unmet
                .retain(|unmet| unmet.reason == UnmetReason::Unsupported);
            decision.unmet.push(Unmet::new(
                service.clone(),
                None,
                UnmetReason::NoSuchService,
                format!(
                    "HAProxy has no backend {} with servers; {} endpoints wait",
                    backend.name,
                    backend.wants.len()
                ),
            ));
        }
    }
}

/// The preferred place of a name among so many: stable across machines and releases.
pub(super) fn preferred_place(name: &str, places: usize) -> Option<usize> {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of this hash hardly mix; the high ones do.
    usize::try_from(hash >> 32).ok()?.checked_rem(places)
}

fn append(stage: &mut Stage, mut other: Stage) {
    stage.steps.append(&mut other.steps);
    stage.expect.append(&mut other.expect);
}
