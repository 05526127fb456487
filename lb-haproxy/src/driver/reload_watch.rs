//! The effect of a reload on servers that are out: before an endpoint of an exclusive service is admitted, the
//! server-state file has the others out, and no worker is being started with an earlier one.

use std::time::Duration;

use tracing::warn;

use super::{
    conversation::client_config, error::DriverError, haproxy_driver::HaproxyDriver, workers::ask,
};
use crate::plan::Read;

/// The pause before a reload that is under way is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// For so long a master that does not answer is taken for one that reloads: before HAProxy 3.1 it does not while it reads
/// the configuration.
const MOST: Duration = Duration::from_secs(30);

impl HaproxyDriver {
    /// Answers what the plan asks about reloads.
    pub(super) async fn look_at_reload(&mut self, reads: &[Read]) -> Result<(), DriverError> {
        let backends = reads.iter().filter_map(|read| match read {
            Read::ReloadIsSafe(backend) => Some(backend),
            _ => None,
        });
        let backends: Vec<_> = backends.collect();
        if backends.is_empty() {
            return Ok(());
        }
        let asked = self.elapsed();
        self.behind = false;
        // What comes next is to be in the file soon as well.
        self.handover = true;
        self.disk.changed(asked);
        self.disk.hurry();
        // Where it cannot be written that is told, and holds nothing up: then a reload may bring back what was before.
        self.write_files(asked).await?;
        let under_way = self.is_reload_under_way(asked).await;
        if let Some(known) = &mut self.knowledge {
            for backend in backends {
                match under_way {
                    false => known.planner.reload_is_safe(backend, asked),
                    true => known.planner.reload_is_under_way(backend, asked + PAUSE),
                }
            }
        }
        Ok(())
    }

    /// Asks the master, where one is known. Up to HAProxy 3.0 it takes no connection during a reload, and later it lists
    /// the new worker before that has read the server-state file.
    async fn is_reload_under_way(&mut self, now: Duration) -> bool {
        let (Some(master), Some(session)) = (&self.config.master, &self.session) else {
            return false;
        };
        let pid = session.client.epoch().pid;
        match ask(master, client_config(self.config.timeout)).await {
            Ok(processes) => {
                self.master_silent_since = None;
                processes.current().is_some_and(|worker| worker.pid != pid)
            }
            Err(error) => {
                let since = *self.master_silent_since.get_or_insert(now);
                let gave_up = now >= since + MOST;
                if gave_up {
                    warn!(target_name = %self.config.name, %error, "the master does not answer: a reload would not be noticed");
                }
                !gave_up
            }
        }
    }
}
