//! `lb-agent run`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use lb::spec::{Severity, Spec};
use lb_core::{Condition, ConditionKind, Handle, Running};
use tokio::task::JoinSet;

use crate::{
    cli::Common,
    failure::Failure,
    hosts::Hosts,
    logs::Logs,
    notify::{Notifier, watchdog_interval},
    page::Pages,
    plan::refuse_errors,
    reload, serve,
    signals::{Order, Signals},
    socket::Listening,
    watch::{self, Latencies},
};

/// The time ending may take. What has not ended by then is cut: a pass may be cut anywhere.
const END: Duration = Duration::from_secs(5);

/// The wait for another agent that manages the same targets and may be about to end.
const HANDOVER: Duration = Duration::from_secs(2);

/// Runs until told to end.
pub(crate) async fn run(common: &Common) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let spec = Spec::load(&common.config)?;
    let logs = Logs::start(common, &spec.agent.log)?;
    refuse_errors(&spec)?;
    warn(&spec);
    let notifier = Notifier::from_env();
    // Taken before anything is touched: a second agent on one configuration ends here.
    refuse_owned(&spec).await?;
    let listening = Listening::at(&spec.agent.socket).await?;
    let metrics = match spec.agent.metrics {
        Some(address) => Some(serve::bind(address).await?),
        None => None,
    };

    let plane = spec.clone().build()?;
    let handle = plane.handle();
    let latencies = Arc::new(Latencies::default());
    let mut tasks = JoinSet::new();
    let events = handle.subscribe();
    tasks.spawn(watch::follow(
        handle.clone(),
        events,
        Arc::clone(&latencies),
    ));
    let running = plane.spawn();
    let pages = Arc::new(Pages {
        handle: handle.clone(),
        config: common.config.clone(),
        latencies,
    });
    if let Some(listener) = metrics {
        let address = listener
            .local_addr()
            .map_err(|cause| Failure::with("agent.metrics", cause))?;
        tracing::info!(%address, "serving metrics");
        let hosts = Arc::new(Hosts::new(&spec.agent.hosts));
        tasks.spawn(serve::tcp(listener, Arc::clone(&pages), hosts));
    }
    tasks.spawn(serve::unix(listening, pages));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %common.config.display(),
        sources = spec.sources.len(),
        targets = spec.targets.len(),
        "started"
    );
    notifier.say("READY=1");

    let mut agent = Agent {
        common,
        spec,
        logs,
        handle,
        notifier,
    };
    let signal = agent.obey(&mut signals).await;
    agent.notifier.say("STOPPING=1");
    tracing::info!(signal, "ending; targets go on serving what they serve");
    end(running, tasks).await;
    Ok(ExitCode::SUCCESS)
}

/// Ends the agent where every target is managed by another process, and says which. Where some are not, those are
/// driven, and the others as soon as their owner ends.
async fn refuse_owned(spec: &Spec) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    loop {
        let mut looks = JoinSet::new();
        for target in spec.targets.clone() {
            looks.spawn(async move {
                let owner = target.other_owner().await?;
                Some(format!("target {} is managed by {owner}", target.name()))
            });
        }
        let mut owners: Vec<String> = looks.join_all().await.into_iter().flatten().collect();
        owners.sort();
        if owners.is_empty() || owners.len() < spec.targets.len() {
            for owner in owners {
                tracing::warn!("{owner}; waiting for its end");
            }
            return Ok(());
        }
        if waited >= HANDOVER {
            let owners = owners.join("; ");
            return Err(Failure::new(format!(
                "not started: {owners}; end that process, or give each its own backends with `manage`"
            )));
        }
        tokio::time::sleep(HANDOVER / 8).await;
        waited += HANDOVER / 8;
    }
}

struct Agent<'c> {
    common: &'c Common,
    /// The specification in effect.
    spec: Spec,
    logs: Logs,
    handle: Handle,
    notifier: Notifier,
}

impl Agent<'_> {
    /// Does what signals say until one says to end; returns its name.
    async fn obey(&mut self, signals: &mut Signals) -> &'static str {
        let watchdog = watchdog_interval();
        loop {
            let alive = async {
                match watchdog {
                    Some(interval) => tokio::time::sleep(interval).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = signals.next() => match order {
                    Order::End(signal) => return signal,
                    Order::Reload => self.reload().await,
                },
                () = alive => {
                    // Asking takes the control plane's lock: whoever answers is not stuck.
                    let _ = self.handle.status();
                    self.notifier.say("WATCHDOG=1");
                }
            }
        }
    }

    async fn reload(&mut self) {
        let file = self.common.config.display();
        let read = Spec::load(&self.common.config)
            .map_err(Failure::from)
            .and_then(|spec| refuse_errors(&spec).map(|()| spec));
        let next = match read {
            Ok(next) => next,
            Err(failure) => {
                tracing::error!(config = %file, "everything stays as it is: {failure}");
                let detail = format!("everything stays as it is: {failure}");
                let broken = Condition::new(ConditionKind::Failed, detail)
                    .of_object(file.to_string())
                    .with_help("correct the file and send SIGHUP again");
                self.handle.set_conditions(vec![broken]);
                return;
            }
        };
        self.handle.set_conditions(Vec::new());
        warn(&next);
        self.logs.change(&next.agent.log);
        let (effect, waiting) = reload::change(&self.handle, &self.spec, next).await;
        self.spec = effect;
        if !waiting.is_empty() {
            let detail = format!(
                "the file was read again, and these settings are not in effect yet: {}",
                waiting.join("; ")
            );
            let pending = Condition::new(ConditionKind::Diagnostic, detail)
                .of_object(file.to_string())
                .with_help("start the agent again; HAProxy goes on serving meanwhile");
            self.handle.set_conditions(vec![pending]);
        }
        tracing::info!(config = %file, "configuration file read again");
    }
}

/// Says what works, but maybe not as meant.
fn warn(spec: &Spec) {
    for problem in spec.check() {
        if problem.severity == Severity::Warning {
            tracing::warn!("{problem}");
        }
    }
}

async fn end(running: Running, mut tasks: JoinSet<()>) {
    if tokio::time::timeout(END, running.shutdown()).await.is_err() {
        tracing::warn!("not everything ended within {END:?}; the rest is cut");
    }
    tasks.shutdown().await;
}
