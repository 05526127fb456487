//! `lb-agent`: keeps HAProxy in step with what a configuration file's sources say.

#![forbid(unsafe_code)]

mod ask;
mod check;
mod cli;
mod conditions;
mod config;
mod confirm;
mod explain;
mod failure;
mod hosts;
mod lines;
mod lint;
mod logs;
mod metrics;
mod notify;
mod output;
mod page;
mod plan;
mod reload;
mod run;
mod serve;
mod signals;
mod socket;
mod status;
mod table;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("lb-agent")
        .enable_all()
        .build()
        .map_err(|cause| Failure::with("the runtime cannot be started", cause))
        .and_then(|runtime| {
            let outcome = runtime.block_on(dispatch(cli));
            // What still runs is not waited for: everything that matters has ended by now.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("lb-agent: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&cli.common).await,
        Command::Check(args) => check::check(&cli.common, &args),
        Command::Plan(args) => plan::plan(&cli.common, &args).await,
        Command::Status(args) => status::status(&cli.common, &args).await,
        Command::Confirm(args) => confirm::confirm(&cli.common, &args).await,
        Command::Explain(args) => explain::explain(&cli.common, &args).await,
        Command::Config(args) => config::config(&cli.common, &args).await,
        Command::Lint(args) => Ok(lint::lint(&cli.common, &args).await),
    }
}
