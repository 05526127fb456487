//! Monotonic time as a value, so that pure code can be given it.

use std::{fmt, ops::Add, time::Duration};

use serde::Serialize;

/// A moment on a monotonic clock: microseconds since a control plane began.
///
/// Only the edge reads a clock; everything else is given a `Time`.
///
/// ```
/// use std::time::Duration;
/// use lb_core::Time;
///
/// let later = Time::ZERO + Duration::from_millis(5);
/// assert_eq!(later.since(Time::ZERO), Duration::from_millis(5));
/// assert_eq!(Time::ZERO.since(later), Duration::ZERO, "time never runs backwards");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Time(u64);

impl Time {
    /// The beginning.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds after the beginning.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this; zero when this is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of time.
    fn add(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
