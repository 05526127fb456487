//! What another client changed of one server, for as long as that is news. Pure.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Condition, ConditionKind};

use super::contention::{CALM, TIMES, WINDOW};
use crate::{
    observed::Server,
    proto::{AdminState, Command, ServerRef},
};

/// For so long it is told after it was noticed.
const NEWS: Duration = Duration::from_secs(60);

/// The value that another client changed, and what it was before.
#[derive(Debug, Clone)]
pub(super) struct Edited {
    state: Option<(AdminState, AdminState)>,
    weight: Option<(u16, u16)>,
    address: Option<(SocketAddr, SocketAddr)>,
    at: Duration,
    /// If `true`, no command was sent since that sets it again.
    is_state_left: bool,
    is_weight_left: bool,
    again: Again,
}

/// The number of times a weight was changed, each time after it was set again.
#[derive(Debug, Clone, Copy, Default)]
struct Again {
    times: u32,
    first: Duration,
    last: Duration,
}

impl Edited {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            state: None,
            weight: None,
            address: None,
            at: now,
            is_state_left: false,
            is_weight_left: false,
            again: Again::default(),
        }
    }

    /// Takes in that another client changed the state or the address.
    pub(super) fn changed(&mut self, was: &Server, is: &Server, now: Duration) {
        self.forget(now);
        if was.admin != is.admin {
            self.state = Some((was.admin, is.admin));
            self.is_state_left = true;
        }
        if let (Some(was), Some(is)) = (was.address, is.address)
            && was != is
        {
            self.address = Some((was, is));
        }
        self.at = now;
    }

    /// Takes in that another client changed the weight.
    pub(super) fn weighed(&mut self, was: u16, is: u16, now: Duration) {
        self.forget(now);
        self.weight = Some((was, is));
        self.at = now;
        let again = &mut self.again;
        if again.times > 0 && now <= again.last.saturating_add(WINDOW) {
            again.times += u32::from(!self.is_weight_left);
        } else {
            *again = Again {
                times: 1,
                first: now,
                last: now,
            };
        }
        again.last = now;
        self.is_weight_left = true;
    }

    /// Takes in that a command is sent to the server.
    pub(super) fn sent(&mut self, command: &Command) {
        match command {
            Command::SetState(..) => self.is_state_left = false,
            Command::SetWeight(..) => self.is_weight_left = false,
            _ => {}
        }
    }

    /// Returns `true` if its state is still as the other client set it.
    pub(super) fn is_state_left(&self) -> bool {
        self.is_state_left
    }

    /// Returns `true` if its weight is still as the other client set it.
    pub(super) fn is_weight_left(&self) -> bool {
        self.is_weight_left
    }

    /// The address that it had before, if that was changed.
    pub(super) fn held(&self) -> Option<SocketAddr> {
        self.address.map(|(was, _)| was)
    }

    /// The condition to report of it now, and its end. A state that is `contested` is reported elsewhere.
    pub(super) fn condition(
        &self,
        server: &ServerRef,
        contested: bool,
        now: Duration,
    ) -> Option<(Condition, Duration)> {
        let mut changes = Vec::new();
        if let Some((was, is)) = self.state.filter(|_| !contested) {
            changes.push(format!("from {was} to {is}"));
        }
        if let Some((was, is)) = self.address.filter(|_| !contested) {
            changes.push(format!("its address from {was} to {is}"));
        }
        if let Some((was, is)) = self.weight
            && self.weighed_again(now).is_none()
        {
            changes.push(format!("its weight from {was} to {is}"));
        }
        let until = self.at.saturating_add(NEWS);
        if changes.is_empty() || now >= until {
            return None;
        }
        let detail = format!(
            "another client set server {server} {}; lb undoes that",
            changes.join(", ")
        );
        let condition = Condition::new(ConditionKind::ForeignEdit, detail)
            .of_object(server.to_string())
            .with_help("change the endpoint at its source, or end the other client")
            .transient();
        Some((condition, until))
    }

    /// The condition of a weight that is changed each time after it was set again, and its end.
    pub(super) fn weighed_again(&self, now: Duration) -> Option<(String, Duration)> {
        let (_, is) = self.weight?;
        let Again { times, first, last } = self.again;
        let until = last.saturating_add(CALM);
        let detail = format!(
            "another client changed its weight {times} times in {} s, to {is} at last; lb sets it again each time",
            last.saturating_sub(first).as_secs()
        );
        (times >= TIMES && now < until).then_some((detail, until))
    }

    /// Forgets what is no news any more.
    fn forget(&mut self, now: Duration) {
        if now >= self.at.saturating_add(NEWS) {
            self.state = None;
            self.weight = None;
            self.address = None;
        }
    }
}
