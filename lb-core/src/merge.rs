//! The records of all sources become one snapshot.
//!
//! Pure. A change costs the size of the change: one record is a few look-ups.
//!
//! Precedence is the order in which sources were added; the earlier wins:
//! - the same record key from two sources: the earlier source's record counts while it has one, the later's
//!   comes back when the earlier's goes;
//! - a service whose records disagree about its mode: the earlier source's word counts (within one source,
//!   HTTP before TCP);
//! - records that disagree about an option of their service: the earliest source that states it counts (within one
//!   source, what narrows: exclusive before not, sessions shut down before kept);
//! - one host, path and priority asked for by two services: the earlier source's service gets it (within one
//!   source, the first by name).
//!
//! Each such conflict is reported by [`Merge::conflicts`]. A service lives while any record declares it, with or
//! without an endpoint; a route lives while any counting record asks for it.

mod options;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use crate::{
    model::{EndpointState, Mode, Name, PathMatch, Route, RouteHost, SnapshotEdit},
    source::{Diagnostic, Record, RecordKey, Severity},
};

/// A source's place in the order of precedence: the lower wins. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u32);

/// One record that a source set (`Some`) or removed (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Which record.
    pub key: RecordKey,
    /// What it is now.
    pub record: Option<Arc<Record>>,
}

/// Merges the records of several sources. See the [module](self) for the rules.
#[derive(Debug, Default)]
pub struct Merge {
    sources: BTreeMap<SourceId, Name>,
    next_source: u32,
    claims: HashMap<RecordKey, Claims>,
    /// How many counting records of each service say which mode, by source.
    services: HashMap<Name, BTreeMap<(SourceId, Mode), usize>>,
    options: options::Options,
    /// How many counting records ask for each place, by source and service.
    routes: BTreeMap<Place, BTreeMap<(SourceId, Leads), usize>>,
    /// How many places each route of the snapshot holds.
    shown: BTreeMap<Route, usize>,
    conflicts: BTreeSet<Conflict>,
}

/// All records with one key, by precedence.
#[derive(Debug)]
struct Claims {
    top: Claim,
    below: Vec<Claim>,
}

type Claim = (SourceId, Arc<Record>);

/// Where a route applies. Routes of HTTP and of TCP services live in different spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    mode: Mode,
    priority: i32,
    host: RouteHost,
    path: PathMatch,
}

/// Where the requests of a place go, and what is done with them before. Of one source's, the first counts: of one service's,
/// the one that redirects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Leads {
    service: Name,
    redirect_https: Reverse<bool>,
    strip_prefix: Reverse<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Conflict {
    Mode(Name),
    Options(Name),
    Record(RecordKey),
    Route(Place),
}

impl Merge {
    /// Adds a source with the lowest precedence so far.
    pub fn add_source(&mut self, name: Name) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        self.sources.insert(id, name);
        id
    }

    /// Forgets a source. Its records must have been removed by changes before.
    pub fn forget_source(&mut self, id: SourceId) {
        self.sources.remove(&id);
    }

    /// Applies one change of one source to the snapshot being edited.
    ///
    /// Returns whether it takes traffic away from an endpoint (removed, draining or down), which targets
    /// should learn without delay.
    pub fn apply(
        &mut self,
        source: SourceId,
        change: RecordChange,
        edit: &mut SnapshotEdit,
    ) -> bool {
        let RecordChange { key, record } = change;
        let before = self.claims.get(&key).map(|claims| claims.top.clone());
        self.set_claim(source, &key, record);
        let after = self.claims.get(&key).map(|claims| claims.top.clone());
        if before == after {
            return false;
        }
        // Asserting before retracting keeps a service or route that both records ask for in place throughout.
        if let Some((id, record)) = &after {
            self.count_service(*id, record, true);
            self.count_routes(*id, record, true, edit);
        }
        if let Some((id, record)) = &before {
            self.count_service(*id, record, false);
            self.count_routes(*id, record, false, edit);
        }
        let before = before.and_then(|(_, record)| record.endpoint.clone());
        let after = after.and_then(|(_, record)| record.endpoint.clone());
        let urgent = takes_traffic_away(
            before.as_ref().map(|e| e.state),
            after.as_ref().map(|e| e.state),
        );
        let Some(mode) = self.mode(&key.service) else {
            edit.remove_service(&key.service);
            return urgent;
        };
        edit.set_service(&key.service, mode);
        edit.set_exclusive(&key.service, self.options.exclusive(&key.service).0);
        edit.set_on_down(&key.service, self.options.on_down(&key.service).0);
        match after {
            Some(endpoint) => edit.set_endpoint(&key.service, &key.id, endpoint),
            None if before.is_some() => edit.remove_endpoint(&key.service, &key.id),
            None => {}
        }
        urgent
    }

    /// How many conflicts there are now.
    #[must_use]
    pub fn conflict_count(&self) -> usize {
        self.conflicts.len()
    }

    /// At most `most` of the conflicts there are now, each naming who wins.
    #[must_use]
    pub fn conflicts(&self, most: usize) -> Vec<Diagnostic> {
        self.conflicts
            .iter()
            .take(most)
            .filter_map(|conflict| self.describe(conflict))
            .collect()
    }

    fn mode(&self, service: &Name) -> Option<Mode> {
        let counts = self.services.get(service)?;
        counts.keys().next().map(|(_, mode)| *mode)
    }

    fn set_claim(&mut self, source: SourceId, key: &RecordKey, record: Option<Arc<Record>>) {
        match (self.claims.get_mut(key), record) {
            (None, None) => {}
            (None, Some(record)) => {
                let claims = Claims {
                    top: (source, record),
                    below: Vec::new(),
                };
                self.claims.insert(key.clone(), claims);
            }
            (Some(claims), record) => {
                if !claims.set(source, record) {
                    self.claims.remove(key);
                    return;
                }
                let several = !claims.below.is_empty();
                mark(&mut self.conflicts, Conflict::Record(key.clone()), several);
            }
        }
    }

    fn count_service(&mut self, id: SourceId, record: &Record, add: bool) {
        let service = &record.key.service;
        let counts = match self.services.get_mut(service) {
            Some(counts) => counts,
            None => self.services.entry(service.clone()).or_default(),
        };
        count(counts, (id, record.mode), add);
        let mut modes = counts.keys().map(|(_, mode)| mode);
        let first = modes.next();
        let differ = modes.any(|mode| Some(mode) != first);
        let gone = counts.is_empty();
        let conflict = Conflict::Mode(service.clone());
        if differ || self.conflicts.contains(&conflict) {
            mark(&mut self.conflicts, conflict, differ);
        }
        if gone {
            self.services.remove(service);
        }
        if !record.options.is_empty() {
            self.options.count(id, record, add);
            let differ = !self.options.disagreements(service).is_empty();
            mark(
                &mut self.conflicts,
                Conflict::Options(service.clone()),
                differ,
            );
        }
    }

    fn count_routes(&mut self, id: SourceId, record: &Record, add: bool, edit: &mut SnapshotEdit) {
        for route in record.routes.iter() {
            let place = Place {
                mode: record.mode,
                priority: route.priority,
                host: route.host.clone(),
                path: route.path.clone(),
            };
            let claims = self.routes.entry(place.clone()).or_default();
            let before = winner(claims);
            count(claims, (id, Leads::of(route)), add);
            let after = winner(claims);
            let differ = claims
                .keys()
                .any(|(_, leads)| Some(leads) != after.as_ref());
            if claims.is_empty() {
                self.routes.remove(&place);
            }
            if before != after {
                if let Some(leads) = after {
                    self.show(place.route(leads), true, edit);
                }
                if let Some(leads) = before {
                    self.show(place.route(leads), false, edit);
                }
            }
            mark(&mut self.conflicts, Conflict::Route(place), differ);
        }
    }

    fn show(&mut self, route: Route, add: bool, edit: &mut SnapshotEdit) {
        let was = self.shown.contains_key(&route);
        count(&mut self.shown, route.clone(), add);
        match (was, self.shown.contains_key(&route)) {
            (false, true) => edit.add_route(route),
            (true, false) => edit.remove_route(&route),
            _ => {}
        }
    }

    fn describe(&self, conflict: &Conflict) -> Option<Diagnostic> {
        let name = |id: &SourceId| {
            self.sources
                .get(id)
                .map_or("a removed source", |n| n.as_str())
        };
        let (object, field, message) = match conflict {
            Conflict::Record(key) => {
                let claims = self.claims.get(key)?;
                let others: Vec<&str> = claims.below.iter().map(|(id, _)| name(id)).collect();
                let message = format!(
                    "reported by several sources: {} wins, {} wait",
                    name(&claims.top.0),
                    others.join(", ")
                );
                (key.to_string(), None, message)
            }
            Conflict::Mode(service) => {
                let ((id, mode), _) = self.services.get(service)?.first_key_value()?;
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
                let claims = self.routes.get(place)?;
                let ((id, leads), _) = claims.first_key_value()?;
                let others: BTreeSet<String> = claims
                    .keys()
                    .filter(|(_, other)| other != leads)
                    .map(|(_, other)| other.to_string())
                    .collect();
                let others: Vec<String> = others.into_iter().collect();
                let message = format!(
                    "wanted by several services: {leads} from {} wins, {} do not get it",
                    name(id),
                    others.join(", ")
                );
                (
                    format!("{}{}", place.host, place.path),
                    Some("routes".to_owned()),
                    message,
                )
            }
        };
        Some(Diagnostic {
            object,
            field,
            value: None,
            message,
            severity: Severity::Warning,
        })
    }
}

impl Claims {
    /// Sets or removes one source's record; false when none is left.
    fn set(&mut self, source: SourceId, record: Option<Arc<Record>>) -> bool {
        let mut all = std::mem::take(&mut self.below);
        let place = all.partition_point(|(id, _)| *id < source);
        match record {
            Some(record) if source == self.top.0 => self.top.1 = record,
            Some(record) if source < self.top.0 => {
                let lower = std::mem::replace(&mut self.top, (source, record));
                all.insert(0, lower);
            }
            Some(record) => match all.get_mut(place).filter(|(id, _)| *id == source) {
                Some(own) => own.1 = record,
                None => all.insert(place, (source, record)),
            },
            None if source == self.top.0 => {
                if all.is_empty() {
                    return false;
                }
                self.top = all.remove(0);
            }
            None => all.retain(|(id, _)| *id != source),
        }
        self.below = all;
        true
    }
}

impl Place {
    fn route(&self, leads: Leads) -> Route {
        Route::new(self.host.clone(), self.path.clone(), leads.service)
            .with_priority(self.priority)
            .with_redirect_https(leads.redirect_https.0)
            .with_strip_prefix(leads.strip_prefix.0)
    }
}

impl Leads {
    fn of(route: &Route) -> Self {
        Self {
            service: route.service.clone(),
            redirect_https: Reverse(route.redirect_https),
            strip_prefix: Reverse(route.strip_prefix),
        }
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)?;
        let options = [
            ("redirect_https", self.redirect_https.0),
            ("strip_prefix", self.strip_prefix.0),
        ];
        for (option, _) in options.iter().filter(|(_, set)| *set) {
            write!(f, " with {option}")?;
        }
        Ok(())
    }
}

fn winner(claims: &BTreeMap<(SourceId, Leads), usize>) -> Option<Leads> {
    claims.keys().next().map(|(_, leads)| leads.clone())
}

fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K, add: bool) {
    if add {
        *counts.entry(key).or_default() += 1;
        return;
    }
    if let Some(left) = counts.get_mut(&key) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            counts.remove(&key);
        }
    }
}

fn mark(conflicts: &mut BTreeSet<Conflict>, conflict: Conflict, there: bool) {
    if there {
        conflicts.insert(conflict);
    } else {
        conflicts.remove(&conflict);
    }
}

fn takes_traffic_away(before: Option<EndpointState>, after: Option<EndpointState>) -> bool {
    before.is_some()
        && before != after
        && !matches!(after, Some(EndpointState::Ready | EndpointState::Pending))
}
