//! What HAProxy reads when it starts: the server-state file and the map files, kept in step with what was applied.
//!
//! With them HAProxy, restarted by anyone while `lb` is down, serves the last known endpoints and routes.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{counters::Counters, error::DriverError, live};
use crate::{
    client::Client,
    plan::Planner,
    proto::{Command, ServersState},
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
}

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
        // Unless it succeeds below, whatever ends it.
        self.due_at = Some(now + AGAIN);
        let mut texts: Vec<(PathBuf, String)> = Vec::new();
        if let Some(path) = &files.server_state {
            let command = Command::ShowServersState(None);
            let reply = client.exec(&command).await?;
            let text = live::accept(&command, &reply)?;
            // Half an answer must not become the file.
            ServersState::parse(text)?;
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
        let outcome = tokio::task::spawn_blocking(move || {
            // One that fails keeps no other from being written.
            let results = texts
                .into_iter()
                .map(|(path, text)| replace(&path, &text).map_err(|cause| (path, cause)));
            results.fold(Ok(()), Result::and)
        });
        match outcome.await {
            Ok(Ok(())) => {
                self.due_at = None;
                counters.add("files_written", 1);
            }
            Ok(Err((path, error))) => {
                warn!(path = %path.display(), %error, "a file for HAProxy was not written");
                counters.add("files_failed", 1);
            }
            // The runtime is shutting down.
            Err(_) => {}
        }
        Ok(())
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
    ServersState::parse(text)?;
    let text = change(&format!("{}\n", text.trim_end()));
    let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
    Ok(written.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into())))
}

/// Puts a new file in the place of the old one, so that a reader sees one or the other, whole.
///
/// It is readable for whom the old one was.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
            // Only a privileged process may give a file away; to itself it need not.
            let _unprivileged = chown(&beside, Some(old.uid()), Some(old.gid()));
        }
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // Half a file would only take room, which may be what is missing.
        let _kept = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_left_alone_when_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, "one").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        replace(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
