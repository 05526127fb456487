//! Another client that changes a server back again and again. Pure.
//!
//! Where no lock can tell owners apart (a socket over TCP, another machine), two of them undo each other's changes. What
//! takes traffic away wins: such a server is not admitted again until it was left alone for a while.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Condition, ConditionKind};

use super::{
    edited::{Edited, SetUp},
    slot::Usual,
};
use crate::{
    observed::{Server, is_parked},
    proto::{AdminState, Command, ServerRef},
};

/// So many times a value must be changed back, each time after it was set again.
pub(super) const TIMES: u32 = 3;

/// Changes further apart than this do not count together.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

/// For so long without another change a server is left as it is.
pub(super) const CALM: Duration = Duration::from_secs(300);

/// The time within which something seen after a step that was not read back may be the step's own late effect.
const LATE: Duration = Duration::from_secs(5);

type State = (AdminState, Option<SocketAddr>);

/// The changes that other clients made to one server.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    found: State,
    /// The address that it had before.
    held: Option<SocketAddr>,
    times: u32,
    first: Duration,
    last: Duration,
    /// If `true`, it was set again since.
    answered: bool,
}

/// The memory of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits {
    sent: Option<Sent>,
    contest: Option<Box<Contest>>,
    edited: Option<Box<Edited>>,
}

/// The command that was sent to a server.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    admin: Option<AdminState>,
    address: Option<SocketAddr>,
    /// The weight, and whether the server was seen with it.
    weight: Option<(u16, bool)>,
    check_port: Option<u16>,
    /// If `true`, the server was seen so: another state after that is another client's.
    seen: bool,
}

impl Edits {
    /// A step is sent to the server.
    pub(super) fn sent(&mut self, command: &Command, now: Duration) {
        let sent = self.sent.get_or_insert(Sent {
            at: now,
            admin: None,
            address: None,
            weight: None,
            check_port: None,
            seen: false,
        });
        sent.at = now;
        if let Some(edited) = &mut self.edited {
            edited.sent(command);
        }
        match command {
            Command::SetState(_, admin) => {
                sent.admin = Some(*admin);
                sent.seen = false;
            }
            Command::SetAddr(_, address) => {
                sent.address = Some(*address);
                sent.seen = false;
            }
            Command::SetWeight(_, weight) => sent.weight = Some((weight.get(), false)),
            Command::SetCheckPort(_, port) => sent.check_port = Some(*port),
            _ => {}
        }
        if let Some(contest) = &mut self.contest {
            contest.answered = true;
        }
    }

    /// Returns `true` if the server is seen for the first time as it was sent to be.
    pub(super) fn takes_effect(&mut self, server: &Server) -> bool {
        let Some(sent) = self.sent.as_mut().filter(|sent| !sent.seen) else {
            return false;
        };
        sent.seen = sent.admin.is_none_or(|admin| admin == server.admin)
            && sent.address.is_none_or(|at| server.address == Some(at));
        sent.seen
    }

    /// Another client set its state or its address otherwise.
    pub(super) fn edited(&mut self, was: &Server, is: &Server, now: Duration) {
        if self.sent.is_none_or(|sent| sent.seen || !sent.is_late(now)) {
            self.edited_mut().changed(was, is, now);
        }
    }

    /// Its weight is seen to be another one than before: another client's, if it was not sent.
    pub(super) fn weighed(&mut self, was: u16, is: u16, now: Duration) {
        let sent = self.sent.as_mut();
        let (is_sent, is_late) =
            match sent.and_then(|sent| Some((sent.is_late(now), sent.weight.as_mut()?))) {
                Some((late, (weight, seen))) => {
                    let is_first = !*seen && *weight == is;
                    *seen |= is_first;
                    (is_first, late && !*seen)
                }
                None => (false, false),
            };
        if !is_sent && !is_late {
            self.edited_mut().weighed(was, is, now);
        }
    }

    /// Its check or its TLS is seen to be set up otherwise than before, at the same address: by another client, unless
    /// it is what was sent or what its configuration says.
    pub(super) fn set_up(&mut self, was: &Server, is: &Server, usual: &Usual, now: Duration) {
        let sent = self.sent.and_then(|sent| sent.check_port);
        let edit = SetUp {
            is_check_off: is.checked && was.check_enabled && !is.check_enabled,
            check_port: (is.checked
                && is.check_port != was.check_port
                && Some(is.check_port) != sent)
                .then_some((was.check_port, is.check_port)),
            check_address: (is.checked
                && is.check_address != was.check_address
                && is.check_address != usual.check_address)
                .then_some(is.check_address),
            tls: is.ssl.filter(|_| is.ssl != was.ssl && is.ssl != usual.ssl),
        };
        if edit != SetUp::default() {
            self.edited_mut().set_up(edit, now);
        }
    }

    fn edited_mut(&mut self) -> &mut Edited {
        self.edited.get_or_insert_default()
    }

    /// The values that other clients changed.
    pub(super) fn by_others(&self) -> Option<&Edited> {
        self.edited.as_deref()
    }

    /// HAProxy accepted a step, and the server was seen otherwise for as long as it was read back. Where another client
    /// is known to take it out, it has done so again.
    pub(super) fn overruled(&mut self, server: &Server, now: Duration) {
        let unseen = self.sent.as_mut().filter(|sent| !sent.seen);
        if let Some(sent) = unseen
            && sent.admin.is_some_and(|admin| admin != server.admin)
            && let Some(contest) = &self.contest
        {
            let held = contest.held;
            sent.seen = true;
            self.changed(held, (server.admin, server.address), now);
        }
    }

    /// The server is seen in another state than before, when it had the address `held`.
    pub(super) fn changed(&mut self, held: Option<SocketAddr>, found: State, now: Duration) {
        let Some(sent) = self.sent else {
            // Nothing of it was ever set here, so nothing was changed back.
            return;
        };
        if !sent.seen && sent.is_late(now) {
            return;
        }
        match &mut self.contest {
            Some(contest)
                if is_alike(contest.found, found) && now <= contest.last.saturating_add(WINDOW) =>
            {
                contest.found = found;
                contest.times += u32::from(contest.answered);
                contest.last = now;
                contest.answered = false;
                contest.held = held;
            }
            contest => {
                *contest = Some(Box::new(Contest {
                    found,
                    held,
                    times: 1,
                    first: now,
                    last: now,
                    answered: false,
                }));
            }
        }
    }

    /// Until when the server is left as it is, as far as that takes traffic away.
    pub(super) fn contested(&self, now: Duration) -> Option<(Duration, &Contest)> {
        let contest = self.contest.as_deref()?;
        let until = contest.last.saturating_add(CALM);
        (contest.times >= TIMES && now < until).then_some((until, contest))
    }
}

impl Sent {
    /// Returns `true` if what is seen now may be the late effect of what was sent.
    fn is_late(&self, now: Duration) -> bool {
        now < self.at.saturating_add(LATE)
    }
}

/// Returns `true` if both are the same to traffic: a client that drains a server and parks it then takes it out in several
/// ways.
fn is_alike(one: State, other: State) -> bool {
    one == other || (one.0 != AdminState::Ready && other.0 != AdminState::Ready)
}

impl Contest {
    /// The address of which another client takes the traffic away. It is not to be admitted in another server instead.
    pub(super) fn held(&self) -> Option<SocketAddr> {
        self.held.filter(|at| !is_parked(*at))
    }

    /// The evidence, for people.
    pub(super) fn detail(&self, now: Duration) -> String {
        let (admin, address) = self.found;
        let address = address.map_or_else(String::new, |address| format!(" at {address}"));
        format!(
            "another client set it to {}{address} {} times in {} s, last {} s ago; lb admits it again when it is \
             left alone for {} s",
            admin,
            self.times,
            self.last.saturating_sub(self.first).as_secs(),
            now.saturating_sub(self.last).as_secs(),
            CALM.as_secs()
        )
    }

    pub(super) fn condition(&self, server: &ServerRef, now: Duration) -> Condition {
        Condition::new(ConditionKind::Contention, self.detail(now))
            .of_object(server.to_string())
            .with_help(
                "end the other client, or give each control plane its own backends with `manage`",
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAINT: State = (AdminState::Maint, None);

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn admitted() -> Command {
        let name = |text: &str| lb_core::Name::from_text(text);
        Command::SetState(
            ServerRef::new(name("web"), name("slot1")),
            AdminState::Ready,
        )
    }

    fn shown(admin: AdminState) -> Server {
        let mut server = Server::slot(lb_core::Name::from_text("slot1"), 1);
        server.admin = admin;
        server
    }

    #[test]
    fn case_p07_a_value_that_is_changed_back_each_time_is_contested() {
        let mut edits = Edits::default();
        for round in 0..3 {
            edits.sent(&admitted(), at(30 * round));
            assert!(edits.contested(at(30 * round)).is_none(), "{round}");
            edits.changed(None, MAINT, at(30 * round + 20));
        }
        let (until, contest) = edits.contested(at(81)).unwrap();
        assert_eq!(until, at(380));
        assert!(
            contest
                .detail(at(90))
                .starts_with("another client set it to maint 3 times in 60 s")
        );
        assert!(edits.contested(until).is_none());
    }

    /// However soon the other client does it, and in whichever way.
    #[test]
    fn case_p07_what_is_taken_out_right_after_it_was_read_back_counts() {
        let mut edits = Edits::default();
        for (round, out) in [AdminState::Drain, AdminState::Maint, AdminState::Drain]
            .into_iter()
            .enumerate()
        {
            assert!(edits.contested(at(1)).is_none(), "{round}");
            edits.sent(&admitted(), at(1));
            assert!(edits.takes_effect(&shown(AdminState::Ready)));
            assert!(!edits.takes_effect(&shown(out)), "only the first time");
            edits.changed(None, (out, None), at(1));
        }
        assert!(edits.contested(at(1)).is_some());
    }

    /// One that is as quick as the read-back is told by what it did before; alone, it may be HAProxy.
    #[test]
    fn case_p07_what_is_taken_out_before_it_was_read_back_counts_where_it_was_seen_before() {
        let mut edits = Edits::default();
        let out = shown(AdminState::Maint);
        for _ in 0..9 {
            edits.sent(&admitted(), at(1));
            edits.overruled(&out, at(1));
        }
        assert!(edits.contested(at(1)).is_none());
        edits.sent(&admitted(), at(2));
        edits.takes_effect(&shown(AdminState::Ready));
        edits.changed(None, MAINT, at(2));
        for second in [3, 4] {
            assert!(edits.contested(at(3)).is_none());
            edits.sent(&admitted(), at(second));
            edits.overruled(&out, at(second));
            edits.overruled(&out, at(second));
        }
        assert!(edits.contested(at(4)).is_some());
    }

    #[test]
    fn what_was_not_changed_back_is_no_contention() {
        // An operator who does one thing after the other, and our own steps that take effect late.
        let mut edits = Edits::default();
        for round in 0..9 {
            edits.changed(None, MAINT, at(30 * round));
        }
        edits.sent(&admitted(), at(300));
        for _ in 0..9 {
            edits.changed(None, MAINT, at(303));
        }
        for round in 0..9 {
            edits.changed(None, MAINT, at(310 + round));
        }
        assert!(edits.contested(at(320)).is_none());
    }
}
