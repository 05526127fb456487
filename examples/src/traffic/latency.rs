//! How long things took: counts by size, of fixed memory. Pure.

use std::time::Duration;

/// Counts of durations, exact to about three percent, from a microsecond to more than an hour.
///
/// ```
/// use std::time::Duration;
///
/// use lb_examples::traffic::Latencies;
///
/// let mut seen = Latencies::default();
/// for ms in 1..=100 {
///     seen.add(Duration::from_millis(ms));
/// }
/// assert_eq!(seen.count(), 100);
/// assert!((48.0..=52.0).contains(&(seen.quantile(0.5).as_secs_f64() * 1000.0)));
/// ```
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    greatest: Duration,
}

/// Each doubling is divided into 2^5 buckets.
const PRECISION: u32 = 5;
const PARTS: u64 = 1 << PRECISION;
/// Up to 2^32 microseconds.
const BUCKETS: usize = ((32 - PRECISION as usize) + 1) * PARTS as usize;

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            greatest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.greatest = self.greatest.max(took);
    }

    /// Counts all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The number of those counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The greatest, exactly.
    #[must_use]
    pub fn greatest(&self) -> Duration {
        self.greatest
    }

    /// The time that the share `part` (0 to 1) of all took at most; zero when nothing was counted.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count is a count"
        )]
        let rank = ((self.count as f64 * part.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_bound(at)).min(self.greatest);
            }
        }
        self.greatest
    }
}

fn bucket_of(micros: u64) -> usize {
    let micros = micros.min((1 << 32) - 1);
    if micros < PARTS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = micros.ilog2() - PRECISION;
    let part = (micros >> exponent) - PARTS;
    usize::try_from(u64::from(exponent + 1) * PARTS + part).unwrap_or(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let exponent = bucket / PARTS - 1;
    let part = bucket % PARTS + PARTS;
    ((part + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_counted_within_its_bucket() {
        let mut micros = 0_u64;
        while micros < 1 << 32 {
            let bound = upper_bound(bucket_of(micros));
            assert!(bound >= micros, "{micros} counted below itself, at {bound}");
            assert!(bound - micros <= micros / PARTS + 1, "{micros} at {bound}");
            micros = micros * 9 / 8 + 1;
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_of_merged_counts_are_those_of_all() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        for ms in 1..=99 {
            one.add(Duration::from_millis(ms));
        }
        other.add(Duration::from_secs(5));
        one.merge(&other);
        assert_eq!(one.count(), 100);
        assert_eq!(one.quantile(1.0), Duration::from_secs(5));
        let p99 = one.quantile(0.99).as_millis();
        assert!((99..=103).contains(&p99), "{p99}");
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
