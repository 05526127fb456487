//! What the keys seen so far mean together.

mod ledger;
mod listing;
mod records;
mod routers;
mod touch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use lb_core::{Diagnostic, Mode, Name, Record, RecordKey};
use lb_schemes::Proportion;

use super::{
    fact::{Complaint, Fact},
    rules::{Layout, Reading, Subject},
    traefik::TCP,
};
use ledger::Ledger;

/// The meaning of all keys seen so far: endpoints, services and routes, kept up to date at a cost that follows the
/// change.
///
/// A pure value: give it the changes of one revision, and it says which records changed. A key whose new value
/// cannot be used keeps its last good meaning until it is deleted.
///
/// ```
/// use lb_etcd::layout::{Change, Layout, LayoutConfig, View};
///
/// let confd = LayoutConfig::Confd { prefix: "/proxy".into(), service: None };
/// let mut view = View::new(Layout::new(&[confd])?);
/// let step = view.apply([Change::put("/proxy/frontend/web1", "192.0.2.7:9001")]);
/// assert_eq!(step.set[0].key.to_string(), "frontend/web1");
/// let step = view.apply([Change::delete("/proxy/frontend/web1")]);
/// assert_eq!(step.remove[0].to_string(), "frontend/web1");
/// # Ok::<(), lb_etcd::layout::InvalidLayout>(())
/// ```
#[derive(Debug, Clone)]
pub struct View {
    layout: Arc<Layout>,
    keys: HashMap<Arc<[u8]>, Meaning>,
    services: BTreeMap<Name, ServiceView>,
    routes: BTreeMap<Name, Entity>,
    middlewares: BTreeMap<Name, Entity>,
    /// The services of which no route may be served, with the number of routes that say so.
    barred: BTreeMap<Name, usize>,
    /// Servers of TCP were seen in a tree of Traefik.
    has_tcp: bool,
    records: usize,
    ledger: Ledger,
    /// The most keys that are taken, and the number of those that were not.
    max_keys: usize,
    left_out: usize,
    /// In a listing, the number of keys that were not known before it.
    fresh: usize,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// Its value now; `None` when the key is gone.
    pub value: Option<Vec<u8>>,
}

/// The changes of records that changes of keys mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Records added or changed.
    pub set: Vec<Record>,
    /// Records gone.
    pub remove: Vec<RecordKey>,
    /// Objects whose diagnostics end: what was wrong was fixed, or is told anew in `diagnostics`.
    pub resolved: Vec<String>,
    /// The problems of keys and values, as far as they changed.
    pub diagnostics: Vec<Diagnostic>,
}

/// The meaning of a key, and its subject.
#[derive(Debug, Clone)]
struct Meaning {
    subject: Subject,
    facts: Box<[Fact]>,
}

#[derive(Debug, Clone, Default)]
struct ServiceView {
    own: Entity,
    endpoints: BTreeMap<Name, Entity>,
    /// How many endpoints have a weight beyond the range, and what the weights of all are then.
    beyond: usize,
    proportion: Proportion,
}

/// Something that keys speak of, with the record last made of it.
#[derive(Debug, Clone, Default)]
struct Entity {
    /// In order, so that of two keys that disagree always the same wins.
    keys: Vec<Arc<[u8]>>,
    record: Option<Box<Record>>,
    /// The service of which no route may be served because of it.
    bars: Option<Name>,
    /// If `true`, its weight is beyond the range.
    beyond: bool,
}

/// The result of the keys about a subject.
#[derive(Debug, Default)]
struct Made {
    record: Option<Record>,
    wrong: Vec<Complaint>,
    /// The object that is wrong, where it is not the first key.
    object: Option<String>,
    /// The service of which no route may be served: a route of it is restricted, and which one is not known.
    bars: Option<Name>,
}

impl View {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(layout: impl Into<Arc<Layout>>) -> Self {
        Self::limited(layout, usize::MAX)
    }

    /// The same, taking at most this many keys.
    pub(crate) fn limited(layout: impl Into<Arc<Layout>>, max_keys: usize) -> Self {
        Self {
            max_keys,
            left_out: 0,
            fresh: 0,
            ledger: Ledger::default(),
            layout: layout.into(),
            keys: HashMap::new(),
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            middlewares: BTreeMap::new(),
            barred: BTreeMap::new(),
            has_tcp: false,
            records: 0,
        }
    }

    /// The number of keys with a meaning.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The number of records they make.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.records
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let services = self.services.values();
        let entities = services
            .flat_map(|service| std::iter::once(&service.own).chain(service.endpoints.values()));
        entities
            .chain(self.routes.values())
            .filter_map(|entity| entity.record.as_deref().cloned())
            .collect()
    }

    /// The keys with a meaning that begin with this text.
    #[cfg(feature = "v2")]
    pub(crate) fn keys_below(&self, prefix: &str) -> Vec<Vec<u8>> {
        let keys = self
            .keys
            .keys()
            .filter(|key| key.starts_with(prefix.as_bytes()));
        keys.map(|key| key.to_vec()).collect()
    }

    /// Takes changes that happened at once.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Step {
        let left_out = self.left_out;
        let mut step = self.step(changes, None);
        (step.resolved, step.diagnostics) = self.ledger.changes();
        if left_out == 0 {
            step.diagnostics.extend(self.too_many());
        }
        step
    }

    fn step(&mut self, changes: impl IntoIterator<Item = Change>, before: Option<&Self>) -> Step {
        let mut touched = BTreeSet::new();
        for change in changes {
            self.take(change, before, &mut touched);
        }
        self.refresh_all(touched)
    }

    fn refresh_all(&mut self, mut touched: BTreeSet<Subject>) -> Step {
        let mut step = Step::default();
        self.touch_routers(&mut touched);
        self.touch_namesakes(&mut touched);
        self.bar(&mut touched);
        self.touch_dependent(&mut touched);
        self.touch_weights(&mut touched);
        for subject in touched {
            self.refresh(&subject, &mut step);
        }
        // A record may go where another one takes its key.
        if !step.remove.is_empty() && !step.set.is_empty() {
            let set: HashSet<&RecordKey> = step.set.iter().map(|record| &record.key).collect();
            step.remove.retain(|key| !set.contains(key));
        }
        step
    }

    fn take(&mut self, change: Change, before: Option<&Self>, touched: &mut BTreeSet<Subject>) {
        let Change { key, value } = change;
        let Some(value) = value else {
            self.ledger.set(&key, &[], Vec::new());
            touched.extend(self.forget(&key));
            return;
        };
        let complaints = match self.layout.read(&key, &value) {
            Reading::Nothing => {
                touched.extend(self.forget(&key));
                Vec::new()
            }
            Reading::Left { complaint } => {
                touched.extend(self.forget(&key));
                vec![complaint]
            }
            Reading::Bad { subject, complaint } => {
                let kept = self.keys.contains_key(key.as_slice())
                    || self.adopt(&key, subject.as_ref(), before, touched);
                vec![complaint.kept(kept)]
            }
            Reading::Said { .. } if !self.has_room_for(&key, before) => {
                self.left_out = self.left_out.saturating_add(1);
                return;
            }
            Reading::Said { subject, facts } => {
                let said = facts.said.into_boxed_slice();
                let moves = |meaning: &Meaning| meaning.subject != subject;
                if self.keys.get(key.as_slice()).is_some_and(moves) {
                    touched.extend(self.forget(&key));
                }
                touched.insert(subject.clone());
                self.has_tcp |= matches!(&subject, Subject::Endpoint { service, .. } if service.as_str().starts_with(TCP));
                if before.is_some_and(|view| !view.keys.contains_key(key.as_slice())) {
                    self.fresh += 1;
                }
                self.mean(
                    &key,
                    Meaning {
                        subject,
                        facts: said,
                    },
                );
                facts.complaints
            }
        };
        self.ledger.set(&key, &value, complaints);
    }

    fn mean(&mut self, key: &[u8], meaning: Meaning) {
        if let Some(known) = self.keys.get_mut(key) {
            *known = meaning;
            return;
        }
        let key: Arc<[u8]> = key.into();
        let meaning = self.share_names(meaning);
        let entity = self.entity(&meaning.subject);
        if let Err(at) = entity.keys.binary_search(&key) {
            // Nearly all entities have one key, and a vector's first growth makes room for four.
            entity.keys.reserve_exact(1);
            entity.keys.insert(at, Arc::clone(&key));
        }
        self.keys.insert(key, meaning);
    }

    /// Names are shared: a service of many endpoints has its name in memory once.
    fn share_names(&self, meaning: Meaning) -> Meaning {
        let Meaning { subject, facts } = meaning;
        let known = |name: Name| match self.services.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => name,
        };
        let subject = match subject {
            Subject::Endpoint { service, id } => Subject::Endpoint {
                service: known(service),
                id,
            },
            Subject::Service { service } => Subject::Service {
                service: known(service),
            },
            other @ (Subject::Middleware { .. } | Subject::Route { .. }) => other,
        };
        Meaning { subject, facts }
    }

    fn forget(&mut self, key: &[u8]) -> Option<Subject> {
        let (key, meaning) = self.keys.remove_entry(key)?;
        let entity = self.entity(&meaning.subject);
        if let Ok(at) = entity.keys.binary_search(&key) {
            entity.keys.remove(at);
        }
        Some(meaning.subject)
    }

    fn entity(&mut self, subject: &Subject) -> &mut Entity {
        match subject {
            Subject::Endpoint { service, id } => self
                .services
                .entry(service.clone())
                .or_default()
                .endpoints
                .entry(id.clone())
                .or_default(),
            Subject::Middleware { name } => self.middlewares.entry(name.clone()).or_default(),
            Subject::Route { id } => self.routes.entry(id.clone()).or_default(),
            Subject::Service { service } => {
                &mut self.services.entry(service.clone()).or_default().own
            }
        }
    }

    fn facts_of<'v>(&'v self, entity: &'v Entity) -> impl Iterator<Item = &'v Fact> {
        entity
            .keys
            .iter()
            .filter_map(|key| self.keys.get(key))
            .flat_map(|meaning| meaning.facts.iter())
    }

    fn mode_of(&self, service: &Name) -> Option<Mode> {
        let own = &self.services.get(service)?.own;
        self.facts_of(own).find_map(|fact| match fact {
            Fact::Mode(mode) => Some(*mode),
            _ => None,
        })
    }

    /// Makes the record of a subject anew and says what that changed.
    fn refresh(&mut self, subject: &Subject, step: &mut Step) {
        let Made {
            record,
            wrong,
            object,
            ..
        } = self.make(subject);
        let made = record.map(Box::new);
        let first = self.entity(subject).keys.first().cloned();
        let object = match (&object, &first) {
            (Some(object), _) => object.as_bytes(),
            (None, Some(first)) => first,
            (None, None) => &[],
        };
        self.ledger.set_subject(subject, object, wrong);
        let entity = self.entity(subject);
        let before = std::mem::replace(&mut entity.record, made.clone());
        self.records += usize::from(made.is_some());
        self.records -= usize::from(before.is_some());
        if let Some(before) = &before
            && made.as_ref().is_none_or(|made| made.key != before.key)
        {
            step.remove.push(before.key.clone());
        }
        if let Some(made) = made
            && Some(&made) != before.as_ref()
        {
            step.set.push(*made);
        }
        self.prune(subject);
    }

    fn prune(&mut self, subject: &Subject) {
        match subject {
            Subject::Endpoint { service, .. } | Subject::Service { service } => {
                let Some(view) = self.services.get_mut(service) else {
                    return;
                };
                if let Subject::Endpoint { id, .. } = subject
                    && view
                        .endpoints
                        .get(id)
                        .is_some_and(|entity| entity.keys.is_empty())
                {
                    view.endpoints.remove(id);
                }
                if view.endpoints.is_empty()
                    && view.own.keys.is_empty()
                    && view.own.record.is_none()
                {
                    self.services.remove(service);
                }
            }
            Subject::Middleware { name } => {
                let entity = self.middlewares.get(name);
                if entity.is_some_and(|entity| entity.keys.is_empty()) {
                    self.middlewares.remove(name);
                }
            }
            Subject::Route { id } => {
                if self
                    .routes
                    .get(id)
                    .is_some_and(|entity| entity.keys.is_empty())
                {
                    self.routes.remove(id);
                }
            }
        }
    }
}

impl Change {
    /// A key was created or changed.
    #[must_use]
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// A key is gone.
    #[must_use]
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }
}
