//! Which sources share services, and what a source may ask for.

use async_trait::async_trait;

use super::{Cursor, Descriptor, Sink, Source, SourceError};
use crate::{limits::Limits, model::Name};

/// Sources of one trust share services: see [`merge`](crate::merge).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Trust(TrustOf);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
enum TrustOf {
    #[default]
    All,
    Kind(&'static str),
    Label(Name),
}

impl Trust {
    /// A text that each trust has for itself; none for the one of all sources without a description.
    pub(crate) fn label(&self) -> Option<String> {
        match &self.0 {
            TrustOf::All => None,
            TrustOf::Kind(kind) => Some((*kind).to_owned()),
            TrustOf::Label(label) => Some(format!("trust:{label}")),
        }
    }
}

impl Descriptor {
    /// The same source, sharing services with the sources of this label. Without a label it shares them with the sources
    /// of its [kind](Self::kind) that have none either.
    #[must_use]
    pub fn with_trust(mut self, label: Name) -> Self {
        self.trust = Some(label);
        self
    }

    /// The same source, to which the name of an endpoint means something else than to others of its kind.
    #[must_use]
    pub fn with_local_ids(mut self) -> Self {
        self.local_ids = true;
        self
    }

    /// The same source, of which nothing is in effect before each earlier source that it shares no services with has told
    /// everything once: until then it is not known what is theirs.
    #[must_use]
    pub fn yielding(mut self) -> Self {
        self.yields = true;
        self
    }

    /// The same source, which may ask for no more than this.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The sources it shares services with.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust(match &self.trust {
            Some(label) => TrustOf::Label(label.clone()),
            None => TrustOf::Kind(self.kind),
        })
    }
}

/// A source with a trust and limits of its own.
///
/// ```
/// use lb_core::{FileSource, Limits, source::Restricted};
///
/// let file = FileSource::new("tenant".parse().unwrap(), "/etc/lb/tenant.toml");
/// let mut limits = Limits::default();
/// limits.max_routes = 100;
/// let tenant = Restricted::new(Box::new(file)).with_limits(limits);
/// ```
pub struct Restricted {
    source: Box<dyn Source>,
    trust: Option<Name>,
    limits: Option<Limits>,
}

impl std::fmt::Debug for Restricted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restricted")
            .field("source", &self.source.describe())
            .field("trust", &self.trust)
            .field("limits", &self.limits)
            .finish()
    }
}

impl Restricted {
    /// The source as it is.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            trust: None,
            limits: None,
        }
    }

    /// The same source, sharing services with the sources of this label, and [yielding](Descriptor::yielding) to all
    /// others.
    #[must_use]
    pub fn with_trust(mut self, label: Name) -> Self {
        self.trust = Some(label);
        self
    }

    /// The same source, which may ask for no more than this.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }
}

#[async_trait]
impl Source for Restricted {
    fn describe(&self) -> Descriptor {
        let mut descriptor = self.source.describe();
        if let Some(trust) = &self.trust {
            descriptor.trust = Some(trust.clone());
            descriptor.yields = true;
        }
        if let Some(limits) = &self.limits {
            descriptor.limits = limits.clone();
        }
        descriptor
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        self.source.watch(resume, sink).await
    }
}
