//! Time and links, as both sources need them.

use std::time::Duration;

use lb_core::SourceError;
use tokio::time::{Instant, sleep};

use crate::{engine::Engine, error::EngineError};

/// Waits, then asks whether the engine still answers: a link may be silent for ever without an error.
pub(crate) async fn ping_later(engine: Engine, interval: Duration) -> Result<(), EngineError> {
    sleep(interval).await;
    engine.ping(interval * 2).await
}

pub(crate) fn ended() -> SourceError {
    SourceError::transient("GET /events: the engine ended the stream")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: pure code is given the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
