//! Until when something may take.

use std::time::Duration;

use tokio::time::Instant;

/// A moment, and how long before it the waiting began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        let now = now();
        Self {
            // A wait too long for the clock is no wait without end.
            at: now.checked_add(limit).unwrap_or(now),
            limit,
        }
    }
}

/// The time that is left.
pub(crate) fn remaining(deadline: &Deadline) -> Duration {
    deadline.at.saturating_duration_since(now())
}

#[expect(clippy::disallowed_methods, reason = "the edge reads the clock")]
fn now() -> Instant {
    Instant::now()
}
