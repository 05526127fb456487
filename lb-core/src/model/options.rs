//! How a service is to be served, beside its mode.

use serde::{Deserialize, Serialize};

/// The fate of sessions to an endpoint that its source reports [`Down`](super::EndpointState::Down).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnDown {
    /// Sessions end by themselves. No new ones are sent there.
    #[default]
    Keep,
    /// Sessions are shut down once the endpoint is seen to be out: right for databases, whose clients would otherwise
    /// go on with a server that was fenced off.
    ShutdownSessions,
}

/// The options that one record states of its service, beside the mode. A field that is `None` states nothing.
///
/// State it in the source that reports the endpoints: what another source states is not known until that one is heard.
///
/// ```
/// use lb_core::{OnDown, ServiceOptions};
///
/// let options = ServiceOptions::default().exclusive(true).on_down(OnDown::ShutdownSessions);
/// assert_eq!(options.exclusive, Some(true));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// If `true`, at most one endpoint of the service can get traffic at any moment: see
    /// [`Service::is_exclusive`](super::Service::is_exclusive). Defaults to `false`.
    pub exclusive: Option<bool>,
    /// The fate of sessions to an endpoint that is down. Defaults to [`OnDown::Keep`].
    pub on_down: Option<OnDown>,
}

impl ServiceOptions {
    /// The same options, stating whether the service is exclusive (`None`: not stated).
    #[must_use]
    pub fn exclusive(mut self, exclusive: impl Into<Option<bool>>) -> Self {
        self.exclusive = exclusive.into();
        self
    }

    /// The same options, stating the fate of sessions to an endpoint that is down (`None`: not stated).
    #[must_use]
    pub fn on_down(mut self, on_down: impl Into<Option<OnDown>>) -> Self {
        self.on_down = on_down.into();
        self
    }

    /// Returns `true` if nothing is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
