//! What came of it: a table for people, JSON for programs.

use std::time::Duration;

use lb_examples::{
    testbed::Followed,
    traffic::{Latencies, Misroute, Outcome},
};
use serde::Serialize;

use crate::screen::{Colour, Screen, grouped, short};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcomes {
    /// If `true`, everything was played, and nothing lost, misrouted, reloaded or left undone.
    pub(crate) ok: bool,
    pub(crate) haproxy: String,
    pub(crate) seconds: f64,
    pub(crate) users: usize,
    pub(crate) changes: u64,
    pub(crate) verified: u64,
    pub(crate) change_to_verified: Times,
    pub(crate) requests: u64,
    pub(crate) latency: Times,
    pub(crate) lost: u64,
    pub(crate) misrouted: u64,
    pub(crate) reloads: u64,
    pub(crate) unmet: usize,
    pub(crate) losses: Vec<String>,
    pub(crate) misroutes: Vec<Misroute>,
    /// Why the story broke off, if it did.
    pub(crate) broke_off: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Times {
    pub(crate) median_micros: u64,
    pub(crate) p99_micros: u64,
}

/// The circumstances that are known besides the traffic.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) haproxy: String,
    pub(crate) users: usize,
    pub(crate) followed: Followed,
    pub(crate) reloads: u64,
    pub(crate) unmet: usize,
    pub(crate) broke_off: Option<String>,
}

impl Times {
    fn of(latencies: &Latencies) -> Self {
        let micros = |part| {
            let time = latencies.quantile(part);
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        };
        Self {
            median_micros: micros(0.5),
            p99_micros: micros(0.99),
        }
    }

    fn text(self) -> String {
        let median = short(Duration::from_micros(self.median_micros));
        let p99 = short(Duration::from_micros(self.p99_micros));
        format!("median {median}, p99 {p99}")
    }
}

impl Outcomes {
    pub(crate) fn new(outcome: &Outcome, context: Context) -> Self {
        let Context {
            haproxy,
            users,
            followed,
            reloads,
            unmet,
            broke_off,
        } = context;
        let undone = followed.changes - followed.verified;
        let clean = outcome.lost == 0 && outcome.misrouted == 0;
        Self {
            ok: clean && undone == 0 && reloads == 0 && broke_off.is_none(),
            haproxy,
            seconds: outcome.took.as_secs_f64(),
            users,
            changes: followed.changes,
            verified: followed.verified,
            change_to_verified: Times::of(&followed.latencies),
            requests: outcome.requests,
            latency: Times::of(&outcome.latencies),
            lost: outcome.lost,
            misrouted: outcome.misrouted,
            reloads,
            unmet,
            losses: outcome.losses.iter().map(ToString::to_string).collect(),
            misroutes: outcome.misroutes.clone(),
            broke_off,
        }
    }

    pub(crate) fn show(&self, screen: &mut Screen) {
        screen.say("");
        let rate = self.requests as f64 / self.seconds.max(0.001);
        let changes = match self.changes - self.verified {
            0 => grouped(self.changes),
            undone => format!("{} of {}, {undone} undone", self.verified, self.changes),
        };
        let requests = format!(
            "{}  ({rate:.0}/s, {})",
            grouped(self.requests),
            self.latency.text()
        );
        let rows = [
            ("changes applied", changes),
            ("change to verified", self.change_to_verified.text()),
            ("requests", requests),
            ("lost", count(screen, self.lost)),
            ("misrouted", count(screen, self.misrouted)),
            ("reloads", count(screen, self.reloads)),
            ("unmet conditions", count(screen, self.unmet as u64)),
        ];
        for (what, value) in rows {
            let what = screen.paint(Colour::Dim, &format!("{what:<20}"));
            screen.say(&format!("  {what}{value}"));
        }
        for loss in &self.losses {
            screen.say(&format!("  lost {loss}"));
        }
        for misroute in &self.misroutes {
            screen.say(&format!("  misrouted {misroute}"));
        }
        if let Some(why) = &self.broke_off {
            screen.say(&screen.paint(Colour::Bad, &format!("\nbroke off: {why}")));
        }
    }
}

fn count(screen: &Screen, count: u64) -> String {
    let colour = if count == 0 {
        Colour::Good
    } else {
        Colour::Bad
    };
    screen.paint(colour, &grouped(count))
}
