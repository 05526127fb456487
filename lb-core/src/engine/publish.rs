//! What sources report becomes generations.

use std::{collections::BTreeMap, sync::Arc};

use super::Engine;
use crate::{
    event::{Cause, Event},
    merge::{RecordChange, SourceId},
    time::Time,
};

/// The number of generations whose causes are kept for targets that are behind. Of older ones the first receipt is
/// kept.
const CAUSES: usize = 256;

/// The changes that were received since the newest snapshot.
#[derive(Debug, Default)]
pub(super) struct PendingCauses {
    pub(super) by_source: BTreeMap<SourceId, Cause>,
    pub(super) changes: usize,
    pub(super) urgent: bool,
}

impl Engine {
    pub(super) fn stage(&mut self, id: SourceId, changes: Vec<RecordChange>) {
        if changes.is_empty() {
            return;
        }
        let entry = self.sources.get_mut(&id);
        if let Some(cause) = entry.and_then(|entry| entry.cause.take()) {
            let pending = self.pending.by_source.entry(id);
            pending
                .and_modify(|known| known.cursor = cause.cursor.clone())
                .or_insert(cause);
        }
        self.pending.changes += changes.len();
        self.edit.get_or_insert_with(|| self.snapshot.edit());
        for change in changes {
            self.merge.stage(id, change);
        }
    }

    pub(super) fn publish(&mut self, now: Time) {
        if !self.published && !self.barrier_is_open(now) {
            return;
        }
        let partial = self
            .sources
            .values()
            .any(|entry| !entry.synced && entry.initial);
        if self.published && self.edit.is_none() && self.snapshot.is_partial() == partial {
            return;
        }
        let mut edit = self.edit.take().unwrap_or_else(|| self.snapshot.edit());
        self.pending.urgent |= self.merge.finish(&mut edit);
        self.refresh_conflicts(now);
        edit.set_partial(partial);
        let pending = std::mem::take(&mut self.pending);
        let first = !std::mem::replace(&mut self.published, true);
        // The first snapshot is a generation of its own even when it is empty: known to be empty.
        let Some(next) = (if first {
            Some(edit.commit_known())
        } else {
            edit.commit()
        }) else {
            return;
        };
        let generation = next.generation();
        self.snapshot = Arc::new(next);
        self.paced(now, generation, pending.by_source.keys());
        let causes: Vec<Cause> = pending.by_source.into_values().collect();
        self.causes.push_back((generation, causes.clone()));
        if self.causes.len() > CAUSES {
            self.causes.pop_front();
        }
        self.tell(
            now,
            Event::Published {
                generation,
                changes: pending.changes,
                causes,
            },
        );
        if first {
            // Sources that were waited for are not waited for any longer.
            let late: Vec<SourceId> = self
                .sources
                .iter()
                .filter(|(_, entry)| !entry.synced)
                .map(|(id, _)| *id)
                .collect();
            for id in late {
                self.refresh_source(now, id);
            }
        }
        for entry in self.sources.values_mut() {
            entry.tickets.published(generation);
        }
        self.reconciler
            .publish(now, generation, pending.urgent || first);
        for entry in self.targets.values_mut() {
            entry.behind_since.get_or_insert(now);
        }
    }

    fn barrier_is_open(&self, now: Time) -> bool {
        self.sources.values().any(|entry| entry.synced)
            && self
                .sources
                .values()
                .all(|entry| entry.synced || entry.added + self.config.initial_limit <= now)
    }

    pub(super) fn barrier_until(&self) -> Option<Time> {
        if self.published || !self.sources.values().any(|entry| entry.synced) {
            return None;
        }
        let waiting = self.sources.values().filter(|entry| !entry.synced);
        waiting
            .map(|entry| entry.added + self.config.initial_limit)
            .max()
    }
}
