//! When slots run out. Pure.

use std::time::Duration;

use serde::Serialize;

/// How the slots of one backend, or of all, are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotUse {
    /// How many there are.
    pub slots: u32,
    /// How many can take an endpoint now.
    pub free: u32,
    /// How many rest after their last tenant, or still let it go.
    pub quarantined: u32,
    /// How many servers were made at run time because there was no slot.
    pub dynamic: u32,
    /// How many servers of backends with a service are no slots and are never changed.
    pub fixed: u32,
}

impl SlotUse {
    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            free: self.free.saturating_add(other.free),
            quarantined: self.quarantined.saturating_add(other.quarantined),
            dynamic: self.dynamic.saturating_add(other.dynamic),
            fixed: self.fixed.saturating_add(other.fixed),
        }
    }

    /// What is left of `self` without `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            slots: self.slots.saturating_sub(other.slots),
            free: self.free.saturating_sub(other.free),
            quarantined: self.quarantined.saturating_sub(other.quarantined),
            dynamic: self.dynamic.saturating_sub(other.dynamic),
            fixed: self.fixed.saturating_sub(other.fixed),
        }
    }

    fn taken(self) -> u32 {
        self.slots.saturating_sub(self.free)
    }
}

/// How long the free slots last at the rate at which slots were taken: `None` where their number does not grow.
///
/// `then` was seen this long before `now`. A backend that got more slots in between has the rate of what was taken.
///
/// ```
/// use std::time::Duration;
/// use lb_haproxy::forecast::lasts;
///
/// let minute = Duration::from_secs(60);
/// assert_eq!(lasts(10, 16, minute, 12), Some(2 * minute), "six a minute, twelve left");
/// assert_eq!(lasts(10, 10, minute, 12), None);
/// assert_eq!(lasts(10, 16, minute, 0), Some(Duration::ZERO));
/// ```
#[must_use]
pub fn lasts(taken_then: u32, taken_now: u32, between: Duration, free: u32) -> Option<Duration> {
    let grown = taken_now.checked_sub(taken_then).filter(|more| *more > 0)?;
    let each = between / grown;
    Some(each.checked_mul(free).unwrap_or(Duration::MAX))
}

/// Watches the slots of one backend and says once when they are about to run out.
#[derive(Debug, Clone, Default)]
pub struct Forecast {
    /// The beginning of the span that the rate is taken over, and a later beginning for when that is too old.
    older: Option<(Duration, u32)>,
    newer: Option<(Duration, u32)>,
    /// Whether it was said, until there is room again.
    warned: bool,
}

/// A rate is taken over half to all of this time.
const SPAN: Duration = Duration::from_secs(600);

/// A rate over less says little.
const SHORTEST: Duration = Duration::from_secs(10);

/// Slots that last for less are about to run out.
const HORIZON: Duration = Duration::from_secs(1800);

/// One of so many slots free is few, whatever the rate.
const FEW: u32 = 10;

/// What there is to say of a backend's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing, or nothing new.
    Quiet,
    /// They are about to run out: in this time, where a rate is known.
    Low(Option<Duration>),
    /// There is room again.
    Room,
}

impl Forecast {
    /// Takes in how the slots are used now. Each shortage is told once, and its end once.
    pub fn observe(&mut self, now: Duration, seen: SlotUse) -> Outlook {
        let taken = seen.taken();
        let newer = *self.newer.get_or_insert((now, taken));
        let older = *self.older.get_or_insert(newer);
        let left = lasts(older.1, taken, now.saturating_sub(older.0), seen.free)
            .filter(|_| now.saturating_sub(older.0) >= SHORTEST);
        if now.saturating_sub(newer.0) >= SPAN / 2 {
            self.older = Some(newer);
            self.newer = Some((now, taken));
        }
        if seen.slots == 0 {
            return Outlook::Quiet;
        }
        let few = seen.free.saturating_mul(FEW) < seen.slots;
        let soon = left.is_some_and(|left| left < HORIZON);
        // Room is more than what made it low, so that one endpoint that comes and goes is not told again and again.
        let room = seen.free.saturating_mul(FEW) >= seen.slots.saturating_mul(2) && !soon;
        match self.warned {
            false if few || soon => {
                self.warned = true;
                Outlook::Low(left)
            }
            true if room => {
                self.warned = false;
                Outlook::Room
            }
            _ => Outlook::Quiet,
        }
    }
}
