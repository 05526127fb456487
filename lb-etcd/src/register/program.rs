//! Doing it: signals, the command, and the event of serf.

use std::{
    io::Read,
    process::{ExitCode, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::args::{Args, USAGE, Work};
use crate::{
    config::ConnectionConfig,
    error::EtcdError,
    registration::{
        InvalidSerf, Leave, Phase, Registration, RegistrationStatus, SerfEvent, SerfHandler,
    },
};

/// The most that is read of an event, in bytes.
const MAX_EVENT: u64 = 1024 * 1024;

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The command could not be started or waited for.
    #[error("command {command:?} cannot be run")]
    Command {
        /// The command.
        command: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The configuration cannot work, or etcd could not be told of the leave.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The event of serf cannot be handled.
    #[error("event of serf cannot be handled")]
    Event(#[from] InvalidSerf),
    /// Standard input or signals cannot be used.
    #[error("{what} cannot be used")]
    Io {
        /// The name of the thing.
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// The whole program, called `name` in its messages: reads the command line, does what it says, and tells what went
/// wrong on the standard error. Must be called within a tokio runtime with I/O and time.
pub async fn main(name: &str) -> ExitCode {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()))
        .unwrap_or_else(|_| "host".to_owned());
    let args = match Args::parse(std::env::args().skip(1), &host) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    let event = std::env::var("SERF_EVENT").ok();
    match run(args, event.as_deref()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Does what the command line says, until it is done. `event`: what `SERF_EVENT` is. Must be called within a tokio
/// runtime with I/O and time.
///
/// # Errors
/// [`RegisterError`] when it could not be done; that etcd is not reachable is tried again until a signal comes.
pub async fn run(args: Args, event: Option<&str>) -> Result<ExitCode, RegisterError> {
    match args.work {
        Work::Help => {
            let mut out = std::io::stdout().lock();
            std::io::Write::write_all(&mut out, USAGE.as_bytes()).map_err(|cause| {
                RegisterError::Io {
                    what: "standard output",
                    cause,
                }
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Work::Register { config, command } => {
            // Before anything is registered: a signal that comes early must not leave it behind.
            let mut signals = Signals::new()?;
            match command.split_first() {
                None => {
                    let registration = Registration::start(*config)?;
                    tokio::spawn(report(registration.status()));
                    stand_by(registration, &mut signals).await
                }
                Some((program, arguments)) => {
                    let command = program.clone();
                    let failed = |cause| RegisterError::Command {
                        command: command.clone(),
                        cause,
                    };
                    let child = Command::new(program)
                        .args(arguments)
                        .stdin(Stdio::inherit())
                        // A signal from the terminal is for us alone: the command ends after the drain.
                        .process_group(0)
                        .kill_on_drop(true)
                        .spawn()
                        .map_err(failed)?;
                    let registration = Registration::start(*config)?;
                    tokio::spawn(report(registration.status()));
                    wrap(registration, child, &mut signals)
                        .await
                        .map_err(failed)
                }
            }
        }
        Work::Serf {
            connection,
            handler,
        } => {
            serf(*connection, &handler, event.unwrap_or_default()).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An error with its causes, on one line.
#[must_use]
pub fn explain(error: &RegisterError) -> String {
    crate::client::chain(error)
}

/// Says on the standard error what becomes of a registration.
async fn report(mut status: watch::Receiver<RegistrationStatus>) {
    let mut before = None;
    loop {
        let now = status.borrow_and_update().clone();
        let said = match (&now.error, now.written) {
            (Some(error), _) => Some(format!("not registered: {error}")),
            (None, Some(phase)) => Some(format!("registered as {}", name(phase))),
            (None, None) => None,
        };
        if said != before {
            if let Some(said) = &said {
                eprintln!("lb-register: {said}");
            }
            before = said;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unknown => "nothing, until its health is known",
        Phase::Ready => "ready",
        Phase::Down => "down",
        Phase::Draining => "draining",
    }
}

async fn stand_by(
    mut registration: Registration,
    signals: &mut Signals,
) -> Result<ExitCode, RegisterError> {
    signals.next().await;
    registration.begin_leave(Leave::Drain);
    tokio::select! {
        left = registration.left() => left?,
        () = signals.next() => {
            registration.begin_leave(Leave::Now);
            registration.left().await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn wrap(
    mut registration: Registration,
    mut child: Child,
    signals: &mut Signals,
) -> std::io::Result<ExitCode> {
    tokio::select! {
        ended = child.wait() => return end(&mut registration, ended?).await,
        () = signals.next() => registration.begin_leave(Leave::Drain),
    }
    tokio::select! {
        ended = child.wait() => return end(&mut registration, ended?).await,
        left = registration.left() => told(left),
        () = signals.next() => {
            registration.begin_leave(Leave::Now);
            told(registration.left().await);
        }
    }
    if let Some(id) = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    {
        kill_process(id, Signal::TERM)?;
    }
    Ok(exit_code(child.wait().await?))
}

async fn end(registration: &mut Registration, status: ExitStatus) -> std::io::Result<ExitCode> {
    registration.begin_leave(Leave::Now);
    told(registration.left().await);
    Ok(exit_code(status))
}

/// The command's end matters more than that etcd was not told: its keys end with their lease.
fn told(left: Result<(), EtcdError>) {
    if let Err(error) = left {
        tracing::warn!(
            error = crate::client::chain(&error),
            "etcd could not be told of the leave"
        );
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

async fn serf(
    connection: ConnectionConfig,
    handler: &SerfHandler,
    event: &str,
) -> Result<(), RegisterError> {
    let event = SerfEvent::from_name(event);
    let read = tokio::task::spawn_blocking(|| {
        let mut input = String::new();
        std::io::stdin()
            .take(MAX_EVENT)
            .read_to_string(&mut input)?;
        Ok(input)
    });
    let input = read
        .await
        .unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
    let input = input.map_err(|cause| RegisterError::Io {
        what: "standard input",
        cause,
    })?;
    let (puts, deletes) = handler.plan(event, &input)?;
    if !puts.is_empty() || !deletes.is_empty() {
        SerfHandler::write(connection, &puts, &deletes).await?;
    }
    Ok(())
}

/// The signals that ask us to leave.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, RegisterError> {
        let failed = |cause| RegisterError::Io {
            what: "signals",
            cause,
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
