//! What another client changed of one server, for as long as that is news. Pure.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::{Condition, ConditionKind};

use super::contention::{CALM, TIMES, WINDOW};
use crate::{
    observed::Server,
    proto::{AdminState, Command, ServerRef},
};

/// For so long it is told after it was noticed.
const NEWS: Duration = Duration::from_secs(60);

/// The value that another client changed, and what it was before.
#[derive(Debug, Clone, Default)]
pub(super) struct Edited {
    state: Option<Change<AdminState>>,
    weight: Option<Change<u16>>,
    address: Option<Change<SocketAddr>>,
    set_up: Option<(SetUp, Duration)>,
    /// If `true`, no command was sent since that sets it again.
    is_state_left: bool,
    is_weight_left: bool,
    is_check_left: bool,
    again: Again,
}

/// A value before and after, and when that was noticed.
#[derive(Debug, Clone, Copy)]
struct Change<T> {
    was: T,
    is: T,
    at: Duration,
}

impl<T> Change<T> {
    fn is_news(&self, now: Duration) -> bool {
        now < self.at.saturating_add(NEWS)
    }
}

/// The settings of check and TLS that another client changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SetUp {
    pub(super) is_check_off: bool,
    /// The ports before and after; 0 for the server's own.
    pub(super) check_port: Option<(u16, u16)>,
    /// The address after; `None` inside for the server's own.
    pub(super) check_address: Option<Option<IpAddr>>,
    pub(super) tls: Option<bool>,
}

/// The parts of an edit that are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    /// Its state and its address, unless those are told of as contended.
    pub(super) state: bool,
    /// Its weight, its check and its TLS, which are put right where an endpoint is.
    pub(super) settings: bool,
    /// The address of its check, where HAProxy takes a command for it.
    pub(super) check_address: bool,
}

/// The number of times a weight was changed, each time after it was set again.
#[derive(Debug, Clone, Copy, Default)]
struct Again {
    times: u32,
    first: Duration,
    last: Duration,
}

impl Edited {
    /// Takes in that another client changed the state or the address.
    pub(super) fn changed(&mut self, was: &Server, is: &Server, now: Duration) {
        let at = now;
        if was.admin != is.admin {
            let (was, is) = (was.admin, is.admin);
            self.state = Some(Change { was, is, at });
            self.is_state_left = true;
        }
        if let (Some(was), Some(is)) = (was.address, is.address)
            && was != is
        {
            self.address = Some(Change { was, is, at });
        }
    }

    /// Takes in that another client changed the weight.
    pub(super) fn weighed(&mut self, was: u16, is: u16, now: Duration) {
        self.weight = Some(Change { was, is, at: now });
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

    /// Takes in that another client changed the check or the TLS.
    pub(super) fn set_up(&mut self, edit: SetUp, now: Duration) {
        let before = self.set_up.filter(|(_, at)| now < at.saturating_add(NEWS));
        let (mut all, _) = before.unwrap_or_default();
        all.is_check_off |= edit.is_check_off;
        all.check_port = edit.check_port.or(all.check_port);
        all.check_address = edit.check_address.or(all.check_address);
        all.tls = edit.tls.or(all.tls);
        self.set_up = Some((all, now));
        self.is_check_left = true;
    }

    /// Takes in that a command is sent to the server.
    pub(super) fn sent(&mut self, command: &Command) {
        match command {
            Command::SetState(..) => self.is_state_left = false,
            Command::SetWeight(..) => self.is_weight_left = false,
            Command::SetCheckPort(..) | Command::EnableHealth(_) => self.is_check_left = false,
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

    /// Returns `true` if its check is still as the other client set it.
    pub(super) fn is_check_left(&self) -> bool {
        self.is_check_left
    }

    /// The address that it had before, if that was changed a short time ago.
    pub(super) fn held(&self, now: Duration) -> Option<SocketAddr> {
        let news = self.address.filter(|change| change.is_news(now));
        news.map(|change| change.was)
    }

    /// The condition to report of it now, and its end. A state that is `contested` is reported elsewhere.
    pub(super) fn condition(
        &self,
        server: &ServerRef,
        telling: Telling,
        now: Duration,
    ) -> Option<(Condition, Duration)> {
        let mut changes = Vec::new();
        let mut first = Duration::MAX;
        let mut push = |change: String, at: Duration| {
            changes.push(change);
            first = first.min(at);
        };
        if telling.state {
            if let Some(change) = self.state.filter(|change| change.is_news(now)) {
                push(format!("from {} to {}", change.was, change.is), change.at);
            }
            if let Some(change) = self.address.filter(|change| change.is_news(now)) {
                let Change { was, is, at } = change;
                push(format!("its address from {was} to {is}"), at);
            }
        }
        if telling.settings {
            let again = self.weighed_again(now).is_some();
            let weight = self.weight.filter(|change| change.is_news(now) && !again);
            if let Some(Change { was, is, at }) = weight {
                push(format!("its weight from {was} to {is}"), at);
            }
            let set_up = self.set_up.filter(|(_, at)| now < at.saturating_add(NEWS));
            if let Some((edit, at)) = set_up {
                for change in edit.changes(telling.check_address) {
                    push(change, at);
                }
            }
        }
        if changes.is_empty() {
            return None;
        }
        let until = first.saturating_add(NEWS);
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
        let is = self.weight?.is;
        let Again { times, first, last } = self.again;
        let until = last.saturating_add(CALM);
        let detail = format!(
            "another client changed its weight {times} times in {} s, to {is} at last; lb sets it again each time",
            last.saturating_sub(first).as_secs()
        );
        (times >= TIMES && now < until).then_some((detail, until))
    }
}

impl SetUp {
    fn changes(self, with_address: bool) -> impl Iterator<Item = String> {
        let off = self.is_check_off.then(|| "its check off".to_owned());
        let port = self.check_port.map(|(was, is)| match (was, is) {
            (0, is) => format!("the port of its check to {is}"),
            (was, 0) => format!("the port of its check from {was} to the server's own"),
            (was, is) => format!("the port of its check from {was} to {is}"),
        });
        let address = self
            .check_address
            .filter(|_| with_address)
            .map(|is| match is {
                Some(address) => format!("the address of its check to {address}"),
                None => "the address of its check to the server's own".to_owned(),
            });
        let tls = self.tls.map(|is| match is {
            true => "its TLS on".to_owned(),
            false => "its TLS off".to_owned(),
        });
        off.into_iter().chain(port).chain(address).chain(tls)
    }
}
