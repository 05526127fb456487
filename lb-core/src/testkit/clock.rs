//! Time that a test moves.

use std::time::Duration;

use crate::time::Time;

/// A clock that stands still until it is moved, and never goes back.
///
/// ```
/// use std::time::Duration;
/// use lb_core::{Time, testkit::SimClock};
///
/// let mut clock = SimClock::default();
/// clock.advance(Duration::from_secs(1));
/// clock.advance_to(Some(Time::ZERO));
/// assert_eq!(clock.now(), Time::ZERO + Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SimClock {
    now: Time,
}

impl SimClock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Moves on by `step`; returns the new time.
    pub fn advance(&mut self, step: Duration) -> Time {
        self.now = self.now + step;
        self.now
    }

    /// Moves on to a deadline, if there is one ahead; returns the new time.
    pub fn advance_to(&mut self, deadline: Option<Time>) -> Time {
        self.now = deadline.map_or(self.now, |deadline| self.now.max(deadline));
        self.now
    }
}
