//! A plan as data.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_core::{Condition, Mode, Name, Unmet};
use serde::Serialize;

use crate::{
    growth::Need,
    proto::{AdminState, Command, MapName, ServerRef, command_text},
    routes::MapChange,
};

/// The steps to do now: stages in order, each verified before the next begins.
///
/// The plan is complete: whoever applies it decides nothing. It may be cut after any command; the next plan, made
/// from what is then observed, finishes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The stages, in order. None is empty.
    pub stages: Vec<Stage>,
    /// Unmet conditions: those that no step can meet.
    pub unmet: Vec<Unmet>,
    /// The conditions beside `unmet` that an operator should know, such as fixed servers.
    pub conditions: Vec<Condition>,
    /// The things that a reload would have to bring for them: see [`growth`](crate::growth).
    pub need: Need,
    /// How many of the endpoints in `need` get a slot without a reload, by backend: one that is leaving or resting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub waits_for_slot: BTreeMap<Name, u32>,
    /// Leaving endpoints that are kept for now because their service would have none.
    pub held: usize,
    /// The states that must be read before more can be decided, once the time has come.
    pub reads: Vec<Read>,
    /// The time to plan again though nothing changed, as something takes time. Counted from when the driver began.
    pub again_at: Option<Duration>,
    /// If `true`, the whole desired state is in effect, but for `unmet`.
    pub settled: bool,
}

impl Plan {
    /// Returns `true` if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Plans again at this time at the latest.
    #[cfg(feature = "io")]
    pub(crate) fn come_back(&mut self, at: Option<Duration>) {
        self.again_at = earlier(self.again_at, at);
    }

    /// The need that only a reload meets, without what slots give that are leaving or resting.
    fn need_of_reload(&self) -> Need {
        let mut need = self.need.clone();
        need.slots.retain(|backend, lack| {
            let waits = self.waits_for_slot.get(backend).copied();
            lack.short = lack.short.saturating_sub(waits.unwrap_or(0));
            lack.short > 0
        });
        need
    }

    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            f.write_str("nothing to do\n")?;
        }
        for (number, stage) in self.stages.iter().enumerate() {
            writeln!(f, "stage {}", number + 1)?;
            for step in &stage.backends {
                let why = match step {
                    BackendStep::Create { .. } => "new service, no backend for it: one is made",
                    BackendStep::Remove { .. } => {
                        "service gone: the backend made for it is removed"
                    }
                };
                for command in step.commands() {
                    writeln!(f, "  {}  # {why}", command_text(&command))?;
                }
            }
            for MapStep { map, change } in &stage.maps {
                writeln!(f, "  map {map}: {change}  # routes or assignments changed")?;
                let mut options = change.options();
                for option in options.by_ref().take(SHOWN_OPTIONS) {
                    writeln!(f, "    {option}")?;
                }
                let more = options.count();
                if more > 0 {
                    writeln!(f, "    and {more} more")?;
                }
            }
            for step in &stage.steps {
                writeln!(f, "  {step}")?;
            }
            let count = stage.expect.len();
            let servers = if count == 1 { "server" } else { "servers" };
            writeln!(f, "  then read back {count} {servers}")?;
        }
        for unmet in &self.unmet {
            write!(f, "unmet: {}", unmet.service)?;
            if let Some(endpoint) = &unmet.endpoint {
                write!(f, "/{endpoint}")?;
            }
            writeln!(f, ": {}", unmet.detail)?;
        }
        for condition in &self.conditions {
            writeln!(f, "{condition}")?;
        }
        for (backend, count) in &self.waits_for_slot {
            let wait = if *count == 1 {
                "endpoint waits"
            } else {
                "endpoints wait"
            };
            writeln!(
                f,
                "backend {backend}: {count} {wait} for slots that are leaving or resting"
            )?;
        }
        let need = self.need_of_reload();
        if !need.is_empty() {
            writeln!(f, "only a reload gives more: {need}")?;
        }
        if self.held > 0 {
            writeln!(f, "held: {} leaving, kept until others serve", self.held)?;
        }
        Ok(())
    }
}

/// The most routes with options that a plan shows of one map.
const SHOWN_OPTIONS: usize = 16;

/// Steps that may be sent together, and what must be read back before the next stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Backends to make or remove before anything else.
    pub backends: Vec<BackendStep>,
    /// Maps to change first, one after the other.
    pub maps: Vec<MapStep>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The values that HAProxy must show after them.
    pub expect: Vec<Expect>,
}

/// A backend that comes or goes at run time (3.4+).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BackendStep {
    /// It is made and may get traffic.
    Create {
        /// The backend.
        backend: Name,
        /// The `defaults` section it is like.
        defaults: Name,
        /// The protocol it speaks with its servers.
        mode: Mode,
    },
    /// It gets no traffic any more and is removed.
    Remove {
        /// The backend.
        backend: Name,
    },
}

impl BackendStep {
    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Name {
        match self {
            Self::Create { backend, .. } | Self::Remove { backend } => backend,
        }
    }

    /// The commands that do it, in order.
    #[must_use]
    pub fn commands(&self) -> [Command; 2] {
        match self.clone() {
            Self::Create {
                backend,
                defaults,
                mode,
            } => [
                Command::AddBackend {
                    backend: backend.clone(),
                    defaults,
                    mode,
                },
                Command::PublishBackend(backend),
            ],
            Self::Remove { backend } => [
                Command::UnpublishBackend(backend.clone()),
                Command::DelBackend(backend),
            ],
        }
    }
}

/// The change of one map. It is read back afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapStep {
    /// The map.
    pub map: MapName,
    /// The change of the map.
    pub change: MapChange,
}

impl Stage {
    /// Returns `true` if nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.maps.is_empty() && self.backends.is_empty()
    }
}

/// One command with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The command.
    pub command: Command,
    /// The server it is about.
    pub server: ServerRef,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  # {}", command_text(&self.command), self.why)
    }
}

/// The values that HAProxy must show of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expect {
    /// The server.
    pub server: ServerRef,
    /// Its address, where that was changed.
    pub address: Option<SocketAddr>,
    /// Its administrative state, where that was changed.
    pub admin: Option<AdminState>,
    /// Its weight, where that was changed.
    pub weight: Option<u16>,
    /// If `true`, its check must be switched on.
    pub checking: bool,
    /// If `true`, it must be up.
    pub running: bool,
    /// If `true`, its agent must be asked, where that was changed.
    pub agent: Option<bool>,
    /// The address of its check, where that was changed: `Some(None)` is the server's.
    pub check_address: Option<Option<IpAddr>>,
    /// If `true`, TLS must be used, where that was changed.
    pub ssl: Option<bool>,
    /// If `true`, it must be gone.
    pub gone: bool,
}

/// Something to read from HAProxy before the next decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// The gauges of these servers (by number) of a backend.
    Gauges(Name, Vec<u32>),
    /// The states of a backend's servers.
    States(Name),
    /// The servers of a backend that are backups.
    Backups(Name),
    /// The safety of a reload: it leaves out what is out of this backend, as the server-state file has that, and no worker
    /// is being started with an earlier one.
    ReloadIsSafe(Name),
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// A new endpoint gets its address into a free slot.
    Fill,
    /// A new endpoint gets a server of its own, as there is no free slot.
    Create,
    /// A server made at run time is removed: its tenant is gone for good.
    Delete,
    /// An endpoint whose address is in place begins to serve.
    Admit,
    /// An endpoint that was leaving is wanted again.
    Return,
    /// An endpoint's weight or check changed.
    Adjust,
    /// Another client changed a setting of the slot: it is as before.
    Repair,
    /// The agent of a server counts from now on, or no more.
    Agent,
    /// An endpoint leaves: no new traffic.
    Drain,
    /// An endpoint that left has no traffic any more.
    Retire,
    /// An endpoint that left still has traffic at its deadline.
    Deadline,
    /// An endpoint is dead or not to serve: out at once.
    Out,
    /// An endpoint of an exclusive service is out, with its sessions, before another one is admitted.
    Handover,
    /// An endpoint is down, and sessions to it are shut down as its service asks.
    ShutDown,
    /// A slot whose last tenant is gone for good is parked.
    Park,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fill => "new endpoint: its address goes into a free slot",
            Self::Create => "new endpoint, no free slot: a server is made for it",
            Self::Delete => "last tenant gone: the server made for it is removed",
            Self::Admit => "address read back: begins to serve",
            Self::Return => "wanted again: serves on",
            Self::Adjust => "weight or check changed",
            Self::Repair => "changed by another client: as before",
            Self::Agent => "the agent check counts while the endpoint is to serve",
            Self::Drain => "leaves: no new traffic",
            Self::Retire => "left and quiet: maintenance",
            Self::Deadline => "still busy at its deadline",
            Self::Out => "must not serve: out at once",
            Self::Handover => "exclusive: out before another endpoint is admitted",
            Self::ShutDown => "down: its sessions are shut down",
            Self::Park => "last tenant gone: parked at an address that refuses",
        })
    }
}

/// The earlier of two times, of which either may never come.
pub(super) fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
