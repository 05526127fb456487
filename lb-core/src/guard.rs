//! Holds back mass removals until they are confirmed or have persisted.
//!
//! Pure. A [`Guarded`] keeps what one source said, and what of it is in effect: the same, but for records that
//! the guard holds. What is guarded:
//! - endpoints that vanish by absence from a reset: always, where the policy is enabled;
//! - endpoints removed by name in a batch: with [`GuardPolicy::explicit_removals`];
//! - endpoints reported draining or down: with [`GuardPolicy::reported_down`].
//!
//! Such a loss is held when it leaves a service that had live endpoints (ready or pending) without any, or when
//! the live endpoints of a service, or of the whole source, drop by more than `min_count` *and* by more than
//! `max_share`. The drop is counted net: an endpoint replaced by another is no loss. With a held endpoint,
//! everything else of its service that vanished with it stays too, so its routes stay.
//!
//! Whatever is held, an address that another service has now is not kept for the one that lost it
//! ([`give_up`](Guarded::give_up)): a request too few is better than one at the wrong place.
//!
//! Held records stay in effect as they were until the hold time has passed while the source is live and every
//! later reset said the same, or until they are confirmed. A record that comes back, or a reset that is within
//! the bounds again, ends the hold at once.

mod policy;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    merge::RecordChange,
    model::{EndpointState, Name},
    source::{Record, RecordKey},
    time::Time,
};

pub use policy::{GuardConfig, GuardPolicy, InvalidGuard};

/// The removals that a confirmation lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Everything that is held.
    All,
    /// The removals that are held of one service.
    Service(Name),
}

impl Confirm {
    fn covers(&self, service: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Service(own) => own == service,
        }
    }
}

/// Why something is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReleaseReason {
    /// It was confirmed: it took effect.
    Confirmed,
    /// It persisted for the hold time: it took effect.
    Persisted,
    /// The record came back, or the source said something else of it.
    Superseded,
    /// Its address is another service's now: holding it would send requests there.
    Reused,
}

/// The removals that the guard began or ceased to hold, by service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardNote {
    /// So many records are held from now on.
    Held {
        /// Whose they are.
        service: Name,
        /// The number of records.
        records: usize,
        /// The time at which they are let go unless the source says otherwise.
        until: Time,
    },
    /// So many records are no longer held.
    Released {
        /// Whose they were.
        service: Name,
        /// The number of records.
        records: usize,
        /// Why.
        reason: ReleaseReason,
    },
}

impl GuardNote {
    /// The number of records it is about.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Held { records, .. } | Self::Released { records, .. } => *records,
        }
    }
}

/// The outcome of an update of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The changes in effect, in the order of the keys. Nothing that stays the same is listed.
    pub changes: Vec<RecordChange>,
    /// The notes of what the guard did.
    pub notes: Vec<GuardNote>,
}

/// The records of one source: what it said, and what of it is in effect.
#[derive(Debug, Default)]
pub struct Guarded {
    said: HashMap<RecordKey, Arc<Record>>,
    held: BTreeMap<RecordKey, Held>,
    /// The number of endpoints in effect that are live, by service.
    live: HashMap<Name, usize>,
    total_live: usize,
    /// No later than the first moment at which something held is let go.
    deadline: Option<Time>,
}

#[derive(Debug, Clone)]
struct Held {
    record: Arc<Record>,
    until: Time,
}

/// One record that differs between what is in effect and what the source says now.
struct Proposal {
    key: RecordKey,
    before: Option<Arc<Record>>,
    after: Option<Arc<Record>>,
    guarded: bool,
}

impl Guarded {
    /// The source says that `records` are all there is. Of two records with one key, the later counts.
    pub fn reset(&mut self, now: Time, records: Vec<Record>, config: &GuardConfig) -> Outcome {
        let mut next: HashMap<RecordKey, Arc<Record>> = HashMap::with_capacity(records.len());
        for record in records {
            match self.said.get(&record.key) {
                // Sharing what stayed the same keeps one copy and makes comparing it free.
                Some(same) if **same == record => next.insert(record.key.clone(), same.clone()),
                _ => next.insert(record.key.clone(), Arc::new(record)),
            };
        }
        let gone = self.said.keys().filter(|key| !next.contains_key(*key));
        let held = self.held.keys().filter(|key| !next.contains_key(*key));
        let absent: BTreeSet<RecordKey> = gone.chain(held).cloned().collect();
        let mut proposals: Vec<Proposal> = next
            .iter()
            .filter(|(key, after)| {
                self.held.contains_key(*key)
                    || self
                        .said
                        .get(*key)
                        .is_none_or(|before| !Arc::ptr_eq(before, after))
            })
            .map(|(key, after)| self.propose(key.clone(), Some(after.clone()), config, false))
            .chain(
                absent
                    .iter()
                    .map(|key| self.propose(key.clone(), None, config, true)),
            )
            .collect();
        proposals.sort_by(|a, b| a.key.cmp(&b.key));
        self.said = next;
        self.decide(now, proposals, config)
    }

    /// The source says that these records were set and those are gone. A key in both is set; of two records with
    /// one key, the later counts.
    pub fn batch(
        &mut self,
        now: Time,
        set: Vec<Record>,
        remove: Vec<RecordKey>,
        config: &GuardConfig,
    ) -> Outcome {
        let mut words: BTreeMap<RecordKey, Option<Arc<Record>>> =
            remove.into_iter().map(|key| (key, None)).collect();
        words.extend(
            set.into_iter()
                .map(|record| (record.key.clone(), Some(Arc::new(record)))),
        );
        let proposals: Vec<Proposal> = words
            .into_iter()
            .map(|(key, after)| self.propose(key, after, config, false))
            .collect();
        for proposal in &proposals {
            match &proposal.after {
                Some(record) => self.said.insert(proposal.key.clone(), record.clone()),
                None => self.said.remove(&proposal.key),
            };
        }
        self.decide(now, proposals, config)
    }

    /// Lets go of what has been held for long enough. `live` says whether the source can be believed now: what it
    /// said before it fell silent does not persist by its silence.
    pub fn tick(&mut self, now: Time, live: bool) -> Outcome {
        if !live || self.deadline.is_none_or(|deadline| now < deadline) {
            return Outcome::default();
        }
        self.release(ReleaseReason::Persisted, |_, held| held.until <= now)
    }

    /// The time at which [`tick`](Self::tick) has something to do, for a live source.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Lets go of what is held, now.
    pub fn confirm(&mut self, what: &Confirm) -> Outcome {
        self.release(ReleaseReason::Confirmed, |key, _| what.covers(&key.service))
    }

    /// The addresses of endpoints that are held.
    pub fn held_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.held
            .values()
            .filter_map(|held| Some(held.record.endpoint.as_ref()?.address))
    }

    /// The services that the source says have endpoints at these addresses. Looks at all it says.
    pub fn claims(
        &self,
        addresses: &HashSet<SocketAddr>,
    ) -> impl Iterator<Item = (SocketAddr, &Name)> {
        self.said
            .iter()
            .filter_map(|(key, record)| Some((record.endpoint.as_ref()?.address, &key.service)))
            .filter(|(address, _)| addresses.contains(address))
    }

    /// Lets go of endpoints at addresses that are another service's by these claims.
    pub fn give_up(&mut self, claims: &HashMap<SocketAddr, BTreeSet<Name>>) -> Outcome {
        self.release(ReleaseReason::Reused, |key, held| {
            let address = held.record.endpoint.as_ref().map(|own| own.address);
            let claimants = address.and_then(|address| claims.get(&address));
            claimants.is_some_and(|services| services.iter().any(|other| *other != key.service))
        })
    }

    /// Removes everything, held or not: the source itself was taken away.
    pub fn retire(&mut self) -> Outcome {
        let keys: BTreeSet<RecordKey> = self.said.keys().chain(self.held.keys()).cloned().collect();
        *self = Self::default();
        Outcome {
            changes: keys
                .into_iter()
                .map(|key| RecordChange { key, record: None })
                .collect(),
            notes: Vec::new(),
        }
    }

    /// The number of records the source says there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// Returns `true` if the source says that there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// The record that the source says there is under `key`.
    #[must_use]
    pub fn said(&self, key: &RecordKey) -> Option<&Arc<Record>> {
        self.said.get(key)
    }

    /// Returns `true` if what the source says of `key` is held back.
    #[must_use]
    pub fn is_held(&self, key: &RecordKey) -> bool {
        self.held.contains_key(key)
    }

    /// Returns `true` if the source says that there is a record of `service`. Looks at all it says.
    #[must_use]
    pub fn has_service(&self, service: &Name) -> bool {
        self.said.keys().any(|key| key.service == *service)
    }

    /// The keys of all records that the source says there are.
    pub fn keys(&self) -> impl Iterator<Item = &RecordKey> {
        self.said.keys()
    }

    /// The record in effect under `key`.
    #[must_use]
    pub fn in_effect(&self, key: &RecordKey) -> Option<&Arc<Record>> {
        match self.held.get(key) {
            Some(held) => Some(&held.record),
            None => self.said.get(key),
        }
    }

    /// All keys that are held, with the time at which each is let go.
    pub fn held(&self) -> impl Iterator<Item = (&RecordKey, Time)> {
        self.held.iter().map(|(key, held)| (key, held.until))
    }

    fn propose(
        &self,
        key: RecordKey,
        after: Option<Arc<Record>>,
        config: &GuardConfig,
        absent: bool,
    ) -> Proposal {
        let policy = config.policy(&key.service);
        let guarded = match &after {
            _ if !policy.enabled => false,
            None => absent || policy.explicit_removals,
            Some(_) => policy.reported_down,
        };
        Proposal {
            before: self.in_effect(&key).cloned(),
            key,
            after,
            guarded,
        }
    }

    fn decide(&mut self, now: Time, proposals: Vec<Proposal>, config: &GuardConfig) -> Outcome {
        let guarded_services = self.tripped(&proposals, config);
        let mut changes = Vec::new();
        let mut newly_held: BTreeMap<Name, usize> = BTreeMap::new();
        let mut superseded: BTreeMap<Name, usize> = BTreeMap::new();
        for proposal in proposals {
            let service = &proposal.key.service;
            if proposal.loses_something() && guarded_services.contains(service) {
                if let Some(record) = proposal.before
                    && !self.held.contains_key(&proposal.key)
                {
                    let until = now + config.policy(service).hold;
                    *newly_held.entry(service.clone()).or_default() += 1;
                    self.deadline = Some(self.deadline.map_or(until, |first| first.min(until)));
                    self.held.insert(proposal.key, Held { record, until });
                }
                continue;
            }
            if self.held.remove(&proposal.key).is_some() {
                *superseded.entry(service.clone()).or_default() += 1;
            }
            if proposal.before != proposal.after {
                changes.push(self.effect(proposal.key, proposal.before.as_ref(), proposal.after));
            }
        }
        if self.held.is_empty() {
            self.deadline = None;
        }
        let held = newly_held
            .into_iter()
            .map(|(service, records)| GuardNote::Held {
                until: now + config.policy(&service).hold,
                service,
                records,
            });
        let notes = held
            .chain(released(superseded, ReleaseReason::Superseded))
            .collect();
        Outcome { changes, notes }
    }

    /// The services whose guarded losses are too much.
    fn tripped(&self, proposals: &[Proposal], config: &GuardConfig) -> BTreeSet<Name> {
        #[derive(Default)]
        struct Tally {
            guarded: usize,
            after: isize,
        }
        if !proposals.iter().any(Proposal::loses_live) {
            return BTreeSet::new();
        }
        let mut tallies: BTreeMap<&Name, Tally> = BTreeMap::new();
        for proposal in proposals {
            let tally = tallies.entry(&proposal.key.service).or_default();
            tally.guarded += usize::from(proposal.loses_live());
            tally.after += isize::from(is_live(proposal.after.as_ref()))
                - isize::from(is_live(proposal.before.as_ref()));
        }
        let before = |service: &Name| self.live.get(service).copied().unwrap_or(0);
        let total_change: isize = tallies.values().map(|tally| tally.after).sum();
        let total_after = self.total_live.saturating_add_signed(total_change);
        let overall = config.overall.enabled && config.overall.trips(self.total_live, total_after);
        tallies
            .into_iter()
            .filter(|(service, tally)| {
                let before = before(service);
                let after = before.saturating_add_signed(tally.after);
                tally.guarded > 0
                    && (overall
                        || (after == 0 && before > 0)
                        || config.policy(service).trips(before, after))
            })
            .map(|(service, _)| service.clone())
            .collect()
    }

    fn release(
        &mut self,
        reason: ReleaseReason,
        ends: impl Fn(&RecordKey, &Held) -> bool,
    ) -> Outcome {
        let keys: Vec<RecordKey> = self
            .held
            .iter()
            .filter(|(key, held)| ends(key, held))
            .map(|(key, _)| key.clone())
            .collect();
        let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
        let mut changes = Vec::new();
        for key in keys {
            let Some(held) = self.held.remove(&key) else {
                continue;
            };
            *counts.entry(key.service.clone()).or_default() += 1;
            let after = self.said.get(&key).cloned();
            changes.push(self.effect(key, Some(&held.record), after));
        }
        self.deadline = self.held.values().map(|held| held.until).min();
        Outcome {
            changes,
            notes: released(counts, reason).collect(),
        }
    }

    fn effect(
        &mut self,
        key: RecordKey,
        before: Option<&Arc<Record>>,
        after: Option<Arc<Record>>,
    ) -> RecordChange {
        let change = isize::from(is_live(after.as_ref())) - isize::from(is_live(before));
        if change != 0 {
            let live = self.live.entry(key.service.clone()).or_default();
            *live = live.saturating_add_signed(change);
            if *live == 0 {
                self.live.remove(&key.service);
            }
            self.total_live = self.total_live.saturating_add_signed(change);
        }
        RecordChange { key, record: after }
    }
}

impl Proposal {
    /// A live endpoint would be lost, and the policy guards this kind of loss.
    fn loses_live(&self) -> bool {
        self.guarded && is_live(self.before.as_ref()) && !is_live(self.after.as_ref())
    }

    /// A live endpoint, or a declaration that vanishes with one, would be lost. What was dying anyway may go.
    fn loses_something(&self) -> bool {
        let declares = self
            .before
            .as_ref()
            .is_some_and(|record| record.endpoint.is_none());
        self.loses_live() || (self.guarded && declares && self.after.is_none())
    }
}

fn is_live(record: Option<&Arc<Record>>) -> bool {
    record
        .and_then(|record| record.endpoint.as_ref())
        .is_some_and(|endpoint| {
            matches!(
                endpoint.state,
                EndpointState::Ready | EndpointState::Pending
            )
        })
}

fn released(
    counts: BTreeMap<Name, usize>,
    reason: ReleaseReason,
) -> impl Iterator<Item = GuardNote> {
    counts
        .into_iter()
        .map(move |(service, records)| GuardNote::Released {
            service,
            records,
            reason,
        })
}
