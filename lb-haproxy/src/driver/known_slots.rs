//! Learns which servers are slots: from the configuration file, and from what HAProxy tells of backups.

use std::{collections::BTreeSet, path::Path, time::Duration};

use lb_core::{
    Condition, ConditionKind, Name,
    files::{beside, read},
};

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
        match beside(path, WAIT, |path| read(path, MOST_BYTES)).await {
            Ok(bytes) => {
                // Comments may be in any encoding; names are ASCII.
                let text = String::from_utf8_lossy(&bytes);
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
