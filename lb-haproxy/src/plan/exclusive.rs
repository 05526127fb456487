//! Exclusive services: at any moment at most one endpoint of theirs can get traffic.
//!
//! A server of another endpoint is *out* when it is in `maint` and was then read without any session. `drain` is not enough:
//! persistence still sends sessions there, and what runs there may still write.

use std::{net::SocketAddr, time::Duration};

use lb_core::{EndpointState, Name, OnDown, Service};

use super::{
    backend::{Backend, Role},
    planner::Planner,
    slot::Slot,
    want::Want,
};
use crate::{observed::is_parked, proto::AdminState};

/// The effect of a reload of HAProxy on servers that are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reload {
    /// They stay out, as was asked at this time.
    Safe(Duration),
    /// A worker is being started that may let them in. It is asked again later.
    UnderWay { until: Duration },
}

/// The rule by which a service is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) exclusive: bool,
    pub(super) on_down: OnDown,
}

impl Rule {
    pub(super) fn of(service: &Service) -> Self {
        Self {
            exclusive: service.is_exclusive(),
            on_down: service.on_down(),
        }
    }
}

/// An exclusive backend at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exclusive {
    /// The one address that may serve.
    pub(super) holder: Option<SocketAddr>,
    /// The places of the servers that must be out before it is admitted.
    pub(super) others: Vec<usize>,
    /// Returns `true` if another endpoint serves or will, so that no session is to stay at one that leaves.
    pub(super) is_awaited: bool,
}

impl Exclusive {
    /// The exclusive backend with these roles.
    pub(super) fn of(backend: &Backend, roles: &[Role]) -> Self {
        let holder = backend.holder(roles);
        let others = backend.slots.iter().zip(roles).enumerate();
        let others = others
            .filter(|(_, (slot, role))| match role {
                // Never touched; reported where it can get traffic.
                Role::Foreign | Role::Free => false,
                Role::Tenant(address, _) | Role::Leaving(address) => Some(*address) != holder,
                Role::Unusable => slot.server.admin != AdminState::Maint,
            })
            .map(|(at, _)| at)
            .collect();
        Self {
            holder,
            others,
            is_awaited: holder.is_some() || backend.service.is_none(),
        }
    }

    /// Returns `true` if this endpoint may serve.
    pub(super) fn is_holder(&self, address: SocketAddr) -> bool {
        self.holder == Some(address)
    }

    /// The desired state for an address: of a service's ready endpoints, all but one only stand by.
    pub(super) fn narrow(&self, address: SocketAddr, want: Want) -> Want {
        narrow(self.holder, address, want)
    }
}

impl Planner {
    /// Returns `true` if at most one endpoint of a backend can get traffic at any moment: its gauges are then to be read so
    /// that what is no longer counted is closed as well.
    #[must_use]
    pub fn is_exclusive(&self, backend: &Name) -> bool {
        self.backends
            .get(backend)
            .is_some_and(|known| known.exclusive)
    }
}

impl Backend {
    /// Takes in how its service is to be served.
    pub(super) fn take_rule(&mut self, rule: Option<Rule>) {
        let rule = rule.unwrap_or_default();
        self.exclusive |= rule.exclusive;
        self.exclusive_desired = rule.exclusive;
        self.on_down = rule.on_down;
    }

    /// Of the ready addresses of an exclusive service the one that may serve: one that may get traffic by its weight, of
    /// these the one that serves now, of these the first by name.
    pub(super) fn holder(&self, roles: &[Role]) -> Option<SocketAddr> {
        let fixed = self.fixed(roles);
        let rank = |address: SocketAddr| {
            if fixed.contains_key(&address) {
                return 0;
            }
            let tenant = |role: &Role| matches!(role, Role::Tenant(held, _) if *held == address);
            let slots = self.slots.iter().zip(roles);
            let mut slots = slots.filter(|(_, role)| tenant(role));
            match slots.next().map(|(slot, _)| &slot.server) {
                Some(server) => match server.admin {
                    AdminState::Ready if server.running && server.weight > 0 => 0_u8,
                    AdminState::Ready if server.running => 1,
                    AdminState::Ready => 2,
                    AdminState::Drain => 3,
                    AdminState::Maint => 4,
                },
                // There may be no place for it.
                None => 5,
            }
        };
        self.wants
            .ready()
            .min_by_key(|(address, id, want)| (want.weight == 0, rank(**address), *id))
            .map(|(address, ..)| *address)
    }

    /// Leaves only one tenant of an exclusive service to serve.
    pub(super) fn narrow(&self, roles: &mut [Role]) {
        let holder = self.holder(roles);
        for role in roles {
            if let Role::Tenant(address, want) = role {
                *want = narrow(holder, *address, *want);
            }
        }
    }

    /// Ends that a service is exclusive which no longer asks for it, once all it has to give up is out. Returns `true` if
    /// it just ended.
    pub(super) fn lapse(&mut self, roles: &[Role], now: Duration) -> bool {
        if !self.exclusive || self.exclusive_desired || self.service.is_none() {
            return false;
        }
        let others = Exclusive::of(self, roles).others;
        let out = |at: &usize| self.slots.get(*at).is_none_or(|slot| is_out(slot, now));
        self.exclusive = !others.iter().all(out);
        !self.exclusive
    }

    /// The fixed server beside which no endpoint of an exclusive service is admitted. A backup is one: it serves while no
    /// other does, and its sessions stay when another does again.
    pub(super) fn fixed_in_the_way<'a>(
        &'a self,
        roles: &'a [Role],
        holder: Option<SocketAddr>,
    ) -> Option<(SocketAddr, &'a Slot)> {
        let beside = self.fixed_beside(roles, holder);
        let serving = beside.filter(|slot| slot.may_serve_as_fixed());
        let all = serving.filter_map(|slot| Some((slot.server.address?, slot)));
        all.min_by_key(|(at, _)| *at)
    }

    /// Fixed servers that can get traffic for another address than the one that may serve.
    pub(super) fn fixed_beside<'a>(
        &'a self,
        roles: &'a [Role],
        holder: Option<SocketAddr>,
    ) -> impl Iterator<Item = &'a Slot> {
        let slots = self.slots.iter().zip(roles);
        slots
            .filter(move |(slot, role)| {
                let server = &slot.server;
                **role == Role::Foreign
                    && server.admin != AdminState::Maint
                    && server.address != holder
                    && !server.address.is_some_and(is_parked)
            })
            .map(|(slot, _)| slot)
    }
}

/// Returns `true` if a server of an exclusive service surely gets no traffic and has none.
pub(super) fn is_out(slot: &Slot, now: Duration) -> bool {
    slot.server.admin == AdminState::Maint
        // Its agent could make it ready again.
        && !slot.server.agent_enabled
        && slot.quiet_since(slot.since)
        && slot.doubted_until(now).is_none()
}

fn narrow(holder: Option<SocketAddr>, address: SocketAddr, want: Want) -> Want {
    if !want.state.is_ready() || holder == Some(address) {
        return want;
    }
    Want {
        state: EndpointState::Pending,
        ..want
    }
}
