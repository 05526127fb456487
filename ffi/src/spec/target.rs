//! One target, as it is configured.

use lb_core::{Driver, Name};
use lb_haproxy::{
    Scope,
    driver::{HaproxyDriver, TargetConfig, other_owner},
};
use serde::{Deserialize, Deserializer, de::DeserializeSeed};

use super::{
    error::SpecError,
    origin::{Format, Origin},
    parse,
    sieve::Sieve,
};

/// One target, by its `kind`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TargetSpec {
    /// `kind = "haproxy"`, or no `kind`.
    Haproxy(TargetConfig),
}

/// The word after `kind =`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TargetKind {
    #[default]
    Haproxy,
}

impl TargetSpec {
    /// Reads one target: a table with `kind` and the fields of that kind.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] says where and what.
    pub fn parse(text: &str, format: Format) -> Result<Self, SpecError> {
        let origin = Origin {
            text: text.into(),
            format,
            file: None,
        };
        let kind = parse::read(&origin, parse::DefaultTag::<TargetKind>::seed())?.kind;
        Ok(parse::read(&origin, kind)?)
    }

    /// Its name in status, events and metrics.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Haproxy(config) => &config.name,
        }
    }

    /// The same target for the sake of one service. Where it does not say which backends it manages, those are the
    /// service's own and the one that could be made for it at run time.
    #[must_use]
    pub fn for_service(self, service: &Name) -> Self {
        match self {
            Self::Haproxy(config) if config.manage.is_all() => {
                let policy = &config.policy;
                let backends = [
                    policy.backend_of(service),
                    policy.dynamic_backend_of(service),
                ];
                Self::Haproxy(config.managing(Scope::only(backends)))
            }
            Self::Haproxy(config) => Self::Haproxy(config),
        }
    }

    /// Another living process on this machine that manages the same backends, as a text for people.
    pub async fn other_owner(&self) -> Option<String> {
        match self {
            Self::Haproxy(config) => Some(other_owner(config).await?.to_string()),
        }
    }

    /// Makes the driver of the target. It connects at its first pass.
    ///
    /// # Errors
    /// [`SpecError`] when it cannot work with this.
    pub fn build(self) -> Result<Box<dyn Driver>, SpecError> {
        match self {
            Self::Haproxy(config) => Ok(Box::new(HaproxyDriver::new(config))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for TargetKind {
    type Value = TargetSpec;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<TargetSpec, D::Error> {
        match self {
            Self::Haproxy => Sieve::kind().deserialize(input).map(TargetSpec::Haproxy),
        }
    }
}
