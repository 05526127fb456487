//! When probes make an endpoint ready or down. Pure.

/// Counts probes: so many good ones in a row open the gate, so many bad ones close it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gate {
    rise: u32,
    fall: u32,
    open: Option<bool>,
    streak: (bool, u32),
}

impl Gate {
    /// Nothing is known yet. The first opening takes `rise` good probes, the first closing `fall` bad ones.
    pub(crate) fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            open: None,
            streak: (false, 0),
        }
    }

    /// Takes one probe; whether the gate is open, once that is known.
    pub(crate) fn probe(&mut self, good: bool) -> Option<bool> {
        let (before, count) = self.streak;
        let count = if before == good {
            count.saturating_add(1)
        } else {
            1
        };
        self.streak = (good, count);
        let needed = if good { self.rise } else { self.fall };
        if count >= needed {
            self.open = Some(good);
        }
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_probe_among_good_ones_changes_nothing() {
        let mut gate = Gate::new(2, 3);
        let told: Vec<_> = [true, true, false, true, false, false, false, true, true]
            .map(|good| gate.probe(good))
            .into();
        let (open, closed) = (Some(true), Some(false));
        assert_eq!(
            told,
            [None, open, open, open, open, open, closed, closed, open]
        );
    }
}
