//! A running HAProxy: master and workers.

use std::{
    path::PathBuf,
    process::{Child, Command as Program, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::{Executable, ProcessError, captured::Captured, check_config, guard::Guard};
use crate::{
    client::{Client, ClientConfig, Deadline, MasterClient, SocketAddress, remaining},
    proto::{Accepted, Command, Processes, verdict},
};

/// What to run, and how long to wait for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HaproxyOptions {
    /// The executable.
    pub executable: Executable,
    /// The configuration. It must have a stats socket of `level admin` at [`admin`](Self::admin).
    pub config: PathBuf,
    /// The socket of the workers that the configuration declares.
    pub admin: SocketAddress,
    /// Where the master shall listen: a path in a folder that exists.
    pub master: PathBuf,
    /// How long a start or a reload may take.
    pub start: Duration,
    /// How long a stop may take before it becomes a kill.
    pub stop: Duration,
}

impl HaproxyOptions {
    /// A start within 20 seconds and a stop within 5.
    #[must_use]
    pub fn new(
        executable: Executable,
        config: impl Into<PathBuf>,
        admin: SocketAddress,
        master: impl Into<PathBuf>,
    ) -> Self {
        Self {
            executable,
            config: config.into(),
            admin,
            master: master.into(),
            start: Duration::from_secs(20),
            stop: Duration::from_secs(5),
        }
    }
}

/// A running HAProxy in master-worker mode, ended when it is dropped.
///
/// Should this very process end without dropping it, a guard (a shell that reads from us) ends HAProxy in turn.
/// Files and folders are the caller's.
#[derive(Debug)]
pub struct Haproxy {
    options: HaproxyOptions,
    child: Child,
    stderr: Captured,
    guard: Option<Guard>,
}

impl Haproxy {
    /// Checks the configuration, starts HAProxy and waits until its admin socket answers.
    ///
    /// # Errors
    /// [`ProcessError`]; nothing runs then.
    pub async fn start(options: HaproxyOptions) -> Result<Self, ProcessError> {
        check_config(&options.executable, &options.config).await?;
        let program = options.executable.path().to_owned();
        let system = |action| {
            let program = program.clone();
            move |source| ProcessError::System {
                action,
                program,
                source,
            }
        };
        let mut child = Program::new(&program)
            .arg("-W")
            .arg("-S")
            .arg(&options.master)
            .arg("-f")
            .arg(&options.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(system("run"))?;
        let stderr = match child.stderr.take() {
            Some(pipe) => Captured::of(pipe),
            None => Captured::of(std::io::empty()),
        };
        let mut haproxy = Self {
            options,
            child,
            stderr,
            guard: None,
        };
        haproxy.guard = Some(Guard::over(haproxy.pid()).map_err(system("guard"))?);
        haproxy.wait_until_ready(None).await?;
        haproxy.wait_for_master().await?;
        Ok(haproxy)
    }

    /// The master's process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The workers' admin socket.
    #[must_use]
    pub fn admin(&self) -> &SocketAddress {
        &self.options.admin
    }

    /// The end of what it printed, at most 64 KiB.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            // From now on its number may be another's.
            self.guard = None;
        }
        status
    }

    /// A conversation with the worker that serves now.
    ///
    /// # Errors
    /// [`ClientError`](crate::ClientError).
    pub async fn connect(&self) -> Result<Client, crate::ClientError> {
        Client::connect(&self.options.admin, ClientConfig::default()).await
    }

    /// The master's processes.
    ///
    /// # Errors
    /// [`ProcessError::Master`].
    pub async fn processes(&self) -> Result<Processes, ProcessError> {
        let mut master = self.master().await?;
        master.processes().await.map_err(ProcessError::Master)
    }

    /// Reloads the configuration, seamlessly, and waits until the new worker answers.
    ///
    /// # Errors
    /// [`ProcessError::Config`] or [`ProcessError::Reload`] where it does not load: what ran before still runs.
    pub async fn reload(&mut self) -> Result<(), ProcessError> {
        check_config(&self.options.executable, &self.options.config).await?;
        let mut master = self.master().await?;
        let before = master.processes().await.map_err(ProcessError::Master)?;
        let reply = master
            .exec(&Command::Reload)
            .await
            .map_err(ProcessError::Master)?;
        match verdict(&Command::Reload, &reply) {
            Ok(Accepted::Unconfirmed) | Ok(Accepted::Done) => {}
            Ok(_) | Err(_) => {
                return Err(ProcessError::Reload {
                    refusal: verdict(&Command::Reload, &reply).err(),
                    stderr: self.stderr(),
                });
            }
        }
        let old = before.current().map(|worker| worker.pid);
        let new = self.wait_for_worker(&before, old).await?;
        self.wait_until_ready(Some(new)).await
    }

    /// Lets it finish what it has, takes nothing new, and waits for its end; kills it after `limit`.
    ///
    /// # Errors
    /// [`ProcessError::Timeout`] if it had to be killed.
    pub async fn stop_gracefully(mut self, limit: Duration) -> Result<(), ProcessError> {
        self.signal(Signal::USR1)?;
        self.wait_for_end("gone", limit).await
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// [`ProcessError::Timeout`] if it had to be killed.
    pub async fn stop(mut self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)?;
        let limit = self.options.stop;
        self.wait_for_end("gone", limit).await
    }

    async fn master(&self) -> Result<MasterClient, ProcessError> {
        let address = SocketAddress::Unix(self.options.master.clone());
        // From 2.7 on the reply to a reload comes when the new worker is there, or is not going to be.
        let limit = self.options.start;
        let config = ClientConfig {
            connect: limit,
            reply: limit,
            batch: limit,
            ..ClientConfig::default()
        };
        MasterClient::connect(&address, config)
            .await
            .map_err(ProcessError::Master)
    }

    /// Up to 2.6 a reload ends the conversation without a word, so what comes of it is seen in the processes.
    async fn wait_for_worker(
        &mut self,
        before: &Processes,
        old: Option<u32>,
    ) -> Result<u32, ProcessError> {
        /// A list without workers is a failed reload, or one that is under way.
        const SETTLED: u32 = 20;
        let limit = self.options.start;
        let deadline = Deadline::after(limit);
        let mut without_workers = 0;
        loop {
            if let Ok(now) = self.processes().await {
                let current = now.workers.iter().min_by_key(|worker| worker.reloads);
                if let Some(worker) = current.filter(|worker| Some(worker.pid) != old) {
                    return Ok(worker.pid);
                }
                without_workers += u32::from(now.workers.is_empty());
                let counted = now.failed_reloads > before.failed_reloads;
                if without_workers > SETTLED || counted {
                    return Err(ProcessError::Reload {
                        refusal: None,
                        stderr: self.stderr(),
                    });
                }
            }
            self.pause("reloaded", limit, &deadline).await?;
        }
    }

    /// Until the admin socket answers, and answers for this worker where one is named.
    async fn wait_until_ready(&mut self, worker: Option<u32>) -> Result<(), ProcessError> {
        let limit = self.options.start;
        let deadline = Deadline::after(limit);
        loop {
            let config = ClientConfig {
                connect: remaining(&deadline).min(Duration::from_secs(2)),
                ..ClientConfig::default()
            };
            match Client::connect(&self.options.admin, config).await {
                Ok(client) if worker.is_none_or(|pid| client.info().pid == pid) => return Ok(()),
                Ok(_)
                | Err(
                    crate::ClientError::Connect { .. }
                    | crate::ClientError::ConnectTimeout { .. }
                    | crate::ClientError::NotHaproxy { .. },
                ) => {}
                Err(error) => return Err(ProcessError::Admin(error)),
            }
            self.pause("ready", limit, &deadline).await?;
        }
    }

    /// The workers may be ready before the master listens.
    async fn wait_for_master(&mut self) -> Result<(), ProcessError> {
        let limit = self.options.start;
        let deadline = Deadline::after(limit);
        while !matches!(self.processes().await, Ok(now) if now.current().is_some()) {
            self.pause("listening as master", limit, &deadline).await?;
        }
        Ok(())
    }

    async fn wait_for_end(
        &mut self,
        what: &'static str,
        limit: Duration,
    ) -> Result<(), ProcessError> {
        let deadline = Deadline::after(limit);
        loop {
            match self.pause(what, limit, &deadline).await {
                Ok(()) => {}
                Err(ProcessError::Exited { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits a moment, unless it has ended or the time is over.
    async fn pause(
        &mut self,
        what: &'static str,
        limit: Duration,
        deadline: &Deadline,
    ) -> Result<(), ProcessError> {
        if let Some(status) = self.exited() {
            return Err(ProcessError::Exited {
                status,
                stderr: self.stderr(),
            });
        }
        if remaining(deadline).is_zero() {
            return Err(ProcessError::Timeout {
                what,
                limit,
                stderr: self.stderr(),
            });
        }
        sleep(Duration::from_millis(15)).await;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let sent = match pid {
            Some(pid) => kill_process(pid, signal),
            None => Ok(()),
        };
        sent.map_err(|source| ProcessError::System {
            action: "signal",
            program: self.options.executable.path().to_owned(),
            source: source.into(),
        })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if self.exited().is_some() {
            return;
        }
        // The master passes it on to its workers; killed, it could not.
        let _gone = self.signal(Signal::TERM);
        let step = Duration::from_millis(5);
        for _ in 0..self.options.stop.as_millis().div_ceil(step.as_millis()) {
            if self.exited().is_some() {
                return;
            }
            thread::sleep(step);
        }
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
