//! Growing pauses between attempts, spread by jitter from a seed.

use std::time::Duration;

/// The growth of pauses between failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// The first pause, before jitter.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// An attempt that was healthy for so long makes the next pause the first one again.
    pub healthy: Duration,
}

impl BackoffConfig {
    /// Sources: 0.8 s doubling to 30 s, starting over after 120 healthy seconds.
    pub const SOURCE: Self = Self::new(
        Duration::from_millis(800),
        Duration::from_secs(30),
        Duration::from_secs(120),
    );

    /// Targets: 0.1 s doubling to 10 s, starting over with the first success.
    pub const TARGET: Self = Self::new(
        Duration::from_millis(100),
        Duration::from_secs(10),
        Duration::ZERO,
    );

    /// Pauses from `first` to `max`, starting over after `healthy`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration, healthy: Duration) -> Self {
        Self {
            first,
            max,
            healthy,
        }
    }
}

/// Counts failures and says how long to pause after each.
///
/// ```
/// use lb_core::backoff::{Backoff, BackoffConfig, Jitter};
///
/// let mut backoff = Backoff::new(BackoffConfig::SOURCE);
/// let mut jitter = Jitter::new(7);
/// for most in [800, 1600, 3200] {
///     let pause = backoff.pause(&mut jitter).as_millis();
///     assert!(pause >= most / 2 && pause <= most);
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    /// A backoff that has seen no failure.
    #[must_use]
    pub fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            failures: 0,
        }
    }

    /// Counts one failure and returns the pause after it: between half and all of a bound that doubles with
    /// each failure.
    pub fn pause(&mut self, jitter: &mut Jitter) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let bound = self
            .config
            .first
            .saturating_mul(factor)
            .min(self.config.max);
        jitter.between(bound / 2, bound)
    }

    /// Starts over: the next pause is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Starts over when the attempt that has just ended was healthy for long enough.
    pub fn attempt_was_healthy_for(&mut self, healthy: Duration) {
        if healthy >= self.config.healthy {
            self.reset();
        }
    }

    /// The number of failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The shortest bound: nothing that asks for attention is heard more often.
    #[must_use]
    pub fn first(&self) -> Duration {
        self.config.first
    }
}

/// A small seeded generator for jitter: the same seed gives the same pauses.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A duration of at least `low` and at most `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        let add = self.number() % span.saturating_add(1).max(1);
        low.saturating_add(Duration::from_micros(add))
    }
}
