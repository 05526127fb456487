//! What must hold for a line of `lb` before HAProxy takes it.

use std::{net::SocketAddr, time::Duration};

use lb_core::EndpointState;
use lb_haproxy::{
    capability::Capabilities,
    observed::{PARKED, is_parked},
    proto::AdminState,
    simulator::Simulator,
};

use crate::{
    rules::sessions,
    scene::{DRAIN, OTHERS},
    tenant::is_its_payload,
    world::{Sight, World},
};

impl World {
    /// Checks a line against the server as it was seen last.
    pub(crate) fn before_line(&mut self, sim: &Simulator, now: Duration, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        if words.iter().any(|word| {
            word.strip_prefix(OTHERS)
                .is_some_and(|rest| rest.starts_with('/'))
        }) {
            self.broken(
                now,
                format_args!("P7: {line:?} names another owner's backend"),
            );
        }
        match words.as_slice() {
            ["set", "server", at, "addr", ip, "port", port] => {
                let to = format!("{ip}:{port}")
                    .parse::<SocketAddr>()
                    .or_else(|_| format!("[{ip}]:{port}").parse());
                self.before_address(sim, now, at, to.unwrap());
            }
            ["shutdown", "sessions", "server", at] => self.before_cut(now, at),
            ["set", "server", at, "health", "down"] => self.mark_down(now, at),
            ["del", "server", at] => self.before_removal(sim, now, at),
            [
                "set",
                "server",
                _,
                "state" | "weight" | "health" | "check-port" | "check-addr",
                _,
            ]
            | [
                "add" | "del" | "set" | "clear" | "prepare" | "commit",
                "map",
                ..,
            ]
            | ["add", "server", ..]
            | ["enable", "health", _]
            | ["enable" | "disable", "agent", _] => {}
            // The lines of a payload: a key and a value.
            [key, _]
                if key.contains('/')
                    || self.scene.service(&key.parse().unwrap()).is_some()
                    || (self.scene.tenant && is_its_payload(key)) => {}
            _ => self.broken(now, format_args!("I6: {line:?} is no command of lb's")),
        }
    }

    /// I1 and I8: only a server that was made at run time is removed, in maintenance and with nobody on it.
    fn before_removal(&mut self, sim: &Simulator, now: Duration, at: &str) {
        let Some(sight) = self.find(at).filter(|sight| !sight.tainted) else {
            return;
        };
        let sessions = sessions(sim, &sight);
        if !sight.name.starts_with("dyn-") || sight.admin != AdminState::Maint || sessions > 0 {
            let admin = sight.admin;
            self.broken(
                now,
                format_args!("I8: {at} is removed in {admin:?} with {sessions} requests on it"),
            );
        }
    }

    fn mark_down(&mut self, now: Duration, at: &str) {
        let backends = &self.scene.backends;
        let is_it = |sight: &&mut Sight| format!("{}/{}", backends[sight.place], sight.name) == at;
        if let Some(sight) = self.sights.iter_mut().find(is_it) {
            sight.marked_down_at = Some(now);
        }
    }

    fn find(&self, at: &str) -> Option<Sight> {
        let (backend, name) = at.split_once('/')?;
        self.sights
            .iter()
            .find(|sight| sight.name == name && self.scene.backends[sight.place] == backend)
            .cloned()
    }

    /// I1: a slot is re-pointed only when it rests and nobody uses it, and only from and to its parking place.
    fn before_address(&mut self, sim: &Simulator, now: Duration, at: &str, to: SocketAddr) {
        let Some(sight) = self.find(at) else {
            return;
        };
        let Some(from) = sight.address else {
            return;
        };
        if sight.tainted {
            // Nobody can know that somebody else has just put it to use.
            self.taken.push((self.worker, sight.place, from));
            return;
        }
        if sight.admin != AdminState::Maint {
            self.broken(
                now,
                format_args!(
                    "I1: {at} is re-pointed from {from} to {to} while {:?}",
                    sight.admin
                ),
            );
        }
        if from == to || is_parked(from) || !sight.used {
            return;
        }
        let sessions = sessions(sim, &sight);
        if to != PARKED {
            self.broken(
                now,
                format_args!("I1: {at} is re-pointed from {from} to {to} without being parked"),
            );
        }
        if sessions > 0 {
            self.broken(
                now,
                format_args!("I1: {at} is re-pointed from {from} with {sessions} requests on it"),
            );
        }
        let (major, minor) = self.scene.version;
        let grace = Capabilities::of(major, minor).reuse_grace(&self.scene.policy);
        let rested = now - sight.maybe_since;
        if rested + Duration::from_millis(1) < grace {
            self.broken(
                now,
                format_args!(
                    "I1: {at} is re-pointed from {from} after {rested:?}, expected {grace:?}"
                ),
            );
        }
    }

    /// I8: requests are cut only when the time for them is over.
    fn before_cut(&mut self, now: Duration, at: &str) {
        let Some(sight) = self.find(at).filter(|sight| !sight.tainted) else {
            return;
        };
        let Some((address, service)) = sight.address.zip(self.scene.owners[sight.place]) else {
            return;
        };
        let grace = match self.desired_at(service, address) {
            Some((EndpointState::Draining { grace: Some(grace) }, _)) => grace,
            _ => DRAIN,
        };
        let desired_here = self.desired_at(service, address);
        let known = self.scene.services[service].clone();
        let desired = self.desired.as_ref();
        let desired = desired.and_then(|all| all.service(&known.name));
        let another = known.is_exclusive()
            && !matches!(
                desired_here,
                Some((EndpointState::Draining { grace: Some(_) }, _))
            )
            && desired.is_some_and(|service| {
                service
                    .endpoints()
                    .any(|(_, other)| other.address != address && other.state.is_ready())
            });
        let dead = known.options.on_down.is_some()
            && !desired_here.is_some_and(|(state, _)| state != EndpointState::Down);
        // What an empty listing left to the tenant was exclusive if the tenant said so, until all others were out.
        if sight.admin == AdminState::Maint && (another || dead || self.gave_way()) {
            // They stand in another one's way, or nothing is left of whom they were with.
            return;
        }
        let since = self.unwanted.get(&(service, address)).copied();
        let over = |since: Duration| now + Duration::from_millis(1) >= since + grace.min(DRAIN);
        if !since.is_some_and(over) && !sight.closed_since.is_some_and(over) {
            self.broken(
                now,
                format_args!(
                    "I8: requests at {at} are cut before their time, unwanted since {since:?}"
                ),
            );
        }
    }
}
