//! One backend: its servers, the service that wants them, and each server's part in it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{EndpointState, Name, OnDown};

use super::{
    exclusive::Reload,
    slot::{Moment, Refused, Slot, Usual},
    want::{Want, Wants},
};
use crate::{
    forecast::SlotUse,
    growth::SlotTemplate,
    observed::{Gauges, Server, is_parked},
    policy::Policy,
    proto::AdminState,
};

/// One backend as observed, with the desired states of its service.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) name: Name,
    pub(super) service: Option<Name>,
    /// If `true`, at most one endpoint can get traffic at any moment; the next field says whether the service still
    /// asks for that.
    pub(super) exclusive: bool,
    pub(super) exclusive_desired: bool,
    /// The fate of sessions to endpoints that are down.
    pub(super) on_down: OnDown,
    /// The backends that served the service before.
    pub(super) formerly: BTreeSet<Name>,
    pub(super) wants: Wants,
    pub(super) slots: Vec<Slot>,
    index: HashMap<Name, usize>,
    /// Until when a service found serving is not emptied.
    pub(super) hold_until: Duration,
    /// If `true`, what is found unwanted is still to be marked.
    pub(super) adopting: bool,
    /// If `true`, its load-balancing algorithm takes no weights but 0 and the configured one.
    pub(super) fixed_weights: bool,
    /// HAProxy refused to make a server in it: not tried again before a time.
    pub(super) no_new_servers: Option<Refused>,
    /// If `true`, HAProxy lists it; noted only of those made at run time.
    pub(super) listed: bool,
    /// HAProxy refused to make or to remove it: not tried again before a time.
    pub(super) no_such_change: Option<Refused>,
    /// The time at which its servers' states were last read.
    pub(super) read_at: Duration,
    /// The check port that the configuration gives its slots (0: that of the address).
    pub(super) check_port: u16,
    /// The effect of a reload, where that was asked.
    pub(super) reload: Option<Reload>,
    /// Lines of the configuration file that declare slots, where that file is known.
    pub(super) templates: Vec<SlotTemplate>,
}

/// A server's part in its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A fixed server: no slot, never changed.
    Foreign,
    /// Can take an endpoint.
    Free,
    /// Holds a wanted address.
    Tenant(SocketAddr, Want),
    /// Holds an address that is not wanted there, or that another server holds better.
    Leaving(SocketAddr),
    /// A slot without a usable address.
    Unusable,
}

impl Role {
    /// Returns `true` if it is to get traffic, now and later.
    pub(super) fn is_to_serve(self) -> bool {
        match self {
            Self::Tenant(_, want) => want.state.is_ready() && want.weight != 0,
            Self::Foreign => true,
            Self::Free | Self::Leaving(_) | Self::Unusable => false,
        }
    }

    /// Returns `true` if it must not get new traffic, though requests in flight may end.
    pub(super) fn is_to_leave(self) -> bool {
        match self {
            Self::Leaving(_) => true,
            Self::Tenant(_, want) => matches!(want.state, EndpointState::Draining { .. }),
            _ => false,
        }
    }
}

impl Backend {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            service: None,
            exclusive: false,
            exclusive_desired: false,
            on_down: OnDown::default(),
            formerly: BTreeSet::new(),
            wants: Wants::default(),
            slots: Vec::new(),
            index: HashMap::new(),
            hold_until: Duration::ZERO,
            adopting: false,
            fixed_weights: false,
            no_new_servers: None,
            listed: false,
            no_such_change: None,
            read_at: Duration::ZERO,
            check_port: 0,
            reload: None,
            templates: Vec::new(),
        }
    }

    /// Takes in what HAProxy shows of all its servers.
    pub(super) fn observe(&mut self, servers: Vec<Server>, moment: Moment, policy: &Policy) {
        self.read_at = moment.asked;
        let first = self.slots.is_empty();
        let mut old: Vec<Option<Slot>> = std::mem::take(&mut self.slots)
            .into_iter()
            .map(Some)
            .collect();
        let index = std::mem::take(&mut self.index);
        self.slots.reserve_exact(servers.len());
        for server in servers {
            let known = index
                .get(&server.name)
                .and_then(|at| old.get_mut(*at)?.take());
            let slot = match known {
                Some(mut slot) => {
                    slot.observe(server, moment);
                    slot
                }
                None => {
                    let mut slot = Slot::new(server, moment);
                    if first {
                        slot.doubt_found(moment.now);
                    }
                    slot
                }
            };
            self.index
                .insert(slot.server.name.clone(), self.slots.len());
            self.slots.push(slot);
        }
        if first {
            self.check_port = self.usual_check_port(policy);
            self.find_odd_slot(policy);
        }
    }

    /// Takes in the gauges of one server, by when they were asked for.
    pub(super) fn observe_gauges(&mut self, id: u32, gauges: Gauges, asked: Duration) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.server.id == id) {
            slot.gauges = Some((asked, gauges));
        }
    }

    /// Returns `true` if a server is one too many for an endpoint that serves no request and finishes none.
    pub(super) fn is_out(&self, role: Role) -> bool {
        let Role::Leaving(address) = role else {
            return false;
        };
        self.wants
            .get(&address)
            .is_some_and(|want| matches!(want.state, EndpointState::Down | EndpointState::Pending))
    }

    pub(super) fn slot(&self, server: &Name) -> Option<&Slot> {
        self.slots.get(*self.index.get(server)?)
    }

    pub(super) fn slot_mut(&mut self, server: &Name) -> Option<&mut Slot> {
        let at = *self.index.get(server)?;
        self.slots.get_mut(at)
    }

    /// The desired state as this backend can meet it.
    pub(super) fn feasible(&self, slot: &Slot, want: Want) -> Want {
        feasible(self.fixed_weights, slot, want)
    }

    /// The addresses whose weight has no effect beside the others, with the weight wanted and the one kept: where each
    /// server keeps its configured weight, the weights wanted must be in the same proportion.
    pub(super) fn lost_weights(&self, roles: &[Role]) -> Vec<(SocketAddr, u16, u16)> {
        if !self.fixed_weights {
            return Vec::new();
        }
        let mut by_scale: BTreeMap<u64, Vec<(SocketAddr, u16, u16)>> = BTreeMap::new();
        for (slot, role) in self.slots.iter().zip(roles) {
            let kept = slot.server.initial_weight;
            // Weights are at most 256: those of one proportion and no others have one scale.
            if let Role::Tenant(address, want) = role
                && role.is_to_serve()
                && let Some(scale) = (u64::from(want.weight) << 32).checked_div(u64::from(kept))
            {
                let same = by_scale.entry(scale).or_default();
                same.push((*address, want.weight, kept));
            }
        }
        // Those of the most usual proportion have their weight, and of two such the greater ones.
        let usual = by_scale
            .iter()
            .max_by_key(|(scale, same)| (same.len(), **scale))
            .map(|(scale, _)| *scale);
        let others = by_scale
            .into_iter()
            .filter(|(scale, _)| Some(*scale) != usual);
        others.flat_map(|(_, lost)| lost).collect()
    }

    /// The number of slots the configuration declares.
    pub(super) fn declared_slots(&self, policy: &Policy) -> u32 {
        let declared = |slot: &&Slot| {
            self.is_slot(policy, &slot.server) && !policy.is_dynamic_name(&slot.server.name)
        };
        u32::try_from(self.slots.iter().filter(declared).count()).unwrap_or(u32::MAX)
    }

    /// The use of its slots.
    pub(super) fn slot_use(&self, policy: &Policy, roles: &[Role]) -> SlotUse {
        let mut used = SlotUse {
            fixed: self.fixed_count(roles),
            ..SlotUse::default()
        };
        for (slot, role) in self.slots.iter().zip(roles) {
            if policy.is_dynamic_name(&slot.server.name) {
                used.dynamic += u32::from(*role != Role::Foreign);
                continue;
            }
            match role {
                Role::Foreign => continue,
                Role::Free => used.free += u32::from(slot.server.admin == AdminState::Maint),
                Role::Leaving(_) => used.quarantined += 1,
                Role::Tenant(..) | Role::Unusable => {}
            }
            used.slots += 1;
        }
        used
    }

    /// Each server's part, in their order.
    pub(super) fn roles(&self, policy: &Policy) -> Vec<Role> {
        let mut best: HashMap<SocketAddr, (u8, usize)> = HashMap::new();
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(address) = slot.server.address else {
                continue;
            };
            if !self.is_slot(policy, &slot.server) || self.wants.get(&address).is_none() {
                continue;
            }
            let rank = match slot.server.admin {
                // Of two, the one that serves; somebody may have marked the other one down or taken its weight.
                AdminState::Ready if slot.server.running && slot.server.weight > 0 => 0,
                AdminState::Ready if slot.server.running => 1,
                AdminState::Ready => 2,
                AdminState::Drain => 3,
                AdminState::Maint => 4,
            };
            let holder = best.entry(address).or_insert((rank, at));
            *holder = (*holder).min((rank, at));
        }
        let mut roles: Vec<Role> = self
            .slots
            .iter()
            .enumerate()
            .map(|(at, slot)| {
                if !self.is_slot(policy, &slot.server) {
                    return Role::Foreign;
                }
                let Some(address) = slot.server.address else {
                    return Role::Unusable;
                };
                match (best.get(&address), self.wants.get(&address)) {
                    (Some((_, holder)), Some(want)) if *holder == at => Role::Tenant(address, want),
                    _ if is_parked(address) => Role::Free,
                    _ => Role::Leaving(address),
                }
            })
            .collect();
        if self.exclusive {
            self.narrow(&mut roles);
        }
        roles
    }

    /// Notes which servers are to leave, so that what waits for them has a beginning and an end.
    pub(super) fn note(&mut self, roles: &[Role], now: Duration) {
        let adopting = std::mem::take(&mut self.adopting);
        let fixed_weights = self.fixed_weights;
        for (slot, role) in self.slots.iter_mut().zip(roles) {
            if let Role::Tenant(_, want) = role {
                slot.dead = want.state == EndpointState::Down;
            }
            slot.found_unwanted |= adopting && matches!(role, Role::Leaving(_));
            if let Role::Tenant(_, want) = role {
                let weight = feasible(fixed_weights, slot, *want).weight;
                // What it was found with, its agent may have set. An agent that is not heard, or that has set the very
                // same, is told with that.
                if !slot.server.agent_enabled || slot.server.weight == weight {
                    slot.weight_told = Some(weight);
                }
                slot.weight_told.get_or_insert(weight);
            }
            if role.is_to_leave() {
                slot.leaving_since.get_or_insert(now);
            } else {
                slot.leaving_since = None;
            }
        }
    }

    /// The addresses that another service must not get yet: somebody may still be sent there for this one.
    pub(super) fn blocked_addresses(&self, roles: &[Role]) -> BTreeSet<SocketAddr> {
        self.slots
            .iter()
            .zip(roles)
            .filter_map(|(slot, role)| match role {
                // Of a desired address, the tenant is the one that is least at rest: it speaks for the others.
                Role::Leaving(address) if self.wants.get(address).is_none() => {
                    let left = stays_out(slot) && slot.quiet_since(slot.since);
                    (!left).then_some(*address)
                }
                // Desired here, and not to serve: whoever is to serve with it elsewhere comes after that is so.
                Role::Tenant(address, want) if !want.state.is_ready() => {
                    (!stays_out(slot)).then_some(*address)
                }
                _ => None,
            })
            .collect()
    }

    /// Returns `true` if a server is a slot: known by its name, by the configuration file, or made by lb itself.
    pub(super) fn is_slot(&self, policy: &Policy, server: &Server) -> bool {
        let name = &server.name;
        policy.is_slot_name(name)
            || (policy.is_dynamic_name(name) && !server.declared_disabled)
            || (server.declared_disabled
                && self.templates.iter().any(|template| template.makes(name)))
    }

    /// A single slot that differs from all others was changed by another client before it was seen first.
    fn find_odd_slot(&mut self, policy: &Policy) {
        let mut kinds: HashMap<Usual, Vec<usize>> = HashMap::new();
        for (at, slot) in self.slots.iter().enumerate() {
            let declared =
                self.is_slot(policy, &slot.server) && !policy.is_dynamic_name(&slot.server.name);
            if declared {
                kinds.entry(slot.usual).or_default().push(at);
            }
        }
        let mut kinds: Vec<(Usual, Vec<usize>)> = kinds.into_iter().collect();
        // Of two slots, the usual one is that whose check follows its own address, else the first: the same one after
        // every restart.
        kinds.sort_by_key(|(usual, slots)| {
            let first = slots.first().copied();
            let follows = usual.check_address.is_none();
            (slots.len(), follows, std::cmp::Reverse(first))
        });
        if let [(odd_one, odd), (usual, others)] = &kinds[..]
            && let [at] = odd[..]
            && (others.len() > 1 || odd_one.ssl == usual.ssl)
            && let Some(slot) = self.slots.get_mut(at)
        {
            slot.usual = *usual;
        }
    }

    fn usual_check_port(&self, policy: &Policy) -> u16 {
        let mut counts: HashMap<u16, usize> = HashMap::new();
        let slots = |slot: &&Slot| self.is_slot(policy, &slot.server);
        for slot in self.slots.iter().filter(slots) {
            *counts.entry(slot.server.check_port).or_default() += 1;
        }
        counts
            .into_iter()
            .max_by_key(|(port, count)| (*count, std::cmp::Reverse(*port)))
            .map_or(0, |(port, _)| port)
    }
}

/// The desired state as a backend can meet it that takes any weight, or the configured one only.
fn feasible(fixed_weights: bool, slot: &Slot, want: Want) -> Want {
    if !fixed_weights || want.weight == 0 {
        return want;
    }
    Want {
        weight: slot.server.initial_weight,
        ..want
    }
}

/// Returns `true` if a server is in maintenance and no agent can end that.
fn stays_out(slot: &Slot) -> bool {
    slot.server.admin == AdminState::Maint && !slot.server.agent_enabled
}
