//! What a flood did, in one table.

use std::{fmt, time::Duration};

use super::{LEAST_FLOOD, MOST_DELAY, MOST_MEMORY};

/// The report of a run.
pub(super) struct Report {
    pub(super) version: String,
    pub(super) took: Duration,
    pub(super) changes: u64,
    pub(super) revisions: u64,
    pub(super) junk: usize,
    /// Those of the stand-in, and those of a real engine.
    pub(super) containers: (usize, usize),
    pub(super) container_events: u64,
    pub(super) listings: u64,
    /// The number of idle clients, and the number of their connections.
    pub(super) clients: (usize, u64),
    pub(super) requests: u64,
    pub(super) lost: u64,
    pub(super) misrouted: u64,
    /// The number of changes that were timed, and the time they took.
    pub(super) without: (usize, Duration),
    pub(super) with: (usize, Duration, Option<Duration>),
    /// The agent's memory before the flood, in KiB.
    pub(super) quiet: Memory,
    pub(super) memory: Memory,
    /// The size of the agent's status, and the time it took.
    pub(super) status: Result<usize, String>,
    pub(super) waited: Duration,
    pub(super) log: u64,
}

/// The memory of a process in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) most: u64,
}

/// The most bytes that the agent's status may have.
const MOST_STATUS: usize = 2_000_000;

/// The middle one of some times.
pub(super) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

impl Report {
    fn delay(&self) -> f64 {
        self.with.1.as_secs_f64() / self.without.1.as_secs_f64()
    }

    /// The properties that do not hold.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.delay() > MOST_DELAY {
            faults.push(format!(
                "a change takes {:.1} times as long in the flood, expected {MOST_DELAY} at most",
                self.delay()
            ));
        }
        let flood = self.changes as f64 / self.took.as_secs_f64();
        if flood < LEAST_FLOOD {
            faults.push(format!(
                "etcd had {flood:.0} changes a second, expected {LEAST_FLOOD:.0} at least"
            ));
        }
        if self.memory.most > MOST_MEMORY * 1024 {
            faults.push(format!(
                "the agent took {} MiB, expected {MOST_MEMORY} at most",
                self.memory.most / 1024
            ));
        }
        match &self.status {
            Ok(bytes) if *bytes > MOST_STATUS => {
                faults.push(format!("the status has {bytes} bytes"));
            }
            Ok(_) => {}
            Err(error) => faults.push(error.clone()),
        }
        if self.lost + self.misrouted > 0 {
            faults.push(format!(
                "{} requests were lost and {} misrouted",
                self.lost, self.misrouted
            ));
        }
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let mut row = |what: &str, value: String| writeln!(f, "  {what:<34}{value}");
        row("flood", format!("HAProxy {}, {seconds:.0} s", self.version))?;
        row(
            "changes in etcd",
            format!(
                "{:.0}/s at {:.0} revisions/s, {} MB of junk values",
                self.changes as f64 / seconds,
                self.revisions as f64 / seconds,
                self.junk / 1_000_000
            ),
        )?;
        row(
            "containers of 1,000 labels",
            format!(
                "{} of a stand-in for an engine ({} events, listed {} times), {} of a real one",
                self.containers.0, self.container_events, self.listings, self.containers.1
            ),
        )?;
        row(
            "idle clients",
            format!("{}, {} connections", self.clients.0, self.clients.1),
        )?;
        row(
            "honest requests",
            format!(
                "{}, {} lost, {} misrouted",
                self.requests, self.lost, self.misrouted
            ),
        )?;
        row(
            "change to effect without the flood",
            format!("{} median of {}", millis(self.without.1), self.without.0),
        )?;
        row(
            "change to effect in the flood",
            format!(
                "{} median of {}, {} at most: {:.2} times",
                millis(self.with.1),
                self.with.0,
                millis(self.with.2.unwrap_or_default()),
                self.delay()
            ),
        )?;
        row(
            "memory of the agent",
            format!(
                "{} MiB at most, {} MiB at the end, {} MiB before",
                self.memory.most / 1024,
                self.memory.now / 1024,
                self.quiet.now / 1024
            ),
        )?;
        row(
            "status",
            match &self.status {
                Ok(bytes) => format!("{} KB in {}", bytes / 1000, millis(self.waited)),
                Err(error) => error.clone(),
            },
        )?;
        row("log", format!("{} KB", self.log / 1000))
    }
}
