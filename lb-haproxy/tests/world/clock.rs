//! The world's time: the runtime's, which stands still while anything is to be done.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time of this thread's world begins now.
pub(crate) fn begin() {
    BEGAN.set(Some(instant()));
}

/// The time since this thread's world was made.
pub(crate) fn elapsed() -> Duration {
    BEGAN
        .get()
        .map_or(Duration::ZERO, |began| instant() - began)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a simulation has the clock of its runtime"
)]
fn instant() -> Instant {
    Instant::now()
}
