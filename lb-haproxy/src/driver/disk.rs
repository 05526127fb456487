//! What HAProxy reads when it starts: the server-state file and the map files, kept in step with what was applied.
//!
//! With them HAProxy, restarted by anyone while `lb` is down, serves the last known endpoints and routes.

use std::{io, path::PathBuf, time::Duration};

use lb_core::files::{Job, replace};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{counters::Counters, error::DriverError, live};
use crate::{
    client::Client,
    plan::Planner,
    proto::{Command, ParseError, ServersState},
};

/// How long after a change the files follow, at least. Changes within it are written together.
const DELAY: Duration = Duration::from_millis(250);

/// How much longer for each byte that was written the last time, so that large files are not written all the time.
const PER_BYTE: Duration = Duration::from_micros(1);

/// The longest that the files may be behind.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Which files `lb` keeps for HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Files {
    /// The `server-state-file` of HAProxy's configuration, as a path that `lb` can write.
    pub server_state: Option<PathBuf>,
    /// Whether the files of the route maps are kept too: those that HAProxy names and that exist here.
    pub maps: bool,
    /// Certificates with their keys (PEM) that HAProxy's configuration names like this too: when such a file changes,
    /// HAProxy gets it at run time.
    pub certificates: Vec<PathBuf>,
}

impl Files {
    /// The route maps, and the server-state file at this path.
    #[must_use]
    pub fn with_server_state(path: impl Into<PathBuf>) -> Self {
        Self {
            server_state: Some(path.into()),
            ..Self::default()
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self {
            server_state: None,
            maps: true,
            certificates: Vec::new(),
        }
    }
}

/// The pause after files that could not be written: a full disk is not empty the next moment.
const AGAIN: Duration = Duration::from_secs(5);

/// When the files are to be written.
#[derive(Debug, Default)]
pub(super) struct Disk {
    due_at: Option<Duration>,
    /// How many bytes were written the last time.
    written: u32,
    /// What is being written. A disk that hangs holds up no pass after the first.
    writing: Job<Result<(), (PathBuf, io::Error)>>,
}

/// How long a pass waits for what is being written.
const PATIENCE: Duration = Duration::from_secs(1);

impl Disk {
    /// Something was applied: the files are behind.
    pub(super) fn changed(&mut self, now: Duration) {
        let delay = (DELAY + PER_BYTE.saturating_mul(self.written)).min(MAX_DELAY);
        self.due_at.get_or_insert(now + delay);
    }

    /// What is due later is due now.
    pub(super) fn hurry(&mut self) {
        if let Some(due_at) = &mut self.due_at {
            *due_at = Duration::ZERO;
        }
    }

    /// When to come back.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.due_at
    }

    /// Writes the files where that is due. A file that cannot be written is counted and tried again after a while; what
    /// HAProxy does now does not depend on it.
    pub(super) async fn write(
        &mut self,
        files: &Files,
        client: &mut Client,
        planner: &Planner,
        counters: &mut Counters,
        now: Duration,
    ) -> Result<(), DriverError> {
        if self.due_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        if self.writing.is_running() {
            self.settle(Duration::ZERO, counters, now).await;
            if self.writing.is_running() {
                self.due_at = Some(now + AGAIN);
                return Ok(());
            }
        }
        // Unless it succeeds below, whatever ends it.
        self.due_at = Some(now + AGAIN);
        let mut texts: Vec<(PathBuf, String)> = Vec::new();
        if let Some(path) = &files.server_state {
            let command = Command::ShowServersState(None);
            let reply = client.exec(&command).await?;
            let text = live::accept(&command, &reply)?;
            // Half an answer must not become the file.
            whole(text)?;
            texts.push((path.clone(), format!("{}\n", text.trim_end())));
        }
        if files.maps {
            for (name, wanted) in planner.wanted_maps() {
                let path = PathBuf::from(name.as_str());
                if !path.is_absolute() || !path.exists() {
                    continue;
                }
                let text = match planner.manages_all() {
                    true => wanted.file_text(),
                    // Others may have changed their entries since: theirs are written as they are now.
                    false => {
                        let entries = live::map_entries(client, name).await?;
                        let map = planner.map_file(name, &entries);
                        map.as_ref().unwrap_or(wanted).file_text()
                    }
                };
                texts.push((path, text));
            }
        }
        let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
        self.written = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.writing.begin(move || {
            // One that fails keeps no other from being written.
            let results = texts.into_iter().map(|(path, text)| {
                replace(&path, text.as_bytes())
                    .map(|_| ())
                    .map_err(|cause| (path, cause))
            });
            results.fold(Ok(()), Result::and)
        });
        self.settle(PATIENCE, counters, now).await;
        Ok(())
    }

    /// Takes the result of what is being written, if it comes in time.
    async fn settle(&mut self, patience: Duration, counters: &mut Counters, now: Duration) {
        match self.writing.result(patience).await {
            None => {
                warn!("files for HAProxy are still being written: the disk is slow or hangs");
                counters.add("files_failed", 1);
                self.due_at = Some(now + AGAIN);
            }
            Some(Ok(Ok(()))) => {
                self.due_at = None;
                counters.add("files_written", 1);
            }
            Some(Ok(Err((path, error)))) => {
                warn!(path = %path.display(), %error, "a file for HAProxy was not written");
                counters.add("files_failed", 1);
            }
            // The runtime is shutting down.
            Some(Err(_)) => {}
        }
    }
}

/// Writes the server-state file now, as `change` makes it of what HAProxy shows.
pub(super) async fn write_state(
    path: PathBuf,
    client: &mut Client,
    change: impl FnOnce(&str) -> String,
) -> Result<io::Result<()>, DriverError> {
    let command = Command::ShowServersState(None);
    let reply = client.exec(&command).await?;
    let text = live::accept(&command, &reply)?;
    whole(text)?;
    let text = change(&format!("{}\n", text.trim_end()));
    Ok(write_file(path, text).await)
}

/// Returns an error if the answer is cut short.
fn whole(text: &str) -> Result<(), ParseError> {
    ServersState::lines(text)?.try_for_each(|line| line.map(|_| ()))
}

/// Replaces a file beside the task. A disk that hangs is an error after a while.
pub(super) async fn write_file(path: PathBuf, text: String) -> io::Result<()> {
    let mut writing = Job::default();
    writing.begin(move || replace(&path, text.as_bytes()).map(|_| ()));
    match writing.result(HANGS).await {
        Some(written) => written?,
        None => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "writing hangs, expected an answer of the disk",
        )),
    }
}

/// How long a reload waits for a file that it needs.
const HANGS: Duration = Duration::from_secs(30);
