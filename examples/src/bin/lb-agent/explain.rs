//! `lb-agent explain`.

use std::process::ExitCode;

use lb::spec::{SourceSpec, Spec};
use lb_core::SourceError;
use lb_docker::{DockerSource, Explanation, SwarmSource};

use crate::{
    cli::{Common, ExplainArgs},
    failure::{Failure, chain},
    output::{print, print_line},
};

pub(crate) async fn explain(common: &Common, args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let spec = Spec::load(&common.config)?;
    let mut failures = Vec::new();
    let mut explanations = Vec::new();
    for source in &spec.sources {
        let name = source.name();
        if args.source.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        match tokio::time::timeout(args.timeout, ask(source, &args.object)).await {
            Ok(None) => {}
            Ok(Some(Ok(explanation))) => explanations.push((name, explanation)),
            Ok(Some(Err(error))) => failures.push(format!("source {name}: {}", chain(&error))),
            Err(_) => failures.push(format!(
                "source {name}: no answer within {:?}",
                args.timeout
            )),
        }
    }
    if explanations.is_empty() {
        return Err(Failure::new(if failures.is_empty() {
            "the configuration file has no such source of containers".to_owned()
        } else {
            failures.join("\nlb-agent: ")
        }));
    }
    if args.json {
        print_line(serde_json::to_string_pretty(&explanations)?);
    } else {
        for (name, explanation) in explanations {
            print(format_args!("source {name}: {explanation}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The source's own view of the object; `None` from a source that knows no such objects.
async fn ask(source: &SourceSpec, object: &str) -> Option<Result<Explanation, SourceError>> {
    match source.unbounded() {
        SourceSpec::Docker(config) => Some(DockerSource::new(config.clone()).explain(object).await),
        SourceSpec::Swarm(config) => Some(SwarmSource::new(config.clone()).explain(object).await),
        _ => None,
    }
}
