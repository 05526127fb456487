//! `lb-agent check`.

use std::process::ExitCode;

use lb::spec::{Severity, Spec};
use serde_json::json;

use crate::{
    cli::{CheckArgs, Common},
    failure::Failure,
    logs,
    output::print_line,
};

pub(crate) fn check(common: &Common, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let spec = Spec::load(&common.config)?;
    logs::parse(&spec.agent.log.level).map_err(|error| {
        let file = common.config.display();
        Failure::new(format!("{file}: agent.log.level: {error}"))
    })?;
    let problems = spec.check();
    let bad = |severity| match severity {
        Severity::Error => true,
        Severity::Warning => args.strict,
    };
    let ok = !problems.iter().any(|problem| bad(problem.severity));
    if args.json {
        print_line(format_args!(
            "{:#}",
            json!({ "ok": ok, "problems": problems })
        ));
    } else {
        for problem in &problems {
            print_line(problem);
        }
        if ok {
            print_line(format_args!(
                "{}: ok: {}, {}",
                common.config.display(),
                count(spec.sources.len(), "source"),
                count(spec.targets.len(), "target"),
            ));
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `1 source`, `2 sources`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
