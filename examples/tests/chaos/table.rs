//! What happened, a line for each version and source.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::faults::Fault;

/// The run of one version with one source.
#[derive(Debug, Default)]
pub(crate) struct Row {
    counts: [u64; Fault::KINDS],
    pub(crate) requests: u64,
    pub(crate) lost: u64,
    pub(crate) excused: u64,
    /// The ways in which those failed that were excused.
    pub(crate) excuses: BTreeMap<String, u64>,
    pub(crate) misrouted: u64,
    pub(crate) changes: u64,
    pub(crate) converged: Vec<Duration>,
}

/// The columns of a row: first what happened to `lb`, then to HAProxy, to files, endpoints and sources.
pub(crate) const HEADER: &str = concat!(
    "                          |         |         |     lb     |           HAProxy and its socket            ",
    "|           |  endpoint   |   source    |        |      |        |    converge\n",
    "HAProxy          source   |requests | changes | kill  stop |  kill stop reload edited socket  taken  fds ",
    "| disk full | kill  pause | kill  stop  | flight | lost | misrtd |   p50     max",
);

impl Row {
    pub(crate) fn count(&mut self, fault: Fault) {
        if let Some(count) = self.counts.get_mut(fault as usize) {
            *count += 1;
        }
    }

    fn of(&self, fault: Fault) -> u64 {
        self.counts.get(fault as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.converged.clone();
        times.sort();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        let most = times.last().copied().unwrap_or_default();
        write!(f, " |{:>8} |{:>8} ", self.requests, self.changes)?;
        write!(
            f,
            "|{:>5} {:>4}  ",
            self.of(Fault::Plane),
            self.of(Fault::Hang)
        )?;
        for (fault, width) in [
            (Fault::Kill, 5),
            (Fault::Freeze, 5),
            (Fault::Reload, 6),
            (Fault::Edits, 6),
            (Fault::Socket, 6),
            (Fault::Taken, 6),
            (Fault::Descriptors, 5),
        ] {
            let bar = if fault == Fault::Kill { "|" } else { " " };
            write!(f, "{bar}{:>width$}", self.of(fault))?;
        }
        write!(f, " |{:>10} ", self.of(Fault::Disk))?;
        write!(
            f,
            "|{:>5} {:>5}  ",
            self.of(Fault::Server),
            self.of(Fault::Pause)
        )?;
        let source = (self.of(Fault::SourceKill), self.of(Fault::SourceStop));
        write!(f, "|{:>5} {:>5}  ", source.0, source.1)?;
        write!(
            f,
            "|{:>7} |{:>5} |{:>7} |{:>5.0} ms {:>4.1} s",
            self.excused,
            self.lost,
            self.misrouted,
            middle.as_secs_f64() * 1000.0,
            most.as_secs_f64(),
        )
    }
}
