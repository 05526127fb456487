//! A source that yields: nothing that it reports is in effect before each earlier source that it shares no services with has
//! told everything once. Until then it is not known what is theirs.

use std::collections::BTreeMap;

use super::{Engine, source::SourceEntry};
use crate::{
    condition::{Condition, ConditionKind},
    merge::{RecordChange, SourceId},
    model::Name,
    source::RecordKey,
    time::Time,
};

/// The changes a source reported while an earlier one was waited for: the newest of each record.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    changes: BTreeMap<RecordKey, RecordChange>,
    /// The earlier source.
    awaits: Option<Name>,
}

impl Deferred {
    pub(super) fn condition(&self, entry: &SourceEntry) -> Option<Condition> {
        let awaited = self.awaits.as_ref()?;
        let detail = format!(
            "nothing that it reports is in effect before source {awaited} has told everything once: that one comes \
             first and shares no services with it"
        );
        let condition = Condition::new(ConditionKind::Pending, detail);
        Some(
            condition
                .of_source(entry.descriptor.name.clone())
                .with_help(format!("let source {awaited} be read, or remove it")),
        )
    }
}

impl Engine {
    /// Returns the changes of a source that are to be applied now; keeps them where an earlier source is waited for.
    pub(super) fn defer(&mut self, id: SourceId, changes: Vec<RecordChange>) -> Vec<RecordChange> {
        let awaits = self.awaited(id).cloned();
        match self.sources.get_mut(&id) {
            Some(entry) if awaits.is_some() => {
                let changes = changes.into_iter();
                let changes = changes.map(|change| (change.key.clone(), change));
                entry.deferred.changes.extend(changes);
                entry.deferred.awaits = awaits;
                Vec::new()
            }
            _ => changes,
        }
    }

    /// Applies what was kept of sources that wait for none any more.
    pub(super) fn apply_deferred(&mut self, now: Time) {
        let waiting = self.sources.iter();
        let waiting: Vec<SourceId> = waiting
            .filter(|(_, entry)| entry.deferred.awaits.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let awaits = self.awaited(id).cloned();
            let Some(entry) = self.sources.get_mut(&id) else {
                continue;
            };
            let is_over = awaits.is_none();
            entry.deferred.awaits = awaits;
            if is_over {
                let changes = std::mem::take(&mut entry.deferred.changes);
                self.stage(id, changes.into_values().collect());
            }
            self.refresh_source(now, id);
        }
    }

    /// The first earlier source that `id` has to wait for.
    fn awaited(&self, id: SourceId) -> Option<&Name> {
        let entry = self.sources.get(&id)?;
        if !entry.descriptor.yields {
            return None;
        }
        let mut earlier = self.sources.range(..id);
        let (_, earlier) = earlier
            .find(|(other, entry)| !entry.synced && !self.merge.share_services(id, **other))?;
        Some(&earlier.descriptor.name)
    }

    /// Returns `true` if what `id` reports takes nothing from `other`, which comes first and shares no services with it.
    pub(super) fn yields_to(&self, id: SourceId, other: SourceId) -> bool {
        other < id && !self.merge.share_services(id, other)
    }
}
