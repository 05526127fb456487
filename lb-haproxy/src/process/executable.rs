//! Which HAProxy to run, and whether it likes a configuration.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command as Program, Stdio},
    time::Duration,
};

use tokio::time::sleep;

use super::{ProcessError, captured::Captured};
use crate::{
    client::{Deadline, remaining},
    proto::Version,
};

/// An HAProxy executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable(PathBuf);

impl Executable {
    /// `explicit` where given, else `haproxy` from `PATH` or the usual system directories.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`].
    pub fn find(explicit: Option<&Path>) -> Result<Self, ProcessError> {
        let name = explicit.unwrap_or_else(|| Path::new("haproxy"));
        if name.components().count() > 1 {
            return match name.is_file() {
                true => Ok(Self(name.to_owned())),
                false => Err(not_found(name)),
            };
        }
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
            .map(Self)
            .ok_or_else(|| not_found(name))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its version.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn version(&self) -> Result<Version, ProcessError> {
        let mut program = Program::new(&self.0);
        program.arg("-v");
        let (_, text) = run(program, &self.0, Duration::from_secs(10)).await?;
        // `HA-Proxy version 2.2.9-2 2023/12/23 - …`, `HAProxy version 3.0.11 …`
        text.split_once("version ")
            .and_then(|(_, rest)| rest.split_ascii_whitespace().next()?.parse().ok())
            .ok_or(ProcessError::Version { text })
    }
}

/// Asks HAProxy whether it would take the configuration (`haproxy -c -f`).
///
/// # Errors
/// [`ProcessError::Config`] with what it found wrong.
pub async fn check_config(executable: &Executable, config: &Path) -> Result<(), ProcessError> {
    check_configs(executable, &[config]).await
}

/// The same for several files that are one configuration (`haproxy -c -f A -f B`).
///
/// # Errors
/// [`ProcessError::Config`] with what it found wrong, naming the first file.
pub async fn check_configs(
    executable: &Executable,
    configs: &[impl AsRef<Path>],
) -> Result<(), ProcessError> {
    let mut program = Program::new(executable.path());
    program.arg("-c");
    for config in configs {
        program.arg("-f").arg(config.as_ref());
    }
    let (status, alerts) = run(program, executable.path(), Duration::from_secs(60)).await?;
    match status.success() {
        true => Ok(()),
        false => Err(ProcessError::Config {
            config: configs
                .first()
                .map(|config| config.as_ref().to_owned())
                .unwrap_or_default(),
            alerts,
        }),
    }
}

/// Runs a program to its end and gives what it printed.
async fn run(
    mut program: Program,
    path: &Path,
    limit: Duration,
) -> Result<(std::process::ExitStatus, String), ProcessError> {
    let system = |action| {
        move |source| ProcessError::System {
            action,
            program: path.to_owned(),
            source,
        }
    };
    let mut child = program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(system("run"))?;
    let out = child.stdout.take().map(Captured::of);
    let err = child.stderr.take().map(Captured::of);
    let printed = || {
        [&err, &out]
            .into_iter()
            .flatten()
            .map(Captured::text)
            .collect::<String>()
    };
    let deadline = Deadline::after(limit);
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait().map_err(system("wait for"))? {
            // The threads see the end of their pipes a moment later than we see that of the process.
            for captured in [&err, &out].into_iter().flatten() {
                captured.ended(Duration::from_secs(1)).await;
            }
            return Ok((status, printed()));
        }
        if remaining(&deadline).is_zero() {
            child.kill().map_err(system("kill"))?;
            child.wait().map_err(system("wait for"))?;
            return Err(ProcessError::Timeout {
                what: "done checking",
                limit,
                stderr: printed(),
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn not_found(name: &Path) -> ProcessError {
    ProcessError::NotFound {
        name: name.to_owned(),
    }
}
