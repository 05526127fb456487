//! What is not in effect because of something else.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{Merge, SourceId, routes::Place};
use crate::{
    model::Name,
    source::{Diagnostic, RecordKey, Severity},
};

/// A disagreement between records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conflict {
    Mode(Name),
    Options(Name),
    Record(RecordKey),
    Route(Place),
    /// A route counts less than its source asks for.
    Priority(Place),
    /// A source has records of a service that belongs to another one.
    Service(Name, SourceId),
    /// An endpoint has an address that belongs to another source.
    Address(SocketAddr, SourceId, RecordKey),
}

#[derive(Debug, Default)]
pub(super) struct Conflicts {
    pub(super) all: BTreeSet<Conflict>,
}

/// The advice for a conflict between sources that share nothing.
const SHARE: &str = "give both sources the same `trust` to let them share services";

impl Conflicts {
    pub(super) fn mark(&mut self, conflict: Conflict, there: bool) {
        if there {
            self.all.insert(conflict);
        } else {
            self.all.remove(&conflict);
        }
    }

    pub(super) fn of_address(&self, address: SocketAddr) -> Vec<Conflict> {
        let first = Name::from_text("-");
        let first = RecordKey::new(first.clone(), first);
        let first = Conflict::Address(address, SourceId(0), first);
        self.all
            .range(first..)
            .take_while(|known| matches!(known, Conflict::Address(other, ..) if *other == address))
            .cloned()
            .collect()
    }

    pub(super) fn replace(&mut self, before: &BTreeSet<Conflict>, after: &BTreeSet<Conflict>) {
        for ended in before.difference(after) {
            self.all.remove(ended);
        }
        self.all.extend(after.difference(before).cloned());
    }
}

impl Merge {
    /// The number of conflicts there are now.
    #[must_use]
    pub fn conflict_count(&self) -> usize {
        self.conflicts.all.len()
    }

    /// At most `most` of the conflicts there are now, each naming what wins.
    #[must_use]
    pub fn conflicts(&self, most: usize) -> Vec<Diagnostic> {
        self.conflicts
            .all
            .iter()
            .take(most)
            .filter_map(|conflict| self.describe(conflict))
            .collect()
    }

    pub(super) fn describe(&self, conflict: &Conflict) -> Option<Diagnostic> {
        let name = |id: &SourceId| self.sources.name(*id);
        let mut value = None;
        let (object, field, message) = match conflict {
            Conflict::Record(key) => {
                let claims = self.services.get(&key.service)?.ids.get(&key.id)?;
                let (first, _) = claims.shown.first.as_ref()?;
                let others: Vec<&str> = claims
                    .all
                    .iter()
                    .filter(|(id, _)| id != first && self.sources.share(*first, *id))
                    .map(|(id, _)| name(id))
                    .collect();
                let message = format!(
                    "reported by several sources: {} wins, {} wait",
                    name(first),
                    others.join(", ")
                );
                (key.to_string(), None, message)
            }
            Conflict::Mode(service) => {
                let modes = &self.services.get(service)?.modes;
                let ((id, mode), _) = modes.first_key_value()?;
                let message = format!("records disagree: {mode:?} from {} wins", name(id));
                (service.to_string(), Some("mode".to_owned()), message)
            }
            Conflict::Options(service) => {
                let fields = self.options.disagreements(service);
                let (exclusive, by) = self.options.exclusive(service);
                let (on_down, closes) = self.options.on_down(service);
                let wins: Vec<String> = fields
                    .iter()
                    .map(|field| match *field {
                        "exclusive" => (format!("exclusive = {exclusive}"), by),
                        _ => (format!("on_down = {on_down:?}"), closes),
                    })
                    .map(|(value, id)| {
                        let id = id.as_ref().map_or("no source", name);
                        format!("{value} from {id} wins")
                    })
                    .collect();
                let message = format!("records disagree: {}", wins.join(", "));
                (service.to_string(), Some(fields.join(", ")), message)
            }
            Conflict::Route(place) => {
                let object = format!("{}{}", place.host, place.path);
                (object, Some("routes".to_owned()), self.lost(place)?)
            }
            Conflict::Priority(place) => {
                let counts = self.routes.priority(place);
                let (id, leads) = self.routes.winner(place)?;
                let counts =
                    counts.map_or_else(|| "nothing".to_owned(), |counts| counts.to_string());
                value = Some(place.priority.to_string());
                let message = format!(
                    "priority of the route to {leads} from {} counts as {counts}: it goes before no route of an \
                     earlier source; {SHARE}",
                    name(id)
                );
                let object = format!("{}{}", place.host, place.path);
                (object, Some("priority".to_owned()), message)
            }
            Conflict::Service(service, id) => {
                let claimed = self.services.get(service)?;
                let owner = claimed.owner()?;
                let records = claimed.sources.get(id)?;
                let message = format!(
                    "service is that of source {}: {records} records of source {} are not in effect; {SHARE}",
                    name(&owner),
                    name(id)
                );
                (service.to_string(), None, message)
            }
            Conflict::Address(address, id, key) => {
                let mut holders = self.addresses.at(*address, &self.sources);
                let ((owner, held), ..) = holders.next()?;
                value = Some(address.to_string());
                let message = format!(
                    "address is that of {held} of source {}: the endpoint of source {} is not in effect; {SHARE}",
                    name(owner),
                    name(id)
                );
                (key.to_string(), Some("address".to_owned()), message)
            }
        };
        Some(Diagnostic {
            object,
            field,
            value,
            message,
            severity: Severity::Warning,
        })
    }

    /// The claim that has a place instead of those that ask for it.
    fn lost(&self, place: &Place) -> Option<String> {
        let winner = self.routes.winner(place);
        let mut claims = self.routes.claims(place);
        let (id, leads) = match winner {
            Some(winner) => winner,
            None => match self.routes.coverer(place, &self.sources) {
                Some(coverer) => coverer,
                None => {
                    let (id, leads) = claims.next()?;
                    let owner = self.services.get(&leads.service)?.owner()?;
                    return Some(format!(
                        "route leads to {leads}, a service of source {}: that of source {} is not in effect; {SHARE}",
                        self.sources.name(owner),
                        self.sources.name(*id)
                    ));
                }
            },
        };
        let others: BTreeSet<String> = claims
            .filter(|(_, other)| other != leads)
            .map(|(_, other)| other.to_string())
            .collect();
        let others: Vec<String> = others.into_iter().collect();
        let help = match winner {
            Some(_) => String::new(),
            None => format!("; {SHARE}"),
        };
        Some(format!(
            "wanted by several services: {leads} from {} wins, {} do not get it{help}",
            self.sources.name(*id),
            others.join(", ")
        ))
    }
}
