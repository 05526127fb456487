//! What a source says.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::model::{Endpoint, Mode, Name, OnDown, Route, ServiceOptions};
use crate::{
    credentials::{hidden, hidden_in_value},
    text,
};

/// Identifies a record within one source: the endpoint's service and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The service it belongs to.
    pub service: Name,
    /// Its name within the service: stable while the endpoint lives, whatever its address.
    pub id: Name,
}

impl RecordKey {
    /// The key of endpoint `id` of `service`.
    #[must_use]
    pub fn new(service: Name, id: Name) -> Self {
        Self { service, id }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}

/// An endpoint as one source knows it, with the routes it asks for.
///
/// A service without endpoints, or a route on its own, is a record without an endpoint: the routes are kept
/// and answer "unavailable".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Record {
    /// Who it is.
    pub key: RecordKey,
    /// The endpoint; `None` when the record only declares the service and its routes.
    pub endpoint: Option<Endpoint>,
    /// The protocol in which its service's traffic is understood.
    pub mode: Mode,
    /// The options it states of its service beside the mode.
    pub options: ServiceOptions,
    /// Routes it asks for; each names its own service.
    pub routes: Arc<[Route]>,
}

impl Record {
    /// A record of an HTTP endpoint without routes.
    #[must_use]
    pub fn new(key: RecordKey, endpoint: Endpoint) -> Self {
        Self {
            key,
            endpoint: Some(endpoint),
            mode: Mode::Http,
            options: ServiceOptions::default(),
            routes: Arc::default(),
        }
    }

    /// A record that declares a service and its routes without an endpoint.
    #[must_use]
    pub fn declare(key: RecordKey) -> Self {
        Self {
            key,
            endpoint: None,
            mode: Mode::Http,
            options: ServiceOptions::default(),
            routes: Arc::default(),
        }
    }

    /// The same record of a service in another mode.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The same record, stating whether its service is [exclusive](crate::Service::is_exclusive).
    #[must_use]
    pub fn with_exclusive(mut self, exclusive: bool) -> Self {
        self.options.exclusive = Some(exclusive);
        self
    }

    /// The same record, stating the fate of sessions to an endpoint of its service that is down.
    #[must_use]
    pub fn with_on_down(mut self, on_down: OnDown) -> Self {
        self.options.on_down = Some(on_down);
        self
    }

    /// The same record, stating these options of its service.
    #[must_use]
    pub fn with_options(mut self, options: ServiceOptions) -> Self {
        self.options = options;
        self
    }

    /// The same record with routes.
    #[must_use]
    pub fn with_routes(mut self, routes: impl Into<Arc<[Route]>>) -> Self {
        self.routes = routes.into();
        self
    }
}

/// A position in a source's event stream: a revision within an epoch.
///
/// Within an epoch, a greater revision is later. Another epoch (another cluster, a restarted daemon, a store
/// restored from a backup) makes revisions incomparable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The history that the revision counts in.
    pub epoch: Arc<str>,
    /// The position in it.
    pub revision: u64,
}

impl Cursor {
    /// The position `revision` in history `epoch`.
    #[must_use]
    pub fn new(epoch: impl Into<Arc<str>>, revision: u64) -> Self {
        Self {
            epoch: epoch.into(),
            revision,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.epoch, self.revision)
    }
}

/// One thing a source says. Each is applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Everything there is; what is not listed is gone.
    Reset {
        /// The cursor of the source's history at which this is true.
        at: Cursor,
        /// All records.
        records: Vec<Record>,
    },
    /// The cursor given to [`Source::watch`](super::Source::watch) was accepted; batches follow it.
    Resumed {
        /// The accepted cursor.
        at: Cursor,
    },
    /// These records were set, those are gone.
    Batch {
        /// The cursor of the source's history at which this is true.
        at: Cursor,
        /// Records added or changed.
        set: Vec<Record>,
        /// Records gone.
        remove: Vec<RecordKey>,
    },
    /// Nothing changed: alive, and caught up with `at`.
    Progress {
        /// The cursor of the source's history at which this is true.
        at: Cursor,
    },
    /// One object could not be understood or honoured; the others go on.
    ///
    /// The status lists it until a later diagnostic of the same object and field replaces it, the object is
    /// [resolved](Self::Resolved), or a reset comes that it was not told right before. So tell what is wrong with a
    /// listing before its reset, and what is wrong with an object that changed after its `Resolved`.
    Diagnostic(Diagnostic),
    /// Ends every diagnostic of one object: it was fixed, or is gone.
    Resolved {
        /// The object, as the diagnostics named it.
        object: String,
    },
}

/// A problem that a source found with one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    /// The object: a container, a key, a file and line.
    pub object: String,
    /// The field, label or key in it, where there is one.
    pub field: Option<String>,
    /// The value found, where there is one.
    pub value: Option<String>,
    /// The problem and what was expected, as a lower-case fragment.
    pub message: String,
    /// The severity: whether the object was left out.
    pub severity: Severity,
}

impl Diagnostic {
    /// The same diagnostic, fit to be logged and listed: without credentials, escaped, and bounded in size.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            object: text::cleaned(self.object, text::OBJECT),
            field: self.field.map(|field| text::cleaned(field, text::VALUE)),
            value: self
                .value
                .map(|value| text::cleaned(hidden_in_value(&value).into_owned(), text::VALUE)),
            message: text::cleaned(hidden(&self.message).into_owned(), text::MESSAGE),
            severity: self.severity,
        }
    }
}

/// The cost of what a [`Diagnostic`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The object is used; something in it was not honoured.
    Warning,
    /// The object is left out, or its last good form is kept.
    Error,
    /// A route is withheld because what restricts who may reach it cannot be honoured.
    Withheld,
    /// A whole file or listing cannot be read: what it said last stays in effect until an operator mends it.
    Failed,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        write!(f, ": {}", self.message)
    }
}
