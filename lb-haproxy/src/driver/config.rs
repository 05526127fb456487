//! What a target's owner configures.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::Name;
use serde::{Deserialize, Serialize};

use super::disk::Files;
use crate::{client::SocketAddress, growth::GrowthConfig, policy::Policy, scope::Scope};

/// One HAProxy to keep converged.
///
/// ```
/// use lb_haproxy::driver::TargetConfig;
///
/// let target = TargetConfig::new("edge".parse().unwrap(), "/run/haproxy/admin.sock".parse().unwrap());
/// assert_eq!(target.policy.drain_timeout.as_secs(), 60);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TargetConfig {
    /// Its name in status, events and metrics.
    pub name: Name,
    /// Its runtime socket: a path, or `tcp:HOST:PORT`. The socket needs `level admin`.
    pub socket: SocketAddress,
    /// The backends that this control plane manages: names, or patterns with `*`. Defaults to all. What belongs to no
    /// pattern is never changed, and a service whose backend is outside is unmet. Of two control planes on one HAProxy
    /// whose lists overlap, the second is refused.
    #[serde(default)]
    pub manage: Scope,
    /// How it is driven.
    #[serde(default)]
    pub policy: Policy,
    /// The files that HAProxy reads when it starts, kept in step.
    #[serde(default)]
    pub files: Files,
    /// The master's socket (`haproxy -W -S PATH`): workers that were replaced and live on are counted with it.
    #[serde(default)]
    pub master: Option<SocketAddress>,
    /// Leave to change HAProxy's configuration and to reload it through the master, as the last resort. It needs
    /// `master` and `files.server_state`. Without it, what only a reload could give stays unmet and is reported.
    #[serde(default)]
    pub growth: Option<GrowthConfig>,
    /// HAProxy's configuration file, which is only read: the servers of its `server-template` lines that are declared
    /// `disabled` are slots, whatever their prefix. Defaults to the file of `growth`, if any; without a file the prefixes
    /// of the policy alone tell slots from fixed servers.
    #[serde(default)]
    pub config_file: Option<PathBuf>,
    /// The longest wait for one answer, in seconds. Defaults to 4 s.
    #[serde(default = "default_timeout", with = "crate::policy::seconds")]
    pub timeout: Duration,
}

impl TargetConfig {
    /// A target driven by the default policy.
    #[must_use]
    pub fn new(name: Name, socket: SocketAddress) -> Self {
        Self {
            name,
            socket,
            manage: Scope::default(),
            policy: Policy::default(),
            files: Files::default(),
            master: None,
            growth: None,
            config_file: None,
            timeout: default_timeout(),
        }
    }

    /// The same target, of which only these backends are managed.
    #[must_use]
    pub fn managing(mut self, backends: Scope) -> Self {
        self.manage = backends;
        self
    }

    /// The same target with other files kept.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    /// The same target, reloaded by `lb` through the master at this socket when nothing less will do.
    #[must_use]
    pub fn with_growth(mut self, master: SocketAddress, growth: GrowthConfig) -> Self {
        self.master = Some(master);
        self.growth = Some(growth);
        self
    }

    /// The same target, whose slots are learned from the `server-template` lines of this file too.
    #[must_use]
    pub fn with_config_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.config_file = Some(file.into());
        self
    }

    /// The file that slots are learned from.
    pub(super) fn slots_file(&self) -> Option<&Path> {
        let growth = self.growth.as_ref().map(|growth| growth.config.as_path());
        self.config_file.as_deref().or(growth)
    }

    /// The same target driven by another policy.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(4)
}
