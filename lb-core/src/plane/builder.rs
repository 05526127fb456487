//! Puts a control plane together.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    clock::{Clock, seed},
    error::BuildError,
    handle::Handle,
    run::{ControlPlane, Settings},
    shared::Shared,
};
use crate::{
    backoff::BackoffConfig,
    driver::Driver,
    engine::{Engine, EngineConfig},
    guard::GuardConfig,
    reconciler::Waves,
    source::Source,
};

/// The most requests of handles that wait for the control plane.
const COMMANDS: usize = 64;

/// Puts a [`ControlPlane`] together: see [`ControlPlane::builder`].
pub struct Builder {
    sources: Vec<Box<dyn Source>>,
    targets: Vec<Box<dyn Driver>>,
    engine: EngineConfig,
    settings: Settings,
    events: usize,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("sources", &self.sources.len())
            .field("targets", &self.targets.len())
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        let mut engine = EngineConfig::default();
        engine.reconciler.seed = seed();
        Self {
            sources: Vec::new(),
            targets: Vec::new(),
            engine,
            settings: Settings {
                source_backoff: BackoffConfig::SOURCE,
                source_queue: 64,
                pass_limit: Duration::from_secs(120),
            },
            events: 1024,
        }
    }

    /// Adds a source. Where two disagree, the one added earlier wins.
    #[must_use]
    pub fn source(mut self, source: impl Source) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Adds a target by its driver.
    #[must_use]
    pub fn target(mut self, driver: impl Driver) -> Self {
        self.targets.push(Box::new(driver));
        self
    }

    /// As [`source`](Self::source), for a source whose type is not known here.
    #[must_use]
    pub fn boxed_source(mut self, source: Box<dyn Source>) -> Self {
        self.sources.push(source);
        self
    }

    /// As [`target`](Self::target), for a driver whose type is not known here.
    #[must_use]
    pub fn boxed_target(mut self, driver: Box<dyn Driver>) -> Self {
        self.targets.push(driver);
        self
    }

    /// The mass removals that are held back, and for how long.
    #[must_use]
    pub fn guard(mut self, guard: GuardConfig) -> Self {
        self.engine.guard = guard;
        self
    }

    /// Sets the debounce interval of changes. Defaults to zero. Changes that take traffic away from
    /// an endpoint never wait.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.engine.reconciler.settle = settle;
        self
    }

    /// In which order targets get a change: all at once unless set.
    #[must_use]
    pub fn waves(mut self, waves: Waves) -> Self {
        self.engine.reconciler.waves = waves;
        self
    }

    /// Sets the interval at which a target is looked at although nothing changed. Defaults to 30 s.
    #[must_use]
    pub fn resync(mut self, resync: Duration) -> Self {
        self.engine.reconciler.resync = resync;
        self
    }

    /// Sets the time the first snapshot waits for a source whose initial sync has not completed. Defaults to 10 s.
    /// While no source has, nothing is known and no target is touched, however long it takes.
    #[must_use]
    pub fn initial_limit(mut self, limit: Duration) -> Self {
        self.engine.initial_limit = limit;
        self
    }

    /// Pauses between attempts of a source: see [`BackoffConfig::SOURCE`].
    #[must_use]
    pub fn source_backoff(mut self, backoff: BackoffConfig) -> Self {
        self.settings.source_backoff = backoff;
        self
    }

    /// Pauses between failed passes of a target: see [`BackoffConfig::TARGET`].
    #[must_use]
    pub fn target_backoff(mut self, backoff: BackoffConfig) -> Self {
        self.engine.reconciler.backoff = backoff;
        self
    }

    /// Sets the time one pass of a target may take. Defaults to 120 s.
    #[must_use]
    pub fn pass_limit(mut self, limit: Duration) -> Self {
        self.settings.pass_limit = limit;
        self
    }

    /// Sets the number of events that are kept for a slow subscriber. Defaults to 1024.
    #[must_use]
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.events = capacity;
        self
    }

    /// Sets the seed of the jitter: chance unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.engine.reconciler.seed = seed;
        self
    }

    /// Checks everything and builds the control plane. Nothing runs before [`ControlPlane::run`] or
    /// [`ControlPlane::spawn`].
    ///
    /// # Errors
    /// [`BuildError`] for a name used twice or a setting out of its range.
    pub fn build(self) -> Result<ControlPlane, BuildError> {
        self.engine.guard.check()?;
        self.check_settings()?;
        let clock = Clock::start();
        let now = clock.now();
        let mut engine = Engine::new(self.engine.clone(), now);
        let mut sources = Vec::new();
        for source in self.sources {
            let descriptor = source.describe();
            let id = engine.add_source(now, descriptor.clone())?;
            sources.push((id, descriptor, source));
        }
        let mut targets = Vec::new();
        for driver in self.targets {
            let id = engine.add_target(now, driver.name().clone())?;
            targets.push((id, driver));
        }
        let shared = Arc::new(Shared::new(clock, engine, self.events));
        let (commands, requests) = mpsc::channel(COMMANDS);
        let handle = Handle::new(shared, commands, self.settings.pass_limit);
        let seed = self.engine.reconciler.seed;
        Ok(ControlPlane::new(
            handle,
            requests,
            self.settings,
            seed,
            sources,
            targets,
        ))
    }

    fn check_settings(&self) -> Result<(), BuildError> {
        let refuse = |setting, value: String, expected| {
            Err(BuildError::Setting {
                setting,
                value,
                expected,
            })
        };
        check_resync(self.engine.reconciler.resync)?;
        if self.settings.pass_limit.is_zero() {
            return refuse("pass_limit", "0".to_owned(), "more than 0");
        }
        for (setting, backoff) in [
            ("source_backoff", self.settings.source_backoff),
            ("target_backoff", self.engine.reconciler.backoff),
        ] {
            if backoff.first.is_zero() || backoff.first > backoff.max {
                let value = format!("{:?} to {:?}", backoff.first, backoff.max);
                return refuse(
                    setting,
                    value,
                    "a first pause above 0 and not above the longest",
                );
            }
        }
        // The channel rounds up to a power of two and refuses more than half of all numbers.
        if self.events == 0 || self.events > 1 << 20 {
            return refuse("event_capacity", self.events.to_string(), "1 to 1048576");
        }
        Ok(())
    }
}

/// Refuses to look at targets all the time.
pub(super) fn check_resync(resync: Duration) -> Result<(), BuildError> {
    if resync < Duration::from_millis(10) {
        return Err(BuildError::Setting {
            setting: "resync",
            value: format!("{resync:?}"),
            expected: "10 ms or more",
        });
    }
    Ok(())
}
