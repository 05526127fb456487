//! Another client that changes a server back again and again. Pure.
//!
//! Where no lock can tell owners apart (a socket over TCP, another machine), two of them undo each other's changes. What
//! takes traffic away wins: such a server is not admitted again until it was left alone for a while.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Condition, ConditionKind};

use crate::proto::{AdminState, ServerRef};

/// So many times a value must be changed back, each time after it was set again.
const TIMES: u32 = 3;

/// Changes further apart than this do not count together.
const WINDOW: Duration = Duration::from_secs(600);

/// For so long without another change a server is left as it is.
const CALM: Duration = Duration::from_secs(300);

/// What is seen within this time of a step may be the step's own late effect.
const LATE: Duration = Duration::from_secs(5);

type State = (AdminState, Option<SocketAddr>);

/// What other clients did to one server.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    found: State,
    times: u32,
    first: Duration,
    last: Duration,
    /// If `true`, it was set again since.
    answered: bool,
}

/// What is remembered of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits {
    sent_at: Option<Duration>,
    contest: Option<Box<Contest>>,
}

impl Edits {
    /// A step is sent to the server.
    pub(super) fn sent(&mut self, now: Duration) {
        self.sent_at = Some(now);
        if let Some(contest) = &mut self.contest {
            contest.answered = true;
        }
    }

    /// The server is seen in another state than before.
    pub(super) fn changed(&mut self, found: State, now: Duration) {
        let Some(sent_at) = self.sent_at else {
            // Nothing of it was ever set here, so nothing was changed back.
            return;
        };
        if now < sent_at.saturating_add(LATE) {
            return;
        }
        match &mut self.contest {
            Some(contest)
                if contest.found == found && now <= contest.last.saturating_add(WINDOW) =>
            {
                contest.times += u32::from(contest.answered);
                contest.last = now;
                contest.answered = false;
            }
            contest => {
                *contest = Some(Box::new(Contest {
                    found,
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

impl Contest {
    /// The evidence, for people.
    pub(super) fn detail(&self, now: Duration) -> String {
        let (admin, address) = self.found;
        let address = address.map_or_else(String::new, |address| format!(" at {address}"));
        format!(
            "another client set it to {}{address} {} times in {} s, last {} s ago; lb admits it again when it is \
             left alone for {} s",
            match admin {
                AdminState::Ready => "ready",
                AdminState::Drain => "drain",
                AdminState::Maint => "maint",
            },
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

    #[test]
    fn case_p07_a_value_that_is_changed_back_each_time_is_contested() {
        let mut edits = Edits::default();
        for round in 0..3 {
            edits.sent(at(30 * round));
            assert!(edits.contested(at(30 * round)).is_none(), "{round}");
            edits.changed(MAINT, at(30 * round + 20));
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

    #[test]
    fn what_was_not_changed_back_is_no_contention() {
        // An operator who does one thing after the other, and our own steps that take effect late.
        let mut edits = Edits::default();
        for round in 0..9 {
            edits.changed(MAINT, at(30 * round));
        }
        edits.sent(at(300));
        for _ in 0..9 {
            edits.changed(MAINT, at(303));
        }
        for round in 0..9 {
            edits.changed(MAINT, at(310 + round));
        }
        assert!(edits.contested(at(320)).is_none());
    }
}
