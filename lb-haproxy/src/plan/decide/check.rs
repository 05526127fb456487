//! Health checks: switched on where they are off, waited for when an endpoint comes in, and reported where they fail.

use std::net::SocketAddr;

use lb_core::{Condition, ConditionKind};

use super::{
    super::{
        edited::Edited,
        slot::{Slot, poll_interval},
        step::Why,
        want::Want,
    },
    Decider, Stages,
};
use crate::proto::{AdminState, Command, Health};

/// The most conditions of one backend and one kind that tell of checks.
const MOST_SHOWN: usize = 16;

impl Decider<'_> {
    /// A check that is off says of nobody that he is dead: it was never switched on, because the making of its server
    /// was cut short, or somebody switched it off.
    pub(super) fn switch_check_on(&mut self, slot: &Slot, may_serve: bool) {
        let server = &slot.server;
        // What must not serve is never made ready, not even for a moment: it goes to maintenance anyway.
        if !is_off(slot) || !(may_serve || server.admin == AdminState::Maint) {
            return;
        }
        let stuck = is_stuck(slot);
        let enable = Command::EnableHealth(self.server(slot));
        self.step(Stages::Prepare, slot, enable, why(slot));
        self.expect(Stages::Prepare, slot, |expect| expect.checking = true);
        if stuck {
            self.state(Stages::Prepare, slot, AdminState::Maint, Why::Adjust);
            self.state(Stages::Prepare, slot, server.admin, Why::Adjust);
            if !server.running {
                // HAProxy takes a server that leaves maintenance for healthy.
                let down = Command::SetHealth(self.server(slot), Health::Down);
                self.step(Stages::Prepare, slot, down, Why::Adjust);
            }
        }
    }

    pub(super) fn check_port(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
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
                why(slot),
            );
        }
    }

    /// Reports the port of a check that an endpoint asks for where its server has no check.
    pub(super) fn tell_of_check_port(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
        let Some(port) = want.check_port.filter(|_| want.state.is_ready()) else {
            return;
        };
        if slot.server.checked {
            return;
        }
        let server = self.server(slot).to_string();
        let help = match self.context.policy.is_dynamic_name(&slot.server.name) {
            true => {
                "set `server.check` in the policy of the target, or report the endpoint without a check port"
            }
            false => {
                "add `check` to the line of the slots in haproxy.cfg, or report the endpoint without a check port"
            }
        };
        let detail = format!(
            "server {server} at {address} has no `check`: port {port} for the check of its endpoint has no effect, and it \
             gets traffic unchecked"
        );
        let mut condition = Condition::new(ConditionKind::Diagnostic, detail)
            .with_help(help)
            .of_object(server);
        condition.service = self.backend.service.clone();
        condition.endpoint = self.backend.wants.decides(&address).cloned();
        self.show(condition, MOST_SHOWN);
    }

    /// A server made ready whose check has not passed yet: on its way in for a while, and then reported.
    pub(super) fn await_check(&mut self, slot: &Slot, address: SocketAddr, want: Want) {
        if slot.server.running {
            return;
        }
        let since = slot.entering_since();
        let window_ends = since.saturating_add(self.context.policy.admission_timeout);
        if self.context.now >= window_ends {
            if want.weight != 0 {
                self.tell_of_check(slot, address);
                self.watch();
            }
            return;
        }
        self.out.settled = false;
        self.entering.later += 1;
        let elapsed = self.backend.read_at.saturating_sub(since);
        self.look_again(self.backend.read_at + poll_interval(elapsed));
        self.again(window_ends);
    }

    /// Reports a check that fails.
    fn tell_of_check(&mut self, slot: &Slot, address: SocketAddr) {
        if !slot.server.checked && slot.server.has_agent {
            return self.tell_of_agent(
                slot,
                address,
                "says that it is down, and lb leaves it so: it gets no traffic until the agent says that it is up",
                "let the agent of server B/S answer `up`, or correct what it finds",
            );
        }
        let server = self.server(slot).to_string();
        // HAProxy does not tell which of them took it down.
        let (who, says) = match slot.server.has_agent {
            true => ("check or the agent", "says that it is down"),
            false => ("check", "fails"),
        };
        let detail = format!(
            "the {who} of server {server} at {address} {says}: it gets no traffic until the check passes"
        );
        let mut condition = Condition::new(ConditionKind::CheckFailing, detail)
            .with_help("see `show stat` for what the check found; correct the endpoint, or its check in haproxy.cfg")
            .of_object(server);
        condition.service = self.backend.service.clone();
        condition.endpoint = self.backend.wants.decides(&address).cloned();
        self.show(condition, MOST_SHOWN);
    }
}

/// The reason for which a check is set up.
fn why(slot: &Slot) -> Why {
    match slot.edits.by_others().is_some_and(Edited::is_check_left) {
        true => Why::Repair,
        false => Why::Adjust,
    }
}

/// Returns `true` if neither check nor agent looks at a server that is to be looked at.
pub(super) fn is_off(slot: &Slot) -> bool {
    slot.server.checked && (!slot.server.check_enabled || is_stuck(slot))
}

/// A check that was off when a maintenance ended stands still until another one ends.
fn is_stuck(slot: &Slot) -> bool {
    slot.server.check_paused && slot.server.admin != AdminState::Maint
}
