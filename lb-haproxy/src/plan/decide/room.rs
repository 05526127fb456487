//! Room for ready endpoints: an endpoint that is not to serve keeps no slot from one that is.

use std::collections::BTreeSet;

use super::{
    super::{backend::Role, slot::Slot},
    Decider,
};
use crate::proto::AdminState;

impl Decider<'_> {
    /// The places of slots to free for ready endpoints that have none. The next plan gives a free slot to ready endpoints
    /// first, so none of these goes back to where it was while one waits.
    pub(super) fn room(&self, roles: &[Role]) -> BTreeSet<usize> {
        let slots = self.backend.slots.iter().zip(roles);
        let soon = slots
            .clone()
            .filter(|(slot, role)| self.is_free_soon(slot, **role));
        let needed = self.entering.without_slot.saturating_sub(soon.count());
        let mut room: Vec<usize> = slots
            .enumerate()
            .filter(|(_, (slot, role))| self.gives_room(slot, **role))
            .map(|(at, _)| at)
            .collect();
        // Those that still have requests come last, and of the others the last ones come first.
        let is_used = |at: &usize| self.backend.slots.get(*at).is_some_and(is_used);
        room.sort_by_key(|at| (is_used(at), std::cmp::Reverse(*at)));
        room.into_iter().take(needed).collect()
    }

    /// Frees the slot of an endpoint that is not to serve, once nothing is on its way to it.
    pub(super) fn give_room(&mut self, slot: &Slot, role: Role) {
        let Role::Tenant(address, want) = role else {
            return;
        };
        // Its sessions are being shut down.
        if self.must_have_no_session(address, want) && !slot.quiet_since(slot.since) {
            return;
        }
        self.resting(slot);
    }

    /// Returns `true` if an endpoint loses nothing with its slot, now or once it is in maintenance: it is not to get traffic.
    pub(super) fn may_give_room(&self, slot: &Slot, role: Role) -> bool {
        matches!(role, Role::Tenant(_, want) if !want.state.is_ready())
            && slot.edits.contested(self.context.now).is_none()
            && !self.is_dynamic(slot)
    }

    fn gives_room(&self, slot: &Slot, role: Role) -> bool {
        self.may_give_room(slot, role)
            && slot.server.admin == AdminState::Maint
            && slot.refusal(self.context.now).is_none()
    }

    /// Returns `true` if a slot that cannot be taken now can be within a moment, without that another one gives way.
    fn is_free_soon(&self, slot: &Slot, role: Role) -> bool {
        let now = self.context.now;
        let is_out = slot.server.admin == AdminState::Maint;
        let waits = slot.refusal(now).is_some_and(|refused| refused.transient);
        let soon = match role {
            Role::Free if is_out => waits,
            Role::Free => waits || slot.refusal(now).is_none(),
            Role::Leaving(_) => is_out && !is_used(slot),
            // It may have been freed just now, and that was not read back.
            Role::Tenant(_, want) => !want.state.is_ready() && is_out && waits,
            Role::Foreign | Role::Unusable => false,
        };
        soon && slot.edits.contested(now).is_none() && !self.is_dynamic(slot)
    }
}

/// Returns `true` if a server was seen with requests.
fn is_used(slot: &Slot) -> bool {
    slot.gauges.is_some_and(|(_, gauges)| !gauges.is_quiet())
}
