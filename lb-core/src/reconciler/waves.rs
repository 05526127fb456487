//! A change that goes to a few targets first. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// In which order targets get a change: those added first go first, and the next wave begins when every target before
/// it has verified the change, or did not in time.
///
/// It bounds how many targets can be behind, or wrong, at a time. A change that takes traffic away from an endpoint
/// does not wait, and neither does a target that asks for a pass itself, such as a data plane that was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Waves {
    /// The number of targets in the first wave; 0 for all.
    pub first: u32,
    /// The number of targets in each later wave; 0 for all the rest.
    pub then: u32,
    /// The most time a wave waits for the one before it: a slow or dead target holds no other back for longer.
    #[serde(with = "crate::duration")]
    pub deadline: Duration,
}

impl Default for Waves {
    /// All at once.
    fn default() -> Self {
        Self {
            first: 0,
            then: 0,
            deadline: Duration::from_secs(30),
        }
    }
}

impl Waves {
    /// So many targets first, then all others.
    #[must_use]
    pub fn canary(first: u32, deadline: Duration) -> Self {
        Self {
            first,
            then: 0,
            deadline,
        }
    }

    /// So many targets at a time.
    #[must_use]
    pub fn of(size: u32, deadline: Duration) -> Self {
        Self {
            first: size,
            then: size,
            deadline,
        }
    }

    /// The wave of the target added as number `place`, counted from 0.
    #[must_use]
    pub fn wave_of(&self, place: usize) -> u32 {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        match place.checked_sub(self.first) {
            None => 0,
            Some(_) if self.first == 0 => 0,
            Some(after) => 1 + after.checked_div(self.then).unwrap_or(0),
        }
    }
}
