//! The border: what no target can serve does not come in, whichever source reports it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use super::Engine;
use crate::{
    condition::{Condition, ConditionKind},
    guard::Guarded,
    merge::SourceId,
    model::{InvalidEndpoint, Name},
    source::{Record, RecordKey},
    time::Time,
};

/// The most refused records of a source that are conditions of their own; of the others, the number is.
const MOST_NAMED: usize = 1024;

/// The records of one source that were refused, until each is fixed or removed.
///
/// As with everything that cannot be understood, the last good form of such a record stays in effect, if there was
/// one. It is let go when the source removes it, and when its address is reported for another service.
#[derive(Debug, Default)]
pub(super) struct Border {
    refused: BTreeMap<RecordKey, Refusal>,
    /// Something changed since the conditions were taken.
    pub(super) changed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    wrong: InvalidEndpoint,
    /// The address of the last good form, while that stays in effect.
    kept: Option<SocketAddr>,
}

impl Border {
    /// The records of a listing without those that no target can serve; the last good form of each is in its place.
    pub(super) fn reset(&mut self, records: Vec<Record>, known: &Guarded) -> Vec<Record> {
        let changed = self.changed;
        // What the listing no longer has is gone with its refusal.
        let before = std::mem::take(&mut self.refused);
        let records = self.sift(records);
        let mut kept = Vec::new();
        if !self.refused.is_empty() {
            let claims = claims(&records);
            for (key, refusal) in &mut self.refused {
                let Some(last) = known.said(key) else {
                    continue;
                };
                let address = last.endpoint.as_ref().map(|endpoint| endpoint.address);
                if address.is_some_and(|address| is_elsewhere(&claims, address, &key.service)) {
                    continue;
                }
                refusal.kept = address;
                kept.push(Record::clone(last));
            }
        }
        self.changed = changed || before != self.refused;
        // A good record of the same key that the listing has too counts more than the last good form.
        kept.extend(records);
        kept
    }

    /// The records of a batch without those that no target can serve. What is known of those stays, unless the batch
    /// gives its address to another service.
    pub(super) fn batch(
        &mut self,
        set: Vec<Record>,
        mut remove: Vec<RecordKey>,
        known: &Guarded,
    ) -> (Vec<Record>, Vec<RecordKey>) {
        if !self.refused.is_empty() {
            for key in &remove {
                self.changed |= self.refused.remove(key).is_some();
            }
        }
        let keys: BTreeSet<RecordKey> = set
            .iter()
            .filter(|record| !is_good(record))
            .map(|record| record.key.clone())
            .collect();
        let set = self.sift(set);
        if keys.is_empty() {
            return (set, remove);
        }
        remove.retain(|key| !self.refused.contains_key(key));
        let claims = claims(&set);
        for key in &keys {
            let Some(refusal) = self.refused.get_mut(key) else {
                continue;
            };
            let last = known.said(key).and_then(|last| last.endpoint.as_ref());
            refusal.kept = last.map(|endpoint| endpoint.address);
            if refusal
                .kept
                .is_some_and(|address| is_elsewhere(&claims, address, &key.service))
            {
                refusal.kept = None;
                remove.push(key.clone());
            }
        }
        (set, remove)
    }

    fn sift(&mut self, records: Vec<Record>) -> Vec<Record> {
        let mut good = Vec::with_capacity(records.len());
        for record in records {
            let judged = record.endpoint.as_ref().map_or(Ok(()), |own| own.check());
            match judged {
                Ok(()) => {
                    if !self.refused.is_empty() {
                        self.changed |= self.refused.remove(&record.key).is_some();
                    }
                    good.push(record);
                }
                Err(wrong) => {
                    let same = self.refused.get(&record.key).map(|before| &before.wrong);
                    self.changed |= same != Some(&wrong);
                    let refusal = Refusal { wrong, kept: None };
                    self.refused.insert(record.key, refusal);
                }
            }
        }
        good
    }

    /// The keys of records whose last good form has an address that is reported for another service now.
    fn given_up(&mut self, claims: &[(SocketAddr, Name)]) -> Vec<RecordKey> {
        let mut keys = Vec::new();
        for (key, refusal) in &mut self.refused {
            let reused = claims.iter().any(|(address, service)| {
                Some(*address) == refusal.kept && *service != key.service
            });
            if reused {
                refusal.kept = None;
                self.changed = true;
                keys.push(key.clone());
            }
        }
        keys
    }

    pub(super) fn conditions(&self, source: &Name) -> (Vec<Condition>, usize) {
        let named = self.refused.iter().take(MOST_NAMED).map(|(key, refusal)| {
            let kept = match refusal.kept {
                Some(address) => format!("; its last good form, {address}, stays in effect"),
                None => "; it is left out".to_owned(),
            };
            Condition::new(
                ConditionKind::InvalidAddress,
                format!("{}{kept}", refusal.wrong),
            )
            .of_source(source.clone())
            .of_service(key.service.clone())
            .of_endpoint(key.id.clone())
            .with_help("correct or remove it where the source has it from")
        });
        let more = self.refused.len().saturating_sub(MOST_NAMED);
        (named.collect(), more)
    }
}

impl Engine {
    /// Lets go of the last good forms whose address another service has by what was just said.
    pub(super) fn give_up_kept(&mut self, now: Time, by: SourceId, claims: &[(SocketAddr, Name)]) {
        let kept = |border: &Border| border.refused.values().any(|one| one.kept.is_some());
        let ids: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(id, entry)| kept(&entry.border) && !self.yields_to(by, **id))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(entry) = self.sources.get_mut(&id) else {
                continue;
            };
            let keys = entry.border.given_up(claims);
            if keys.is_empty() {
                continue;
            }
            let outcome = entry
                .records
                .batch(now, Vec::new(), keys, &self.config.guard);
            let name = entry.descriptor.name.clone();
            self.apply(now, id, &name, outcome);
            self.refresh_source(now, id);
        }
    }
}

fn is_good(record: &Record) -> bool {
    let endpoint = record.endpoint.as_ref();
    endpoint.is_none_or(|endpoint| endpoint.check().is_ok())
}

fn claims(records: &[Record]) -> HashMap<SocketAddr, Vec<&Name>> {
    let mut claims: HashMap<SocketAddr, Vec<&Name>> = HashMap::new();
    for record in records {
        if let Some(endpoint) = &record.endpoint {
            let services = claims.entry(endpoint.address).or_default();
            services.push(&record.key.service);
        }
    }
    claims
}

fn is_elsewhere(
    claims: &HashMap<SocketAddr, Vec<&Name>>,
    address: SocketAddr,
    service: &Name,
) -> bool {
    claims
        .get(&address)
        .is_some_and(|services| services.iter().any(|other| *other != service))
}
