//! The one place of this crate that reads the clock.

use std::time::Instant;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness measures real traffic, so it stands at the edge"
)]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
