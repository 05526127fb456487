//! Workers that were replaced and live on for their last clients.

use std::{collections::BTreeMap, time::Duration};

use lb_core::Notice;

use crate::{
    client::{ClientConfig, ClientError, MasterClient, SocketAddress},
    proto::Processes,
};

/// What is known of old workers.
#[derive(Debug, Default)]
pub(super) struct OldWorkers {
    /// Since when each is known to be old.
    since: BTreeMap<u32, Duration>,
    /// When to look again: only while there are some, or may be.
    next_look: Option<Duration>,
    /// From when on a master that lists none is believed: right after a reload it may not list the last one yet.
    believed_from: Duration,
    /// Whether the master has said that there is none.
    gone: bool,
    /// Whether the master did not answer the last time.
    unreachable: bool,
}

/// The first and the longest pause between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

impl OldWorkers {
    /// There may be a new worker, and so an old one.
    pub(super) fn look_at_once(&mut self, now: Duration) {
        self.next_look = Some(now);
        self.believed_from = now + LOOK.0;
        self.gone = false;
    }

    /// Whether nobody is left to send a request to where the last worker would have.
    pub(super) fn are_gone(&self) -> bool {
        self.gone
    }

    /// When to come back.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.next_look
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.since.len() as u64
    }

    /// For how long the oldest has been old.
    pub(super) fn age(&self, now: Duration) -> Duration {
        let first = self.since.values().min();
        first.map_or(Duration::ZERO, |first| now.saturating_sub(*first))
    }

    /// Asks the master, where that is due.
    pub(super) async fn look(
        &mut self,
        master: &SocketAddress,
        config: ClientConfig,
        now: Duration,
        notices: &mut Vec<Notice>,
    ) {
        if self.next_look.is_none_or(|at| now < at) {
            return;
        }
        match ask(master, config).await {
            Ok(processes) => {
                self.unreachable = false;
                self.take(&processes, now, notices);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unreachable, true) {
                    let detail = format!("old workers cannot be counted: {error}");
                    notices.push(Notice::warning("master_unreachable", detail));
                }
                self.next_look = Some(now + LOOK.1);
            }
        }
    }

    fn take(&mut self, processes: &Processes, now: Duration, notices: &mut Vec<Notice>) {
        // After a failed reload some versions list the worker that serves among the old ones.
        let current = processes.current().map(|worker| worker.pid);
        let old: Vec<u32> = processes
            .old_workers
            .iter()
            .map(|worker| worker.pid)
            .filter(|pid| Some(*pid) != current)
            .collect();
        for pid in &old {
            self.since.entry(*pid).or_insert_with(|| {
                let detail = format!("worker {pid} was replaced and lives on for its last clients");
                notices.push(Notice::info("old_worker", detail));
                now
            });
        }
        self.since.retain(|pid, since| {
            let stays = old.contains(pid);
            if !stays {
                let after = now.saturating_sub(*since).as_secs();
                let detail = format!("old worker {pid} is gone, {after} s after it was seen");
                notices.push(Notice::info("old_worker_gone", detail));
            }
            stays
        });
        let pause = (self.age(now) / 8).clamp(LOOK.0, LOOK.1);
        self.gone = self.since.is_empty() && now >= self.believed_from;
        self.next_look = (!self.gone).then(|| (now + pause).max(self.believed_from));
    }
}

pub(super) async fn ask(
    address: &SocketAddress,
    config: ClientConfig,
) -> Result<Processes, ClientError> {
    MasterClient::connect(address, config)
        .await?
        .processes()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(rows: &str) -> Processes {
        let head = "#<PID>          <type>          <reloads>       <uptime>        <version>\n1 master 3 0d0h 3.2.26\n";
        Processes::parse(&format!("{head}{rows}")).unwrap()
    }

    #[test]
    fn an_old_worker_is_counted_until_it_is_gone() {
        let mut old = OldWorkers::default();
        let mut notices = Vec::new();
        let at = Duration::from_secs;
        old.take(
            &processes(
                "# workers\n9 worker 0 0d0h 3.2.26\n# old workers\n8 worker 1 0d0h 3.2.26\n",
            ),
            at(10),
            &mut notices,
        );
        assert_eq!((old.count(), old.age(at(15))), (1, at(5)));
        assert!(old.due_at().is_some());
        old.take(
            &processes("# workers\n9 worker 0 0d0h 3.2.26\n"),
            at(20),
            &mut notices,
        );
        assert_eq!((old.count(), old.due_at()), (0, None));
        let kinds: Vec<_> = notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, ["old_worker", "old_worker_gone"]);
    }

    #[test]
    fn the_worker_that_a_failed_reload_leaves_in_use_is_not_old() {
        let mut old = OldWorkers::default();
        let rows = "# workers\n# old workers\n9 worker 1 0d0h 3.2.26\n";
        old.take(&processes(rows), Duration::ZERO, &mut Vec::new());
        assert_eq!(old.count(), 0);
    }
}
