//! What lb may do to a configuration it was handed.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::policy::seconds;

/// Leave to change HAProxy's configuration and to reload it, when nothing less gives the desired state.
///
/// HAProxy must restore its slots from the server-state file (see the [crate documentation](crate)): a reload that
/// lost the addresses would lose requests, so it is not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GrowthConfig {
    /// HAProxy's configuration, as a path that `lb` can write: the one file that HAProxy was started with.
    pub config: PathBuf,
    /// The program that checks a new configuration (`haproxy -c`): a name looked for in `PATH`, or a path.
    #[serde(default = "executable")]
    pub executable: PathBuf,
    /// By how many percent a backend's slots, and the spare backends, grow at least.
    #[serde(default = "grow_by")]
    pub grow_by: u32,
    /// The most slots of a backend.
    #[serde(default = "most_slots")]
    pub most_slots: u32,
    /// The most spare backends of each mode.
    #[serde(default = "most_backends")]
    pub most_backends: u32,
    /// The time for which something must be needed before a reload: what comes meanwhile is granted by the same one,
    /// and what goes away needs none.
    #[serde(default = "wait", with = "seconds")]
    pub wait: Duration,
    /// By how much the wait is longer at most, differently for each target, so that a fleet does not reload at once.
    #[serde(default = "jitter", with = "seconds")]
    pub jitter: Duration,
    /// The shortest time between two reloads. A failed one doubles it, up to an hour.
    #[serde(default = "pause", with = "seconds")]
    pub pause: Duration,
    /// The number of reloads that may be made in a row before each needs its own `refill`.
    #[serde(default = "burst")]
    pub burst: u32,
    /// The time it takes to be granted one more reload.
    #[serde(default = "refill", with = "seconds")]
    pub refill: Duration,
    /// The time one reload may take.
    #[serde(default = "limit", with = "seconds")]
    pub limit: Duration,
}

impl GrowthConfig {
    /// Leave to change this configuration, within the usual bounds.
    #[must_use]
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            executable: executable(),
            grow_by: grow_by(),
            most_slots: most_slots(),
            most_backends: most_backends(),
            wait: wait(),
            jitter: jitter(),
            pause: pause(),
            burst: burst(),
            refill: refill(),
            limit: limit(),
        }
    }
}

fn executable() -> PathBuf {
    PathBuf::from("haproxy")
}

fn grow_by() -> u32 {
    100
}

fn most_slots() -> u32 {
    1000
}

fn most_backends() -> u32 {
    100
}

fn wait() -> Duration {
    Duration::from_secs(3)
}

fn jitter() -> Duration {
    Duration::from_secs(2)
}

fn pause() -> Duration {
    Duration::from_secs(60)
}

fn burst() -> u32 {
    3
}

fn refill() -> Duration {
    Duration::from_secs(600)
}

fn limit() -> Duration {
    Duration::from_secs(30)
}
