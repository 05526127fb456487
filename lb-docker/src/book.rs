//! All containers that concern us, the records they make, and what of it was told already.
//!
//! Pure: what the engine answered goes in, what must be sent comes out. A change costs the containers that
//! changed, not all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use lb_core::{Diagnostic, Name, Record, RecordKey, Update};

use crate::{
    address::{Networks, Reach},
    budget::{Budget, Labelled as _},
    container::{Container, Excess, NetworkMode, Phase, Stop, short},
    contest::{Contest, without},
    middlewares::NamedMiddlewares,
    names::Names,
    proportions::{self, Proportions},
    shared_hosts::SharedHosts,
    told::Told,
    translate::{Fate, Rules, Translation, translate},
};

/// The changes that must be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    pub(crate) set: Vec<Record>,
    pub(crate) remove: Vec<RecordKey>,
    /// The diagnostics of what is wrong from now on, and of what no longer is.
    pub(crate) complaints: Vec<Update>,
}

impl Changes {
    /// The diagnostics that were not reported before.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn diagnostics(&self) -> Vec<Diagnostic> {
        self.complaints
            .iter()
            .filter_map(|update| match update {
                Update::Diagnostic(diagnostic) => Some(diagnostic.clone()),
                _ => None,
            })
            .collect()
    }
}

/// The containers that concern us.
#[derive(Debug)]
pub(crate) struct Book {
    rules: Rules,
    networks: Networks,
    reach: Reach,
    held: BTreeMap<String, Held>,
    /// The records that containers ask for, by key: several may claim the same key.
    claims: BTreeMap<RecordKey, BTreeMap<String, Record>>,
    /// The claims that were reported, by the key that was claimed.
    told: BTreeMap<RecordKey, BTreeMap<RecordKey, Record>>,
    touched: BTreeSet<RecordKey>,
    complaints: Vec<Update>,
    said: Told,
    /// The definitions of containers that run.
    contest: Contest,
    /// The statements of running containers about the hosts that they share.
    hosts: SharedHosts,
    /// The middlewares of containers that run.
    middlewares: NamedMiddlewares,
    /// The weights of containers that run.
    proportions: Proportions,
    /// The names of services, and what makes them.
    names: Names,
    /// The containers that have an address of their own on a network, to see when one is used again.
    addresses: BTreeMap<SocketAddr, BTreeSet<String>>,
    /// The size of all containers' labels, and its limit.
    budget: Budget,
    /// The project that owns a configured service which names none.
    owners: BTreeMap<usize, String>,
}

#[derive(Debug)]
struct Held {
    container: Container,
    through: Option<Container>,
    fate: Fate,
    translation: Translation,
}

impl Book {
    pub(crate) fn new(rules: Rules, networks: Networks, reach: Reach) -> Self {
        Self {
            budget: Budget::new(rules.max_label_bytes),
            rules,
            networks,
            reach,
            held: BTreeMap::new(),
            claims: BTreeMap::new(),
            told: BTreeMap::new(),
            touched: BTreeSet::new(),
            complaints: Vec::new(),
            said: Told::default(),
            contest: Contest::default(),
            hosts: SharedHosts::default(),
            middlewares: NamedMiddlewares::default(),
            proportions: Proportions::default(),
            names: Names::default(),
            addresses: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bounds the labels of all containers.
    #[cfg(test)]
    pub(crate) fn limit_labels(&mut self, most: usize) {
        self.rules.max_label_bytes = most;
        self.budget = Budget::new(most);
    }

    /// The number of bytes the labels of all containers take.
    #[cfg(test)]
    pub(crate) fn label_bytes(&self) -> usize {
        let held = self.held.values();
        held.filter(|held| held.container.excess.is_none())
            .map(|held| held.container.label_size())
            .sum()
    }

    /// The facts held of a container, and the way it is told to stop where that is known.
    pub(crate) fn known(&self, id: &str) -> Option<Option<Stop>> {
        self.held.get(id).map(|held| held.container.stop)
    }

    /// The containers that use the network of container `id`.
    pub(crate) fn dependents(&self, id: &str) -> Vec<String> {
        self.held
            .values()
            .filter(|held| held.through.as_ref().is_some_and(|other| other.id == id))
            .map(|held| held.container.id.clone())
            .collect()
    }

    /// The networks that are known.
    pub(crate) fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Everything there is. What is held and not among these is gone.
    pub(crate) fn replace(&mut self, containers: Vec<(Container, Option<Container>)>) {
        self.replace_but(containers, &BTreeSet::new());
    }

    /// Everything there is, but for containers of which something newer is known.
    pub(crate) fn replace_but(
        &mut self,
        mut containers: Vec<(Container, Option<Container>)>,
        outdated: &BTreeSet<String>,
    ) {
        containers.retain(|(container, _)| !outdated.contains(&container.id));
        let listed: BTreeSet<&str> = containers
            .iter()
            .map(|(container, _)| container.id.as_str())
            .collect();
        let gone: Vec<String> = self
            .held
            .keys()
            .filter(|id| !listed.contains(id.as_str()) && !outdated.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            self.forget(&id);
        }
        // What was listed together is weighed together.
        for (container, _) in &containers {
            self.budget.forget(&container.id);
        }
        self.find_owners(containers.iter().map(|(container, _)| container));
        for (container, through) in containers {
            self.put(container, through);
        }
    }

    /// Takes in an inspection or a listing of one container. Answers with containers whose address it has,
    /// which therefore must be read again: they can hardly have it too.
    pub(crate) fn put(
        &mut self,
        mut container: Container,
        through: Option<Container>,
    ) -> Vec<String> {
        let id = container.id.clone();
        self.rules.drop_unread(&mut container);
        let mut fate = Fate::Stays;
        if let Some(old) = self.held.get(&id) {
            // A listing does not tell what an inspection told before, and which never changes.
            if container.env.is_none() && old.container.excess == Some(Excess::OfOne) {
                container.excess = old.container.excess;
            }
            container.env = container.env.or_else(|| old.container.env.clone());
            container.stop = container.stop.or(old.container.stop);
            if container.exposed.is_empty() {
                container.exposed.clone_from(&old.container.exposed);
            }
            if old.fate == Fate::Leaves && container.phase != Phase::Stopped {
                fate = Fate::Leaves;
            }
        }
        self.make_room(&mut container);
        self.find_owners([&container].into_iter());
        let stopped = container.phase == Phase::Stopped;
        self.hold(Held {
            container,
            through,
            fate,
            translation: Translation::default(),
        });
        if stopped {
            self.release_owners();
        }
        self.sharers(&id)
    }

    /// It was told to stop.
    pub(crate) fn leaves(&mut self, id: &str) {
        self.set_fate(id, Fate::Leaves);
    }

    /// It was told to stop long ago and still runs: it did not mean to.
    pub(crate) fn stays(&mut self, id: &str) {
        if self
            .held
            .get(id)
            .is_some_and(|held| held.fate == Fate::Leaves)
        {
            self.set_fate(id, Fate::Stays);
        }
    }

    /// It runs no more.
    pub(crate) fn died(&mut self, id: &str) {
        if self
            .held
            .get(id)
            .is_some_and(|held| held.container.phase != Phase::Stopped)
        {
            self.set_fate(id, Fate::Died);
        }
    }

    /// It is gone for good.
    pub(crate) fn forget(&mut self, id: &str) {
        self.budget.forget(id);
        if let Some(held) = self.take(id) {
            let mut others = self.contest.set(id, std::iter::empty());
            others.extend(self.names.set(id, None));
            others.extend(self.hosts.set(id, std::iter::empty()));
            let none = proportions::Written::default();
            others.extend(self.proportions.set(id, std::iter::empty(), &none));
            let resolved = self.said.set(&held.container.object(), Vec::new());
            self.complaints.extend(resolved);
            self.claim_all(others);
            self.middlewares.ask(id, BTreeSet::new());
            let users = self.middlewares.define(id, &[]);
            self.read_again(users);
            self.release_owners();
        }
    }

    /// Networks, or the load balancer's place among them, may have changed.
    pub(crate) fn set_surroundings(&mut self, networks: Networks, reach: Reach) {
        if networks == self.networks && reach == self.reach {
            return;
        }
        self.networks = networks;
        self.reach = reach;
        self.again(|_| true);
    }

    /// All records, as a reset needs them; they count as told.
    pub(crate) fn snapshot(&mut self) -> (Vec<Record>, Vec<Diagnostic>) {
        self.touched.clear();
        self.told = self
            .claims
            .keys()
            .map(|key| (key.clone(), self.wanted(key)))
            .collect();
        let records = self
            .told
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect();
        self.complaints.clear();
        (records, self.said.all().cloned().collect())
    }

    /// The changes since the last report; none when there are none.
    pub(crate) fn changes(&mut self) -> Option<Changes> {
        let mut changes = Changes {
            complaints: std::mem::take(&mut self.complaints),
            ..Changes::default()
        };
        for key in std::mem::take(&mut self.touched) {
            let wanted = self.wanted(&key);
            let told = self.told.remove(&key).unwrap_or_default();
            changes.remove.extend(
                told.keys()
                    .filter(|key| !wanted.contains_key(*key))
                    .cloned(),
            );
            changes.set.extend(
                wanted
                    .iter()
                    .filter(|(key, record)| told.get(*key) != Some(*record))
                    .map(|(_, record)| record.clone()),
            );
            if !wanted.is_empty() {
                self.told.insert(key, wanted);
            }
        }
        (changes != Changes::default()).then_some(changes)
    }

    /// Keeps the labels of a container where there is room for them, and drops those of the largest ones where there is
    /// none.
    fn make_room(&mut self, container: &mut Container) {
        if let Some(Excess::OfAll { bytes }) = container.excess {
            self.budget.set_refused(&container.id, bytes);
            return;
        }
        for id in self.budget.set(&container.id, container.label_size()) {
            if id == container.id {
                container.drop_labels();
            } else if let Some(mut held) = self.take(&id) {
                held.container.drop_labels();
                self.hold(held);
            }
        }
    }

    /// Containers that are to be read once more: there was no room for their labels, and now there is.
    pub(crate) fn returning(&mut self) -> Vec<String> {
        self.budget.returning()
    }

    fn set_fate(&mut self, id: &str, fate: Fate) {
        if let Some(held) = self.take(id) {
            self.hold(Held { fate, ..held });
        }
    }

    /// The records for one claimed key: its own for the first container by id, suffixed ones for others.
    fn wanted(&self, key: &RecordKey) -> BTreeMap<RecordKey, Record> {
        let Some(claims) = self.claims.get(key) else {
            return BTreeMap::new();
        };
        claims
            .iter()
            .enumerate()
            .map(|(place, (id, record))| {
                let mut record = record.clone();
                if place > 0 {
                    let suffixed = format!("{}-{}", key.id, short(id));
                    record.key.id = Name::from_text(&suffixed);
                }
                (record.key.clone(), record)
            })
            .collect()
    }

    fn take(&mut self, id: &str) -> Option<Held> {
        let held = self.held.remove(id)?;
        for record in &held.translation.records {
            if let Some(claims) = self.claims.get_mut(&record.key) {
                claims.remove(id);
                if claims.is_empty() {
                    self.claims.remove(&record.key);
                }
            }
            self.touched.insert(record.key.clone());
        }
        for (_, choice) in &held.translation.choices {
            if let Some(address) = choice.address
                && let Some(users) = self.addresses.get_mut(&address)
            {
                users.remove(id);
                if users.is_empty() {
                    self.addresses.remove(&address);
                }
            }
        }
        Some(held)
    }

    fn hold(&mut self, mut held: Held) {
        let id = held.container.id.clone();
        if let Some(old) = self.take(&id)
            && old.container.object() != held.container.object()
        {
            let resolved = self.said.set(&old.container.object(), Vec::new());
            self.complaints.extend(resolved);
        }
        held.translation = self.translated(&held);
        // One that leaves does not contradict the one that takes its place.
        let counts = held.container.phase != Phase::Stopped && held.fate == Fate::Stays;
        let asked = std::mem::take(&mut held.translation.asked);
        self.middlewares.ask(&id, asked);
        let defined = match counts {
            true => std::mem::take(&mut held.translation.middlewares),
            false => Vec::new(),
        };
        let mut users = self.middlewares.define(&id, &defined);
        if users.remove(&id) {
            held.translation = self.translated(&held);
            let asked = std::mem::take(&mut held.translation.asked);
            self.middlewares.ask(&id, asked);
        }
        let own_network = held.container.mode == NetworkMode::Own;
        if own_network && held.container.phase != Phase::Stopped && held.fate != Fate::Died {
            for (_, choice) in &held.translation.choices {
                if let Some(address) = choice.address {
                    self.addresses
                        .entry(address)
                        .or_default()
                        .insert(id.clone());
                }
            }
        }
        let definitions = held.translation.definitions.iter().filter(|_| counts);
        let mut others = self.contest.set(&id, definitions);
        let runs = held.container.phase != Phase::Stopped && held.fate != Fate::Died;
        let stated = held.translation.hosts.iter().filter(|_| runs);
        others.extend(self.hosts.set(&id, stated));
        let weighed = held.translation.records.iter().filter(|_| runs);
        let written = &held.translation.written;
        others.extend(self.proportions.set(&id, weighed, written));
        let compose = held.container.compose();
        let origin = compose.map(|compose| (compose.project, compose.service));
        others.extend(
            self.names
                .set(&id, origin.filter(|_| !held.translation.records.is_empty())),
        );
        self.held.insert(id.clone(), held);
        self.claim(&id);
        self.claim_all(others);
        self.read_again(users);
    }

    fn translated(&self, held: &Held) -> Translation {
        translate(
            &held.container,
            held.through.as_ref(),
            held.fate,
            &self.rules,
            &self.networks,
            &self.reach,
            Some(self.middlewares.shared()),
            |index| self.owners.get(&index).cloned(),
        )
    }

    /// Reads containers again whose routers name middlewares that mean something else now.
    fn read_again(&mut self, ids: BTreeSet<String>) {
        for id in ids {
            if let Some(held) = self.take(&id) {
                self.hold(held);
            }
        }
    }

    /// Claims the records of a container, without what other containers contradict, and says what is wrong with it.
    fn claim(&mut self, id: &str) {
        let Some(held) = self.held.get(id) else {
            return;
        };
        let object = held.container.object();
        let translation = &held.translation;
        let (lost, contradicted) = self.contest.lost(&object, &translation.definitions);
        let compose = held.container.compose();
        let origin = compose.map(|compose| (compose.project, compose.service));
        let mut found: Vec<Diagnostic> = translation.complaints.clone();
        for record in &translation.records {
            if let Some(taken) = self.names.lost(&object, origin, record) {
                if !found.contains(&taken) {
                    found.push(taken);
                }
                continue;
            }
            let settled = self.hosts.apply(without(record, &lost), &translation.hosts);
            let proportion = self.proportions.of(&record.key.service);
            self.claims.entry(record.key.clone()).or_default().insert(
                id.to_owned(),
                proportions::apply(settled, &translation.written, proportion),
            );
            self.touched.insert(record.key.clone());
        }
        found.extend(contradicted);
        found.extend(self.hosts.lost(&object, &translation.hosts));
        let of_service = |service: &Name| self.proportions.of(service);
        found.extend(proportions::inexact(
            &object,
            &translation.written,
            of_service,
        ));
        let told = self.said.set(&object, found);
        self.complaints.extend(told);
    }

    fn claim_all(&mut self, ids: BTreeSet<String>) {
        for id in ids {
            self.claim(&id);
        }
    }

    /// The other containers that have an address of `id`.
    fn sharers(&self, id: &str) -> Vec<String> {
        let Some(held) = self.held.get(id) else {
            return Vec::new();
        };
        let mut others: BTreeSet<String> = BTreeSet::new();
        for (_, choice) in &held.translation.choices {
            if let Some(users) = choice
                .address
                .and_then(|address| self.addresses.get(&address))
                && users.contains(id)
            {
                others.extend(users.iter().filter(|other| *other != id).cloned());
            }
        }
        others.into_iter().collect()
    }

    /// Gives each configured service without a project and owner the first project by name that has it.
    fn find_owners<'a>(&mut self, containers: impl Iterator<Item = &'a Container>) {
        let mut found: BTreeMap<usize, String> = BTreeMap::new();
        for container in containers.filter(|container| container.phase != Phase::Stopped) {
            let Some(compose) = container.compose().filter(|compose| !compose.one_off) else {
                continue;
            };
            for (index, chosen) in self.rules.chosen(container) {
                if self.rules.project(chosen).is_some() || self.owners.contains_key(&index) {
                    continue;
                }
                match found.get(&index) {
                    Some(project) if project.as_str() <= compose.project => {}
                    _ => {
                        found.insert(index, compose.project.to_owned());
                    }
                }
            }
        }
        self.owners.extend(found);
    }

    /// Passes on services whose owning project has no running container of them any more.
    fn release_owners(&mut self) {
        let deserted: Vec<usize> = self
            .owners
            .iter()
            .filter(|(index, owner)| {
                !self.held.values().any(|held| {
                    held.container.phase != Phase::Stopped
                        && held
                            .container
                            .compose()
                            .is_some_and(|compose| compose.project == owner.as_str())
                        && self
                            .rules
                            .chosen(&held.container)
                            .any(|(at, _)| at == **index)
                })
            })
            .map(|(index, _)| *index)
            .collect();
        if deserted.is_empty() {
            return;
        }
        for index in &deserted {
            self.owners.remove(index);
        }
        let held: Vec<Container> = self
            .held
            .values()
            .map(|held| held.container.clone())
            .collect();
        self.find_owners(held.iter());
        let services: BTreeSet<String> = deserted
            .iter()
            .filter_map(|index| self.rules.services.get(*index))
            .map(|chosen| chosen.compose_service.clone())
            .collect();
        self.again(|container| {
            container
                .compose()
                .is_some_and(|compose| services.contains(compose.service))
        });
    }

    fn again(&mut self, which: impl Fn(&Container) -> bool) {
        let ids: Vec<String> = self
            .held
            .values()
            .filter(|held| which(&held.container))
            .map(|held| held.container.id.clone())
            .collect();
        for id in ids {
            if let Some(held) = self.take(&id) {
                self.hold(held);
            }
        }
    }
}
