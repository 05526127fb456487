//! The last rung: a larger configuration, and the reload that brings it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::files;

use super::{
    config::TargetConfig,
    disk::{write_file, write_state},
    error::DriverError,
};
use crate::{
    client::{Client, ClientConfig, Deadline, ReloadError, Reloaded, reload, remaining},
    growth::{CannotGrow, Grown, GrowthConfig, Need, carry, grow},
    plan::Planner,
    process::{Executable, ProcessError, check_config},
};

/// Why the configuration did not grow. What HAProxy serves is not touched by any of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum GrowError {
    /// The configuration cannot be edited so that a reload would help.
    #[error(transparent)]
    Cannot(#[from] CannotGrow),
    /// The new configuration was refused by `haproxy -c`.
    #[error("{0}")]
    Check(#[source] ProcessError),
    /// HAProxy did not say what it serves.
    #[error("HAProxy did not tell its state: {0}")]
    State(#[source] DriverError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {cause}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A setting that growth needs is missing.
    #[error("{0}")]
    Setting(&'static str),
    /// The master did not reload, or nobody knows.
    #[error("{source}{}", cause(.source))]
    Reload {
        #[from]
        source: ReloadError,
    },
    /// The new worker does not answer.
    #[error("the new worker {pid} does not answer on its socket")]
    Worker { pid: u32 },
}

/// A reload that was made.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) grown: Grown,
    pub(super) reloaded: Reloaded,
    /// A conversation with the new worker.
    pub(super) client: Client,
}

/// Writes a configuration that has what is needed, lets HAProxy check it, keeps the addresses in the server-state
/// file, and reloads. On an error the old configuration is in its place.
pub(super) async fn grow_by_reload(
    target: &TargetConfig,
    growth: &GrowthConfig,
    client: &mut Client,
    planner: &Planner,
    need: &Need,
) -> Result<Done, GrowError> {
    let Some(master) = &target.master else {
        return Err(GrowError::Setting(
            "growth needs `master`, the master's socket",
        ));
    };
    let Some(state) = target.files.server_state.clone() else {
        return Err(GrowError::Setting(
            "growth needs `files.server_state`, where HAProxy restores its slots from",
        ));
    };
    // A link stays one: what it leads to is replaced.
    let configured = growth.config.clone();
    let path = blocking(move || fs::canonicalize(configured))
        .await
        .map_err(file("find", &growth.config))?;
    let old = blocking({
        let path = path.clone();
        move || files::read_text(&path, MAX_CONFIG)
    })
    .await
    .map_err(file("read", &path))?;
    let whole = planner.with_dynamic_servers(need);
    let mut grown = grow(&old, &whole, growth, &target.policy)?;
    if !helps(&grown, need) {
        let nothing = GrowError::Setting("a larger configuration would not help");
        return Err(match grown.left.is_empty() {
            true => nothing,
            false => grown.left.swap_remove(0).into(),
        });
    }
    check(growth, &path, &old, &grown.text).await?;
    write_state(state.clone(), client, |text| {
        carry(text, &grown.slots, &target.policy)
    })
    .await
    .map_err(GrowError::State)?
    .map_err(file("write", &state))?;
    put(&path, &grown.text)
        .await
        .map_err(file("write", &path))?;
    let reloaded = match reload(master, growth.limit).await {
        Ok(reloaded) => reloaded,
        Err(error) => {
            // Whoever starts HAProxy next must not find what it refused. Of a reload that nobody knows the end of,
            // the new text stays: it was checked, and the next pass sees which worker answers.
            if !matches!(error, ReloadError::Unknown { .. }) {
                put(&path, &old).await.map_err(file("restore", &path))?;
            }
            return Err(error.into());
        }
    };
    let client = answers(target, reloaded.worker, growth.limit).await?;
    Ok(Done {
        grown,
        reloaded,
        client,
    })
}

/// Whether the reload would give anything of what is needed, and not only keep what there is.
fn helps(grown: &Grown, need: &Need) -> bool {
    let slots = need
        .slots
        .keys()
        .any(|backend| grown.slots.contains_key(backend));
    slots || !grown.backends.is_empty()
}

/// Lets HAProxy check the new text, in a file beside the old one.
async fn check(growth: &GrowthConfig, path: &Path, old: &str, new: &str) -> Result<(), GrowError> {
    if old == new {
        return Ok(());
    }
    let executable = Executable::find(Some(&growth.executable)).map_err(GrowError::Check)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".check");
    let beside = PathBuf::from(beside);
    put(&beside, new).await.map_err(file("write", &beside))?;
    let checked = check_config(&executable, &beside).await;
    // It is only in the way now; the next check writes it anew.
    let _left = fs::remove_file(&beside);
    checked.map_err(GrowError::Check)
}

/// Waits until the new worker answers on the runtime socket.
///
/// The conversation is kept: until the old worker has let go of the socket, the next one may be with it again.
async fn answers(target: &TargetConfig, pid: u32, limit: Duration) -> Result<Client, GrowError> {
    let deadline = Deadline::after(limit);
    loop {
        let left = remaining(&deadline);
        if left.is_zero() {
            return Err(GrowError::Worker { pid });
        }
        let config = ClientConfig {
            connect: left.min(Duration::from_secs(2)),
            reply: target.timeout,
            ..ClientConfig::default()
        };
        if let Ok(client) = Client::connect(&target.socket, config).await
            && client.info().pid == pid
        {
            return Ok(client);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn put(path: &Path, text: &str) -> io::Result<()> {
    write_file(path.to_owned(), text.to_owned()).await
}

/// The most bytes of a configuration that is read.
const MAX_CONFIG: u64 = 64 << 20;

/// Files are slow to those who wait for other things.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GrowError {
    let path = path.to_owned();
    move |cause| GrowError::File {
        action,
        path,
        cause,
    }
}

/// The cause below, where there is one to tell.
fn cause(error: &ReloadError) -> String {
    match std::error::Error::source(error) {
        Some(below) => format!(": {below}"),
        None => String::new(),
    }
}
