//! Which records of a source are admitted.

use std::collections::{BTreeMap, HashMap};

use super::Limits;
use crate::{
    condition::{Condition, ConditionKind},
    model::{Name, leads_to_none},
    source::{Record, RecordKey},
};

/// The most records that are kept for the time when there is room.
const MOST_WAITING: usize = 10_000;

/// The most refusals that are listed.
const MOST_LISTED: usize = 64;

/// The records of one source within its limits.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    limits: Limits,
    /// The use of the limits by the records that were admitted, where they use any.
    used: HashMap<RecordKey, Use>,
    total: Use,
    /// Records that there is no room for now.
    waiting: BTreeMap<RecordKey, Record>,
    /// The records of which something is left out, and why.
    refused: BTreeMap<RecordKey, Vec<Refusal>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    endpoints: u32,
    routes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    limit: &'static str,
    detail: String,
}

/// The changes that go on to the guard.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    pub(crate) set: Vec<Record>,
    pub(crate) remove: Vec<RecordKey>,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Everything that a source has. What was admitted before goes first, so that what is new takes nothing's place.
    pub(crate) fn reset(&mut self, records: Vec<Record>) -> Vec<Record> {
        let before = std::mem::take(&mut self.used);
        self.total = Use::default();
        self.waiting.clear();
        self.refused.clear();
        let (known, new): (Vec<Record>, Vec<Record>) = records
            .into_iter()
            .partition(|record| before.contains_key(&record.key));
        let all = known.into_iter().chain(new);
        all.filter_map(|record| self.admit(record)).collect()
    }

    /// A change of a source.
    pub(crate) fn batch(&mut self, set: Vec<Record>, remove: Vec<RecordKey>) -> Admitted {
        let mut admitted = Admitted::default();
        let total = self.total;
        for key in remove {
            self.free(&key);
            self.waiting.remove(&key);
            self.refused.remove(&key);
            admitted.remove.push(key);
        }
        for record in set {
            let key = record.key.clone();
            self.waiting.remove(&key);
            self.refused.remove(&key);
            self.free(&key);
            match self.admit(record) {
                Some(record) => admitted.set.push(record),
                // Its last form is not what the source says any more.
                None => admitted.remove.push(key),
            }
        }
        let freed = self.total.endpoints < total.endpoints || self.total.routes < total.routes;
        if freed && !self.waiting.is_empty() {
            for (key, record) in std::mem::take(&mut self.waiting) {
                self.refused.remove(&key);
                self.free(&key);
                admitted.set.extend(self.admit(record));
            }
        }
        admitted
    }

    fn free(&mut self, key: &RecordKey) {
        if let Some(used) = self.used.remove(key) {
            self.total.endpoints -= used.endpoints;
            self.total.routes -= used.routes;
        }
    }

    /// The record, or what of it is allowed.
    fn admit(&mut self, mut record: Record) -> Option<Record> {
        let allow = &self.limits.allow;
        let mut refusals = Vec::new();
        let mut refuse = |limit, detail| refusals.push(Refusal { limit, detail });
        let mut admitted = true;
        if !allow.service(&record.key.service) {
            refuse("allow.services", format!("service {}", record.key.service));
            admitted = false;
        }
        if let Some((list, value)) = record
            .endpoint
            .as_ref()
            .and_then(|endpoint| allow.refuses(endpoint))
        {
            match list {
                "ports" => refuse("allow.ports", format!("port {value}")),
                _ => refuse("allow.addresses", format!("address {value}")),
            }
            admitted = false;
        }
        if !admitted {
            self.refused.insert(record.key, refusals);
            return None;
        }
        if record.routes.len() > self.limits.max_routes_per_object {
            refuse(
                "max_routes_per_object",
                format!("{} routes", record.routes.len()),
            );
            record.routes = [].into();
        }
        // What leads to no service takes nothing of one.
        let fits = |route: &crate::model::Route| {
            allow.host(&route.host)
                && (leads_to_none(&route.service) || allow.service(&route.service))
        };
        if allow.hosts.is_some() || allow.services.is_some() {
            for route in record.routes.iter().filter(|route| !fits(route)).take(8) {
                match allow.host(&route.host) {
                    true => refuse(
                        "allow.services",
                        format!("route to service {}", route.service),
                    ),
                    false => refuse("allow.hosts", format!("route {}{}", route.host, route.path)),
                }
            }
            if !record.routes.iter().all(fits) {
                record.routes = record
                    .routes
                    .iter()
                    .filter(|route| fits(route))
                    .cloned()
                    .collect();
            }
        }
        let original = record.clone();
        let mut waits = false;
        let total = self.total;
        if record.endpoint.is_some() && total.endpoints as usize >= self.limits.max_endpoints {
            refuse(
                "max_endpoints",
                format!("more than {} endpoints", self.limits.max_endpoints),
            );
            waits = true;
            admitted = false;
        } else if total.routes as usize + record.routes.len() > self.limits.max_routes {
            refuse(
                "max_routes",
                format!("more than {} routes", self.limits.max_routes),
            );
            record.routes = [].into();
            waits = true;
        }
        let key = record.key.clone();
        if waits && self.waiting.len() < MOST_WAITING {
            self.waiting.insert(key.clone(), original);
        }
        if !refusals.is_empty() {
            self.refused.insert(key.clone(), refusals);
        }
        if !admitted {
            return None;
        }
        let used = Use {
            endpoints: u32::from(record.endpoint.is_some()),
            routes: u32::try_from(record.routes.len()).unwrap_or(u32::MAX),
        };
        self.total.endpoints += used.endpoints;
        self.total.routes = self.total.routes.saturating_add(used.routes);
        self.used.insert(key, used);
        Some(record)
    }

    /// The conditions of what is left out: one for each record, the first of them.
    pub(crate) fn conditions(&self, source: &Name) -> Vec<Condition> {
        self.refused
            .iter()
            .take(MOST_LISTED)
            .map(|(key, refusals)| {
                let what: Vec<String> = refusals
                    .iter()
                    .map(|refusal| format!("{} (`{}`)", refusal.detail, refusal.limit))
                    .collect();
                let detail = format!(
                    "source {source} asks for more than its limits allow: {} not in effect",
                    what.join(", ")
                );
                Condition::new(ConditionKind::NotAllowed, detail)
                    .of_source(source.clone())
                    .of_service(key.service.clone())
                    .of_object(key.to_string())
                    .with_help("change the object, or the limits of the source")
            })
            .collect()
    }

    /// The number of records that are left out, or a part of them.
    pub(crate) fn refused(&self) -> usize {
        self.refused.len()
    }
}
