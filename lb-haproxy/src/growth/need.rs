//! What only a reload can give.

use std::{collections::BTreeMap, fmt};

use lb_core::{Mode, Name};
use serde::Serialize;

/// The part of the desired state that needs what no command can give: slots, and backends for services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Need {
    /// Backends whose slots do not suffice.
    pub slots: BTreeMap<Name, BackendNeed>,
    /// Services for which there is no backend, by name, with their mode.
    pub backends: BTreeMap<Name, Mode>,
    /// Backends made at run time, with their modes and how many servers they have: a reload for anything else would
    /// take them away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub made: BTreeMap<Name, (Mode, u32)>,
}

/// The slots that one backend has and lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BackendNeed {
    /// The number of slots it has.
    pub slots: u32,
    /// The number of endpoints without one.
    pub short: u32,
}

impl Need {
    /// Returns `true` if nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.backends.is_empty()
    }

    /// Adds that a backend with this many slots has too few for this many endpoints.
    pub fn lack(&mut self, backend: &Name, slots: u32, short: u32) {
        let known = self.slots.entry(backend.clone()).or_default();
        known.slots = slots;
        known.short = known.short.saturating_add(short);
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (backend, BackendNeed { slots, short }) in &self.slots {
            write!(
                f,
                "{separator}backend {backend} has {slots} slots and needs {short} more"
            )?;
            separator = "; ";
        }
        for service in self.backends.keys() {
            write!(f, "{separator}service {service} has no backend")?;
            separator = "; ";
        }
        Ok(())
    }
}
