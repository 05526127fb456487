//! One backend's next steps. Each rule answers a failure that was measured; the crate's documentation lists them.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{EndpointState, Name, Unmet, UnmetReason, Weight};

use super::{
    backend::{Backend, Role},
    planner::preferred_place,
    slot::{Slot, poll_interval},
    step::{Expect, Read, Stage, Step, Why},
    want::Want,
};
use crate::{
    capability::Capabilities,
    observed::{PARKED, Server},
    policy::Policy,
    proto::{AdminState, Command, Health, ServerOptions, ServerRef},
};

/// What one backend's decision depends on besides the backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) policy: &'a Policy,
    pub(super) capabilities: &'a Capabilities,
    pub(super) now: Duration,
    /// Whether a source has not been heard yet: what is not wished for may only not be known.
    pub(super) partial: bool,
    /// Whether the backend is made by this plan.
    pub(super) making: bool,
}

/// One backend's next steps, and what it waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    /// Addresses, weights and what must stop at once.
    pub(super) prepare: Stage,
    /// What begins to serve once the first stage was read back.
    pub(super) admit: Stage,
    /// What stops serving once the second was.
    pub(super) leave: Stage,
    pub(super) unmet: Vec<Unmet>,
    /// How many endpoints have no server and can have none.
    pub(super) short: usize,
    pub(super) held: usize,
    pub(super) reads: Vec<Read>,
    pub(super) again_at: Option<Duration>,
    pub(super) settled: bool,
    /// Addresses that endpoints wait for to leave another service.
    pub(super) waits_for: BTreeSet<SocketAddr>,
}

/// Decides for one backend. `blocked` tells whether an address has still to leave another service, `contested`
/// whether another service waits for an address to leave this one.
pub(super) fn decide(
    backend: &Backend,
    roles: &[Role],
    context: Context<'_>,
    blocked: impl Fn(SocketAddr) -> bool,
    contested: impl Fn(SocketAddr) -> bool,
) -> Decision {
    let serving_leavers = backend
        .slots
        .iter()
        .zip(roles)
        .filter(|(slot, role)| role.is_to_leave() && serves(slot))
        .count();
    let mut decider = Decider {
        backend,
        context,
        out: Decision {
            settled: true,
            ..Decision::default()
        },
        gauges: Vec::new(),
        entering: Entering::default(),
        serving_leavers,
    };
    for (slot, role) in backend.slots.iter().zip(roles) {
        match *role {
            Role::Tenant(address, want) => {
                let want = backend.feasible(slot, want);
                decider.tenant(slot, address, want, &blocked);
            }
            Role::Free => decider.free(slot),
            Role::Foreign | Role::Leaving(_) | Role::Unusable => {}
        }
    }
    if backend
        .slots
        .iter()
        .any(|slot| slot.is_to_be_read(context.now))
    {
        decider.look_again(context.now);
    }
    decider.place(roles, &blocked);
    for (slot, role) in backend.slots.iter().zip(roles) {
        if role.is_to_leave() {
            decider.leaving(slot, *role, roles, &contested);
        }
    }
    decider.finish()
}

/// Endpoints on their way in.
#[derive(Debug, Default)]
struct Entering {
    /// Will serve when this plan's second stage is done.
    at_once: usize,
    /// Will serve when something else has happened: a check, another service's drain.
    later: usize,
    /// Have no slot.
    without_slot: usize,
}

struct Decider<'a> {
    backend: &'a Backend,
    context: Context<'a>,
    out: Decision,
    gauges: Vec<u32>,
    entering: Entering,
    /// Servers that are to leave and still serve.
    serving_leavers: usize,
}

impl Decider<'_> {
    /// A server that holds a wanted address.
    fn tenant(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        want: Want,
        blocked: &impl Fn(SocketAddr) -> bool,
    ) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let (until, detail) = (refused.until, refused.detail.clone());
            self.again(until);
            self.unmet_at(address, UnmetReason::Refused, detail);
            return;
        }
        match (want.state, slot.server.admin) {
            // Also while it drains: meanwhile another service may have got the address.
            (EndpointState::Ready, AdminState::Maint | AdminState::Drain) if blocked(address) => {
                self.wait_for(address);
            }
            (EndpointState::Ready, AdminState::Maint) => self.admit(slot, want, Why::Admit),
            (EndpointState::Ready, AdminState::Drain) => {
                self.adjust(slot, want);
                self.state(Stages::Prepare, slot, AdminState::Ready, Why::Return);
            }
            (EndpointState::Ready, AdminState::Ready) => {
                self.adjust(slot, want);
                self.await_check(slot);
            }
            (
                EndpointState::Down | EndpointState::Pending,
                AdminState::Ready | AdminState::Drain,
            ) => {
                self.state(Stages::Prepare, slot, AdminState::Maint, Why::Out);
            }
            (EndpointState::Down | EndpointState::Pending, AdminState::Maint)
            | (EndpointState::Draining { .. }, _) => {}
        }
    }

    /// A parked slot: nobody must be sent there.
    fn free(&mut self, slot: &Slot) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let until = refused.until;
            self.again(until);
        } else if slot.server.admin != AdminState::Maint {
            self.state(Stages::Prepare, slot, AdminState::Maint, Why::Out);
        } else if self.is_dynamic(slot) {
            self.delete(slot);
        }
    }

    fn is_dynamic(&self, slot: &Slot) -> bool {
        self.context.policy.is_dynamic_name(&slot.server.name)
    }

    /// Removes a server made at run time: it is in maintenance and nothing is on its way to it.
    fn delete(&mut self, slot: &Slot) {
        let server = self.server(slot);
        self.step(Stages::Leave, slot, Command::DelServer(server), Why::Delete);
        self.expect(Stages::Leave, slot, |expect| expect.gone = true);
    }

    /// Gives a free slot to every wanted address without one: those that are ready first.
    fn place(&mut self, roles: &[Role], blocked: &impl Fn(SocketAddr) -> bool) {
        // No two tenants have one address.
        let tenants = roles.iter().filter_map(|role| match role {
            Role::Tenant(address, _) => Some(*address),
            _ => None,
        });
        if tenants.clone().count() == self.backend.wants.len() {
            return;
        }
        let held: HashSet<SocketAddr> = tenants.collect();
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
                    && !self.is_dynamic(slot)
            })
            .map(|(at, _)| at)
            .collect();
        let slots = roles.iter().filter(|role| **role != Role::Foreign).count();
        let wanted = self.backend.wants.sorted_without(&held);
        let ready = wanted.iter().filter(|(.., want)| want.state.is_ready());
        let pending = wanted
            .iter()
            .filter(|(.., want)| want.state == EndpointState::Pending);
        for (address, id, want) in ready.chain(pending) {
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
                        self.no_slot(id, roles, slots, &refused.detail);
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
                        Ok(()) => self.no_slot(id, roles, slots, "the backend is empty"),
                        Err(why) => self.no_slot(id, roles, slots, why),
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
        self.step(
            Stages::Prepare,
            slot,
            Command::SetAddr(server.clone(), address),
            Why::Fill,
        );
        self.expect(Stages::Prepare, slot, |expect| {
            expect.address = Some(address)
        });
        self.check_port(slot, address, want);
        if !want.state.is_ready() {
            return;
        }
        if blocked(address) {
            self.wait_for(address);
        } else {
            self.admit(slot, want, Why::Admit);
        }
    }

    fn wait_for(&mut self, address: SocketAddr) {
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
        let slot = Slot::new(server, self.context.now);
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

    fn no_slot(&mut self, id: &Name, roles: &[Role], slots: usize, no_server: &str) {
        let resting = roles
            .iter()
            .filter(|role| matches!(role, Role::Leaving(_)))
            .count();
        self.entering.without_slot += 1;
        let detail = format!(
            "backend {} has no free slot: {slots} in all, {resting} of them resting or leaving; no server is made at \
             run time: {no_server}",
            self.backend.name
        );
        self.unmet(Some(id.clone()), UnmetReason::NoCapacity, detail);
    }

    /// Lets a server in whose address is in place. One with a check is let in by its check: HAProxy would call it UP
    /// before it looked.
    fn admit(&mut self, slot: &Slot, want: Want, why: Why) {
        let server = self.server(slot);
        if slot.server.checked {
            if slot.server.weight != 0 {
                self.weight(Stages::Admit, slot, 0, why);
            }
            self.state(Stages::Admit, slot, AdminState::Ready, why);
            self.step(
                Stages::Admit,
                slot,
                Command::SetHealth(server, Health::Down),
                why,
            );
            if want.weight != 0 {
                self.weight(Stages::Admit, slot, want.weight, why);
                self.entering.later += 1;
            }
            self.look_again(self.context.now + poll_interval(Duration::ZERO));
        } else {
            if slot.server.weight != want.weight {
                self.weight(Stages::Admit, slot, want.weight, why);
            }
            self.state(Stages::Admit, slot, AdminState::Ready, why);
            // One of weight 0 takes no traffic over.
            self.entering.at_once += usize::from(want.weight != 0);
        }
    }

    /// Weight and check port of a server that serves.
    fn adjust(&mut self, slot: &Slot, want: Want) {
        if let Some(address) = slot.server.address {
            self.check_port(slot, address, want);
        }
        if slot.server.weight == want.weight {
            return;
        }
        let fresh = self.context.now < slot.since + self.context.policy.admission_timeout;
        if slot.server.checked && slot.server.weight == 0 && slot.server.running && fresh {
            // An admission was cut short: its check has not been heard yet.
            let server = self.server(slot);
            self.step(
                Stages::Prepare,
                slot,
                Command::SetHealth(server, Health::Down),
                Why::Admit,
            );
            self.entering.later += 1;
            self.look_again(self.context.now + poll_interval(Duration::ZERO));
        }
        self.weight(Stages::Prepare, slot, want.weight, Why::Adjust);
    }

    fn check_port(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
        if !slot.server.checked {
            return;
        }
        let wanted = match (want.check_port, self.backend.check_port) {
            (Some(port), _) => port,
            (None, 0) if slot.server.check_port == 0 => return,
            (None, 0) => address.port(),
            (None, usual) => usual,
        };
        if slot.server.check_port != wanted {
            let server = self.server(slot);
            self.step(
                Stages::Prepare,
                slot,
                Command::SetCheckPort(server, wanted),
                Why::Adjust,
            );
        }
    }

    /// A server made ready whose check has not passed yet: on its way in, for a while.
    fn await_check(&mut self, slot: &Slot) {
        let window_ends = slot.since + self.context.policy.admission_timeout;
        if slot.server.running || self.context.now >= window_ends {
            return;
        }
        self.out.settled = false;
        self.entering.later += 1;
        let elapsed = self.backend.read_at.saturating_sub(slot.since);
        self.look_again(self.backend.read_at + poll_interval(elapsed));
        self.again(window_ends);
    }

    /// A server that must lose its traffic.
    fn leaving(
        &mut self,
        slot: &Slot,
        role: Role,
        roles: &[Role],
        contested: &impl Fn(SocketAddr) -> bool,
    ) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let until = refused.until;
            self.again(until);
            return;
        }
        match (slot.server.admin, role) {
            (AdminState::Ready, _) => {
                // An address that already serves somebody else must not be kept, whatever that costs here.
                let needed_elsewhere = slot.server.address.is_some_and(contested);
                if self.context.partial && matches!(role, Role::Leaving(_)) && !needed_elsewhere {
                    self.out.held += 1;
                    return;
                }
                match self.held_until(slot, role, roles) {
                    Some(until) if !needed_elsewhere => {
                        self.out.held += 1;
                        self.out.settled = false;
                        self.again(until);
                    }
                    _ => {
                        self.serving_leavers -= usize::from(serves(slot));
                        let state = match self.context.policy.persistence {
                            // Drained, its users would come back.
                            true => AdminState::Maint,
                            false => AdminState::Drain,
                        };
                        self.state(Stages::Leave, slot, state, Why::Drain);
                    }
                }
            }
            (AdminState::Drain, _) => self.draining(slot, role),
            (AdminState::Maint, Role::Leaving(_)) => self.resting(slot),
            (AdminState::Maint, _) => {}
        }
    }

    /// Until when a server that is to leave must stay, because its service would have none.
    fn held_until(&self, slot: &Slot, role: Role, roles: &[Role]) -> Option<Duration> {
        let now = self.context.now;
        let staying = self
            .backend
            .slots
            .iter()
            .zip(roles)
            .filter(|(slot, role)| !role.is_to_leave() && !role.is_out() && serves(slot))
            .count()
            + self.entering.at_once;
        let window_ends = slot.leaving_since.unwrap_or(now) + self.context.policy.admission_timeout;
        let last = staying == 0 && serves(slot) && self.serving_leavers == 1;
        let make_before_break = match role {
            Role::Leaving(_) => self.entering.later > 0,
            _ => self.entering.later > 0 && staying == 0,
        };
        // Without a free slot the others are given up first; the last one stays until one of them can be used.
        let sole_slot = roles.iter().filter(|role| **role != Role::Foreign).count() == 1;
        let make_before_break =
            make_before_break || (self.entering.without_slot > 0 && last && !sole_slot);
        if make_before_break && now < window_ends {
            return Some(window_ends);
        }
        let found_serving = staying == 0 && slot.found_unwanted && serves(slot);
        (found_serving && now < self.backend.hold_until).then_some(self.backend.hold_until)
    }

    /// A draining server goes to maintenance when nothing is in flight, or at its deadline.
    fn draining(&mut self, slot: &Slot, role: Role) {
        let grace = match role {
            Role::Tenant(_, want) => want.grace(),
            _ => None,
        };
        let deadline = slot.since + grace.unwrap_or(self.context.policy.drain_timeout);
        if slot.quiet_since(slot.since) || self.context.policy.persistence {
            self.state(Stages::Leave, slot, AdminState::Maint, Why::Retire);
        } else if self.context.now >= deadline {
            self.state(Stages::Leave, slot, AdminState::Maint, Why::Deadline);
            self.cut(slot);
        } else {
            self.look_at(slot, slot.next_look(self.context.now).min(deadline));
            self.again(deadline);
        }
    }

    /// A server in maintenance whose address is not wanted rests until it is surely unused, then is parked.
    fn resting(&mut self, slot: &Slot) {
        let policy = self.context.policy;
        let rested = slot.since + self.context.capabilities.reuse_grace(policy);
        if self.context.now >= rested && slot.quiet_since(rested) {
            // Before 3.0 kept connections hold a server until its address changes.
            if self.is_dynamic(slot) && self.context.capabilities.wait_removable {
                self.delete(slot);
                return;
            }
            let server = self.server(slot);
            self.step(
                Stages::Leave,
                slot,
                Command::SetAddr(server, PARKED),
                Why::Park,
            );
            self.expect(Stages::Leave, slot, |expect| expect.address = Some(PARKED));
            return;
        }
        if slot.quiet_since(slot.since) {
            // Quiet already: the address is free for others, and the slot is looked at once more when it has rested.
            self.look_at(slot, rested);
            return;
        }
        let cut_due = slot.cut_at.unwrap_or(slot.since) + policy.drain_timeout;
        if self.context.now >= cut_due && slot.gauges.is_some() {
            self.cut(slot);
        }
        self.look_at(slot, slot.next_look(self.context.now));
    }

    fn cut(&mut self, slot: &Slot) {
        if self.context.policy.cut_at_deadline {
            let server = self.server(slot);
            self.step(
                Stages::Leave,
                slot,
                Command::ShutdownSessions(server),
                Why::Deadline,
            );
        }
    }

    fn finish(mut self) -> Decision {
        if !self.gauges.is_empty() {
            self.gauges.sort_unstable();
            let read = Read::Gauges(self.backend.name.clone(), std::mem::take(&mut self.gauges));
            self.out.reads.push(read);
        }
        self.out.short = self.entering.without_slot;
        let out = &self.out;
        // What has left does not concern the wish any more, whatever is still to do with its slot.
        let leaves = out.leave.steps.iter().any(|step| step.why == Why::Drain);
        if leaves || !out.prepare.steps.is_empty() || !out.admit.steps.is_empty() {
            self.out.settled = false;
        }
        self.out
    }

    /// Reads the backend's states when the time has come.
    fn look_again(&mut self, at: Duration) {
        let read = Read::States(self.backend.name.clone());
        if at > self.context.now {
            self.again(at);
        } else if !self.out.reads.contains(&read) {
            self.out.reads.push(read);
            self.again(self.context.now + UNREAD);
        }
    }

    /// Reads one server's gauges when the time has come.
    fn look_at(&mut self, slot: &Slot, at: Duration) {
        if at > self.context.now {
            self.again(at);
        } else {
            self.gauges.push(slot.server.id);
            self.again(self.context.now + UNREAD);
        }
    }

    fn again(&mut self, at: Duration) {
        let sooner = self.out.again_at.map_or(at, |other| other.min(at));
        self.out.again_at = Some(sooner);
    }

    fn unmet_at(&mut self, address: SocketAddr, reason: UnmetReason, detail: String) {
        let id = self.backend.wants.decides(&address).cloned();
        self.unmet(id, reason, detail);
    }

    fn unmet(&mut self, endpoint: Option<Name>, reason: UnmetReason, detail: String) {
        if let Some(service) = &self.backend.service {
            self.out
                .unmet
                .push(Unmet::new(service.clone(), endpoint, reason, detail));
        }
    }

    fn weight(&mut self, stage: Stages, slot: &Slot, weight: u16, why: Why) {
        let weight = Weight::new(weight).unwrap_or(Weight::MAX);
        let server = self.server(slot);
        self.step(stage, slot, Command::SetWeight(server, weight), why);
        self.expect(stage, slot, |expect| expect.weight = Some(weight.get()));
    }

    fn state(&mut self, stage: Stages, slot: &Slot, admin: AdminState, why: Why) {
        let server = self.server(slot);
        self.step(stage, slot, Command::SetState(server, admin), why);
        self.expect(stage, slot, |expect| expect.admin = Some(admin));
    }

    fn step(&mut self, stage: Stages, slot: &Slot, command: Command, why: Why) {
        let server = self.server(slot);
        self.stage(stage).steps.push(Step {
            command,
            server,
            why,
        });
    }

    fn expect(&mut self, stage: Stages, slot: &Slot, set: impl FnOnce(&mut Expect)) {
        let server = self.server(slot);
        let expects = &mut self.stage(stage).expect;
        // A server's steps follow each other, so its expectation is the last one or does not exist yet.
        match expects.last_mut().filter(|expect| expect.server == server) {
            Some(expect) => set(expect),
            None => {
                let mut expect = Expect {
                    server,
                    address: None,
                    admin: None,
                    weight: None,
                    gone: false,
                };
                set(&mut expect);
                expects.push(expect);
            }
        }
    }

    fn stage(&mut self, stage: Stages) -> &mut Stage {
        match stage {
            Stages::Prepare => &mut self.out.prepare,
            Stages::Admit => &mut self.out.admit,
            Stages::Leave => &mut self.out.leave,
        }
    }

    fn server(&self, slot: &Slot) -> ServerRef {
        ServerRef::new(self.backend.name.clone(), slot.server.name.clone())
    }
}

/// When to ask again for something that should have been read by then.
const UNREAD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Stages {
    Prepare,
    Admit,
    Leave,
}

/// Whether HAProxy sends it new traffic.
fn serves(slot: &Slot) -> bool {
    slot.server.admin == AdminState::Ready && slot.server.running && slot.server.weight > 0
}

/// The free slot for an address: the first at or after the place its address names, so that the same endpoints get
/// the same slots on every target.
fn take_slot(free: &mut BTreeSet<usize>, slots: usize, address: SocketAddr) -> Option<usize> {
    let place = preferred_place(&address.to_string(), slots)?;
    let at = *free.range(place..).next().or_else(|| free.first())?;
    free.remove(&at);
    Some(at)
}
