//! Settings of a slot that another client changed, where HAProxy shows them: they are put right.

use std::net::{IpAddr, Ipv4Addr};

use lb_core::{Condition, ConditionKind};

use super::{
    super::{
        backend::Role,
        edited::Telling,
        slot::{Slot, Usual},
        step::Why,
    },
    Decider, Stages,
};
use crate::proto::Command;

/// The most conditions of one backend that tell of foreign edits.
const MOST_SHOWN: usize = 16;

impl Decider<'_> {
    /// Gives a slot the check address and the TLS setting back that its configuration gives it. A dynamic
    /// server has no check address of its own.
    pub(super) fn repair(&mut self, slot: &Slot) {
        let (is, mut usual) = (&slot.server, slot.usual);
        if self.is_dynamic(slot) {
            // It was made without an address for its check, and inherits nothing.
            usual = Usual {
                check_address: None,
                ssl: is.ssl,
            };
        }
        if is.checked && is.check_address != usual.check_address {
            match self.context.capabilities.sets_check_address {
                true => {
                    let address = usual.check_address;
                    let command = Command::SetCheckAddr {
                        server: self.server(slot),
                        address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                        port: None,
                    };
                    self.step(Stages::Prepare, slot, command, Why::Repair);
                    self.expect(Stages::Prepare, slot, |expect| {
                        expect.check_address = Some(address);
                    });
                }
                false => self.cannot_repair(slot, "the address of its check"),
            }
        }
        if let (Some(is), Some(usual)) = (is.ssl, usual.ssl)
            && is != usual
        {
            let command = Command::SetSsl(self.server(slot), usual);
            self.step(Stages::Prepare, slot, command, Why::Repair);
            self.expect(Stages::Prepare, slot, |expect| expect.ssl = Some(usual));
        }
    }

    /// Shows what other clients changed of servers, and where they do so again and again.
    pub(super) fn foreign_edits(&mut self) {
        let (backend, now) = (self.backend, self.context.now);
        for (slot, role) in backend.slots.iter().zip(self.roles) {
            if *role == Role::Foreign {
                continue;
            }
            let server = self.server(slot);
            let contested = slot.edits.contested(now);
            if let Some((until, contest)) = contested {
                self.out.conditions.push(contest.condition(&server, now));
                self.again(until);
            }
            let Some(edited) = slot.edits.by_others() else {
                continue;
            };
            let at = edited.held(now).or(slot.server.address);
            let endpoint = at.and_then(|at| backend.wants.decides(&at)).cloned();
            let telling = Telling {
                state: contested.is_none(),
                settings: endpoint.is_some(),
                check_address: self.context.capabilities.sets_check_address,
            };
            let news = edited.condition(&server, telling, now);
            let again = edited.weighed_again(now).map(|(detail, until)| {
                let condition = Condition::new(ConditionKind::Contention, detail)
                    .of_object(server.to_string())
                    .with_help("end the other client, or set the weight at the endpoint's source");
                (condition, until)
            });
            for (mut condition, until) in news.into_iter().chain(again) {
                condition.service = backend.service.clone();
                condition.endpoint.clone_from(&endpoint);
                self.show(condition, MOST_SHOWN);
                self.again(until);
            }
        }
    }

    fn cannot_repair(&mut self, slot: &Slot, what: &str) {
        let server = self.server(slot).to_string();
        let detail = format!(
            "another client changed {what} of server {server}, and this HAProxy takes no command that puts it right"
        );
        let mut condition = Condition::new(ConditionKind::ForeignEdit, detail)
            .of_object(server)
            .with_help("reload HAProxy");
        condition.service = self.backend.service.clone();
        let at = slot.server.address;
        condition.endpoint = at.and_then(|at| self.backend.wants.decides(&at)).cloned();
        self.show(condition, MOST_SHOWN);
    }
}
