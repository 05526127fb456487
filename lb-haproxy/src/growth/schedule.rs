//! When to reload.

use std::time::Duration;

use super::{GrowthConfig, Need};

/// The decision on a need now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is needed.
    Nothing,
    /// Ask again then: it has not been needed for long enough, or the last reload is too young.
    Wait(Duration),
    /// Reload.
    Reload,
}

/// The schedule of reloads, from what is needed, the time and the reloads before. It knows no clock: times are counted
/// from when the driver began.
///
/// A reload is made when something has been needed without a break for [`wait`](GrowthConfig::wait) and a share of
/// [`jitter`](GrowthConfig::jitter), no sooner than [`pause`](GrowthConfig::pause) after the last one, and never more
/// often than [`burst`](GrowthConfig::burst) and [`refill`](GrowthConfig::refill) allow in the long run.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The seed of the jitter.
    seed: u64,
    /// Since when something is needed.
    since: Option<Duration>,
    /// The earliest time of the next reload, whatever is needed.
    earliest: Duration,
    /// The time at which all reloads granted so far would have been used up at one for each refill.
    spent: Duration,
    /// Reloads begun.
    count: u64,
    /// Failed reloads in a row.
    failures: u32,
}

/// The longest pause after failed reloads.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

impl Schedule {
    /// No reload yet. Equal seeds give equal jitter.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            since: None,
            earliest: Duration::ZERO,
            spent: Duration::ZERO,
            count: 0,
            failures: 0,
        }
    }

    /// Decides about `need` now.
    pub fn decide(&mut self, need: &Need, config: &GrowthConfig, now: Duration) -> Decision {
        if need.is_empty() {
            self.since = None;
            return Decision::Nothing;
        }
        let since = *self.since.get_or_insert(now);
        let due = since
            .saturating_add(config.wait)
            .saturating_add(self.jitter(config))
            .max(self.earliest)
            .max(self.granted_at(config));
        match now >= due {
            true => Decision::Reload,
            false => Decision::Wait(due),
        }
    }

    /// A reload is being made: it counts, whatever comes of it.
    pub fn begun(&mut self, config: &GrowthConfig, now: Duration) {
        self.count += 1;
        self.spent = self.spent.max(now).saturating_add(config.refill);
        self.earliest = now.saturating_add(config.pause);
        self.since = None;
    }

    /// The reload begun last went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The reload begun last failed, or could not even be tried.
    pub fn failed(&mut self, config: &GrowthConfig, now: Duration) {
        let shift = self.failures.min(16);
        self.failures += 1;
        let pause = config.pause.max(Duration::from_secs(1));
        let longest = LONGEST_PAUSE.max(pause);
        let pause = pause.saturating_mul(1 << shift).min(longest);
        self.earliest = now.saturating_add(pause);
    }

    /// The time at which the bucket has a reload to grant.
    fn granted_at(&self, config: &GrowthConfig) -> Duration {
        let ahead = config.refill.saturating_mul(config.burst.saturating_sub(1));
        self.spent.saturating_sub(ahead)
    }

    fn jitter(&self, config: &GrowthConfig) -> Duration {
        let mut mixed = self.seed ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let most = u64::try_from(config.jitter.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % most.saturating_add(1).max(1))
    }
}
