//! Structured logs on standard error.

use std::io::{self, IsTerminal};

use lb::spec::{LogFormat, LogSpec};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Layered, SubscriberExt},
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::{
    cli::Common,
    failure::Failure,
    lines::{Rate, Safe},
};

type Base = Layered<reload::Layer<Targets, Registry>, Registry>;

/// Changes what is logged while the agent runs.
#[derive(Debug)]
pub(crate) struct Logs {
    filter: Handle<Targets, Registry>,
    /// The command line said what to log, so the file does not count.
    fixed: bool,
}

impl Logs {
    /// Starts logging: as the command line says, else as the configuration says.
    pub(crate) fn start(common: &Common, spec: &LogSpec) -> Result<Self, Failure> {
        let level = common.log.as_deref().unwrap_or(&spec.level);
        let format = common.log_format.map_or(spec.format, LogFormat::from);
        let filter = parse(level).map_err(Failure::new)?;
        let (filter, handle) = reload::Layer::new(filter);
        let colours = colours() && !matches!(format, LogFormat::Json);
        let text = || tracing_subscriber::fmt::layer().with_writer(move || Safe::new(colours));
        let rate = Rate::default();
        let lines: Box<dyn Layer<Base> + Send + Sync> = match format {
            LogFormat::Json => {
                let json = text().json().flatten_event(true).with_current_span(true);
                Box::new(json.with_filter(rate))
            }
            _ => Box::new(
                text()
                    .with_ansi(colours)
                    .with_target(false)
                    .with_filter(rate),
            ),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|cause| Failure::with("logging cannot be started", cause))?;
        Ok(Self {
            filter: handle,
            fixed: common.log.is_some(),
        })
    }

    /// Logs what the configuration says from now on, unless the command line said otherwise.
    pub(crate) fn change(&self, spec: &LogSpec) {
        if self.fixed {
            return;
        }
        match parse(&spec.level) {
            Ok(filter) => {
                if let Err(error) = self.filter.reload(filter) {
                    tracing::error!("the log level stays: {error}");
                }
            }
            Err(error) => tracing::error!("the log level stays: {error}"),
        }
    }
}

/// The lines that are let through.
pub(crate) fn parse(level: &str) -> Result<Targets, String> {
    level.parse().map_err(|_| {
        format!("log level is {level:?}, expected off, error, warn, info, debug or trace, or module=level, by commas")
    })
}

fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked_before_they_count() {
        for level in ["off", "info", "WARN", "info,lb_haproxy=debug"] {
            assert!(parse(level).is_ok(), "{level}");
        }
        let error = parse("a=loud").unwrap_err();
        assert!(error.contains("a=loud"), "{error}");
    }
}
