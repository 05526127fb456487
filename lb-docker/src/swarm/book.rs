//! A cluster's records, and what of them was told already.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use lb_core::{Diagnostic, EndpointState, Name, Record, RecordKey};
use lb_schemes::{Proportion, Reading, traefik::SharedMiddlewares};

use super::{
    cluster::{Cluster, KnownService, TASK_LABEL},
    records::{SwarmRules, attachments, translate, virtual_networks},
};
use crate::{
    address::{Networks, Reach},
    book::Changes,
    container::Attached,
    contest::{Contest, without},
    proportions,
    refresh::{Event, Step},
    told::Told,
    translate::{Fate, Translation},
};

/// The label by which a container names its service.
const SERVICE_LABEL: &str = "com.docker.swarm.service.id";

/// An event of a node's own engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing about us.
    Nothing,
    /// The fate of a container.
    Fate,
    /// A container is to be read.
    Read { task: String, container: String },
}

/// A cluster's records.
#[derive(Debug)]
pub(crate) struct SwarmBook {
    pub(crate) cluster: Cluster,
    pub(crate) rules: SwarmRules,
    networks: Networks,
    reach: Reach,
    /// The last specs of each service that were valid.
    good: BTreeMap<String, Reading>,
    told: BTreeMap<RecordKey, Record>,
    complained: Told,
}

impl SwarmBook {
    pub(crate) fn new(
        rules: SwarmRules,
        cluster: Cluster,
        networks: Networks,
        reach: Reach,
    ) -> Self {
        Self {
            cluster,
            rules,
            networks,
            reach,
            good: BTreeMap::new(),
            told: BTreeMap::new(),
            complained: Told::default(),
        }
    }

    pub(crate) fn set_surroundings(&mut self, networks: Networks, reach: Reach) {
        self.networks = networks;
        self.reach = reach;
    }

    /// All records, as a reset needs them; they count as told.
    pub(crate) fn snapshot(&mut self) -> (Vec<Record>, Vec<Diagnostic>) {
        let (records, complaints) = self.wanted();
        self.told = records;
        self.complained = Told::default();
        self.complained.replace(complaints.clone());
        (self.told.values().cloned().collect(), complaints)
    }

    /// The changes since the last report; none when there are none.
    pub(crate) fn changes(&mut self) -> Option<Changes> {
        let (records, complaints) = self.wanted();
        let changes = Changes {
            set: records
                .iter()
                .filter(|(key, record)| self.told.get(*key) != Some(*record))
                .map(|(_, record)| record.clone())
                .collect(),
            remove: self
                .told
                .keys()
                .filter(|key| !records.contains_key(*key))
                .cloned()
                .collect(),
            complaints: self.complained.replace(complaints),
        };
        self.told = records;
        (changes != Changes::default()).then_some(changes)
    }

    /// Returns `true` if nothing is about to change by itself.
    pub(crate) fn has_converged(&self) -> bool {
        self.cluster.has_converged(self.good.keys().cloned())
    }

    /// Returns `true` if the container of a task with this service is of ours.
    pub(crate) fn claims(&self, service: &str) -> bool {
        self.good.contains_key(service)
    }

    /// Takes in what a node's own engine says of a task's container.
    pub(crate) fn hear(&mut self, event: &Event) -> Heard {
        let labels = event
            .attributes
            .get(TASK_LABEL)
            .zip(event.attributes.get(SERVICE_LABEL));
        let Some((task, service)) = labels else {
            return Heard::Nothing;
        };
        if !self.claims(service) {
            return Heard::Nothing;
        }
        let held = self.cluster.locals.get_mut(task);
        let known = held.as_ref().map(|local| local.container.stop);
        match (event.step(known, true), held) {
            (Step::Died | Step::Gone, Some(local)) => {
                local.fate = Fate::Died;
                Heard::Fate
            }
            (Step::Leaves, Some(local)) => {
                if local.fate != Fate::Died {
                    local.fate = Fate::Leaves;
                }
                Heard::Fate
            }
            (Step::Read, _) => Heard::Read {
                task: task.clone(),
                container: event.id.clone(),
            },
            _ => Heard::Nothing,
        }
    }

    /// Explains each service that `which` names.
    pub(crate) fn explain(&mut self, which: &str) -> Option<(String, Translation)> {
        let (_, complaints) = self.wanted();
        let (id, known) = self.cluster.services.iter().find(|(id, known)| {
            known.listed.spec.name == which || (which.len() >= 4 && id.starts_with(which))
        })?;
        let specs = self
            .good
            .get(id)
            .map(|good| good.services.clone())
            .unwrap_or_default();
        let object = super::records::object(&known.listed);
        let mut translation = translate(
            known,
            &specs,
            &self.cluster,
            &self.rules,
            &self.networks,
            &self.reach,
        );
        translation.complaints = complaints
            .into_iter()
            .filter(|complaint| complaint.object == object)
            .collect();
        Some((object, translation))
    }

    fn wanted(&mut self) -> (BTreeMap<RecordKey, Record>, Vec<Diagnostic>) {
        let mut complaints = Vec::new();
        let services = &self.cluster.services;
        self.good.retain(|id, _| services.contains_key(id));
        let mut contest = Contest::default();
        let mut middlewares = SharedMiddlewares::default();
        let mut all: Vec<(&String, &KnownService, Vec<Attached>, Reading)> = Vec::new();
        for (id, known) in services {
            let on: Vec<Attached> = match self.rules.narrow.networks.is_empty() {
                true => Vec::new(),
                false => self
                    .cluster
                    .tasks_of(id)
                    .flat_map(|task| attachments(task, |_, _| {}))
                    .chain(virtual_networks(&known.listed, &self.networks))
                    .collect(),
            };
            let found = self.rules.specs(&known.listed, &on, &self.networks, None);
            if !known.removed {
                middlewares.set(id, &found.middlewares);
            }
            all.push((id, known, on, found));
        }
        for (id, known, on, mut found) in all {
            // What its routers name, another service may define.
            if !found.asked.is_empty() {
                let others = Some(&middlewares);
                found = self.rules.specs(&known.listed, &on, &self.networks, others);
            }
            complaints.append(&mut found.diagnostics);
            // A label that was broken by hand must not take away what served before; one that restricts must.
            if !found.malformed || !self.good.contains_key(id) {
                match found.services.is_empty() {
                    true => self.good.remove(id),
                    false => self.good.insert(id.clone(), found),
                };
            }
            if let Some(good) = self.good.get(id)
                && !known.removed
            {
                contest.set(id, good.definitions.iter());
            }
        }
        let mut weights: BTreeMap<&Name, Vec<u64>> = BTreeMap::new();
        for spec in self.good.values().flat_map(|good| &good.services) {
            let written = spec.written_weight.as_ref();
            let weight =
                written.map_or_else(|| u64::from(spec.weight.get()), |written| written.weight);
            weights.entry(&spec.service).or_default().push(weight);
        }
        let of_service = |service: &Name| {
            let weights = weights.get(service).into_iter().flatten().copied();
            Proportion::of(weights)
        };
        let mut records: Vec<Record> = Vec::new();
        for (id, known) in services {
            let Some(good) = self.good.get(id) else {
                continue;
            };
            let object = super::records::object(&known.listed);
            let (lost, contradicted) = contest.lost(&object, &good.definitions);
            complaints.extend(contradicted);
            let translation = translate(
                known,
                &good.services,
                &self.cluster,
                &self.rules,
                &self.networks,
                &self.reach,
            );
            complaints.extend(translation.complaints);
            let written = proportions::written(&good.services);
            complaints.extend(proportions::inexact(&object, &written, of_service));
            records.extend(translation.records.iter().map(|record| {
                let proportion = of_service(&record.key.service);
                proportions::apply(without(record, &lost), &written, proportion)
            }));
        }
        self.settle_addresses(&mut records);
        let mut wanted: BTreeMap<RecordKey, Record> = BTreeMap::new();
        for record in records {
            wanted.entry(record.key.clone()).or_insert(record);
        }
        (wanted, complaints)
    }

    /// An address that two services claim is given by Swarm to the one whose claim is later; whoever else still
    /// claims it has lost it, and must not get its traffic.
    fn settle_addresses(&self, records: &mut [Record]) {
        let mut users: BTreeMap<SocketAddr, BTreeSet<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            if let Some(endpoint) = &record.endpoint
                && endpoint.state != EndpointState::Down
            {
                users.entry(endpoint.address).or_default().insert(place);
            }
        }
        for places in users.values().filter(|places| places.len() > 1) {
            let latest = places
                .iter()
                .copied()
                .max_by_key(|place| records.get(*place).map(|record| self.version(record)));
            let Some(owner) = latest.and_then(|place| records.get(place)) else {
                continue;
            };
            let owner = owner.key.id.clone();
            for place in places {
                // One task may serve several services at one address.
                if let Some(record) = records.get_mut(*place)
                    && record.key.id != owner
                    && let Some(endpoint) = &mut record.endpoint
                {
                    endpoint.state = EndpointState::Down;
                }
            }
        }
    }

    /// The version at which the task behind a record was last changed; the latest for what stands for no task.
    fn version(&self, record: &Record) -> u64 {
        self.cluster
            .tasks
            .values()
            .find(|task| super::records::endpoint_id(task) == record.key.id.as_str())
            .map_or(u64::MAX, |task| task.version.index)
    }
}
