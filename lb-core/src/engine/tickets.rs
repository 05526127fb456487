//! Which writes of the program are in effect, and what keeps the others from it.

use std::collections::{BTreeSet, VecDeque};

use super::{Engine, conditions, source::SourceEntry};
use crate::{
    condition::{Condition, ConditionKind},
    event::Event,
    merge::SourceId,
    model::Name,
    source::{RecordKey, Ticket, Written},
    status::{MOST_LISTED, TicketStatus, TicketsStatus},
    time::Time,
};

/// The number of ranges of writes that are followed apart. Beyond that, the oldest are followed as one.
const MOST_RANGES: usize = 256;

/// The most records by which a range is followed. Beyond that, it follows every record of its source.
const MOST_KEYS: usize = 4096;

/// The writes to one source that are taken in and not yet in effect.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// The revision up to which writes were taken in.
    taken: u64,
    ranges: VecDeque<Range>,
}

/// Writes that were taken in together.
#[derive(Debug)]
struct Range {
    /// The writes after this revision …
    after: u64,
    /// … up to and including this one.
    upto: u64,
    /// The generation that has them, once there is one.
    generation: Option<u64>,
    about: About,
    /// Conditions keep it from being in effect. When they end, a newer generation has it.
    blocked: bool,
    /// It was told that permanent conditions keep it from being in effect.
    told: bool,
}

/// The records that writes named.
#[derive(Debug, Clone)]
pub(super) enum About {
    All,
    Keys(BTreeSet<RecordKey>),
}

impl About {
    pub(super) fn keys<'a>(keys: impl Iterator<Item = &'a RecordKey>) -> Self {
        Self::Keys(keys.take(MOST_KEYS + 1).cloned().collect()).bounded()
    }

    fn bounded(self) -> Self {
        match self {
            Self::Keys(keys) if keys.len() > MOST_KEYS => Self::All,
            about => about,
        }
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Keys(mut keys), Self::Keys(more)) => {
                keys.extend(more);
                Self::Keys(keys).bounded()
            }
            _ => Self::All,
        }
    }

    /// Returns `true` if a condition concerns one of the records.
    fn concerns(&self, entry: &SourceEntry, condition: &Condition) -> bool {
        let Some(service) = &condition.service else {
            return true;
        };
        let Some(endpoint) = &condition.endpoint else {
            return match self {
                Self::All => entry.records.has_service(service),
                Self::Keys(keys) => keys.iter().any(|key| key.service == *service),
            };
        };
        let key = RecordKey::new(service.clone(), endpoint.clone());
        match self {
            Self::All => entry.records.said(&key).is_some(),
            Self::Keys(keys) => keys.contains(&key),
        }
    }
}

impl Tickets {
    /// Writes up to `upto` were taken in.
    pub(super) fn take(&mut self, upto: u64, about: About) {
        let after = self.taken;
        if upto <= after {
            return;
        }
        self.taken = upto;
        match self.ranges.back_mut() {
            // A reset that needs a batch to be whole ends between two writes, at an odd revision.
            Some(last) if last.upto % 2 == 1 => {
                last.upto = upto;
                last.generation = None;
                last.told = false;
                let before = std::mem::replace(&mut last.about, About::All);
                last.about = before.with(about);
            }
            _ => self.ranges.push_back(Range {
                after,
                upto,
                generation: None,
                about,
                blocked: false,
                told: false,
            }),
        }
        if self.ranges.len() > MOST_RANGES
            && let Some(oldest) = self.ranges.pop_front()
            && let Some(next) = self.ranges.front_mut()
        {
            next.after = oldest.after;
            let about = std::mem::replace(&mut next.about, About::All);
            next.about = oldest.about.with(about);
        }
    }

    /// There is a new generation, which may have what was held back before.
    pub(super) fn published(&mut self, generation: u64) {
        for range in self.ranges.iter_mut().filter(|range| range.blocked) {
            range.generation = Some(generation);
        }
    }

    fn in_effect(&self) -> u64 {
        self.ranges.front().map_or(self.taken, |first| first.after)
    }
}

impl Engine {
    /// Numbers the writes whose changes are in the newest generation.
    pub(super) fn number_tickets(&mut self) {
        if !self.published {
            return;
        }
        let generation = self.snapshot.generation();
        let mut numbered = false;
        // What waits to be published is in no generation.
        let all = self.sources.values_mut();
        for entry in all.filter(|entry| entry.pace.due().is_none()) {
            for range in entry.tickets.ranges.iter_mut().rev() {
                if range.generation.is_some() {
                    break;
                }
                range.generation = Some(generation);
                numbered = true;
            }
        }
        self.tickets_due |= numbered;
    }

    /// Says which writes are in effect now.
    pub(super) fn settle_tickets(&mut self, now: Time) {
        if !std::mem::take(&mut self.tickets_due) {
            return;
        }
        let ids: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, entry)| !entry.tickets.ranges.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.settle_source(now, id);
        }
    }

    fn settle_source(&mut self, now: Time, id: SourceId) {
        let Some(entry) = self.sources.get_mut(&id) else {
            return;
        };
        let mut ranges = std::mem::take(&mut entry.tickets.ranges);
        let Some(entry) = self.sources.get(&id) else {
            return;
        };
        let Some(written) = entry.descriptor.written.clone() else {
            return;
        };
        let source = entry.descriptor.name.clone();
        let mut events = Vec::new();
        ranges.retain_mut(|range| {
            let Some(generation) = range.generation else {
                return true;
            };
            if self.is_lagging(generation) {
                return true;
            }
            let conditions = self.kept_back(id, entry, &range.about);
            let ticket = written.ticket(source.clone(), range.upto);
            let after = range.after;
            if conditions.is_empty() {
                events.push(Event::InEffect { ticket, after });
                return false;
            }
            range.blocked = true;
            if !range.told && conditions.iter().all(|condition| !condition.transient) {
                range.told = true;
                events.push(Event::KeptBack {
                    ticket,
                    after,
                    conditions,
                });
            }
            true
        });
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.tickets.ranges = ranges;
        }
        for event in events {
            self.tell(now, event);
        }
    }

    /// Returns `true` if a target has not yet verified a generation.
    fn is_lagging(&self, generation: u64) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|(id, entry)| !entry.has_verified(self.reconciler.verified(*id), generation))
    }

    /// The conditions that keep records of a source from being in effect, the first [`MOST_LISTED`].
    fn kept_back(&self, id: SourceId, entry: &SourceEntry, about: &About) -> Vec<Condition> {
        let mut found: Vec<Condition> = Vec::new();
        let blocking = self
            .targets
            .values()
            .flat_map(|target| target.conditions.iter())
            .filter(|condition| condition.kind.keeps_from_effect());
        for condition in blocking {
            if found.len() < MOST_LISTED && about.concerns(entry, condition) {
                found.push(condition.clone());
            }
        }
        let name = &entry.descriptor.name;
        let own = entry.conditions.iter();
        for condition in own.filter(|own| own.kind == ConditionKind::Hold) {
            let Some(service) = &condition.service else {
                continue;
            };
            let records = match about {
                About::All => 1,
                About::Keys(keys) => keys
                    .iter()
                    .filter(|key| key.service == *service && entry.records.is_held(key))
                    .count(),
            };
            if found.len() < MOST_LISTED && records > 0 {
                found.push(match about {
                    About::All => condition.clone(),
                    About::Keys(_) => {
                        let mut hold = conditions::hold(name, service, records);
                        hold.since_ms = condition.since_ms;
                        hold
                    }
                });
            }
        }
        let beyond = entry.conditions.iter();
        for condition in beyond.filter(|own| own.kind == ConditionKind::NotAllowed) {
            let concerns = match about {
                About::All => true,
                About::Keys(keys) => keys
                    .iter()
                    .any(|key| condition.object.as_deref() == Some(key.to_string().as_str())),
            };
            if found.len() < MOST_LISTED && concerns {
                found.push(condition.clone());
            }
        }
        if self.merge.conflict_count() > 0 {
            self.add_conflicts(id, entry, about, &mut found);
        }
        found
    }

    /// Adds the conflicts that keep back a record, or a part of one: its route, its service's mode or options.
    fn add_conflicts(
        &self,
        id: SourceId,
        entry: &SourceEntry,
        about: &About,
        found: &mut Vec<Condition>,
    ) {
        let keys: Box<dyn Iterator<Item = &RecordKey>> = match about {
            About::All => Box::new(entry.records.keys()),
            About::Keys(keys) => Box::new(keys.iter()),
        };
        for key in keys {
            if found.len() >= MOST_LISTED {
                return;
            }
            let Some(record) = entry.records.said(key) else {
                continue;
            };
            let lost = self.merge.keeps_back(id, record).into_iter();
            found.extend(lost.map(|lost| {
                conditions::conflict(lost)
                    .of_source(entry.descriptor.name.clone())
                    .of_service(key.service.clone())
                    .of_endpoint(key.id.clone())
            }));
        }
        found.truncate(MOST_LISTED);
    }

    /// The outcome of a write; `None` if its source is not there.
    #[must_use]
    pub fn ticket(&self, ticket: &Ticket) -> Option<TicketStatus> {
        let (id, entry) = self
            .sources
            .iter()
            .find(|(_, entry)| entry.descriptor.name == ticket.source)?;
        let written = entry.descriptor.written.as_ref()?;
        if !written.gave(ticket) {
            return None;
        }
        let mut status = TicketStatus {
            ticket: ticket.clone(),
            in_effect: false,
            generation: None,
            lagging: Vec::new(),
            conditions: Vec::new(),
        };
        if entry.tickets.taken < ticket.revision {
            return Some(status);
        }
        let range = entry
            .tickets
            .ranges
            .iter()
            .find(|range| range.after < ticket.revision && ticket.revision <= range.upto);
        let Some(range) = range else {
            status.in_effect = true;
            return Some(status);
        };
        status.generation = range.generation;
        let Some(generation) = range.generation else {
            return Some(status);
        };
        status.conditions = self.kept_back(*id, entry, &range.about);
        status.lagging = self.lagging(|verified, entry| entry.has_verified(verified, generation));
        status.in_effect = status.conditions.is_empty() && status.lagging.is_empty();
        Some(status)
    }

    /// Returns `true` if everything that was written up to `revision` was taken in, or never will be: the source is
    /// gone or has ended.
    #[must_use]
    pub fn has_taken(&self, id: SourceId, revision: u64) -> bool {
        self.sources
            .get(&id)
            .is_none_or(|entry| entry.tickets.taken >= revision || entry.is_over())
    }

    /// The writes of the program to the source named `source`, where it is such a source.
    #[must_use]
    pub fn written_of(&self, source: &Name) -> Option<Written> {
        let entry = self.sources.get(&self.source_id(source)?)?;
        entry.descriptor.written.clone()
    }

    /// The names of sources, without those that are gone.
    #[must_use]
    pub fn source_names(&self, ids: impl Iterator<Item = SourceId>) -> Vec<Name> {
        ids.filter_map(|id| Some(self.sources.get(&id)?.descriptor.name.clone()))
            .collect()
    }

    /// The sources that the program writes to, with how far each was written.
    #[must_use]
    pub fn written(&self) -> Vec<(SourceId, u64)> {
        self.sources
            .iter()
            .filter_map(|(id, entry)| {
                let written = entry.descriptor.written.as_ref()?;
                Some((*id, written.revision()))
            })
            .collect()
    }
}

pub(super) fn status(entry: &SourceEntry) -> Option<TicketsStatus> {
    let written = entry.descriptor.written.as_ref()?;
    Some(TicketsStatus {
        written: written.revision(),
        taken: entry.tickets.taken,
        in_effect: entry.tickets.in_effect(),
    })
}
