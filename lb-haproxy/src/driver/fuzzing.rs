//! What the driver makes of HAProxy's answers, without a socket: for fuzz targets.

use std::{collections::BTreeSet, time::Duration};

use lb_core::{Name, Snapshot, model::Changes};

use super::{
    live::{take_all, take_backend},
    read_back::{Look, Seen},
    shown::Shown,
};
use crate::{
    capability::Capabilities,
    observed::Gauges,
    plan::{Plan, Planner},
    policy::Policy,
    proto::{Epoch, Info, MapName, ServerRef, ServersState, Stat, parse_map_entries, parse_maps},
};

/// A planner that is given the answers of one HAProxy after another.
#[derive(Debug)]
pub struct Tables {
    policy: Policy,
    planner: Planner,
    epoch: Option<Epoch>,
    desired: Snapshot,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `show info`.
    Info,
    /// `show servers state`.
    All,
    /// `show servers state BACKEND`.
    Backend(Name),
    /// `show stat BACKEND 4 ID`, to read back what was changed.
    Server(ServerRef),
    /// `show stat BACKEND 4 -1`, for the gauges.
    Gauges(Name),
    /// `show stat BACKEND 4 -1`, for the backups.
    Backups(Name),
    /// `show map`.
    Maps,
    /// `show map MAP`.
    Entries(MapName),
}

impl Tables {
    /// Creates one that has read nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            planner: Planner::new(policy.clone(), Capabilities::of(3, 0)),
            policy,
            epoch: None,
            desired: Snapshot::default(),
        }
    }

    /// What is known by now.
    #[must_use]
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Takes in what is desired.
    pub fn desire(&mut self, desired: Snapshot) {
        self.planner
            .desire(&self.desired, &desired, &Changes::Everything);
        self.desired = desired;
    }

    /// Takes in an answer, with the servers of which it says something that cannot be read. `None` where it is no
    /// answer to that question.
    pub fn hear(&mut self, asked: &Asked, text: &str, now: Duration) -> Option<Vec<ServerRef>> {
        self.planner.asked(now);
        let mut unreadable = Vec::new();
        match asked {
            Asked::Info => self.another(&Info::parse(text).ok()?, now),
            Asked::All => {
                let state = ServersState::parse(text).ok()?;
                unreadable.extend(state.unreadable.iter().map(|one| one.server.clone()));
                let shown = Shown::of(text, &self.planner).ok()?;
                take_all(&mut self.planner, shown, None, now);
            }
            Asked::Backend(backend) => {
                let state = ServersState::parse(text).ok()?;
                let of_backend = state.unreadable.iter().map(|one| one.server.clone());
                unreadable.extend(of_backend.filter(|server| server.backend == *backend));
                let shown = Shown::of(text, &self.planner).ok()?;
                take_backend(&mut self.planner, backend, shown, now);
            }
            Asked::Server(server) => {
                let id = self.planner.server(server)?.id;
                let look = Look::Server(server.clone(), id);
                let mut seen = Seen::default();
                seen.take_in(&look, Ok(text), &self.planner).ok()?;
                seen.give_to(&mut self.planner, now);
            }
            Asked::Gauges(backend) => {
                for row in Stat::parse(text).ok()?.rows {
                    if let Some(id) = row.id {
                        self.planner
                            .observe_gauges(backend, id, Gauges::of(&row), now);
                    }
                }
            }
            Asked::Backups(backend) => {
                let rows = Stat::parse(text).ok()?.rows.into_iter();
                let backups = rows.filter(|row| row.proxy == *backend && row.backup);
                let backups: BTreeSet<Name> = backups.map(|row| row.name).collect();
                self.planner.observe_backups(backend, &backups);
            }
            Asked::Maps => {
                let maps = parse_maps(text).ok()?.into_iter();
                let files: Vec<MapName> = maps.filter_map(|map| map.file.parse().ok()).collect();
                self.planner.observe_maps(&files);
            }
            Asked::Entries(map) => {
                let entries = parse_map_entries(text).ok()?;
                self.planner.observe_map(map, entries);
                self.planner.maps_observed();
            }
        }
        Some(unreadable)
    }

    /// Another worker answers, unless it is the same.
    fn another(&mut self, info: &Info, now: Duration) {
        if info.stopping || self.epoch == Some(info.epoch()) {
            return;
        }
        let version = &info.version;
        let capabilities = Capabilities::of(version.major().into(), version.minor().into());
        let mut planner = Planner::new(self.policy.clone(), capabilities);
        if self.epoch.is_some() {
            let served = self.planner.serving().into_iter();
            let all = served.chain(self.planner.served_by_replaced(now));
            planner.replaced_serves(all, now + Duration::from_secs(1));
        }
        planner.desire(&Snapshot::default(), &self.desired, &Changes::Everything);
        self.planner = planner;
        self.epoch = Some(info.epoch());
    }

    /// What to do now.
    pub fn plan(&mut self, now: Duration) -> Plan {
        self.planner.plan(now)
    }

    /// Takes in that a plan's commands were sent and may be in effect.
    pub fn sent(&mut self, plan: &Plan, now: Duration) {
        use crate::proto::Command;
        for step in plan.steps() {
            self.planner.step_sent(step, now);
            match &step.command {
                Command::SetAddr(server, address) => {
                    self.planner.address_sent(server, *address, now);
                }
                Command::SetWeight(server, weight) => self.planner.weight_sent(server, *weight),
                Command::ShutdownSessions(server) => self.planner.cut(server, now),
                _ => {}
            }
        }
        self.planner.postpone(plan);
    }
}
