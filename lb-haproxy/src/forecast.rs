//! When slots run out. Pure.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

/// The use of the slots of one backend, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotUse {
    /// The number of slots.
    pub slots: u32,
    /// The number of slots that can take an endpoint now.
    pub free: u32,
    /// The number of slots in quarantine after their last tenant, or still draining it.
    pub quarantined: u32,
    /// The number of servers that were made at run time because there was no slot.
    pub dynamic: u32,
    /// The number of servers of backends with a service that are no slots and are never changed.
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

    /// The part of `self` that is not in `other`.
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

    /// Slots with an endpoint. A slot in quarantine has none, and is free again when its time is over.
    fn taken(self) -> u32 {
        self.slots.saturating_sub(self.available())
    }

    /// Slots that are free or will be when their quarantine ends.
    fn available(self) -> u32 {
        self.free.saturating_add(self.quarantined).min(self.slots)
    }
}

/// The time the free slots last at the rate at which slots were taken: `None` where their number does not grow.
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

/// Watches the slots of one backend and reports once when they are about to run out.
///
/// A rate counts only where it is a trend: slots were taken again and again over some time, and more than half of them
/// are taken. A first scale-up, or a deploy that starts new endpoints before it stops the old ones, is none.
#[derive(Debug, Clone, Default)]
pub struct Forecast {
    /// Slots taken at the beginning of the span, then at each burst of new endpoints since.
    rises: VecDeque<Rise>,
    /// If `true`, the shortage was reported, and there is no room again yet.
    warned: bool,
}

/// More slots are taken than at any time before within the span.
#[derive(Debug, Clone, Copy)]
struct Rise {
    began: Duration,
    taken: u32,
}

/// A rate is taken over at most this time.
const SPAN: Duration = Duration::from_secs(600);

/// New endpoints within this time are one burst.
const BURST: Duration = Duration::from_secs(30);

/// A trend has at least this many bursts within [`SPAN`].
const BURSTS: usize = 3;

/// Slots that last for less are about to run out.
const HORIZON: Duration = Duration::from_secs(1800);

/// One of so many slots available is few, whatever the rate.
const FEW: u32 = 10;

/// The report on a backend's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing, or nothing new.
    Quiet,
    /// They are about to run out: in this time, where there is a trend.
    Low(Option<Duration>),
    /// There is room again.
    Room,
}

impl Forecast {
    /// Takes in how the slots are used now. Each shortage is reported once, and its end once.
    pub fn observe(&mut self, now: Duration, seen: SlotUse) -> Outlook {
        let left = self.trend(now, seen);
        if seen.slots == 0 {
            return Outlook::Quiet;
        }
        let available = seen.available();
        let few = available.saturating_mul(FEW) < seen.slots;
        let half = available.saturating_mul(2) < seen.slots;
        let soon = half && left.is_some_and(|left| left < HORIZON);
        // Room is more than what made it low, so that one endpoint that comes and goes is not reported again and again.
        // Slots in quarantine take no endpoint yet: one at least must be free.
        let enough = available.saturating_mul(FEW) >= seen.slots.saturating_mul(2);
        let room = enough && seen.free > 0 && !soon;
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

    /// The time the slots last, where there is a trend.
    fn trend(&mut self, now: Duration, seen: SlotUse) -> Option<Duration> {
        let taken = seen.taken();
        while let Some(next) = self.rises.get(1)
            && now.saturating_sub(next.began) > SPAN
        {
            self.rises.pop_front();
        }
        let bursts = self.rises.len().saturating_sub(1);
        match self.rises.back_mut() {
            Some(last) if taken <= last.taken => {}
            Some(last) if bursts > 0 && now.saturating_sub(last.began) < BURST => {
                last.taken = taken;
            }
            _ => self.rises.push_back(Rise { began: now, taken }),
        }
        // Whatever grew and shrank again starts anew.
        if self.rises.iter().all(|rise| taken <= rise.taken) {
            self.rises.clear();
            self.rises.push_back(Rise { began: now, taken });
        }
        let first = self.rises.front()?;
        if self.rises.len() <= BURSTS {
            return None;
        }
        let since = now.saturating_sub(first.began);
        lasts(first.taken, taken, since, seen.available())
    }
}
