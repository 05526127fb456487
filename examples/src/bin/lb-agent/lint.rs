//! `lb-agent lint`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use lb::spec::{Spec, TargetSpec};
use lb_core::{Name, files};
use lb_haproxy::{
    Policy,
    config::lint::{ConfigFile, Finding, LintOptions, Severity, lint as findings_of, map_files},
    process::{Executable, ProcessError, check_configs},
    proto::Version,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    check::count,
    cli::{Common, LintArgs},
    failure::Failure,
    output::print_line,
};

/// HAProxy's own verdict on the files.
#[derive(Debug, Serialize)]
struct Verdict {
    version: String,
    accepted: bool,
    /// The errors it found.
    alerts: String,
}

pub(crate) async fn lint(common: &Common, args: &LintArgs) -> ExitCode {
    match look(common, args).await {
        Ok(code) => code,
        // 1 means that something was found.
        Err(failure) => {
            eprintln!("lb-agent: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn look(common: &Common, args: &LintArgs) -> Result<ExitCode, Failure> {
    let texts = read(&args.files)?;
    let files: Vec<ConfigFile<'_>> = texts
        .iter()
        .map(|(name, text)| ConfigFile { name, text })
        .collect();
    let haproxy = executable(args)?;
    let mut options = LintOptions::default();
    if let Some(target) = &args.target {
        options.policy = policy(common, target)?;
    }
    options.open_files = args.open_files;
    options.memory = args.memory.map(|mib| mib << 20);
    options.missing = map_files(&files)
        .into_iter()
        .filter(|file| !Path::new(file).exists())
        .collect();
    options.version = args.haproxy_version.clone();
    if let (None, Some(haproxy)) = (&options.version, &haproxy) {
        options.version = Some(haproxy.version().await?);
    }
    let verdict = match &haproxy {
        Some(haproxy) => Some(ask(haproxy, &args.files).await?),
        None => None,
    };
    let findings = findings_of(&files, &options);
    let fine = findings
        .iter()
        .all(|finding| finding.severity == Severity::Note);
    let ok = fine && verdict.as_ref().is_none_or(|verdict| verdict.accepted);
    if args.json {
        print_line(format_args!(
            "{:#}",
            json!({ "ok": ok, "findings": findings, "haproxy": verdict })
        ));
    } else {
        show(&findings, verdict.as_ref(), texts.len());
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    files
        .iter()
        .map(|file| {
            let name = file.display().to_string();
            let bytes = files::read(file, 64 << 20).map_err(|error| Failure::with(&name, error))?;
            // What is not UTF-8 can only be in a comment or a text that the rules do not look at.
            Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
        })
        .collect()
}

/// One that is named must be there; else it is the one of this machine, if there is one.
fn executable(args: &LintArgs) -> Result<Option<Executable>, Failure> {
    match &args.haproxy {
        Some(path) => Ok(Some(Executable::find(Some(path))?)),
        None => Ok(Executable::find(None).ok()),
    }
}

fn policy(common: &Common, target: &Name) -> Result<Policy, Failure> {
    let spec = Spec::load(&common.config)?;
    for known in spec.targets {
        if let TargetSpec::Haproxy(config) = known
            && config.name == *target
        {
            return Ok(config.policy);
        }
    }
    let file = common.config.display();
    Err(Failure::new(format!("{file}: there is no target {target}")))
}

async fn ask(haproxy: &Executable, files: &[PathBuf]) -> Result<Verdict, Failure> {
    let version: Version = haproxy.version().await?;
    let (accepted, alerts) = match check_configs(haproxy, files).await {
        Ok(()) => (true, String::new()),
        Err(ProcessError::Config { alerts, .. }) => (false, alerts),
        Err(error) => return Err(error.into()),
    };
    Ok(Verdict {
        version: version.to_string(),
        accepted,
        alerts,
    })
}

fn show(findings: &[Finding], verdict: Option<&Verdict>, files: usize) {
    for finding in findings {
        print_line(finding);
    }
    match verdict {
        None => print_line("haproxy is not here, so it was not asked (--haproxy PATH)"),
        Some(verdict) if !verdict.accepted => {
            print_line(format_args!(
                "HAProxy {} does not take it:\n{}",
                verdict.version,
                verdict.alerts.trim_end()
            ));
        }
        Some(_) => {}
    }
    if findings.is_empty() && verdict.is_none_or(|verdict| verdict.accepted) {
        print_line(format_args!("{}: nothing found", count(files, "file")));
    } else {
        print_line(count(findings.len(), "finding"));
    }
}
