//! Agent checks: what an agent at an address says of the servers that point there.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{
    server::{FORCED_DRAIN, FORCED_MAINT, Server},
    worker::{At, Worker},
};

/// The word of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentWord {
    /// `drain`.
    Drain,
    /// `maint`.
    Maint,
    /// `ready`, with a weight in percent of the configured one.
    Ready(u16),
}

/// An agent check's memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Agent {
    pub(super) configured: bool,
    pub(super) enabled: bool,
    next_at: Duration,
    /// The word that was heard last, while it counts.
    pub(super) heard: Option<AgentWord>,
}

/// The time between two agent checks.
const INTER: Duration = Duration::from_millis(700);

impl Agent {
    pub(super) fn new(configured: bool) -> Self {
        Self {
            configured,
            enabled: configured,
            ..Self::default()
        }
    }

    pub(super) fn bits(&self) -> u8 {
        match self.configured {
            true => 0x12 + 4 * u8::from(self.enabled),
            false => 0,
        }
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.enabled = on;
        self.heard = None;
    }
}

impl Worker {
    /// Asks the agent of a server when it is time; tells whether the server changed.
    pub(super) fn ask_agent(&mut self, at: At, agents: &BTreeMap<SocketAddr, AgentWord>) -> bool {
        let now = self.now;
        let tracked = self.tracked_op(at);
        let Some(server) = self.server_mut(at) else {
            return false;
        };
        if !server.agent.enabled || server.agent.next_at > now {
            return false;
        }
        server.agent.next_at = now + INTER;
        let word = server
            .address
            .and_then(|ip| agents.get(&SocketAddr::new(ip, server.port)))
            .copied();
        let Some(word) = word else {
            // Without an answer nothing changes.
            return false;
        };
        let shown = |server: &Server| (server.admin, server.weight, server.op);
        let before = shown(server);
        server.agent.heard = Some(word);
        let mut entered = false;
        match word {
            AgentWord::Ready(percent) => {
                let weight = u32::from(server.initial_weight) * u32::from(percent) / 100;
                server.weight = u16::try_from(weight.min(256)).unwrap_or(256);
                server.clear_admin(FORCED_DRAIN, tracked, now);
                server.clear_admin(FORCED_MAINT, tracked, now);
            }
            AgentWord::Drain => {
                server.admin |= FORCED_DRAIN;
                server.clear_admin(FORCED_MAINT, tracked, now);
            }
            AgentWord::Maint => {
                entered = server.set_admin(FORCED_MAINT, now);
                server.admin &= !FORCED_DRAIN;
            }
        }
        let changed = shown(server) != before;
        if entered {
            self.purge(at);
        }
        changed
    }
}
