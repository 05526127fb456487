//! `lb-agent plan`.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use lb::spec::{Severity, Spec, TargetSpec};
use lb_core::{Handle, Name, Preview, Snapshot, Status, status::Health};
use serde_json::{Value, json};

use crate::{
    check::count,
    cli::{Common, PlanArgs},
    failure::{Failure, chain},
    logs::Logs,
    output::{print, print_line},
};

/// There is something to do, and whoever asked wants to know.
const TO_DO: u8 = 2;

/// The steps that a run would do to one target.
struct Outlook {
    target: Name,
    result: Result<Preview, String>,
}

pub(crate) async fn plan(common: &Common, args: &PlanArgs) -> Result<ExitCode, Failure> {
    let mut spec = Spec::load(&common.config)?;
    let mut log = spec.agent.log.clone();
    // What the sources say of themselves is told below; a log on top is for whoever asks for it.
    log.level = "error".to_owned();
    let _logs = Logs::start(common, &log)?;
    refuse_errors(&spec)?;
    let targets = wanted(std::mem::take(&mut spec.targets), args.target.as_ref())?;
    let (snapshot, status) = first_snapshot(spec, args.timeout).await?;
    let mut outlooks = Vec::new();
    for target in targets {
        outlooks.push(look(target, &snapshot, args.timeout).await);
    }
    if args.json {
        print_line(format_args!("{:#}", as_json(&status, &outlooks)));
    } else {
        print(as_text(&status, &outlooks));
    }
    let failed: Vec<_> = outlooks
        .iter()
        .filter(|outlook| outlook.result.is_err())
        .collect();
    if !failed.is_empty() {
        let what = count(failed.len(), "target");
        return Err(Failure::new(format!("no plan for {what}")));
    }
    let to_do = outlooks
        .iter()
        .any(|outlook| outlook.result.as_ref().is_ok_and(|plan| plan.steps > 0));
    Ok(if args.exit_code && to_do {
        ExitCode::from(TO_DO)
    } else {
        ExitCode::SUCCESS
    })
}

/// Fails with everything that keeps a configuration from working.
pub(crate) fn refuse_errors(spec: &Spec) -> Result<(), Failure> {
    let problems = spec.check();
    let errors: Vec<String> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(errors.join("\nlb-agent: ")))
    }
}

fn wanted(targets: Vec<TargetSpec>, only: Option<&Name>) -> Result<Vec<TargetSpec>, Failure> {
    let Some(name) = only else {
        return Ok(targets);
    };
    let wanted: Vec<TargetSpec> = targets
        .into_iter()
        .filter(|target| target.name() == name)
        .collect();
    if wanted.is_empty() {
        let error = format!("--target: target {name} is not in the configuration file");
        return Err(Failure::new(error));
    }
    Ok(wanted)
}

/// Runs the sources, without any target, until everything was heard once or the time is over.
async fn first_snapshot(spec: Spec, limit: Duration) -> Result<(Arc<Snapshot>, Status), Failure> {
    let mut builder = spec.builder().initial_limit(limit);
    for source in spec.sources {
        builder = builder.boxed_source(source.build()?);
    }
    let plane = builder.build()?;
    let handle = plane.handle();
    let mut events = handle.subscribe();
    let running = plane.spawn();
    let published = async {
        let mut waits = Waits::default();
        loop {
            let status = handle.status();
            if status.published {
                return;
            }
            waits.show(&status);
            // A source that cannot begin emits no event.
            if let Ok(None) = tokio::time::timeout(LOOK, events.next()).await {
                return;
            }
        }
    };
    // The control plane publishes what it has at the same limit.
    let grace = Duration::from_millis(500);
    let _ = tokio::time::timeout(limit + grace, published).await;
    let status = handle.status();
    let snapshot = handle.snapshot();
    running.shutdown().await;
    if !status.published {
        return Err(Failure::new(unheard(&handle, limit)));
    }
    Ok((snapshot, status))
}

/// The pause between two looks at why no source has completed its initial sync.
const LOOK: Duration = Duration::from_millis(250);

/// Why each source has not completed its initial sync, each reason shown once, on standard error.
#[derive(Debug, Default)]
struct Waits {
    shown: BTreeSet<String>,
}

impl Waits {
    fn show(&mut self, status: &Status) {
        for line in reasons(status) {
            if !self.shown.contains(&line) {
                eprintln!("lb-agent: waiting: {line}");
                self.shown.insert(line);
            }
        }
    }
}

/// Returns what keeps sources from their initial sync.
fn reasons(status: &Status) -> Vec<String> {
    let waiting = status
        .sources
        .iter()
        .filter(|source| matches!(source.health, Health::NeverSynced { .. }));
    waiting
        .flat_map(|source| {
            let why = match &source.health {
                Health::NeverSynced { why: Some(why), .. } => Some(why.clone()),
                _ => None,
            };
            let found = source.diagnostics.iter().map(ToString::to_string);
            let name = &source.name;
            why.into_iter()
                .chain(found)
                .map(move |reason| format!("source {name}: {reason}"))
        })
        .collect()
}

fn unheard(handle: &Handle, limit: Duration) -> String {
    let status = handle.status();
    let mut text = format!("no source completed its initial sync within {limit:?}");
    for source in &status.sources {
        if let Some(why) = why(&source.health) {
            text.push_str(&format!("\n  source {}: {why}", source.name));
        }
        for diagnostic in &source.diagnostics {
            text.push_str(&format!("\n  source {}: {diagnostic}", source.name));
        }
    }
    text
}

async fn look(target: TargetSpec, snapshot: &Arc<Snapshot>, limit: Duration) -> Outlook {
    let name = target.name().clone();
    let result = match target.build() {
        Ok(mut driver) => match tokio::time::timeout(limit, driver.preview(snapshot)).await {
            Ok(Ok(preview)) => Ok(preview),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("it did not answer within {limit:?}")),
        },
        Err(error) => Err(chain(&error)),
    };
    Outlook {
        target: name,
        result,
    }
}

fn as_text(status: &Status, outlooks: &[Outlook]) -> String {
    let mut text = format!(
        "desired: {}, {}, {}\n",
        count(status.services, "service"),
        count(status.endpoints, "endpoint"),
        count(status.routes, "route"),
    );
    for source in &status.sources {
        if let Some(why) = why(&source.health) {
            let name = &source.name;
            text.push_str(&format!("source {name} is not live: {why}\n"));
        }
        for diagnostic in &source.diagnostics {
            text.push_str(&format!("source {}: {diagnostic}\n", source.name));
        }
    }
    for outlook in outlooks {
        let target = &outlook.target;
        match &outlook.result {
            Ok(plan) => {
                let steps = count(plan.steps, "step");
                text.push_str(&format!("\ntarget {target}: {steps}\n"));
                for line in plan.text.lines() {
                    text.push_str(&format!("  {line}\n"));
                }
            }
            Err(error) => text.push_str(&format!("\ntarget {target}: {error}\n")),
        }
    }
    text
}

fn as_json(status: &Status, outlooks: &[Outlook]) -> Value {
    let targets: Vec<Value> = outlooks
        .iter()
        .map(|outlook| match &outlook.result {
            Ok(plan) => {
                let parsed: Value = serde_json::from_str(&plan.json).unwrap_or(Value::Null);
                json!({ "name": outlook.target, "steps": plan.steps, "plan": parsed })
            }
            Err(error) => json!({ "name": outlook.target, "error": error }),
        })
        .collect();
    json!({
        "services": status.services,
        "endpoints": status.endpoints,
        "routes": status.routes,
        "partial": status.partial,
        "sources": status.sources,
        "targets": targets,
    })
}

/// Why a source cannot be taken for current.
fn why(health: &Health) -> Option<&str> {
    match health {
        Health::NeverSynced { why, .. } => {
            Some(why.as_deref().unwrap_or("it has not told anything yet"))
        }
        Health::Stale { why, .. } | Health::Failed { why, .. } => Some(why),
        _ => None,
    }
}
