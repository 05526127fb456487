//! The whole configuration.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::{ControlPlane, GuardConfig, plane::Builder, reconciler::Waves};

use super::{
    agent::AgentSpec,
    error::SpecError,
    haproxy::HaproxySpec,
    origin::{Format, Origin},
    parse,
    source::SourceSpec,
    target::TargetSpec,
};

/// The most bytes of a configuration file that are read.
const MAX_FILE: u64 = 1 << 20;

/// The configuration of a control plane.
///
/// Lengths of time are written as seconds, or as texts such as `"500ms"`, `"10s"` or `"1m30s"`. Unknown fields
/// are refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Spec {
    /// Settings of the daemon itself.
    pub agent: AgentSpec,
    /// The mass removals that are held back, and for how long.
    pub guard: GuardConfig,
    /// The settings from which HAProxy's own configuration is generated, by `lb-agent config`; of no use otherwise.
    pub haproxy: Option<HaproxySpec>,
    /// The time the first snapshot waits for a source whose initial sync has not completed. Default 10 s.
    pub initial_limit: Duration,
    /// The time one pass over a target may take. Default 120 s.
    pub pass_limit: Duration,
    /// The interval at which a target is looked at although nothing changed. Default 30 s.
    pub resync: Duration,
    /// The debounce interval of changes; none that takes traffic away waits. Default 0.
    pub settle: Duration,
    /// In which order targets get a change, those named first before the others. Default: all at once.
    pub waves: Waves,
    /// The sources of endpoints and routes. Where two disagree, the one named first wins.
    pub sources: Vec<SourceSpec>,
    /// The targets that are kept converged.
    pub targets: Vec<TargetSpec>,
    pub(super) origin: Option<Origin>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            agent: AgentSpec::default(),
            guard: GuardConfig::default(),
            haproxy: None,
            initial_limit: Duration::from_secs(10),
            pass_limit: Duration::from_secs(120),
            resync: Duration::from_secs(30),
            settle: Duration::ZERO,
            waves: Waves::default(),
            sources: Vec::new(),
            targets: Vec::new(),
            origin: None,
        }
    }
}

impl Spec {
    /// Reads a configuration. An empty text gives the defaults: no sources, no targets.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] says where and what.
    pub fn parse(text: &str, format: Format) -> Result<Self, SpecError> {
        Self::parse_origin(text, format, None)
    }

    /// Reads a configuration file: JSON if its name ends in `.json`, else TOML.
    ///
    /// # Errors
    /// [`SpecError::Read`], [`SpecError::TooLarge`], or [`SpecError::Invalid`], which says where and what.
    pub fn load(file: &Path) -> Result<Self, SpecError> {
        let read = |cause| SpecError::Read {
            file: file.to_owned(),
            cause,
        };
        let larger =
            std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() > MAX_FILE);
        if larger {
            return Err(SpecError::TooLarge {
                file: file.to_owned(),
                limit: MAX_FILE,
            });
        }
        let bytes = lb_core::files::read(file, MAX_FILE).map_err(read)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| read(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        Self::parse_origin(&text, Format::of_file(file), Some(file.to_owned()))
    }

    fn parse_origin(text: &str, format: Format, file: Option<PathBuf>) -> Result<Self, SpecError> {
        let origin = Origin {
            text: text.into(),
            format,
            file,
        };
        if text.trim().is_empty() {
            return Ok(Self {
                origin: Some(origin),
                ..Self::default()
            });
        }
        let mut spec = parse::spec(&origin)?;
        spec.origin = Some(origin);
        Ok(spec)
    }

    /// A builder with everything but the sources and targets.
    #[must_use]
    pub fn builder(&self) -> Builder {
        ControlPlane::builder()
            .guard(self.guard.clone())
            .initial_limit(self.initial_limit)
            .pass_limit(self.pass_limit)
            .resync(self.resync)
            .settle(self.settle)
            .waves(self.waves)
    }

    /// The control plane. Nothing runs yet, and nobody was connected to.
    ///
    /// # Errors
    /// [`SpecError::Source`] or [`SpecError::Build`] for what cannot work; see [`check`](Self::check) for all
    /// problems at once.
    pub fn build(self) -> Result<ControlPlane, SpecError> {
        let mut builder = self.builder();
        for source in self.sources {
            builder = builder.boxed_source(source.build()?);
        }
        for target in self.targets {
            builder = builder.boxed_target(target.build()?);
        }
        Ok(builder.build()?)
    }
}
