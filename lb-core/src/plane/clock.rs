//! The one clock of a control plane.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Time;

/// Turns the runtime's clock into [`Time`] since the control plane began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: every other file is given the time that is read here"
    )]
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Time {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Time::from_micros(micros)
    }

    /// Returns at `time`, or never.
    pub(super) async fn reach(self, time: Option<Time>) {
        match time {
            Some(time) => {
                let after = time.since(Time::ZERO);
                // A time beyond what the runtime can count never comes.
                match self.began.checked_add(after + Duration::from_micros(1)) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// A seed that differs from one control plane to the next.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
