//! Learns which servers are slots: from the configuration file, and from what HAProxy tells of backups.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::{Condition, ConditionKind, Name};

use super::{conversation::Knowledge, error::DriverError, live};
use crate::{
    client::Client,
    growth::slot_templates,
    plan::Planner,
    proto::{Command, Stat},
};

/// The largest configuration file that is read.
const MOST_BYTES: u64 = 64 << 20;

/// The longest wait for the file.
const WAIT: Duration = Duration::from_secs(2);

impl Knowledge {
    /// Reads the configuration file of the worker, once.
    pub(super) async fn learn_slots(&mut self, file: Option<&Path>) {
        let Some(path) = file.filter(|_| !self.learned) else {
            return;
        };
        let owned = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || read(owned));
        let text = match tokio::time::timeout(WAIT, reading).await {
            Ok(Ok(Ok(text))) => Ok(text),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err("reading was given up".to_owned()),
            Err(_) => Err(format!("not read within {} s", WAIT.as_secs())),
        };
        match text {
            Ok(text) => {
                self.planner.learn_templates(slot_templates(&text));
                self.learned = true;
                self.file_problem = None;
            }
            Err(problem) => {
                let detail = format!(
                    "cannot read {}: {problem}; only servers of `slot_prefix` are slots",
                    path.display()
                );
                self.file_problem = Some(
                    Condition::new(ConditionKind::File, detail)
                        .of_object(path.display().to_string())
                        .with_help(
                            "make the file readable to lb, or set `slot_prefix` and no file",
                        ),
                );
            }
        }
    }
}

fn read(path: PathBuf) -> io::Result<String> {
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&path)?
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)?;
    // Comments may be in any encoding; names are ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks which servers of a backend are backups. HAProxy tells it in its statistics only.
pub(super) async fn read_backups(
    client: &mut Client,
    planner: &mut Planner,
    backend: &Name,
) -> Result<(), DriverError> {
    let command = Command::ShowStat(backend.clone(), None);
    let reply = client.exec(&command).await?;
    // Without an answer they are taken for servers like others.
    let backups: BTreeSet<Name> = live::accept(&command, &reply)
        .ok()
        .and_then(|text| Stat::parse(text).ok())
        .map(|stat| {
            let of_backend = stat.rows.into_iter().filter(|row| row.proxy == *backend);
            let backups = of_backend.filter(|row| row.backup);
            backups.map(|row| row.name).collect()
        })
        .unwrap_or_default();
    planner.observe_backups(backend, &backups);
    Ok(())
}
