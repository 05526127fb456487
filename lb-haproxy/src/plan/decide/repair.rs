//! Settings of a slot that another client changed, where HAProxy shows them: they are put right.

use std::net::{IpAddr, Ipv4Addr};

use lb_core::{Condition, ConditionKind};

use super::{
    super::{slot::Slot, step::Why},
    Decider, Stages,
};
use crate::proto::Command;

/// The most conditions of one backend that tell of foreign edits.
const MOST_SHOWN: usize = 16;

impl Decider<'_> {
    /// Gives a slot the check address and the TLS setting back that its configuration gives it.
    pub(super) fn repair(&mut self, slot: &Slot) {
        if self.is_dynamic(slot) {
            return;
        }
        let (is, usual) = (&slot.server, slot.usual);
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
