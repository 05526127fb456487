//! All that an engine is asked for at once, without the network.

use std::collections::BTreeMap;

use lb_core::{Diagnostic, Record};

use super::{inspected, rules};
use crate::{
    api::{ListedContainer, ListedNetwork, list},
    book::Book,
    config::{LabelScheme, ReachConfig},
    connection::Address,
    container::{Container, NetworkMode},
    container_reader::MAX_CHAIN,
    surveyor::{by_id, reach},
};

/// An engine's answers, each as JSON.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Its networks.
    pub networks: String,
    /// The inspection of the load balancer's own container; empty where it is in none.
    pub own: String,
    /// Its running containers in short.
    pub listing: String,
    /// Inspections of containers, in the order in which they come.
    pub inspections: Vec<String>,
}

impl Answers {
    /// The records that these answers make, and what is wrong with them. `None` where one that all others need cannot
    /// be read, or nothing can be reached from where the load balancer runs.
    #[must_use]
    pub fn read(
        &self,
        config: &ReachConfig,
        schemes: &[LabelScheme],
    ) -> Option<(Vec<Record>, Vec<Diagnostic>)> {
        let (networks, _) = list::<ListedNetwork>(self.networks.as_bytes()).ok()?;
        let own = match self.own.is_empty() {
            true => None,
            false => Some(inspected(&self.own)?),
        };
        let socket = Address::Unix("/run/docker.sock".into());
        let reach = reach(config, &socket, own.as_ref()).ok()?;
        let mut book = Book::new(rules(schemes), by_id(networks), reach);
        if let Ok((listed, _)) = list::<ListedContainer>(self.listing.as_bytes()) {
            let listed = listed.into_iter().map(Container::from_list);
            let claimed = listed.filter(|container| {
                let labels = container.labels.iter();
                let rules = book.rules();
                rules.claims(labels)
            });
            let claimed = claimed.map(|container| (container, None)).collect();
            book.replace(claimed);
        }
        let containers: Vec<Container> = self
            .inspections
            .iter()
            .filter_map(|json| inspected(json))
            .collect();
        let mut known: BTreeMap<&str, &Container> = BTreeMap::new();
        for container in &containers {
            known.insert(&container.id, container);
            known.entry(&container.name).or_insert(container);
        }
        for container in &containers {
            let through = through(container, &known);
            book.put(container.clone(), through);
        }
        Some(book.snapshot())
    }
}

/// The container whose network `container` uses, at the end of a chain of such.
fn through(container: &Container, known: &BTreeMap<&str, &Container>) -> Option<Container> {
    let mut found: Option<&Container> = None;
    for _ in 0..MAX_CHAIN {
        let NetworkMode::Container(other) = &found.unwrap_or(container).mode else {
            break;
        };
        found = Some(known.get(other.as_str())?);
    }
    found.cloned()
}
