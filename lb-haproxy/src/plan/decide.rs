//! One backend's next steps. Each rule answers a failure that was measured; the crate's documentation lists them.

mod agent;
mod backup;
mod check;
mod exclusive;
mod leave;
mod place;
mod repair;
mod room;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use lb_core::{Condition, EndpointState, Name, Unmet, UnmetReason, Weight};

use super::{
    backend::{Backend, Role},
    edited::Edited,
    exclusive::Exclusive,
    fixed::Fixed,
    slot::{Refused, Slot, poll_interval},
    step::{Expect, Read, Stage, Step, Why},
    want::Want,
};
use crate::{
    capability::Capabilities,
    policy::Policy,
    proto::{AdminState, Command, Health, ServerRef},
};

/// The circumstances on which one backend's decision depends besides the backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) policy: &'a Policy,
    pub(super) capabilities: &'a Capabilities,
    pub(super) now: Duration,
    /// The time before which a reading is stale: it may have changed by itself.
    pub(super) fresh_from: Duration,
    /// If `true`, HAProxy loads a server-state file when it is reloaded.
    pub(super) loads_state: bool,
    /// The time for which what a check or an agent keeps out is left before it is read again.
    pub(super) watch_pause: Duration,
    /// If `true`, the initial sync of a source has not completed: what is not desired may only not be known.
    pub(super) partial: bool,
    /// If `true`, the backend is made by this plan.
    pub(super) making: bool,
    /// Addresses at which this exclusive service may still be served by a worker or a backend that it left.
    pub(super) served_elsewhere: &'a [SocketAddr],
    /// Until when it cannot be noted in HAProxy that this spare backend serves its service: nobody is let in before.
    pub(super) unrecorded: Option<Duration>,
}

/// One backend's next steps, and what it waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    /// Addresses, weights and what must stop at once.
    pub(super) prepare: Stage,
    /// The steps that let servers in once the first stage was read back.
    pub(super) admit: Stage,
    /// The steps that take servers out once the second was.
    pub(super) leave: Stage,
    /// The same of what may stop because of others' checks, as they were just read.
    pub(super) relying: Stage,
    pub(super) unmet: Vec<Unmet>,
    /// The number of endpoints that have no server and can have none.
    pub(super) short: usize,
    /// The number of slots that become free without a reload.
    pub(super) soon: usize,
    pub(super) held: usize,
    pub(super) reads: Vec<Read>,
    pub(super) again_at: Option<Duration>,
    pub(super) settled: bool,
    /// Addresses that endpoints wait for to leave another service.
    pub(super) waits_for: BTreeSet<SocketAddr>,
    /// The conditions of the backend that an operator should know.
    pub(super) conditions: Vec<Condition>,
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
    let exclusive = backend.exclusive.then(|| Exclusive::of(backend, roles));
    let mut decider = Decider {
        backend,
        roles,
        context,
        out: Decision {
            settled: true,
            ..Decision::default()
        },
        gauges: Vec::new(),
        entering: Entering::default(),
        serving: Serving::of(backend, roles),
        fixed: backend.fixed(roles),
        in_the_way: exclusive
            .as_ref()
            .and_then(|exclusive| backend.fixed_in_the_way(roles, exclusive.holder)),
        exclusive,
        is_gate_open: true,
    };
    decider.fixed_servers(roles);
    for (id, reason) in backend.wants.unservable() {
        decider.unmet(Some(id.clone()), UnmetReason::Unsupported, reason.clone());
    }
    for (id, reason, is_transient) in backend.wants.overruled() {
        decider.unmet(Some(id.clone()), UnmetReason::Conflict, reason);
        if let Some(unmet) = decider.out.unmet.last_mut() {
            unmet.transient |= is_transient;
        }
    }
    for (address, wanted, kept) in backend.lost_weights(roles) {
        let detail = format!(
            "weight {wanted} has no effect: by the `balance` of backend {}, as by static-rr and by hashes without `hash-type \
             consistent`, a server keeps its configured weight, here {kept}; use `balance roundrobin` or `hash-type consistent`",
            backend.name
        );
        decider.unmet_at(address, UnmetReason::Unsupported, detail);
    }
    decider.open_gate(roles);
    let is_gate_open = decider.is_gate_open;
    let blocked = |address: SocketAddr| !is_gate_open || blocked(address);
    for (slot, role) in backend.slots.iter().zip(roles) {
        match *role {
            Role::Tenant(address, want) => {
                let want = backend.feasible(slot, want);
                decider.tell_of_check_port(slot, address, want);
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
    decider.out.soon = decider.free_later(roles);
    let room = decider.room(roles);
    for (at, (slot, role)) in backend.slots.iter().zip(roles).enumerate() {
        if role.is_to_leave() && decider.gives_way(*role) {
            decider.leaving_exclusive(slot, *role, &contested);
        } else if role.is_to_leave() {
            decider.leaving(slot, *role, &contested);
        }
        if room.contains(&at) {
            decider.give_room(slot, *role);
        }
    }
    decider.report_exclusive(roles);
    decider.backups(roles);
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
    /// Have one that HAProxy refuses to change now.
    refused: usize,
}

struct Decider<'a> {
    backend: &'a Backend,
    roles: &'a [Role],
    context: Context<'a>,
    out: Decision,
    gauges: Vec<u32>,
    entering: Entering,
    serving: Serving,
    /// The actions open to an exclusive service.
    exclusive: Option<Exclusive>,
    /// If `true`, an endpoint may be admitted as far as others of an exclusive service are concerned.
    is_gate_open: bool,
    /// Fixed servers that serve.
    fixed: Fixed<'a>,
    /// The fixed server that keeps endpoints of an exclusive service from being admitted.
    in_the_way: Option<(SocketAddr, &'a Slot)>,
}

/// Who serves now, counted once for all who are to leave.
#[derive(Debug)]
struct Serving {
    /// Servers that are to leave and still serve.
    leavers: usize,
    /// Servers that serve and stay.
    stayers: usize,
    /// If `true`, a server that remains, or drains later, is believed to serve because of a check.
    by_checks: bool,
    /// If `true`, there is one slot only.
    sole_slot: bool,
}

impl Serving {
    fn of(backend: &Backend, roles: &[Role]) -> Self {
        let mut all = Self {
            leavers: 0,
            stayers: 0,
            by_checks: false,
            sole_slot: false,
        };
        let mut own = 0;
        for (slot, role) in backend.slots.iter().zip(roles) {
            // A backup takes over from nobody: it serves when all others are gone.
            let serves = serves(slot) && !(*role == Role::Foreign && slot.backup == Some(true));
            let leaves = role.is_to_leave() && !backend.is_out(*role);
            all.leavers += usize::from(serves && leaves);
            all.stayers += usize::from(serves && role.is_to_serve());
            let counts = role.is_to_serve() || leaves;
            all.by_checks |= counts && slot.server.checked && slot.server.running;
            own += usize::from(*role != Role::Foreign);
        }
        all.sole_slot = own == 1;
        all
    }
}

impl Decider<'_> {
    /// Shows the fixed servers, and the endpoints that they serve against the desired state.
    fn fixed_servers(&mut self, roles: &[Role]) {
        let backend = self.backend;
        if backend.backups_are_unknown(roles) {
            let read = Read::Backups(backend.name.clone());
            self.out.reads.push(read);
            self.again(self.context.now + UNREAD);
        }
        self.out.conditions = backend.fixed_conditions(roles, self.context.policy);
        self.foreign_edits();
        let mut against: Vec<(SocketAddr, Name)> = self
            .fixed
            .iter()
            .filter(|(at, _)| {
                backend
                    .wants
                    .get(at)
                    .is_some_and(|want| !want.state.is_ready())
            })
            .map(|(at, slot)| (*at, slot.server.name.clone()))
            .collect();
        against.sort_unstable();
        for (at, server) in against {
            let detail = format!(
                "the source wants it out, and server {}/{server} serves its address: it is no slot and never changed",
                backend.name
            );
            self.unmet_at(at, UnmetReason::Unsupported, detail);
        }
    }

    /// A server that holds a wanted address.
    fn tenant(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        want: Want,
        blocked: &impl Fn(SocketAddr) -> bool,
    ) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let refused = refused.clone();
            self.again(refused.until);
            self.unmet_for_now(address, &refused);
            self.entering.refused += usize::from(want.state.is_ready() && !serves(slot));
            return;
        }
        // What takes traffic away wins: it is not admitted again while another client takes it out each time.
        if want.state.is_ready()
            && slot.server.admin != AdminState::Ready
            && let Some((until, contest)) = slot.edits.contested(self.context.now)
        {
            let detail = contest.detail(self.context.now);
            self.again(until);
            self.unmet_at(address, UnmetReason::Refused, detail);
            self.entering.refused += 1;
            return;
        }
        let may_serve = want.state.is_ready() && !blocked(address);
        let is_ready = slot.server.admin == AdminState::Ready && want.state.is_ready();
        if is_ready && !may_serve && check::is_off(slot) {
            self.out.waits_for.insert(address);
            self.out.settled = false;
        }
        let recorded = self.context.unrecorded.is_none();
        if self.is_held_by_agent(slot, address, want, may_serve && recorded) {
            return;
        }
        self.switch_check_on(slot, may_serve);
        match (want.state, slot.server.admin) {
            // Also while it drains: meanwhile another service may have got the address.
            (EndpointState::Ready, AdminState::Maint | AdminState::Drain) if blocked(address) => {
                self.wait_for(address);
            }
            (EndpointState::Ready, AdminState::Maint) => match self.context.unrecorded {
                Some(until) => self.wait_for_record(until, None),
                None => self.admit(slot, want, why_state(slot, Why::Admit)),
            },
            (EndpointState::Ready, AdminState::Drain) => {
                let goes_on = self.adjust(slot, want) && slot.server.running;
                if want.weight != 0 {
                    match goes_on {
                        true => self.entering.at_once += 1,
                        false => self.entering.later += 1,
                    }
                }
                self.state(
                    Stages::Prepare,
                    slot,
                    AdminState::Ready,
                    why_state(slot, Why::Return),
                );
                self.hear_agent(Stages::Prepare, slot);
            }
            (EndpointState::Ready, AdminState::Ready) if is_marked_down(slot) => {
                if self.adjust(slot, want) {
                    self.raise(slot, address, want, &blocked);
                }
            }
            (EndpointState::Ready, AdminState::Ready) => {
                if !self.adjust(slot, want) {
                    self.entering.later += 1;
                }
                self.await_check(slot, address, want);
                if !slot.server.agent_enabled {
                    self.hear_agent(Stages::Prepare, slot);
                }
            }
            (
                EndpointState::Down | EndpointState::Pending,
                AdminState::Ready | AdminState::Drain,
            ) => {
                self.state(Stages::Prepare, slot, AdminState::Maint, Why::Out);
                self.tenant_goes_out(slot, address, want);
            }
            (EndpointState::Down | EndpointState::Pending, AdminState::Maint) => {
                self.tenant_out(slot, address, want);
            }
            (EndpointState::Draining { .. }, _) => {}
        }
    }

    /// A parked slot: nobody must be sent there.
    fn free(&mut self, slot: &Slot) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let until = refused.until;
            self.again(until);
        } else if slot.server.admin != AdminState::Maint {
            self.silence_agent(Stages::Prepare, slot);
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
        // Last: before, its agent could let it in, or what it says could be undone.
        self.hear_agent(Stages::Admit, slot);
    }

    /// Lets a server serve again that somebody has marked down, where no check and no agent would ever do so.
    fn raise(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        want: Want,
        blocked: &impl Fn(SocketAddr) -> bool,
    ) {
        if blocked(address) {
            return self.wait_for(address);
        }
        if let Some(until) = self.context.unrecorded {
            return self.wait_for_record(until, None);
        }
        let up = Command::SetHealth(self.server(slot), Health::Up);
        self.step(Stages::Admit, slot, up, Why::Return);
        self.expect(Stages::Admit, slot, |expect| expect.running = true);
        self.entering.at_once += usize::from(want.weight != 0);
    }

    /// Weight and check port of a server that serves; false: its check must pass before it does so again.
    fn adjust(&mut self, slot: &Slot, want: Want) -> bool {
        if let Some(address) = slot.server.address {
            self.check_port(slot, address, want);
        }
        self.repair(slot);
        if slot.server.weight == want.weight || self.is_weighed_by_agent(slot, want) {
            return true;
        }
        let fresh = self.context.now
            < slot
                .since
                .saturating_add(self.context.policy.admission_timeout);
        // Its agent is switched on last: then the weight of 0 is the agent's.
        let in_between = fresh && !slot.server.agent_enabled;
        let cut_short =
            slot.server.checked && slot.server.weight == 0 && slot.server.running && in_between;
        if cut_short {
            // An admission was cut short: its check has not been heard yet.
            let server = self.server(slot);
            self.step(
                Stages::Prepare,
                slot,
                Command::SetHealth(server, Health::Down),
                Why::Admit,
            );
            self.look_again(self.context.now + poll_interval(Duration::ZERO));
        }
        let edited = slot.edits.by_others();
        let why = match edited.is_some_and(Edited::is_weight_left) {
            true => Why::Repair,
            false => Why::Adjust,
        };
        self.weight(Stages::Prepare, slot, want.weight, why);
        !cut_short
    }

    fn finish(mut self) -> Decision {
        if !self.gauges.is_empty() {
            self.gauges.sort_unstable();
            self.gauges.dedup();
            let read = Read::Gauges(self.backend.name.clone(), std::mem::take(&mut self.gauges));
            self.out.reads.push(read);
        }
        self.out.short = self.entering.without_slot;
        let out = &self.out;
        // What has left does not concern the desired state any more, whatever is still to do with its slot.
        let leaves = out.leave.steps.iter().any(|step| step.why == Why::Drain);
        if leaves
            || !out.relying.is_empty()
            || !out.prepare.steps.is_empty()
            || !out.admit.steps.is_empty()
        {
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

    /// Reads the backend's states soon once more: what HAProxy or an agent keeps out comes back without a word.
    fn watch(&mut self) {
        let servers = u32::try_from(self.backend.slots.len()).unwrap_or(u32::MAX);
        let pause = self.context.watch_pause + WATCH_PER_SERVER.saturating_mul(servers);
        self.look_again(self.backend.read_at.saturating_add(pause));
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
        for id in self.backend.wants.claimants(&address) {
            self.unmet(Some(id), reason, detail.clone());
        }
    }

    /// Says of the endpoints at an address that something has to be tried again.
    fn unmet_for_now(&mut self, address: SocketAddr, refused: &Refused) {
        let before = self.out.unmet.len();
        self.unmet_at(address, refused.reason, refused.detail.clone());
        for unmet in self.out.unmet.iter_mut().skip(before) {
            unmet.transient = refused.transient;
        }
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
                    checking: false,
                    running: false,
                    agent: None,
                    check_address: None,
                    ssl: None,
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
            Stages::Relying => &mut self.out.relying,
        }
    }

    fn server(&self, slot: &Slot) -> ServerRef {
        ServerRef::new(self.backend.name.clone(), slot.server.name.clone())
    }
}

/// The time that is added to the pause between reads for each server of a backend: a large one is much to read.
const WATCH_PER_SERVER: Duration = Duration::from_millis(1);

/// The time after which to ask again for something that should have been read by then.
const UNREAD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Stages {
    Prepare,
    Admit,
    Leave,
    Relying,
}

/// Why a state is set: for a reason of its own, or because another client set another one.
fn why_state(slot: &Slot, why: Why) -> Why {
    match slot.edits.by_others().is_some_and(Edited::is_state_left) {
        true => Why::Repair,
        false => why,
    }
}

/// Returns `true` if it was marked down for good.
fn is_marked_down(slot: &Slot) -> bool {
    !slot.server.running && !slot.server.checked && !slot.server.has_agent
}

/// Returns `true` if HAProxy sends it new traffic.
fn serves(slot: &Slot) -> bool {
    slot.server.admin == AdminState::Ready && slot.server.running && slot.server.weight > 0
}
