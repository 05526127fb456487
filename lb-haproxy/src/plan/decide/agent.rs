//! Agent checks. An agent may drain a server, put it into `maint`, make it `ready` and set its weight, also while the
//! server is in `maint`. While an endpoint is to serve, that counts: health is a conjunction. While it is not to serve, the
//! agent is switched off, so that it cannot let in what has to stay out.

use std::net::SocketAddr;

use lb_core::{Condition, ConditionKind, Name};

use super::{
    super::{slot::Slot, step::Why, want::Want},
    Decider, Stages,
};
use crate::proto::{AdminState, Command};

/// The most conditions of one backend that tell of agents.
const MOST_SHOWN: usize = 16;

impl Decider<'_> {
    /// Returns `true` if the agent of a server that is to serve keeps it out: it is then left as it is.
    pub(super) fn is_held_by_agent(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        want: Want,
        may_serve: bool,
    ) -> bool {
        if !slot.server.agent_enabled {
            return false;
        }
        let out = slot.server.admin != AdminState::Ready;
        if !may_serve && (out || !want.state.is_ready()) && !is_draining(want) {
            self.silence_agent(Stages::Prepare, slot);
            return false;
        }
        if !may_serve || !out {
            return false;
        }
        let word = match slot.server.admin {
            AdminState::Maint => "maint",
            _ => "drain",
        };
        // What waits for it to serve waits for a while, as for a check.
        self.entering.later += usize::from(want.weight != 0);
        self.tell_of_agent(
            slot,
            address,
            &format!("keeps it in {word}, and lb leaves it so"),
            "let the agent answer `ready`, or run `set server B/S state ready` if an operator took it out",
        );
        self.watch();
        true
    }

    /// Returns `true` if the weight of a server is its agent's: the service has wanted the same since it told it.
    pub(super) fn is_weighed_by_agent(&mut self, slot: &Slot, want: Want) -> bool {
        let told = slot.weight_told;
        if !slot.server.agent_enabled || told.is_some_and(|told| told != want.weight) {
            return false;
        }
        if let Some(address) = slot.server.address {
            let detail = format!(
                "gave it weight {}, and its source {}",
                slot.server.weight, want.weight
            );
            self.tell_of_agent(
                slot,
                address,
                &detail,
                "none is needed where the agent is to decide",
            );
        }
        true
    }

    /// Switches the agent of a server off that is not to serve.
    pub(super) fn silence_agent(&mut self, stage: Stages, slot: &Slot) {
        if slot.server.agent_enabled {
            let command = Command::DisableAgent(self.server(slot));
            self.step(stage, slot, command, Why::Agent);
            self.expect(stage, slot, |expect| expect.agent = Some(false));
        }
    }

    /// Switches the agent of a server on that is to serve.
    pub(super) fn hear_agent(&mut self, stage: Stages, slot: &Slot) {
        if slot.server.has_agent {
            let command = Command::EnableAgent(self.server(slot));
            self.step(stage, slot, command, Why::Agent);
            self.expect(stage, slot, |expect| expect.agent = Some(true));
        }
    }

    pub(super) fn tell_of_agent(
        &mut self,
        slot: &Slot,
        address: SocketAddr,
        what: &str,
        help: &str,
    ) {
        let server = self.server(slot).to_string();
        let mut condition = Condition::new(
            ConditionKind::AgentHold,
            format!("the agent check of server {server} {what}"),
        )
        .with_help(help.replace("B/S", &server))
        .of_object(server);
        condition.service = self.backend.service.clone();
        condition.endpoint = self.backend.wants.decides(&address).cloned();
        self.show(condition, MOST_SHOWN);
    }

    /// Shows a condition, if there are not too many of its kind.
    pub(super) fn show(&mut self, condition: Condition, most: usize) {
        let shown = &mut self.out.conditions;
        let same = shown.iter().filter(|other| other.kind == condition.kind);
        match same.count() {
            count if count < most => shown.push(condition),
            count if count == most => {
                let backend: &Name = &self.backend.name;
                let detail = format!("backend {backend} has more servers like these");
                let mut more =
                    Condition::new(condition.kind, detail).of_object(backend.to_string());
                more.service = condition.service;
                shown.push(more);
            }
            _ => {}
        }
    }
}

fn is_draining(want: Want) -> bool {
    matches!(want.state, lb_core::EndpointState::Draining { .. })
}
