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
    /// Gives a free slot to every wanted address without one: those that are ready first.
    pub(super) fn place(&mut self, roles: &[Role], blocked: &impl Fn(SocketAddr) -> bool) {
        // No two tenants have one address.
        let tenants = roles.iter().filter_map(|role| match role {
            Role::Tenant(address, _) => Some(*address),
            _ => None,
        });
        if tenants.clone().count() == self.backend.wants.len() {
            return;
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
        let ready = wanted.iter().filter(|(.., want)| want.state.is_ready());
        let pending = wanted
            .iter()
            .filter(|(.., want)| want.state == EndpointState::Pending);
        for (address, id, want) in ready.chain(pending) {
            if let Some(until) = self.context.unrecorded {
                self.wait_for_record(until, Some(id));
                continue;
            }
            let slot = take_slot(&mut free, self.backend.slots.len(), *address)
                .and_then(|at| self.backend.slots.get(at));
            match slot {
                Some(slot) => {
                    let want = self.backend.feasible(slot, *want);
                    self.fill(slot, *address, want, blocked);
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
                    match self
                        .context
                        .capabilities
                        .use_dynamic_servers(self.context.policy)
                    {
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
        self.out.settled = false;
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
        let resting = roles
            .iter()
            .filter(|role| matches!(role, Role::Leaving(_)))
            .count();
        self.entering.without_slot += 1;
        let servers = roles.len();
        let detail = match slots {
            0 if servers > 0 => format!(
                "backend {} has no slots: none of its {servers} servers has a name of `slot_prefix`; no server is made at \
                 run time: {no_server}",
                self.backend.name
            ),
            _ => format!(
                "backend {} has no free slot: {slots} in all, {resting} of them resting or leaving; no server is made at \
             run time: {no_server}",
                self.backend.name
            ),
        };
        // Slots that rest become free by themselves.
        let transient = self.entering.without_slot <= resting;
        let before = self.out.unmet.len();
        self.unmet_at(address, UnmetReason::NoCapacity, detail);
        for unmet in self.out.unmet.iter_mut().skip(before) {
            unmet.transient = transient;
        }
    }
}

/// The free slot for an address: the first at or after the place its address names, so that the same endpoints get
/// the same slots on every target.
fn take_slot(free: &mut BTreeSet<usize>, slots: usize, address: SocketAddr) -> Option<usize> {
    let place = preferred_place(&address.to_string(), slots)?;
    let at = *free.range(place..).next().or_else(|| free.first())?;
    free.remove(&at);
    Some(at)
}
