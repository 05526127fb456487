//! One server of a backend, with what is remembered of it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::UnmetReason;

use super::contention::Edits;
use crate::{
    observed::{Gauges, PARKED, Server, is_parked},
    proto::AdminState,
};

/// A server as last observed, and since when.
///
/// All of it can be lost with the process: what is not remembered is taken as "since now", which only waits longer.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) server: Server,
    /// Since when its address and administrative state are what they are.
    pub(super) since: Duration,
    /// Its gauges, if read after `since`, and when they were asked for.
    pub(super) gauges: Option<(Duration, Gauges)>,
    /// Since when it is to leave.
    pub(super) leaving_since: Option<Duration>,
    /// If `true`, it was found serving an address that was not desired, when the planner began.
    pub(super) found_unwanted: bool,
    /// The time at which its sessions were last shut down.
    pub(super) cut_at: Option<Duration>,
    /// The time at which HAProxy was last told to take it for down until its check passes.
    pub(super) marked_down_at: Option<Duration>,
    /// HAProxy refused a step: not tried again before this time, for this reason.
    pub(super) refused: Option<Refused>,
    /// This address was sent and not read back: it may take effect late.
    doubt: Option<(SocketAddr, Refused)>,
    /// If `true`, its endpoint was reported down, and it holds the same address since.
    pub(super) dead: bool,
    /// The request time of what is known of it.
    pub(super) read_at: Duration,
    /// If `true`, it serves only while no other server does; `None` where that was not asked.
    pub(super) backup: Option<bool>,
    /// The weight that the service last wanted of it, of which its agent knows.
    pub(super) weight_told: Option<u16>,
    /// The port of its check as it was sent last, where HAProxy does not show it.
    pub(super) check_port_sent: Option<u16>,
    /// The changes that other clients made to it.
    pub(super) edits: Edits,
    /// The values that its configuration gives it, as far as no endpoint asks for something else.
    pub(super) usual: Usual,
}

/// Settings of a slot that HAProxy lets other clients change, and that no endpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Usual {
    /// The address of its check, where it is not the server's.
    pub(super) check_address: Option<IpAddr>,
    /// If `true`, it is spoken to by TLS.
    pub(super) ssl: Option<bool>,
}

impl Usual {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            check_address: server.check_address,
            ssl: server.ssl,
        }
    }
}

/// The time of an observation: it was so some time between the question and the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The question: what happened later need not be seen.
    pub(super) asked: Duration,
    /// The answer: what is new happened before.
    pub(super) now: Duration,
}

/// A refusal and when to try again.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) until: Duration,
    pub(super) pause: Duration,
    pub(super) detail: String,
    pub(super) reason: UnmetReason,
    /// If `true`, it may well be over after the pause: it is the first of its kind.
    pub(super) transient: bool,
}

impl Moment {
    /// Observed while no time passed.
    pub(super) fn at(now: Duration) -> Self {
        Self { asked: now, now }
    }
}

impl Refused {
    /// A refusal after an earlier one, which makes the pause longer.
    pub(super) fn again(earlier: Option<&Self>, detail: String, now: Duration) -> Self {
        let pause = match earlier {
            Some(refused) => (refused.pause * 2).min(REFUSAL_PAUSE.1),
            None => REFUSAL_PAUSE.0,
        };
        Self {
            until: now + pause,
            pause,
            detail,
            reason: UnmetReason::Refused,
            transient: earlier.is_none(),
        }
    }
}

/// Why a slot in doubt is left alone.
const DOUBT: &str = "a new address may have been sent that still takes effect";

/// The first and the longest pause after a refusal.
const REFUSAL_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pauses between looks at a slot on its way out: short at first, then ever longer.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(500));

impl Slot {
    pub(super) fn new(server: Server, moment: Moment) -> Self {
        let Moment { asked, now } = moment;
        let since = match server.admin {
            // For most versions the beginning of a drain is no change, and requests must not be cut for that.
            AdminState::Drain => now,
            _ => now.saturating_sub(Duration::from_secs(server.unchanged_secs)),
        };
        Self {
            usual: Usual::of(&server),
            weight_told: None,
            check_port_sent: None,
            edits: Edits::default(),
            server,
            since,
            gauges: None,
            leaving_since: None,
            found_unwanted: false,
            cut_at: None,
            marked_down_at: None,
            refused: None,
            doubt: None,
            dead: false,
            read_at: asked,
            backup: None,
        }
    }

    pub(super) fn observe(&mut self, mut server: Server, moment: Moment) {
        self.read_at = moment.asked;
        if let Some(port) = self.check_port_sent {
            server.check_port = port;
        }
        let moved = self.server.address != server.address;
        let is_own = self.edits.takes_effect(&server);
        let silenced = self.server.agent_enabled && !server.agent_enabled;
        if silenced && server.admin == AdminState::Maint {
            // Until now its agent could have let it in and out again unseen.
            self.since = moment.now;
            self.gauges = None;
        }
        if moved || self.server.admin != server.admin {
            // An agent may change the administrative state, and is no other client.
            if !is_own && (moved || !server.has_agent) {
                let held = self.server.address;
                self.edits.edited(&self.server, &server, moment.now);
                self.edits
                    .changed(held, (server.admin, server.address), moment.now);
            }
            self.since = moment.now;
            self.gauges = None;
            self.cut_at = None;
            self.marked_down_at = None;
        }
        if !moved && !server.has_agent && self.server.weight != server.weight {
            self.edits
                .weighed(self.server.weight, server.weight, moment.now);
        }
        if !moved {
            self.edits
                .set_up(&self.server, &server, &self.usual, moment.now);
        }
        if moved {
            self.leaving_since = None;
            self.found_unwanted = false;
            self.refused = None;
            self.dead = false;
            self.weight_told = None;
        }
        self.doubt
            .take_if(|(sent, _)| server.address == Some(*sent));
        self.server = server;
    }

    pub(super) fn refuse(&mut self, detail: String, now: Duration) {
        self.refused = Some(Refused::again(self.refused.as_ref(), detail, now));
    }

    /// A new address is sent to it now; until that is known to be over, nobody may rely on the address it shows.
    pub(super) fn doubt(&mut self, sent: SocketAddr, now: Duration) {
        let refused = Refused::again(None, DOUBT.to_owned(), now);
        let pending = Refused {
            reason: UnmetReason::Pending,
            ..refused
        };
        self.doubt = Some((sent, pending));
    }

    /// It was found, not made: whoever was here before may have sent another address just now.
    pub(super) fn doubt_found(&mut self, now: Duration) {
        let at_rest = self.server.admin == AdminState::Maint;
        if at_rest && self.server.address.is_some_and(|at| !is_parked(at)) {
            self.doubt(PARKED, now);
        }
    }

    /// Takes what was sent for read back.
    pub(super) fn trust(&mut self) {
        self.doubt = None;
    }

    /// The refusal that still forbids a new try: until its time has come, and the server was read again then. What was
    /// refused or not seen may have taken effect late.
    pub(super) fn refusal(&self, now: Duration) -> Option<&Refused> {
        let holds = |refused: &&Refused| now < refused.until || self.read_at < refused.until;
        let doubt = self.doubt.as_ref().map(|(_, doubt)| doubt).filter(holds);
        doubt.or_else(|| self.refused.as_ref().filter(holds))
    }

    /// Returns `true` if its address was found or sent, and not read back since.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Until when its address may still change by itself, if it may.
    pub(super) fn doubted_until(&self, now: Duration) -> Option<Duration> {
        let holds = |doubt: &&Refused| now < doubt.until || self.read_at < doubt.until;
        let doubt = self.doubt.as_ref().map(|(_, doubt)| doubt);
        doubt.filter(holds).map(|doubt| doubt.until)
    }

    /// Until when a refused step is not tried again, if one was refused.
    pub(super) fn refused_until(&self, now: Duration) -> Option<Duration> {
        let holds = |refused: &&Refused| now < refused.until || self.read_at < refused.until;
        self.refused
            .as_ref()
            .filter(holds)
            .map(|refused| refused.until)
    }

    /// Returns `true` if it must be read before a new try, for which it is time.
    pub(super) fn is_to_be_read(&self, now: Duration) -> bool {
        self.refusal(now)
            .is_some_and(|refused| now >= refused.until && self.read_at < refused.until)
    }

    /// Returns `true` if it was seen without any request in its present state, at `from` or later.
    pub(super) fn quiet_since(&self, from: Duration) -> bool {
        self.gauges
            .is_some_and(|(at, gauges)| at >= from && gauges.is_quiet())
    }

    /// Since when it is on its way in: its check must pass once before it serves.
    pub(super) fn entering_since(&self) -> Duration {
        let marked_down_at = self.marked_down_at;
        marked_down_at.map_or(self.since, |at| at.max(self.since))
    }

    /// The time to look at its gauges next.
    pub(super) fn next_look(&self, now: Duration) -> Duration {
        match self.gauges {
            None => now,
            Some((at, _)) => at + poll_interval(at.saturating_sub(self.since)),
        }
    }
}

/// The time to wait before looking again at something that has taken `elapsed` so far.
pub(super) fn poll_interval(elapsed: Duration) -> Duration {
    (elapsed / 4).clamp(POLL.0, POLL.1)
}
