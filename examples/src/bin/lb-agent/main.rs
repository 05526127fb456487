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

use std::{io, process::ExitCode};

use clap::Parser;
use tokio::runtime::Runtime;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

/// The number of threads that do the work: more than there are sources that can be busy with what others write, mostly,
/// so that one is left for each source that is not.
const WORKERS: usize = 8;

/// The most threads that wait for files. A file that hangs holds up to four of them, and must not hold up other files.
const MOST_FOR_FILES: usize = 64;

fn main() -> ExitCode {
    lb::memory::share();
    let cli = Cli::parse();
    let outcome = runtime()
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

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MOST_FOR_FILES)
        .thread_name("lb-agent")
        .enable_all()
        .build()
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

#[cfg(test)]
mod tests {
    use lb_core::testkit::waiting_threads;

    use super::*;

    #[test]
    fn case_h05_at_most_64_threads_wait_for_files_and_the_work_goes_on() {
        let runtime = runtime().unwrap();
        assert_eq!(waiting_threads(&runtime, 64), Ok(()));
    }
}
