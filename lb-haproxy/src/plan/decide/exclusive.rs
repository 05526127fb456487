//! Break before make: servers of an exclusive service leave, and sessions to endpoints that are down are shut down.

use std::{net::SocketAddr, time::Duration};

use lb_core::{EndpointState, OnDown, UnmetReason};

use super::{
    super::{
        backend::Role,
        exclusive::{Reload, is_out},
        slot::{Slot, poll_interval},
        step::{Read, Why},
        want::Want,
    },
    Decider, Stages, UNREAD, is_marked_down, serves,
};
use crate::proto::{AdminState, Command};

/// The time a server has for ending sessions that were shut down before that is asked for again.
const SHUT_DOWN_AGAIN: Duration = Duration::from_millis(100);

impl Decider<'_> {
    /// Decides whether the endpoint that may serve can be admitted: every other one is out, as just read.
    pub(super) fn open_gate(&mut self, roles: &[Role]) {
        let Some(exclusive) = self.exclusive.clone() else {
            return;
        };
        let slots = &self.backend.slots;
        let serves = |(slot, role): (&Slot, &Role)| {
            matches!(role, Role::Tenant(address, _) if exclusive.is_holder(*address))
                && slot.server.admin == AdminState::Ready
                && !is_marked_down(slot)
        };
        let holder = exclusive.holder;
        let fixed_serves = holder.is_some_and(|at| self.fixed.contains_key(&at));
        // One that its agent keeps out was let in: its agent may let it serve at any moment.
        let is_kept_out = |(slot, role): (&Slot, &Role)| {
            matches!(role, Role::Tenant(address, _) if exclusive.is_holder(*address))
                && slot.server.agent_enabled
                && slot.server.admin != AdminState::Ready
        };
        let now = self.context.now;
        let others: Vec<&Slot> = exclusive
            .others
            .iter()
            .filter_map(|at| slots.get(*at))
            .collect();
        let mut open = others.iter().all(|slot| is_out(slot, now));
        let is_let_in = fixed_serves
            || slots.iter().zip(roles).any(serves)
            || open && slots.iter().zip(roles).any(is_kept_out);
        // It was let in, and its check is awaited.
        let is_admitted = |(slot, role): (&Slot, &Role)| {
            matches!(role, Role::Tenant(address, _) if exclusive.is_holder(*address))
                && slot.server.admin == AdminState::Ready
        };
        let admitted = slots.iter().zip(roles).any(is_admitted);
        let waits = holder.is_some() && !is_let_in;
        if waits {
            let fresh_from = self.context.fresh_from;
            if open && slots.iter().any(|slot| slot.read_at < fresh_from) {
                // Another client may have changed them since.
                open = false;
                self.out.settled = false;
                self.look_again(now);
            }
            for slot in &others {
                let read = slot.gauges.is_some_and(|(at, _)| at >= fresh_from);
                if slot.server.admin == AdminState::Maint && !read {
                    open = false;
                    self.look_at(slot, now);
                }
            }
            // A fixed server is never taken out.
            open &= self.in_the_way.is_none();
            open = open && (admitted || self.outlasts_reload());
            if !self.context.served_elsewhere.is_empty() {
                open = false;
                self.out.waits_for.extend(self.context.served_elsewhere);
            }
        }
        self.is_gate_open = open || !waits;
        let doubted = others.iter().filter_map(|slot| slot.doubted_until(now));
        for until in doubted.collect::<Vec<_>>() {
            self.again(until);
        }
        for slot in others {
            if slot.server.admin != AdminState::Maint && slot.server.address.is_none() {
                self.state(Stages::Prepare, slot, AdminState::Maint, Why::Handover);
            }
        }
    }

    /// Returns `true` if what is out stays out when HAProxy is reloaded: the file that a new worker loads may be older.
    fn outlasts_reload(&mut self) -> bool {
        if !self.context.loads_state {
            return true;
        }
        match self.backend.reload {
            Some(Reload::Safe(at)) if at >= self.context.fresh_from => return true,
            Some(Reload::UnderWay { until }) if self.context.now < until => self.again(until),
            _ => {
                let read = Read::ReloadIsSafe(self.backend.name.clone());
                self.out.reads.push(read);
                self.again(self.context.now + UNREAD);
            }
        }
        self.out.settled = false;
        false
    }

    /// A server of an exclusive service that leaves: out at once, for a draining server still gets sessions.
    pub(super) fn leaving_exclusive(
        &mut self,
        slot: &Slot,
        role: Role,
        contested: &impl Fn(SocketAddr) -> bool,
    ) {
        let is_awaited = self.is_awaited();
        if slot.server.admin == AdminState::Maint {
            if slot.refusal(self.context.now).is_none() {
                self.silence_agent(Stages::Prepare, slot);
            }
            self.fence(slot, self.sessions_until(slot, role));
            if matches!(role, Role::Leaving(_)) && slot.quiet_since(slot.since) {
                match slot.refusal(self.context.now) {
                    Some(refused) => {
                        let until = refused.until;
                        self.again(until);
                    }
                    None => self.resting(slot),
                }
            }
            return;
        }
        if let Some(refused) = slot.refusal(self.context.now) {
            let until = refused.until;
            self.again(until);
            return;
        }
        let needed_elsewhere = slot.server.address.is_some_and(contested);
        let may_be_desired = self.context.partial
            && matches!(role, Role::Leaving(address) if self.backend.wants.get(&address).is_none());
        if may_be_desired && !needed_elsewhere {
            self.out.held += 1;
            return;
        }
        let held = self
            .held_until(slot, role)
            .filter(|_| !is_awaited && !needed_elsewhere);
        if let Some(until) = held {
            self.out.held += 1;
            self.out.settled = false;
            self.again(until);
            return;
        }
        let why = if is_awaited {
            Why::Handover
        } else {
            Why::Drain
        };
        self.silence_agent(Stages::Prepare, slot);
        self.state(Stages::Prepare, slot, AdminState::Maint, why);
        if self.context.now >= self.sessions_until(slot, role) {
            self.shut_down(slot, Why::Handover);
        }
    }

    /// A free slot of an exclusive service that gets an endpoint which only stands by: another client may have taken the
    /// slot out of maintenance since it was read, and then its new address would get traffic at once. For the endpoint
    /// that may serve all servers are read first.
    pub(super) fn surely_out(&mut self, slot: &Slot, want: Want) {
        if self.exclusive.is_some() && !want.state.is_ready() {
            self.state(Stages::Prepare, slot, AdminState::Maint, Why::Fill);
        }
    }

    /// A tenant in maintenance that must have no session: it is down, or another one of an exclusive service is awaited.
    pub(super) fn tenant_out(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
        if self.must_have_no_session(address, want) {
            self.fence(slot, Duration::ZERO);
        }
    }

    /// A tenant that goes to maintenance now, whose sessions end with that.
    pub(super) fn tenant_goes_out(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
        if self.must_have_no_session(address, want) {
            let why = match want.state {
                EndpointState::Down => Why::ShutDown,
                _ => Why::Handover,
            };
            self.shut_down(slot, why);
        }
    }

    pub(super) fn must_have_no_session(&self, address: SocketAddr, want: Want) -> bool {
        let exclusive = self.exclusive.as_ref();
        let gives_way = exclusive.is_some_and(|all| all.is_awaited && !all.is_holder(address));
        let closes =
            want.state == EndpointState::Down && self.backend.on_down == OnDown::ShutdownSessions;
        gives_way || closes
    }

    /// Returns `true` if a server that leaves had an endpoint that is down, whose sessions are to be shut down.
    pub(super) fn closes_sessions(&self, slot: &Slot) -> bool {
        let want = slot
            .server
            .address
            .and_then(|at| self.backend.wants.get(&at));
        let is_down = slot.dead || want.is_some_and(|want| want.state == EndpointState::Down);
        is_down && self.backend.on_down == OnDown::ShutdownSessions
    }

    /// Returns `true` if a server belongs to an endpoint of an exclusive service that may not serve.
    pub(super) fn gives_way(&self, role: Role) -> bool {
        match (&self.exclusive, role) {
            (Some(exclusive), Role::Tenant(address, _) | Role::Leaving(address)) => {
                !exclusive.is_holder(address)
            }
            _ => false,
        }
    }

    fn is_awaited(&self) -> bool {
        self.exclusive
            .as_ref()
            .is_some_and(|exclusive| exclusive.is_awaited)
    }

    /// Until when sessions to a leaving server may run: a grace that the source states is kept even while another
    /// endpoint waits.
    fn sessions_until(&self, slot: &Slot, role: Role) -> Duration {
        let since = slot.leaving_since.unwrap_or(self.context.now);
        let grace = match role {
            Role::Tenant(_, want) => want.grace(),
            _ => None,
        };
        match grace {
            Some(grace) => since.saturating_add(grace),
            None if self.is_awaited() => Duration::ZERO,
            None if self.context.policy.cut_at_deadline => {
                since.saturating_add(self.context.policy.drain_timeout)
            }
            None => Duration::MAX,
        }
    }

    /// A server in maintenance that is to be without sessions from `deadline` on: shuts down those that are left until it
    /// is seen without any.
    pub(super) fn fence(&mut self, slot: &Slot, deadline: Duration) {
        let now = self.context.now;
        if slot.quiet_since(slot.since) {
            return;
        }
        if now < deadline {
            if self.is_awaited() {
                self.out.settled = false;
            }
            self.look_at(slot, slot.next_look(now).min(deadline));
            self.again(deadline);
            return;
        }
        self.out.settled = false;
        let last = slot.cut_at.unwrap_or(Duration::ZERO);
        let due = slot.cut_at.is_none() || now >= last.saturating_add(SHUT_DOWN_AGAIN);
        // Connections without a session are kept idle ones, which HAProxy before 2.4 may count as used: no order ends them.
        let has_left = slot.gauges.is_some_and(|(at, gauges)| {
            let any = gauges.sessions > 0 || gauges.queued > 0;
            at >= last && (any || slot.cut_at.is_none())
        });
        let refused = slot.refused_until(now);
        if let Some(until) = refused {
            self.again(until);
        } else if due && has_left {
            self.shut_down(slot, Why::Handover);
            self.again(now + poll_interval(Duration::ZERO));
            return;
        }
        self.look_at(slot, slot.next_look(now));
    }

    pub(super) fn shut_down(&mut self, slot: &Slot, why: Why) {
        let server = self.server(slot);
        self.step(Stages::Leave, slot, Command::ShutdownSessions(server), why);
    }

    /// The text on the one that may serve. It stays chosen while its check or its agent keeps it out: its source
    /// decides.
    fn holder_text(&self, roles: &[Role], holder: SocketAddr) -> &'static str {
        if self.fixed.contains_key(&holder) {
            return "serves";
        }
        let mut slots = self.backend.slots.iter().zip(roles);
        let slot = slots.find(|(_, role)| matches!(role, Role::Tenant(held, _) if *held == holder));
        match slot {
            Some((slot, _)) if serves(slot) => "serves",
            Some((slot, _)) if slot.server.admin == AdminState::Ready && !slot.server.running => {
                "is chosen and does not serve, for its check or its agent says that it is down: let the source state it \
                 down, or remove it"
            }
            Some((slot, _)) if slot.server.admin == AdminState::Ready => {
                "is chosen and does not serve, for its weight is 0: let the source state it down, or remove it"
            }
            Some((slot, _)) if self.is_gate_open && slot.server.agent_enabled => {
                "is chosen and does not serve, for its agent keeps it out: let the source state it down, or remove it"
            }
            _ => "is chosen and does not serve yet",
        }
    }

    /// Says what of an exclusive service is not in effect.
    pub(super) fn report_exclusive(&mut self, roles: &[Role]) {
        let Some(exclusive) = self.exclusive.clone() else {
            return;
        };
        let backend = self.backend;
        let Some(holder) = exclusive.holder else {
            return;
        };
        let id = backend.wants.decides(&holder).cloned();
        let name = id
            .as_ref()
            .map_or_else(|| holder.to_string(), ToString::to_string);
        let mut ready: Vec<_> = backend
            .wants
            .ready()
            .filter(|(address, _, want)| **address != holder && want.weight != 0)
            .map(|(_, id, _)| id.clone())
            .collect();
        // In one order, so that a simulation repeats exactly.
        ready.sort_unstable();
        let count = ready.len() + 1;
        let serves = self.holder_text(roles, holder);
        for waiting in ready {
            let detail = format!(
                "exclusive service has {count} ready endpoints, expected one: {name} at {holder} {serves}"
            );
            self.unmet(Some(waiting), UnmetReason::Exclusive, detail);
        }
        for fixed in backend.fixed_beside(roles, exclusive.holder) {
            let detail = format!(
                "server {}/{} is no slot, never changed by lb, and can get traffic too: remove it from haproxy.cfg",
                backend.name, fixed.server.name
            );
            self.unmet(None, UnmetReason::Exclusive, detail);
        }
        if !self.is_gate_open
            && let Some((at, fixed)) = self.in_the_way
        {
            let kind = match fixed.backup {
                Some(true) => "a backup, which gets traffic when no other serves, ",
                _ => "",
            };
            let detail = format!(
                "waits until server {}/{} at {at} is out: it is {kind}no slot and never changed by lb",
                backend.name, fixed.server.name
            );
            return self.unmet(id, UnmetReason::Exclusive, detail);
        }
        if self.is_gate_open {
            return;
        }
        let now = self.context.now;
        let mut others = exclusive
            .others
            .iter()
            .filter_map(|at| backend.slots.get(*at));
        let Some(slot) = others.find(|slot| !is_out(slot, now)) else {
            if matches!(backend.reload, Some(Reload::UnderWay { until }) if now < until) {
                let detail = "waits until HAProxy has been reloaded: the new worker may bring another endpoint back";
                self.unmet(id, UnmetReason::Exclusive, detail.to_owned());
                if let Some(unmet) = self.out.unmet.last_mut() {
                    unmet.transient = true;
                }
            }
            return;
        };
        let server = self.server(slot);
        let refused = slot
            .refused
            .as_ref()
            .filter(|_| slot.refused_until(now).is_some());
        let why = match (slot.server.admin, slot.gauges) {
            _ if let Some(refused) = refused => refused.detail.clone(),
            (AdminState::Maint, Some((_, gauges))) => {
                format!("it has {} sessions", gauges.sessions)
            }
            (AdminState::Maint, None) => "its sessions are not known yet".to_owned(),
            _ if self.context.partial => {
                "a source that has not reported yet may want it".to_owned()
            }
            _ => "it is not in maintenance yet".to_owned(),
        };
        let detail = format!("waits until server {server} of another endpoint is out: {why}");
        let is_refused = refused.is_some();
        self.unmet(id, UnmetReason::Exclusive, detail);
        if !is_refused && let Some(unmet) = self.out.unmet.last_mut() {
            unmet.transient = true;
        }
    }
}
