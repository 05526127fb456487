//! Why a process did not do what it should.

use std::{io, path::PathBuf, time::Duration};

use crate::client::{ClientError, ReloadError};

/// Why HAProxy could not be started, reloaded or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The configuration is refused.
    #[error("configuration {} refused: {}", config.display(), last_lines(alerts))]
    Config {
        /// The configuration.
        config: PathBuf,
        /// The errors that HAProxy printed.
        alerts: String,
    },
    /// It ended while it was waited for.
    #[error("haproxy ended with {status}: {}", last_lines(stderr))]
    Exited {
        /// The exit status.
        status: std::process::ExitStatus,
        /// The end of what it printed.
        stderr: String,
    },
    /// No such program.
    #[error("no program {} found", name.display())]
    NotFound {
        /// The program that was looked for.
        name: PathBuf,
    },
    /// The system would not run, signal or wait for it.
    #[error("cannot {action} {}", program.display())]
    System {
        /// The action that could not be done.
        action: &'static str,
        /// To which program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It was not ready, reloaded or gone in time.
    #[error("haproxy was not {what} within {limit:?}: {}", last_lines(stderr))]
    Timeout {
        /// The state that was waited for.
        what: &'static str,
        /// The time that was waited.
        limit: Duration,
        /// The end of what it printed.
        stderr: String,
    },
    /// Its version is none that can be read.
    #[error("no version in {text:?}")]
    Version {
        /// The text that `-v` printed.
        text: String,
    },
    /// The master could not be spoken with.
    #[error("master does not answer")]
    Master(#[source] ClientError),
    /// The admin socket could not be spoken with.
    #[error("admin socket does not answer")]
    Admin(#[source] ClientError),
    /// The new configuration did not load, and what ran before still runs; or nobody knows.
    #[error("reload failed: {}", last_lines(stderr))]
    Reload {
        /// Why.
        #[source]
        source: Box<ReloadError>,
        /// The end of what it printed.
        stderr: String,
    },
}

/// Enough of an output to show what was wrong: its alerts, or its end.
fn last_lines(text: &str) -> String {
    let alerts: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("[ALERT]"))
        .collect();
    let lines = match alerts.is_empty() {
        true => text.lines().collect(),
        false => alerts,
    };
    let start = lines.len().saturating_sub(5);
    lines.get(start..).unwrap_or_default().join(" / ")
}
