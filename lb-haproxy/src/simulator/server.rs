//! One server's administrative and operational state.

use std::{net::IpAddr, time::Duration};

use super::{
    agent::Agent,
    check::Check,
    config::{BackendModel, ServerModel},
};

/// Set by the command line or the configuration.
pub(super) const FORCED_MAINT: u32 = 0x01;
/// Inherited from the tracked server.
pub(super) const INHERITED_MAINT: u32 = 0x02;
/// Declared `disabled`; stays set after `ready`.
pub(super) const DECLARED_MAINT: u32 = 0x04;
/// Set by the command line.
pub(super) const FORCED_DRAIN: u32 = 0x08;
/// Inherited from the tracked server.
pub(super) const INHERITED_DRAIN: u32 = 0x10;
/// The name does not resolve.
pub(super) const UNRESOLVED: u32 = 0x20;

const MAINT: u32 = FORCED_MAINT | INHERITED_MAINT | UNRESOLVED;
const DRAIN: u32 = FORCED_DRAIN | INHERITED_DRAIN;

/// The operational state, by its number in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Stopped = 0,
    Running = 2,
    Stopping = 3,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) fqdn: Option<String>,
    pub(super) admin: u32,
    pub(super) op: Op,
    pub(super) weight: u16,
    pub(super) initial_weight: u16,
    pub(super) changed: Duration,
    pub(super) check: Check,
    pub(super) agent: Agent,
    pub(super) track: Option<(String, String)>,
    /// Other parts of the configuration point to it.
    pub(super) referenced: bool,
    pub(super) restorable: bool,
    pub(super) agent_port: u16,
    /// It goes to the port that the client asked for, plus its own.
    pub(super) maps_ports: bool,
    /// Added at run time.
    pub(super) dynamic: bool,
    /// Tells this server from another one of the same name.
    pub(super) serial: u64,
}

impl Server {
    pub(super) fn new(model: &ServerModel, id: u32, serial: u64, now: Duration) -> Self {
        let mut check = Check::new(model.check, true);
        let (mut admin, mut op) = (0, Op::Running);
        if model.disabled {
            admin = FORCED_MAINT | DECLARED_MAINT;
            op = Op::Stopped;
            check.paused = true;
            check.health = 0;
            check.vouched = false;
        }
        Self {
            name: model.name.clone(),
            id,
            address: model.address.map(|address| address.ip()),
            port: model.address.map_or(0, |address| address.port()),
            fqdn: None,
            admin,
            op,
            weight: model.weight,
            initial_weight: model.weight,
            changed: now,
            check,
            agent: Agent::new(model.agent),
            track: model.track.clone(),
            referenced: false,
            restorable: model.restorable,
            maps_ports: model.address.is_none(),
            agent_port: model.check.map_or(0, |check| check.port),
            dynamic: false,
            serial,
        }
    }

    pub(super) fn is_maint(&self) -> bool {
        self.admin & MAINT != 0
    }

    pub(super) fn is_drain(&self) -> bool {
        self.admin & DRAIN != 0
    }

    /// Returns `true` if new requests may go there.
    pub(super) fn takes_requests(&self) -> bool {
        !self.is_maint() && !self.is_drain() && self.op == Op::Running && self.weight > 0
    }

    /// Sets administrative flags; tells whether it entered maintenance.
    pub(super) fn set_admin(&mut self, flags: u32, now: Duration) -> bool {
        let was = self.is_maint();
        self.admin |= flags;
        if was || !self.is_maint() {
            return false;
        }
        if self.check.enabled {
            self.check.paused = true;
        }
        if self.op != Op::Stopped {
            self.check.health = 0;
            self.turn(Op::Stopped, now);
        }
        true
    }

    /// Clears administrative flags. A server that leaves maintenance is up at once: it was not checked yet.
    pub(super) fn clear_admin(&mut self, flags: u32, tracked: Option<Op>, now: Duration) {
        let was = self.is_maint();
        self.admin &= !flags;
        if !was || self.is_maint() {
            return;
        }
        self.check.vouched = false;
        if self.check.enabled {
            self.check.paused = false;
            self.check.health = self.check.rise;
        }
        match tracked {
            Some(Op::Stopped) => {}
            Some(op) => self.turn(op, now),
            None => self.turn(Op::Running, now),
        }
    }

    pub(super) fn turn(&mut self, op: Op, now: Duration) {
        if self.is_maint() && op != Op::Stopped {
            return;
        }
        if self.op != op {
            self.op = op;
            self.changed = now;
        }
    }
}

/// The servers of a backend as configured.
pub(super) fn configured(model: &BackendModel, serial: &mut u64, now: Duration) -> Vec<Server> {
    model
        .servers
        .iter()
        .zip(1..)
        .map(|(server, id)| {
            *serial += 1;
            Server::new(server, id, *serial, now)
        })
        .collect()
}
