//! Who may be asked what: finds requests that reached an address which was not their service's.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lb_core::Name;
use serde::Serialize;

use super::clock::now;

/// Judges every request without trusting what is under test.
///
/// Two witnesses. The endpoint itself: the services whose requests arrive there must be, as runs, a subsequence of
/// the services that owned the address, so a request for A after the first for B is one too late
/// ([`arrived`](Self::arrived)). And time: once an address was reported to have left a service, no request that
/// begins later may be answered there for it ([`answered`](Self::answered)).
#[derive(Debug)]
pub struct Oracle {
    began: Instant,
    addresses: RwLock<HashMap<SocketAddr, Arc<Mutex<Owned>>>>,
    misrouted: AtomicU64,
    unclaimed: AtomicU64,
    kept: Mutex<Vec<Misroute>>,
}

/// The number of misroutes that are kept for the report; all are counted.
const KEPT: usize = 20;

/// A request that reached an address which was not its service's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misroute {
    /// The address at which it arrived.
    pub address: SocketAddr,
    /// The service it was meant for.
    pub service: String,
    /// The services that may still own the address, from the one last seen there.
    pub owners: Vec<Name>,
    /// The witness that saw it.
    pub witness: Witness,
    /// The time since the oracle began.
    pub at: Duration,
}

/// The evidence of a misroute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// It arrived at an address whose present and future owners do not include its service.
    Arrival,
    /// It began after its service was reported to have left the address.
    Release,
}

/// One address: its owners from the one last seen, and who was reported to have left.
#[derive(Debug, Default)]
struct Owned {
    owners: VecDeque<Name>,
    released: HashMap<Name, Instant>,
}

impl Oracle {
    /// An oracle that knows no address yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: now(),
            addresses: RwLock::default(),
            misrouted: AtomicU64::new(0),
            unclaimed: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// Says that an address is about to become `service`'s. To be called before the desired state is published.
    pub fn publish(&self, address: SocketAddr, service: &Name) {
        let owned = Arc::clone(
            self.addresses
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(address)
                .or_default(),
        );
        let mut owned = lock(&owned);
        owned.released.remove(service);
        if owned.owners.back() != Some(service) {
            owned.owners.push_back(service.clone());
        }
    }

    /// Says that an address was reported to have left `service`: requests for it that begin later must not be
    /// answered there, until it is published again.
    pub fn released(&self, address: SocketAddr, service: &Name) {
        if let Some(owned) = self.owned(address) {
            lock(&owned).released.insert(service.clone(), now());
        }
    }

    /// Judges a request for `service` that arrived at `address`.
    pub fn arrived(&self, address: SocketAddr, service: &str) {
        let Some(owned) = self.owned(address) else {
            self.misroute(address, service, Vec::new(), Witness::Arrival);
            return;
        };
        let mut owned = lock(&owned);
        match owned
            .owners
            .iter()
            .position(|owner| owner.as_str() == service)
        {
            Some(passed) => drop(owned.owners.drain(..passed)),
            None => {
                let owners = owned.owners.iter().cloned().collect();
                drop(owned);
                self.misroute(address, service, owners, Witness::Arrival);
            }
        }
    }

    /// Counts a request that claims no service, such as a health check.
    pub fn arrived_unclaimed(&self) {
        self.unclaimed.fetch_add(1, Ordering::Relaxed);
    }

    /// Judges an answer from `address` to a request for `service` that began at `started`.
    pub fn answered(&self, address: SocketAddr, service: &Name, started: Instant) {
        let Some(owned) = self.owned(address) else {
            self.misroute(address, service.as_str(), Vec::new(), Witness::Release);
            return;
        };
        let owned = lock(&owned);
        if owned
            .released
            .get(service)
            .is_some_and(|left| started > *left)
        {
            let owners = owned.owners.iter().cloned().collect();
            drop(owned);
            self.misroute(address, service.as_str(), owners, Witness::Release);
        }
    }

    /// The number of requests that were misrouted. One that both witnesses saw counts twice.
    #[must_use]
    pub fn misrouted(&self) -> u64 {
        self.misrouted.load(Ordering::Relaxed)
    }

    /// The number of requests that claimed no service.
    #[must_use]
    pub fn unclaimed(&self) -> u64 {
        self.unclaimed.load(Ordering::Relaxed)
    }

    /// The first misroutes.
    #[must_use]
    pub fn misroutes(&self) -> Vec<Misroute> {
        lock(&self.kept).clone()
    }

    fn owned(&self, address: SocketAddr) -> Option<Arc<Mutex<Owned>>> {
        self.addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address)
            .cloned()
    }

    fn misroute(&self, address: SocketAddr, service: &str, owners: Vec<Name>, witness: Witness) {
        self.misrouted.fetch_add(1, Ordering::Relaxed);
        let mut kept = lock(&self.kept);
        if kept.len() < KEPT {
            kept.push(Misroute {
                address,
                service: service.to_owned(),
                owners,
                witness,
                at: now().saturating_duration_since(self.began),
            });
        }
    }
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Misroute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = self.at.as_secs_f64();
        write!(f, "at {when:.3} s: {} at {}: ", self.service, self.address)?;
        match self.witness {
            Witness::Arrival => f.write_str("arrived there, but the owners left are")?,
            Witness::Release => f.write_str("answered there after it had left; owners left are")?,
        }
        for owner in &self.owners {
            write!(f, " {owner}")?;
        }
        Ok(())
    }
}

/// A lock whose holder panicked still guards counts that are right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Arrivals, one letter each, at an address owned in turn by `owners`; gives which of them were misrouted.
    fn misrouted(owners: &str, arrivals: &str) -> Vec<usize> {
        let oracle = Oracle::new();
        for owner in owners.chars() {
            oracle.publish(address(1), &name(&owner.to_string()));
        }
        let mut found = Vec::new();
        for (at, service) in arrivals.chars().enumerate() {
            let before = oracle.misrouted();
            oracle.arrived(address(1), &service.to_string());
            if oracle.misrouted() > before {
                found.push(at);
            }
        }
        found
    }

    #[test]
    fn arrivals_must_be_a_subsequence_of_the_owners() {
        for (owners, arrivals, wrong) in [
            ("a", "aaa", vec![]),
            ("ab", "aabb", vec![]),
            ("ab", "bb", vec![]),
            ("aba", "aabba", vec![]),
            ("aba", "bab", vec![2]),
            ("ab", "aba", vec![2]),
            ("ab", "abab", vec![2]),
            ("a", "b", vec![0]),
            ("a", "aba", vec![1]),
            ("aab", "aab", vec![]),
            ("abc", "aca", vec![2]),
            ("", "a", vec![0]),
        ] {
            assert_eq!(misrouted(owners, arrivals), wrong, "{owners} {arrivals}");
        }
    }

    #[test]
    fn a_later_owner_is_right_once_it_is_published() {
        let oracle = Oracle::new();
        oracle.publish(address(1), &name("a"));
        oracle.arrived(address(1), "b");
        assert_eq!(oracle.misrouted(), 1);
        oracle.publish(address(1), &name("b"));
        oracle.arrived(address(1), "b");
        oracle.arrived(address(1), "a");
        assert_eq!(oracle.misrouted(), 2);
        oracle.publish(address(1), &name("a"));
        oracle.arrived(address(1), "a");
        assert_eq!(oracle.misrouted(), 2);
    }

    #[test]
    fn an_answer_after_the_release_is_a_misroute_unless_it_began_before() {
        let oracle = Oracle::new();
        oracle.publish(address(1), &name("a"));
        let before = now();
        oracle.released(address(1), &name("a"));
        oracle.answered(address(1), &name("a"), before);
        assert_eq!(oracle.misrouted(), 0);
        let after = now() + Duration::from_nanos(1);
        oracle.answered(address(1), &name("a"), after);
        assert_eq!(oracle.misrouted(), 1);
        assert_eq!(oracle.misroutes()[0].witness, Witness::Release);
        oracle.answered(address(1), &name("b"), after);
        assert_eq!(oracle.misrouted(), 1);
        oracle.publish(address(1), &name("a"));
        oracle.answered(address(1), &name("a"), after);
        assert_eq!(oracle.misrouted(), 1);
        oracle.answered(address(2), &name("a"), after);
        assert_eq!(oracle.misrouted(), 2);
    }

    #[test]
    fn all_misroutes_are_counted_and_the_first_are_kept() {
        let oracle = Oracle::new();
        oracle.publish(address(1), &name("a"));
        for _ in 0..KEPT + 5 {
            oracle.arrived(address(1), "b");
        }
        assert_eq!(oracle.misrouted(), KEPT as u64 + 5);
        assert_eq!(oracle.misroutes().len(), KEPT);
        assert!(
            oracle.misroutes()[0]
                .to_string()
                .contains("owners left are a")
        );
    }
}
