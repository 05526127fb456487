//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use lb::spec::LogFormat;
use lb_core::{Name, duration};
use lb_haproxy::proto::Version;

use crate::conditions::alarming_kinds;

/// The path of the configuration unless another is given.
const CONFIG: &str = "/etc/lb/agent.toml";

const EXAMPLES: &str = "\
Examples:
  lb-agent check -c agent.toml     what is wrong with the file, without connecting to anybody
  lb-agent plan -c agent.toml      what a run would do to each HAProxy now, without doing it
  lb-agent -c agent.toml           run, until SIGTERM; SIGHUP reads the file again
  lb-agent status                  what the running agent sees and does
  lb-agent confirm web             let through the mass removal of service web that the guard holds back
  lb-agent explain shop-web-1      why a container is reached at its address, or why it is not
  lb-agent config -o haproxy.cfg   HAProxy's own configuration, out of the table [haproxy]
  lb-agent lint haproxy.cfg        what in HAProxy's own configuration breaks which guarantee

The smallest configuration file:
  [[sources]]
  kind = \"file\"
  path = \"/etc/lb/services.toml\"

  [[targets]]
  name = \"edge\"
  socket = \"/run/haproxy/admin.sock\"

Exit status: 0 done; 1 it failed, and standard error says why; 2 the command line is wrong, or
`plan --exit-code` found something to do; `lint` ends with 1 when it found more than notes; 3 `status --healthy` found something wrong.";

/// Keeps HAProxy in step with containers, registry keys or a file, without a reload and without a lost request.
///
/// Ending it changes nothing: HAProxy goes on serving what it serves, and the next run adopts what it finds.
#[derive(Debug, Parser)]
#[command(name = "lb-agent", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The arguments that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The configuration file: JSON if its name ends in .json, else TOML
    #[arg(short, long, global = true, value_name = "FILE", env = "LB_CONFIG", default_value = CONFIG)]
    pub(crate) config: PathBuf,
    /// The level of the log: off, error, warn, info, debug, trace, or for one module also info,lb_haproxy=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "LB_LOG")]
    pub(crate) log: Option<String>,
    /// The form of the log
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogStyle>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogStyle {
    /// One JSON object a line
    Json,
    /// For people; in colour on a terminal unless NO_COLOR is set
    Text,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Json => Self::Json,
            LogStyle::Text => Self::Text,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep the targets in step until told to end (the default)
    ///
    /// SIGTERM and SIGINT end it: HAProxy goes on serving what it serves. SIGHUP reads the configuration file again
    /// and changes only the sources and targets that are written differently there; a file with an error is refused,
    /// and everything stays as it is. Under systemd, use Type=notify.
    Run,
    /// Say what is wrong with the configuration file, without connecting to anybody
    Check(CheckArgs),
    /// Say what a run would do to each target now, without doing it
    Plan(PlanArgs),
    /// Say what the running agent sees and does
    Status(StatusArgs),
    /// Let through the mass removals that the guard holds back
    Confirm(ConfirmArgs),
    /// Say how the address of a container, or of the tasks of a Swarm service, is chosen, and why
    Explain(ExplainArgs),
    /// Write HAProxy's own configuration out of the table `haproxy` of the configuration file
    ///
    /// A file is replaced only when HAProxy, where it is installed, has accepted the new one (haproxy -c).
    Config(ConfigArgs),
    /// Say what in HAProxy's own configuration breaks which guarantee, and what to write instead
    ///
    /// Ends with 0 when nothing was found or notes alone, with 1 when something else was, with 2 when it could not look.
    /// Where HAProxy is installed, it is asked too (haproxy -c), and only what concerns its version is said.
    Lint(LintArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only for this target
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<Name>,
    /// The time to wait for the sources, and then for each target
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Exit with 2 when there is something to do
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn healthy_help() -> String {
    format!(
        "Exit with 3, and say why, unless all sources are live and all targets have what they should have: unless \
         something is known, every target has converged, and there is no permanent condition of the kinds {}",
        alarming_kinds()
    )
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    /// Exit with 3, and say why, unless all sources are live and all targets have what they should have
    #[arg(long, long_help = healthy_help())]
    pub(crate) healthy: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// The service; without it, everything that is held back
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<Name>,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The container or Swarm service, by name or id
    #[arg(value_name = "OBJECT")]
    pub(crate) object: String,
    /// Only as this source sees it
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<Name>,
    /// The time each source may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The file to write it to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Your own parts around it: the lines `# lb: global`, `# lb: defaults`, `# lb: frontends` and `# lb: backends` of
    /// this file are replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// The HAProxy that is to read it [default: the one in PATH, if there is one]
    #[arg(long, value_name = "PATH")]
    pub(crate) haproxy: Option<PathBuf>,
    /// The version to write for, such as 2.6.12 [default: as the configuration file says, else that of the HAProxy]
    #[arg(long, value_name = "VERSION")]
    pub(crate) haproxy_version: Option<Version>,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// HAProxy's configuration; several files are read as several -f are
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// For this target of the agent's configuration file, whose policy then counts
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<Name>,
    /// The HAProxy to ask [default: the one in PATH, if there is one]
    #[arg(long, value_name = "PATH")]
    pub(crate) haproxy: Option<PathBuf>,
    /// The version that will read the files, such as 2.6.12 [default: that of the HAProxy that is asked]
    #[arg(long, value_name = "VERSION")]
    pub(crate) haproxy_version: Option<Version>,
    /// The most files HAProxy may open (LimitNOFILE)
    #[arg(long, value_name = "COUNT")]
    pub(crate) open_files: Option<u64>,
    /// The most memory it may take, in MiB
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) memory: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The way to the running agent.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The running agent's socket [default: as the configuration file says, else /run/lb/agent.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| duration::parse(text)).ok_or_else(|| {
        "expected a time such as 500ms, 10s or 1m30s, or a number of seconds".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_takes_the_common_options() {
        let cli = Cli::parse_from(["lb-agent", "-c", "x.toml"]);
        assert!(cli.command.is_none());
        let cli = Cli::parse_from(["lb-agent", "run", "--config", "x.toml", "--log", "debug"]);
        assert!(matches!(cli.command, Some(Command::Run)));
        assert_eq!(cli.common.config, PathBuf::from("x.toml"));
        for (text, millis) in [("500ms", 500), ("5", 5000), ("1m", 60_000)] {
            let plan = Cli::parse_from(["lb-agent", "plan", "--timeout", text]);
            let Some(Command::Plan(args)) = plan.command else {
                panic!("{plan:?}");
            };
            assert_eq!(args.timeout, Duration::from_millis(millis));
        }
        for text in ["", "-5", "1.5", "soon", "99999999999999999999"] {
            assert!(
                Cli::try_parse_from(["lb-agent", "plan", "--timeout", text]).is_err(),
                "{text}"
            );
        }
    }
}
