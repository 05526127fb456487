//! Where endpoints without a server go: a free slot, or a server made at run time.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{EndpointState, Name, UnmetReason};

use super::{
    super::{
        backend::Role,
        planner::preferred_place,
        slot::{Moment, Slot},
        step::Why,
        want::Want,
    },
    Decider, Stages,
};
use crate::{
    observed::Server,
    proto::{AdminState, Command, ServerOptions},
};

impl Decider<'_> {
    /// Gives a free slot to every wanted address without one: those that are ready first. The agents of the slots that
    /// stay free are switched off, for each of them could let in its slot.
    pub(super) fn place(&mut self, roles: &[Role], blocked: &impl Fn(SocketAddr) -> bool) {
        let filled = self.fill_slots(roles, blocked);
        for (at, (slot, role)) in self.backend.slots.iter().zip(roles).enumerate() {
            let is_out = *role == Role::Free && slot.server.admin == AdminState::Maint;
            if is_out && !filled.contains(&at) && slot.refusal(self.context.now).is_none() {
                self.silence_agent(Stages::Prepare, slot);
            }
        }
    }

    /// Gives out the free slots, and says which.
    fn fill_slots(
        &mut self,
        roles: &[Role],
        blocked: &impl Fn(SocketAddr) -> bool,
    ) -> BTreeSet<usize> {
        let mut filled = BTreeSet::new();
        // No two tenants have one address.
        let tenants = roles.iter().filter_map(|role| match role {
            Role::Tenant(address, _) => Some(*address),
            _ => None,
        });
        if tenants.clone().count() == self.backend.wants.len() {
            return filled;
        }
        if self.has_no_place() {
            // The planner says so once for all of them, however many there are.
            self.entering.without_slot += self.backend.wants.ready().count();
            return filled;
        }
        // Served by a fixed server, an endpoint would get its share twice.
        let held: HashSet<SocketAddr> = tenants.chain(self.fixed.keys().copied()).collect();
        let mut free: BTreeSet<usize> = self
            .backend
            .slots
            .iter()
            .zip(roles)
            .enumerate()
            .filter(|(_, (slot, role))| {
                **role == Role::Free
                    && slot.server.admin == AdminState::Maint
                    && slot.refusal(self.context.now).is_none()
                    && slot.edits.contested(self.context.now).is_none()
                    && !self.is_dynamic(slot)
            })
            .map(|(at, _)| at)
            .collect();
        let slots = roles.iter().filter(|role| **role != Role::Foreign).count();
        let mut wanted = self.backend.wants.sorted_without(&held);
        if let Some(exclusive) = &self.exclusive {
            for (address, _, want) in &mut wanted {
                *want = exclusive.narrow(*address, *want);
            }
        }
        let mut soon = self.soon_free(roles) + self.being_freed(roles);
        let ready = wanted.iter().filter(|(.., want)| want.state.is_ready());
        let pending = wanted
            .iter()
            .filter(|(.., want)| want.state == EndpointState::Pending);
        for (address, id, want) in ready.chain(pending) {
            if let Some(until) = self.context.unrecorded {
                self.wait_for_record(until, Some(id));
                continue;
            }
            if let Some((until, detail)) = self.fought_over(*address) {
                self.again(until);
                self.unmet_at(*address, UnmetReason::Refused, detail);
                self.entering.refused += 1;
                continue;
            }
            let taken = take_slot(&mut free, self.backend.slots.len(), *address);
            filled.extend(taken);
            match taken.and_then(|at| self.backend.slots.get(at)) {
                Some(slot) => {
                    let want = self.backend.feasible(slot, *want);
                    self.fill(slot, *address, want, blocked);
                }
                // A template that is parked elsewhere is taken over before servers are made beside it.
                None if want.state.is_ready() && soon > 0 => {
                    soon -= 1;
                    self.no_slot(*address, roles, slots, "slots become free within seconds");
                }
                None if want.state.is_ready() => {
                    let refused = self.backend.no_new_servers.as_ref();
                    if let Some(refused) =
                        refused.filter(|refused| self.context.now < refused.until)
                    {
                        self.again(refused.until);
                        self.no_slot(*address, roles, slots, &refused.detail);
                        continue;
                    }
                    match self.may_make_servers() {
                        Ok(()) if self.context.making || !self.backend.slots.is_empty() => {
                            self.create(*address, *want, blocked)
                        }
                        Ok(()) => self.no_slot(*address, roles, slots, "the backend is empty"),
                        Err(why) => self.no_slot(*address, roles, slots, why),
                    }
                }
                // A pending endpoint without a slot loses nothing yet: it only comes in later.
                None => {}
            }
        }
        filled
    }

    /// Returns why no server is made at run time, if so.
    fn may_make_servers(&self) -> Result<(), &'static str> {
        // It would serve whatever the agent says.
        if self.backend.slots.iter().any(|slot| slot.server.has_agent) {
            return Err("it would have no agent check, which the slots have");
        }
        let capabilities = self.context.capabilities;
        capabilities.use_dynamic_servers(self.context.policy)
    }

    /// Returns `true` if HAProxy has no backend of this name with servers, none is made, and nothing else is to be said.
    fn has_no_place(&self) -> bool {
        self.backend.slots.is_empty()
            && !self.context.making
            && self.context.unrecorded.is_none()
            && self.exclusive.is_none()
            && self.backend.no_new_servers.is_none()
    }

    /// Until when an address is left out because another client took it out of its server each time, and the evidence.
    fn fought_over(&self, address: SocketAddr) -> Option<(Duration, String)> {
        let now = self.context.now;
        let contests = self.backend.slots.iter();
        let mut contests = contests.filter_map(|slot| slot.edits.contested(now));
        let (until, contest) = contests.find(|(_, contest)| contest.held() == Some(address))?;
        Some((until, contest.detail(now)))
    }

    /// The number of slots that were found at rest and are parked as soon as that is sure.
    fn soon_free(&self, roles: &[Role]) -> usize {
        let slots = self.backend.slots.iter().zip(roles);
        let at_rest = slots.filter(|(slot, role)| {
            let is_used = slot.gauges.is_some_and(|(_, gauges)| !gauges.is_quiet());
            matches!(role, Role::Leaving(_))
                && slot.server.admin == AdminState::Maint
                && slot.is_in_doubt()
                && !is_used
                && !self.is_dynamic(slot)
        });
        at_rest.count()
    }

    /// The number of free slots that were found in use, and are taken out now.
    fn being_freed(&self, roles: &[Role]) -> usize {
        let slots = self.backend.slots.iter().zip(roles);
        let found = slots.filter(|(slot, role)| {
            **role == Role::Free
                && slot.server.admin != AdminState::Maint
                && slot.refusal(self.context.now).is_none()
                && !self.is_dynamic(slot)
        });
        found.count()
    }

    /// The number of slots that become free by themselves, or are made free for endpoints that are to serve.
    pub(super) fn free_later(&self, roles: &[Role]) -> usize {
        let slots = self.backend.slots.iter().zip(roles);
        let later = slots.filter(|(slot, role)| match role {
            Role::Leaving(_) => !self.is_dynamic(slot),
            _ => self.may_give_room(slot, **role),
        });
        later.count() + self.being_freed(roles)
    }

    fn fill(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        want: Want,
        blocked: &impl Fn(SocketAddr) -> bool,
    ) {
        let server = self.server(slot);
        self.silence_agent(Stages::Prepare, slot);
        self.surely_out(slot, want);
        self.step(
            Stages::Prepare,
            slot,
            Command::SetAddr(server.clone(), address),
            Why::Fill,
        );
        self.expect(Stages::Prepare, slot, |expect| {
            expect.address = Some(address)
        });
        self.switch_check_on(slot, false);
        self.check_port(slot, address, want);
        self.repair(slot);
        if !want.state.is_ready() {
            return;
        }
        if blocked(address) {
            self.wait_for(address);
        } else {
            self.admit(slot, want, Why::Admit);
        }
    }

    pub(super) fn wait_for_record(&mut self, until: Duration, endpoint: Option<&Name>) {
        self.out.settled = false;
        self.entering.later += 1;
        self.again(until);
        if let Some(endpoint) = endpoint {
            let detail = format!(
                "backend {} is spare, and the map of services did not take that it serves this one",
                self.backend.name
            );
            self.unmet(Some(endpoint.clone()), UnmetReason::Refused, detail);
        }
    }

    pub(super) fn wait_for(&mut self, address: SocketAddr) {
        self.out.waits_for.insert(address);
        // Only an operator ends a wait for a fixed server: nothing else waits for that.
        self.out.settled &= !self.is_gate_open && self.in_the_way.is_some();
        self.entering.later += 1;
    }

    /// Makes a server for an address that no slot is free for.
    fn create(&mut self, address: SocketAddr, want: Want, blocked: &impl Fn(SocketAddr) -> bool) {
        let settings = &self.context.policy.server;
        let checked = settings
            .check
            .unwrap_or_else(|| self.backend.slots.iter().any(|slot| slot.server.checked));
        let mut server = Server::slot(self.new_name(address), 0);
        server.address = Some(address);
        server.checked = checked;
        let slot = Slot::new(server, Moment::at(self.context.now));
        let check_port = match (want.check_port, self.backend.check_port) {
            (Some(port), _) => Some(port),
            (None, 0) => None,
            (None, usual) => Some(usual),
        };
        let options = ServerOptions {
            check: checked,
            check_port: check_port.filter(|_| checked),
            fall: settings.fall,
            rise: settings.rise,
            inter: settings.inter,
            slowstart: settings.slowstart,
            maxconn: settings.maxconn,
            pool_max_conn: settings.pool_max_conn,
            ..ServerOptions::default()
        };
        let server = self.server(&slot);
        let add = Command::AddServer {
            server: server.clone(),
            address,
            options,
        };
        self.step(Stages::Prepare, &slot, add, Why::Create);
        self.expect(Stages::Prepare, &slot, |expect| {
            expect.address = Some(address);
            expect.admin = Some(AdminState::Maint);
            expect.checking = checked;
        });
        if checked {
            self.step(
                Stages::Prepare,
                &slot,
                Command::EnableHealth(server),
                Why::Create,
            );
        }
        if blocked(address) {
            self.wait_for(address);
        } else {
            self.admit(&slot, want, Why::Admit);
        }
    }

    /// A name for a new server. The one after its address may be taken by a server that has had other tenants since.
    fn new_name(&self, address: SocketAddr) -> Name {
        let first = self.context.policy.dynamic_name(address);
        let more = (2..).map(|number: usize| Name::from_text(&format!("{first}-{number}")));
        std::iter::once(first.clone())
            .chain(more)
            .find(|name| self.backend.slot(name).is_none())
            .unwrap_or(first)
    }

    fn no_slot(&mut self, address: SocketAddr, roles: &[Role], slots: usize, no_server: &str) {
        let resting = resting(roles);
        let slots_of = self.backend.slots.iter().zip(roles);
        let room = slots_of.filter(|(slot, role)| self.may_give_room(slot, **role));
        let room = room.count();
        self.entering.without_slot += 1;
        let servers = roles.len();
        let mut all = self.backend.slots.iter();
        let detail = match slots {
            0 if servers > 0 => {
                let why = match all.find_map(|slot| self.backend.lacks_disabled(slot)) {
                    Some(prefix) => format!(
                        "`server-template {prefix}` in the configuration file lacks `disabled`"
                    ),
                    None => format!("none of its {servers} servers has a name of `slot_prefix`"),
                };
                format!(
                    "backend {} has no slots: {why}; no server is made at run time: {no_server}",
                    self.backend.name
                )
            }
            _ => format!(
                "backend {} has no free slot: {slots} in all, {resting} of them resting or leaving; no server is made at \
             run time: {no_server}",
                self.backend.name
            ),
        };
        // Slots that rest become free by themselves, and those of endpoints that are not to serve are made free.
        let soon = resting + room + self.being_freed(roles);
        let transient = self.entering.without_slot <= soon;
        let before = self.out.unmet.len();
        self.unmet_at(address, UnmetReason::NoCapacity, detail);
        for unmet in self.out.unmet.iter_mut().skip(before) {
            unmet.transient = transient;
        }
    }
}

fn resting(roles: &[Role]) -> usize {
    let leaving = |role: &&Role| matches!(role, Role::Leaving(_));
    roles.iter().filter(leaving).count()
}

/// The free slot for an address: the first at or after the place its address names, so that the same endpoints get
/// the same slots on every target.
fn take_slot(free: &mut BTreeSet<usize>, slots: usize, address: SocketAddr) -> Option<usize> {
    let place = preferred_place(&address.to_string(), slots)?;
    let at = *free.range(place..).next().or_else(|| free.first())?;
    free.remove(&at);
    Some(at)
}

#[cfg(test)]
mod tests {
    use lb_core::Endpoint;

    use super::{super::*, *};

    #[test]
    fn endpoints_of_a_service_without_a_backend_cost_no_words_of_their_own() {
        let mut backend = Backend::new("web".parse().unwrap());
        backend.service = Some("web".parse().unwrap());
        for port in 1..=1000_u16 {
            let id: Name = port.to_string().parse().unwrap();
            let endpoint = Endpoint::new(([10, 0, 0, 1], port).into());
            backend.wants.change(&id, None, Some(&endpoint));
        }
        let context = Context {
            policy: &Policy::default(),
            capabilities: &Capabilities::of(3, 0),
            now: Duration::ZERO,
            fresh_from: Duration::ZERO,
            loads_state: false,
            watch_pause: Duration::ZERO,
            partial: false,
            making: false,
            served_elsewhere: &[],
            unrecorded: None,
        };
        let decision = decide(&backend, &[], context, |_| false, |_| false);
        assert_eq!(decision.short, 1000);
        assert!(decision.unmet.is_empty(), "{:?}", decision.unmet.first());
        assert!(decision.settled);
    }
}
