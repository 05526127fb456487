//! Who manages a HAProxy, as it is written into a file that is locked for as long as that lasts.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
};

use lb_core::Name;
use serde::{Deserialize, Serialize};

use super::config::TargetConfig;
use crate::scope::Scope;

/// A process that manages backends of a HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// The program's file name, such as `lb-agent`.
    pub program: String,
    /// The name that the target has there.
    pub target: Name,
    /// The process's number.
    pub pid: u32,
    /// The backends that it manages.
    pub manage: Scope,
    /// In which space of process numbers `pid` counts.
    #[serde(default)]
    space: String,
    /// The other socket of HAProxy that it uses, if it is another one.
    #[serde(skip)]
    socket: Option<PathBuf>,
}

impl Owner {
    /// This process, for this target.
    pub(super) fn this(config: &TargetConfig) -> Self {
        let program = std::env::args_os().next();
        let program = program.as_deref().map(Path::new).and_then(Path::file_name);
        Self {
            program: clean(
                &program
                    .unwrap_or_else(|| OsStr::new("lb"))
                    .to_string_lossy(),
            ),
            target: config.name.clone(),
            pid: std::process::id(),
            manage: config.manage.clone(),
            space: space(),
            socket: None,
        }
    }

    /// The same owner, whose file was found beside this socket.
    pub(super) fn at(mut self, socket: &Path, config: &TargetConfig) -> Self {
        self.socket = Some(socket.to_owned()).filter(|_| config.socket.path() != Some(socket));
        self
    }

    /// Reads what a lock file has.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut owner: Self = serde_json::from_slice(bytes).ok()?;
        owner.program = clean(&owner.program);
        Some(owner)
    }

    /// Returns `true` if both are runs of one target by one program, as by the agent and by a plan for its configuration.
    pub(super) fn is_same_target(&self, other: &Self) -> bool {
        self.program == other.program && self.target == other.target && self.manage == other.manage
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns `true` if its process is known to be gone. A lock that is held all the same was inherited by a process
    /// that it had started.
    pub(super) fn is_gone(&self) -> bool {
        self.space == space()
            && !self.space.is_empty()
            && !Path::new(&format!("/proc/{}", self.pid)).exists()
            && Path::new("/proc/self").exists()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program,
            target,
            pid,
            manage,
            socket,
            ..
        } = self;
        write!(
            f,
            "{program} (process {pid}, target {target}, manage {manage}"
        )?;
        if let Some(socket) = socket {
            write!(f, ", through {}", socket.display())?;
        }
        f.write_str(")")
    }
}

fn space() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
