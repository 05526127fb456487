//! The conditions that last now: where each comes from, since when, and which began or ended.

use std::{collections::BTreeMap, time::Duration};

use super::{Engine, source::SourceEntry, target::TargetEntry, view::millis};
use crate::{
    condition::{Condition, ConditionKind},
    event::Event,
    merge::SourceId,
    model::Name,
    reconciler::TargetId,
    source::{Diagnostic, Severity},
    status::{Health, MOST_LISTED},
    time::Time,
};

/// The least time for which the conditions of a source stay as they are while its diagnostics change.
const REFRESH: Duration = Duration::from_millis(100);

/// The conditions of one origin, sorted by identity.
#[derive(Debug, Default)]
pub(super) struct Held {
    all: Vec<Condition>,
    /// The number of those of a kind that are not kept.
    more: BTreeMap<ConditionKind, usize>,
}

/// The conditions that began and ended.
#[derive(Debug, Default)]
pub(super) struct Turn {
    began: Vec<Condition>,
    ended: Vec<Condition>,
}

impl Held {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.all.iter()
    }

    /// Replaces what there was; what stays keeps since when.
    pub(super) fn replace(
        &mut self,
        now_ms: u64,
        mut next: Vec<Condition>,
        more: BTreeMap<ConditionKind, usize>,
    ) -> Turn {
        // Of one identity the permanent one counts.
        next.sort_by(|a, b| {
            a.identity()
                .cmp(&b.identity())
                .then(a.transient.cmp(&b.transient))
        });
        next.dedup_by(|later, first| later.is_same(first));
        let mut turn = Turn::default();
        let mut before = std::mem::take(&mut self.all).into_iter().peekable();
        for condition in &mut next {
            while let Some(gone) = before.next_if(|first| first.identity() < condition.identity()) {
                turn.end(gone);
            }
            let same = before.next_if(|first| first.is_same(condition));
            condition.since_ms = same.as_ref().map_or(now_ms, |same| same.since_ms);
            match same.filter(is_told) {
                None if is_told(condition) => turn.begin(condition),
                Some(same) if !is_told(condition) => turn.end(same),
                _ => {}
            }
        }
        for gone in before {
            turn.end(gone);
        }
        self.all = next;
        self.more = more;
        turn
    }
}

/// Returns `true` if its beginning and its end are events: what passes by itself is no news, but an edit that lb undoes
/// would not be noticed otherwise.
fn is_told(condition: &Condition) -> bool {
    !condition.transient || condition.kind == ConditionKind::ForeignEdit
}

impl Turn {
    fn begin(&mut self, condition: &Condition) {
        if self.began.len() < MOST_LISTED {
            self.began.push(condition.clone());
        }
    }

    fn end(&mut self, condition: Condition) {
        if is_told(&condition) && self.ended.len() < MOST_LISTED {
            self.ended.push(condition);
        }
    }
}

impl Engine {
    /// Takes anew what is to be known of a source.
    pub(super) fn refresh_source(&mut self, now: Time, id: SourceId) {
        let published = self.published;
        let since = millis(now.since(self.began));
        let Some(entry) = self.sources.get_mut(&id) else {
            return;
        };
        entry.border.changed = false;
        entry.refreshed = Some(now);
        entry.refresh_at = None;
        let (next, more) = of_source(entry, now, published);
        let turn = entry.conditions.replace(since, next, more);
        self.tell_turn(now, turn);
    }

    /// Takes anew what is to be known of a source, at once or soon after the last time: a source that reports a thousand
    /// diagnostics in a row does not have that done a thousand times while others wait.
    pub(super) fn refresh_soon(&mut self, now: Time, id: SourceId) {
        let Some(entry) = self.sources.get_mut(&id) else {
            return;
        };
        let due = entry.refreshed.map(|last| last + REFRESH);
        match due.filter(|due| *due > now) {
            Some(due) => entry.refresh_at = Some(due),
            None => self.refresh_source(now, id),
        }
    }

    /// Takes anew what is due.
    pub(super) fn refresh_due(&mut self, now: Time) {
        let due: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, entry)| entry.refresh_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.refresh_source(now, id);
        }
    }

    /// Takes anew at once what would be later.
    pub(crate) fn refresh_waiting(&mut self, now: Time) {
        for entry in self.sources.values_mut() {
            entry.refresh_at = entry.refresh_at.map(|_| now);
        }
        self.refresh_due(now);
    }

    /// Takes anew what is to be known of a target.
    pub(super) fn refresh_target(&mut self, now: Time, id: TargetId) {
        let since = millis(now.since(self.began));
        let Some(entry) = self.targets.get_mut(&id) else {
            return;
        };
        let next = of_target(entry);
        let turn = entry.conditions.replace(since, next, BTreeMap::new());
        self.tell_turn(now, turn);
    }

    /// Takes anew where records disagree.
    pub(super) fn refresh_conflicts(&mut self, now: Time) {
        let count = self.merge.conflict_count();
        if count == 0 && self.conflicts.all.is_empty() {
            return;
        }
        // What a conflict kept back may be in effect now, without a new generation.
        self.tickets_due = true;
        let since = millis(now.since(self.began));
        let listed: Vec<Condition> = self
            .merge
            .conflicts(MOST_LISTED)
            .into_iter()
            .map(conflict)
            .collect();
        let more = count.saturating_sub(listed.len());
        let more = BTreeMap::from([(ConditionKind::Conflict, more)]);
        let turn = self.conflicts.replace(since, listed, more);
        self.tell_turn(now, turn);
    }

    /// Ends all conditions of a source or a target that was taken away.
    pub(super) fn end_all(&mut self, now: Time, held: Held) {
        let mut turn = Turn::default();
        for condition in held.all {
            turn.end(condition);
        }
        self.tell_turn(now, turn);
    }

    pub(super) fn tell_turn(&mut self, now: Time, turn: Turn) {
        for condition in turn.ended {
            self.tell(now, Event::ConditionEnded { condition });
        }
        for condition in turn.began {
            self.tell(now, Event::ConditionBegan { condition });
        }
    }

    fn all_held(&self) -> impl Iterator<Item = &Held> {
        let sources = self.sources.values().map(|entry| &entry.conditions);
        let targets = self.targets.values().map(|entry| &entry.conditions);
        sources.chain(targets).chain([&self.conflicts, &self.own])
    }

    /// Every condition, as far as each is kept.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.all_held().flat_map(Held::iter)
    }

    /// The number of conditions of each kind.
    pub(super) fn condition_counts(&self) -> BTreeMap<ConditionKind, usize> {
        let mut counts = BTreeMap::new();
        for held in self.all_held() {
            for condition in &held.all {
                *counts.entry(condition.kind).or_default() += 1;
            }
            for (kind, more) in held.more.iter().filter(|(_, more)| **more > 0) {
                *counts.entry(*kind).or_default() += more;
            }
        }
        counts
    }

    /// At most [`MOST_LISTED`] conditions, of each kind its share, permanent ones and old ones first.
    pub(super) fn listed_conditions(&self) -> Vec<Condition> {
        let mut by_kind: BTreeMap<ConditionKind, Vec<&Condition>> = BTreeMap::new();
        for condition in self.conditions() {
            by_kind.entry(condition.kind).or_default().push(condition);
        }
        for all in by_kind.values_mut() {
            all.sort_by_key(|condition| (condition.transient, condition.since_ms));
        }
        let mut listed = Vec::new();
        for place in 0..MOST_LISTED {
            let before = listed.len();
            for all in by_kind.values() {
                if let Some(condition) = all.get(place)
                    && listed.len() < MOST_LISTED
                {
                    listed.push((*condition).clone());
                }
            }
            if listed.len() == before {
                break;
            }
        }
        listed.sort_by(|a, b| a.identity().cmp(&b.identity()));
        listed
    }
}

fn of_source(
    entry: &SourceEntry,
    now: Time,
    published: bool,
) -> (Vec<Condition>, BTreeMap<ConditionKind, usize>) {
    let name = &entry.descriptor.name;
    let mut all: Vec<Condition> = Vec::new();
    all.extend(health(name, entry.health(now), published));
    all.extend(entry.deferred.condition(entry));
    let found = entry.diagnostics.iter();
    all.extend(found.map(|(found, _)| diagnostic(name, found)));
    let mut held: BTreeMap<&Name, usize> = BTreeMap::new();
    for (key, _) in entry.records.held() {
        *held.entry(&key.service).or_default() += 1;
    }
    all.extend(
        held.into_iter()
            .map(|(service, records)| hold(name, service, records)),
    );
    let (refused, more) = entry.border.conditions(name);
    all.extend(refused);
    let beyond = entry.limiter.conditions(name);
    let more_beyond = entry.limiter.refused().saturating_sub(beyond.len());
    all.extend(beyond);
    let mut counts = entry.unlisted.counts();
    counts.insert(ConditionKind::InvalidAddress, more);
    counts.insert(ConditionKind::NotAllowed, more_beyond);
    (all, counts)
}

fn health(name: &Name, health: Health, published: bool) -> Option<Condition> {
    let condition = |kind, why: String| Condition::new(kind, why).of_source(name.clone());
    match health {
        Health::Live { .. } | Health::Ended { .. } => None,
        Health::NeverSynced { why: None, .. } => {
            let why = "waiting for its initial sync".to_owned();
            let condition = condition(ConditionKind::NeverSynced, why);
            // Until there is a snapshot, it is waited for.
            Some(if published {
                condition
            } else {
                condition.transient()
            })
        }
        Health::NeverSynced { why: Some(why), .. } => {
            Some(condition(ConditionKind::NeverSynced, why))
        }
        Health::Stale { why, .. } => Some(condition(ConditionKind::Stale, why)),
        Health::Failed { why, .. } => Some(condition(ConditionKind::Failed, why)),
    }
}

impl Severity {
    /// The kind of the condition that a diagnostic is.
    pub(super) fn kind(self) -> ConditionKind {
        match self {
            Self::Warning | Self::Error => ConditionKind::Diagnostic,
            Self::Withheld => ConditionKind::Withheld,
            Self::Failed => ConditionKind::Failed,
        }
    }
}

fn diagnostic(source: &Name, found: &Diagnostic) -> Condition {
    let kind = found.severity.kind();
    let detail = match &found.value {
        Some(value) => format!("{value:?}: {}", found.message),
        None => found.message.clone(),
    };
    let object = match &found.field {
        Some(field) => format!("{}: {field}", found.object),
        None => found.object.clone(),
    };
    Condition::new(kind, detail)
        .of_source(source.clone())
        .of_object(object)
}

pub(super) fn hold(source: &Name, service: &Name, records: usize) -> Condition {
    let noun = if records == 1 { "record" } else { "records" };
    let detail = format!("the guard holds the removal of {records} {noun}");
    Condition::new(ConditionKind::Hold, detail)
        .of_source(source.clone())
        .of_service(service.clone())
        .with_help(format!(
            "confirm it if it is meant: lb-agent confirm {service}"
        ))
}

pub(super) fn conflict(found: Diagnostic) -> Condition {
    let object = match &found.field {
        Some(field) => format!("{}: {field}", found.object),
        None => found.object,
    };
    Condition::new(ConditionKind::Conflict, found.message).of_object(object)
}

fn of_target(entry: &TargetEntry) -> Vec<Condition> {
    let name = &entry.name;
    let report = &entry.report;
    let unmet = report.unmet.iter().cloned().map(Condition::from);
    let found = report.conditions.iter().cloned();
    let mut all: Vec<Condition> = unmet
        .chain(found)
        .map(|condition| condition.of_target(name.clone()))
        .collect();
    if let Some(error) = &entry.last_error {
        let kind = entry.failure.unwrap_or(ConditionKind::TargetDown);
        let down = Condition::new(kind, error.clone());
        all.push(down.of_target(name.clone()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(held: &mut Held, condition: Option<Condition>) -> (usize, usize) {
        let turn = held.replace(0, condition.into_iter().collect(), BTreeMap::new());
        (turn.began.len(), turn.ended.len())
    }

    #[test]
    fn what_begins_and_ends_is_told_once() {
        let refused = || Condition::new(ConditionKind::Refused, "no").of_object("web/slot1");
        let mut held = Held::default();
        assert_eq!(turn(&mut held, Some(refused().transient())), (0, 0));
        assert_eq!(turn(&mut held, Some(refused())), (1, 0));
        assert_eq!(turn(&mut held, Some(refused())), (0, 0));
        // It is expected to pass by itself now.
        assert_eq!(turn(&mut held, Some(refused().transient())), (0, 1));
        assert_eq!(turn(&mut held, None), (0, 0));
        assert_eq!(turn(&mut held, Some(refused())), (1, 0));
        assert_eq!(turn(&mut held, None), (0, 1));
    }

    #[test]
    fn what_another_client_changed_is_told_though_it_passes() {
        let edit = || Condition::new(ConditionKind::ForeignEdit, "edit").of_object("web/slot1");
        let mut held = Held::default();
        assert_eq!(turn(&mut held, Some(edit().transient())), (1, 0));
        assert_eq!(turn(&mut held, Some(edit().transient())), (0, 0));
        assert_eq!(turn(&mut held, None), (0, 1));
    }
}
