//! Weights of the servers of one service, as their program writes them, in the range that weights have here.

use lb_core::Weight;

/// The weights here of the servers of one service, from those that are written.
///
/// Weights of at most 256 are taken as they are. Where one is greater, all of the service are scaled, so that their
/// proportion is kept as well as 0 to 256 allows.
///
/// ```
/// use lb_schemes::Proportion;
///
/// let proportion = Proportion::of([990, 10]);
/// assert_eq!(proportion.weight(990).get(), 198);
/// assert_eq!(proportion.weight(10).get(), 2);
/// assert_eq!(proportion.inexact(), None);
/// assert_eq!(Proportion::of([256, 1]).weight(1).get(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    /// The greatest written weight, and what it is here. None: all are taken as they are.
    scale: Option<(u64, u64)>,
    /// The least written weight but 0.
    least: u64,
    /// The greatest error among them, in parts of a thousand.
    error: u64,
}

/// The greatest weight here.
const MOST: u64 = 256;

/// The greatest written weight that is told from greater ones.
const GREATEST: u64 = 1 << 32;

/// From where on a proportion is reported, in parts of a thousand.
const TOLERATED: u64 = 50;

impl Proportion {
    /// The proportion of the weights of all servers of one service. One that several have may be given once.
    #[must_use]
    pub fn of(written: impl IntoIterator<Item = u64>) -> Self {
        let mut all: Vec<u64> = written
            .into_iter()
            .filter(|weight| *weight > 0)
            .map(|weight| weight.min(GREATEST))
            .collect();
        all.sort_unstable();
        all.dedup();
        let (Some(least), Some(greatest)) = (all.first().copied(), all.last().copied()) else {
            return Self::default();
        };
        if greatest <= MOST {
            return Self::default();
        }
        let worst = |top: u64| {
            let errors = all.iter().map(|weight| error(*weight, (greatest, top)));
            errors.max().unwrap_or_default()
        };
        // Of those that are off by as much, the greatest: one that joins changes the least then.
        let best = (1..=MOST).rev().map(|top| (worst(top), top));
        let (error, top) = best.min_by_key(|(error, _)| *error).unwrap_or((0, MOST));
        Self {
            scale: Some((greatest, top)),
            least,
            error,
        }
    }

    /// The weight of a server of the service.
    #[must_use]
    pub fn weight(&self, written: u64) -> Weight {
        let fitted = match self.scale {
            Some(scale) => scaled(written.min(GREATEST), scale),
            None => written.min(MOST),
        };
        let fitted = u16::try_from(fitted).ok();
        fitted
            .and_then(|fitted| Weight::new(fitted).ok())
            .unwrap_or_default()
    }

    /// The message where the proportion cannot be kept well enough.
    #[must_use]
    pub fn inexact(&self) -> Option<String> {
        let (greatest, top) = self.scale?;
        (self.error > TOLERATED).then(|| {
            format!(
                "the servers of the service have weights from {} to {greatest}, which 0 to 256 cannot express: they have {} to {top} here, and one is off by {} %",
                self.least,
                self.weight(self.least),
                self.error / 10,
            )
        })
    }
}

/// The nearest weight of a server where the greatest of its service is scaled so. A server that has a weight keeps one.
fn scaled(written: u64, (greatest, top): (u64, u64)) -> u64 {
    match written {
        0 => 0,
        written => ((written * top + greatest / 2) / greatest).clamp(1, top),
    }
}

/// The error of a scaled weight, in parts of a thousand.
fn error(written: u64, (greatest, top): (u64, u64)) -> u64 {
    let meant = u128::from(written * top);
    let found = u128::from(scaled(written, (greatest, top)) * greatest);
    let off = meant.abs_diff(found) * 1000 / meant.max(1);
    u64::try_from(off).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(written: &[u64]) -> (Vec<u16>, bool) {
        let proportion = Proportion::of(written.iter().copied());
        let weights = written.iter().map(|one| proportion.weight(*one).get());
        (weights.collect(), proportion.inexact().is_none())
    }

    #[test]
    fn case_s06_weights_beyond_the_range_keep_their_proportion() {
        for (written, expected, exact) in [
            // What fits is not changed.
            (vec![1, 3], vec![1, 3], true),
            (vec![0, 256], vec![0, 256], true),
            (vec![], vec![], true),
            (vec![0], vec![0], true),
            // What does not fit is scaled.
            (vec![990, 10], vec![198, 2], true),
            (vec![1000, 3000], vec![85, 255], true),
            (vec![300], vec![256], true),
            (vec![300, 0, 300], vec![256, 0, 256], true),
            (vec![500, 333, 167], vec![255, 170, 85], true),
            // A server that has a weight keeps one, and that is said.
            (vec![100_000, 1], vec![256, 1], false),
            (vec![u64::MAX, 1, 0], vec![256, 1, 0], false),
        ] {
            assert_eq!(fitted(&written), (expected, exact), "{written:?}");
        }
    }

    #[test]
    fn case_s06_no_proportion_within_the_range_is_reported() {
        for least in [1_u64, 7, 10, 99] {
            for times in [2_u64, 3, 10, 50, 200, 256] {
                let (weights, exact) = fitted(&[least, least * times]);
                assert!(exact, "{least} {times} {weights:?}");
            }
        }
    }
}
