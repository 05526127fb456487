//! How servers lose their traffic: drained, put into maintenance, rested and parked.

use std::{net::SocketAddr, time::Duration};

use super::{
    super::{backend::Role, slot::Slot, step::Why},
    Decider, Stages, serves,
};
use crate::{
    observed::PARKED,
    proto::{AdminState, Command},
};

impl Decider<'_> {
    /// A server that must lose its traffic.
    pub(super) fn leaving(
        &mut self,
        slot: &Slot,
        role: Role,
        contested: &impl Fn(SocketAddr) -> bool,
    ) {
        if let Some(refused) = slot.refusal(self.context.now) {
            let until = refused.until;
            self.again(until);
            return;
        }
        match (slot.server.admin, role) {
            // One more server of an endpoint that is not to serve: its requests are lost anyway.
            (AdminState::Ready | AdminState::Drain, _) if self.backend.is_out(role) => {
                self.silence_agent(Stages::Prepare, slot);
                self.state(Stages::Prepare, slot, AdminState::Maint, Why::Out);
                if self.closes_sessions(slot) {
                    self.shut_down(slot, Why::ShutDown);
                }
            }
            (AdminState::Ready, _) => {
                let wanted_here = |address: &SocketAddr| {
                    let want = self.backend.wants.get(address);
                    want.is_some_and(|want| want.state.is_ready())
                };
                // An address that already serves somebody else must not be kept, whatever that costs here. Where it is
                // wanted here too, another server keeps it anyway.
                let address = slot.server.address.filter(|at| !wanted_here(at));
                let needed_elsewhere = address.is_some_and(contested);
                // What is not desired may only not be known; one server too many of a desired state is known.
                let may_be_desired = self.context.partial
                    && matches!(role, Role::Leaving(address) if self.backend.wants.get(&address).is_none());
                if may_be_desired && !needed_elsewhere {
                    self.out.held += 1;
                    return;
                }
                match self.held_until(slot, role) {
                    Some(until) if !needed_elsewhere => {
                        self.out.held += 1;
                        self.out.settled = false;
                        self.again(until);
                    }
                    _ => self.drain(slot, role, needed_elsewhere),
                }
            }
            (AdminState::Drain, _) => {
                self.silence_agent(Stages::Leave, slot);
                self.draining(slot, role);
            }
            // Its agent may have let it in and out again since it was read: it rests from when the agent is silent.
            (AdminState::Maint, Role::Leaving(_)) if slot.server.agent_enabled => {
                self.silence_agent(Stages::Leave, slot);
                self.look_again(self.context.now);
            }
            (AdminState::Maint, Role::Leaving(_)) => {
                if self.closes_sessions(slot) && !slot.quiet_since(slot.since) {
                    self.fence(slot, Duration::ZERO);
                } else {
                    self.resting(slot);
                }
            }
            (AdminState::Maint, _) => self.silence_agent(Stages::Leave, slot),
        }
    }

    /// Takes a server out.
    fn drain(&mut self, slot: &Slot, role: Role, needed_elsewhere: bool) {
        // One server too many of an endpoint relies on the other one, whom somebody may have taken out.
        let wants = &self.backend.wants;
        let too_many = matches!(role, Role::Leaving(address) if wants.get(&address).is_some());
        let relies = serves(slot) && !needed_elsewhere && (self.serving.by_checks || too_many);
        if relies && self.backend.read_at < self.context.fresh_from {
            self.out.settled = false;
            self.look_again(self.context.now);
            return;
        }
        self.serving.leavers -= usize::from(serves(slot));
        let stage = if relies {
            Stages::Relying
        } else {
            Stages::Leave
        };
        let state = match self.context.policy.persistence {
            // Drained, its users would come back.
            true => AdminState::Maint,
            false => AdminState::Drain,
        };
        self.silence_agent(stage, slot);
        self.state(stage, slot, state, Why::Drain);
    }

    /// Until when a server that is to leave must stay, because its service would have none.
    pub(super) fn held_until(&self, slot: &Slot, role: Role) -> Option<Duration> {
        let now = self.context.now;
        let staying = self.serving.stayers + self.entering.at_once;
        let window_ends = slot
            .leaving_since
            .unwrap_or(now)
            .saturating_add(self.context.policy.admission_timeout);
        // Its check may have passed since it was read.
        let may_serve = slot.server.admin == AdminState::Ready && slot.server.weight > 0;
        let last = staying == 0
            && match serves(slot) {
                true => self.serving.leavers == 1,
                false => may_serve && self.serving.leavers == 0,
            };
        let make_before_break = match role {
            Role::Leaving(_) => self.entering.later > 0,
            _ => self.entering.later > 0 && staying == 0,
        };
        // Without a free slot the others are given up first; the last one stays until one of them can be used.
        let none_yet = self.entering.refused > 0
            || (self.entering.without_slot > 0 && !self.serving.sole_slot);
        let make_before_break = make_before_break || (last && none_yet);
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
        let grace = grace.unwrap_or(self.context.policy.drain_timeout);
        // It may drain for longer than it is to leave: its agent or an operator drained it, and may have let it in meanwhile.
        let begun = slot.leaving_since.unwrap_or(slot.since).max(slot.since);
        let deadline = begun.saturating_add(grace);
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
    pub(super) fn resting(&mut self, slot: &Slot) {
        let policy = self.context.policy;
        let rested = slot
            .since
            .saturating_add(self.context.capabilities.reuse_grace(policy));
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
        let cut_due = slot
            .cut_at
            .unwrap_or(slot.since)
            .saturating_add(policy.drain_timeout);
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
}
