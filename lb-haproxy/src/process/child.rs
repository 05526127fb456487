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
    client::{
        Client, ClientConfig, ClientError, Deadline, MasterClient, SocketAddress, reload, remaining,
    },
    proto::{Command, Info, Processes},
};

/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(15);

/// The time one look may take: what a process accepts that is about to begin anew, no process answers.
const LOOK: Duration = Duration::from_secs(2);

/// The program to run, and the time to wait for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HaproxyOptions {
    /// The executable.
    pub executable: Executable,
    /// The configuration. It must have a stats socket of `level admin` at [`admin`](Self::admin).
    pub config: PathBuf,
    /// The socket of the workers that the configuration declares.
    pub admin: SocketAddress,
    /// The socket of the master: a path in a folder that exists.
    pub master: PathBuf,
    /// The time a start or a reload may take.
    pub start: Duration,
    /// The time a stop may take before it becomes a kill.
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
    /// The worker that the last reload replaced.
    replaced: Option<u32>,
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
            replaced: None,
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

    /// The exit status, if it ended.
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
    /// [`ClientError`].
    pub async fn connect(&self) -> Result<Client, ClientError> {
        let deadline = Deadline::after(self.options.start);
        loop {
            let client = Client::connect(&self.options.admin, ClientConfig::default()).await?;
            // Where the socket is handed on, who is to stop may still take a conversation.
            if Some(client.info().pid) != self.replaced || remaining(&deadline).is_zero() {
                return Ok(client);
            }
            sleep(PAUSE).await;
        }
    }

    /// The master's processes.
    ///
    /// # Errors
    /// [`ProcessError::Master`].
    pub async fn processes(&self) -> Result<Processes, ProcessError> {
        self.processes_within(self.options.start).await
    }

    /// Reloads the configuration, seamlessly, and waits until the new worker answers and the one before it has been
    /// told to stop.
    ///
    /// # Errors
    /// [`ProcessError::Config`] or [`ProcessError::Reload`] where it does not load: what ran before still runs.
    pub async fn reload(&mut self) -> Result<(), ProcessError> {
        let before = self.talk(self.options.start).await.ok();
        check_config(&self.options.executable, &self.options.config).await?;
        let address = SocketAddress::Unix(self.options.master.clone());
        let limit = self.options.start;
        let done = tokio::select! {
            done = reload(&address, limit) => done,
            status = self.until_exit() => {
                return Err(ProcessError::Exited { status, stderr: self.stderr() });
            }
        };
        let reloaded = done.map_err(|source| ProcessError::Reload {
            source: Box::new(source),
            stderr: self.stderr(),
        })?;
        self.replaced = reloaded.before;
        self.wait_until_ready(Some(reloaded.worker)).await?;
        if let Some(before) = before {
            self.wait_until_stopping(before).await;
        }
        Ok(())
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

    async fn processes_within(&self, limit: Duration) -> Result<Processes, ProcessError> {
        let address = SocketAddress::Unix(self.options.master.clone());
        let config = ClientConfig {
            connect: limit,
            reply: limit,
            batch: limit,
            ..ClientConfig::default()
        };
        let mut master = MasterClient::connect(&address, config)
            .await
            .map_err(ProcessError::Master)?;
        master.processes().await.map_err(ProcessError::Master)
    }

    /// Until the admin socket answers, and answers for this worker where one is named.
    async fn wait_until_ready(&mut self, worker: Option<u32>) -> Result<(), ProcessError> {
        let limit = self.options.start;
        let deadline = Deadline::after(limit);
        loop {
            match self.talk(remaining(&deadline)).await {
                Ok(client) if worker.is_none_or(|pid| client.info().pid == pid) => return Ok(()),
                Ok(_)
                | Err(
                    ClientError::Connect { .. }
                    | ClientError::ConnectTimeout { .. }
                    | ClientError::NotHaproxy { .. },
                ) => {}
                Err(error) => return Err(ProcessError::Admin(error)),
            }
            self.pause("ready", limit, &deadline).await?;
        }
    }

    /// A conversation with whoever answers within this time, and soon.
    async fn talk(&self, limit: Duration) -> Result<Client, ClientError> {
        let config = ClientConfig {
            connect: limit.min(LOOK),
            ..ClientConfig::default()
        };
        Client::connect(&self.options.admin, config).await
    }

    /// Until a worker says that it is to stop, or says nothing: until then it may take some of what is new.
    async fn wait_until_stopping(&self, mut worker: Client) {
        let deadline = Deadline::after(self.options.start);
        while !remaining(&deadline).is_zero() {
            let said = worker.exec(&Command::ShowInfo).await;
            match said.map(|reply| Info::parse(reply.text())) {
                Ok(Ok(info)) if !info.stopping => sleep(PAUSE).await,
                _ => return,
            }
        }
    }

    /// The workers may be ready before the master listens.
    async fn wait_for_master(&mut self) -> Result<(), ProcessError> {
        let limit = self.options.start;
        let deadline = Deadline::after(limit);
        while !matches!(self.processes_within(LOOK).await, Ok(now) if now.current().is_some()) {
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
        sleep(PAUSE).await;
        Ok(())
    }

    async fn until_exit(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            sleep(PAUSE).await;
        }
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
