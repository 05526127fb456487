//! `show proc`: the processes of a master.

use serde::Serialize;

use super::{
    BoundedText, ParseError,
    columns::{Header, Line},
};

/// A master and its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Processes {
    /// The master.
    pub master: Process,
    /// The number of reloads that failed since the last that did not (2.5+).
    pub failed_reloads: Option<u32>,
    /// The workers in use. Empty after a failed reload on 2.2 and from 3.1 on, which then list them as old.
    pub workers: Vec<Process>,
    /// The workers on their way out.
    pub old_workers: Vec<Process>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// Its process number.
    pub pid: u32,
    /// The number of reloads it has lived through.
    pub reloads: u32,
    /// Its version, as printed.
    pub version: BoundedText,
}

impl Processes {
    /// Reads the reply to [`Command::ShowProc`](super::Command::ShowProc).
    ///
    /// # Errors
    /// [`ParseError`], naming the column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let header = Header::read(REPLY, text, "#", |names| {
            let names = names.split(['<', '>']);
            names.filter(|name| !name.trim().is_empty())
        })?;
        let pid = header.column("PID")?;
        let reloads = header.column("reloads")?;
        let version = header.column("version")?;
        let mut section = Section::Master;
        let mut master = None;
        let mut failed_reloads = None;
        let (mut workers, mut old_workers) = (Vec::new(), Vec::new());
        for (index, text) in text.lines().enumerate().skip(1) {
            if let Some(title) = text.strip_prefix("# ") {
                section = match title.trim() {
                    "workers" => Section::Workers,
                    "old workers" => Section::OldWorkers,
                    _ => Section::Other,
                };
                continue;
            }
            // `[failed: 1]` and, in place of a number nothing needs, `[was: 1]`.
            let (start, bracket, end) = match text.split_once('[') {
                Some((start, rest)) => {
                    let (bracket, end) = rest.split_once(']').unwrap_or((rest, ""));
                    (start, bracket, end)
                }
                None => (text, "", ""),
            };
            let placeholder = bracket.strip_prefix("was:").map(|_| "-");
            let fields: Vec<&str> = start
                .split_ascii_whitespace()
                .chain(placeholder)
                .chain(end.split_ascii_whitespace())
                .collect();
            if fields.is_empty() || matches!(section, Section::Other) {
                continue;
            }
            let line = Line {
                reply: REPLY,
                number: index + 1,
                fields: &fields,
            };
            let process = Process {
                pid: line.number(pid)?,
                reloads: line.number(reloads)?,
                version: BoundedText::new(line.text(version)?),
            };
            match section {
                Section::Master => {
                    master = Some(process);
                    failed_reloads = bracket
                        .strip_prefix("failed:")
                        .and_then(|count| count.trim().parse().ok());
                }
                Section::Workers => workers.push(process),
                Section::OldWorkers => old_workers.push(process),
                Section::Other => {}
            }
        }
        Ok(Self {
            master: master.ok_or(ParseError::MissingColumn {
                reply: REPLY,
                column: "line of the master",
            })?,
            failed_reloads,
            workers,
            old_workers,
        })
    }

    /// The worker that serves: the youngest of those in use or, where a failed reload left none there, of the old.
    #[must_use]
    pub fn current(&self) -> Option<&Process> {
        let workers = match self.workers.is_empty() {
            true => &self.old_workers,
            false => &self.workers,
        };
        workers.iter().min_by_key(|worker| worker.reloads)
    }
}

const REPLY: &str = "show proc";

enum Section {
    Master,
    OldWorkers,
    Other,
    Workers,
}
