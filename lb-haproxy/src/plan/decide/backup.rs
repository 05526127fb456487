//! Slots that are backups: HAProxy sends them nothing while another server serves.

use lb_core::UnmetReason;

use super::{
    super::{backend::Role, slot::Slot},
    Decider, serves,
};
use crate::observed::is_parked;

impl Decider<'_> {
    /// Reports endpoints in slots that are backups, as far as these get no traffic now.
    pub(super) fn backups(&mut self, roles: &[Role]) {
        let backend = self.backend;
        let is_backup = |slot: &Slot| slot.backup == Some(true);
        if !backend.slots.iter().any(is_backup) {
            return;
        }
        let at_work =
            |slot: &&Slot| serves(slot) && slot.server.address.is_some_and(|at| !is_parked(at));
        let mut serving = backend.slots.iter().filter(at_work);
        let other = serving.clone().find(|slot| !is_backup(slot));
        let first = serving.find(|slot| is_backup(slot));
        for (slot, role) in backend.slots.iter().zip(roles) {
            let Role::Tenant(address, _) = *role else {
                continue;
            };
            if !is_backup(slot) || !role.is_to_serve() || !at_work(&slot) {
                continue;
            }
            let server = self.server(slot);
            let why = match (other, first) {
                (Some(other), _) => {
                    let other = self.server(other);
                    format!("gets no traffic while server {other} serves")
                }
                (None, Some(first)) if first.server.id != slot.server.id => {
                    let first = self.server(first);
                    format!(
                        "gets no traffic while backup {first} serves, without `option allbackups`"
                    )
                }
                _ => continue,
            };
            let detail = format!(
                "slot {server} is a backup, which {why}: remove `backup` from its line in haproxy.cfg"
            );
            self.unmet_at(address, UnmetReason::Unsupported, detail);
        }
    }
}
