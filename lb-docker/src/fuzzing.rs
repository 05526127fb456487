//! Translations that are no part of what the crate offers, for fuzz targets.

mod engine;

use std::{collections::BTreeMap, net::IpAddr};

use crate::narrow::Narrow;
use lb_core::{Diagnostic, Record, RecordKey};
use lb_schemes::Options;

use crate::{
    address::{Network, Networks, Reach, Viewpoint},
    api::{InspectedContainer, ListedContainer, list},
    book::Book,
    budget::Gathered,
    config::{Family, LabelScheme, MAX_LABEL_BYTES, Spread},
    container::{Attached, Container, NetworkMode, Phase},
    moment,
    pieces::Piece,
    refresh::{Event, Step},
    swarm::{Cluster, ListedService, SwarmBook, SwarmRules, TASK_LABEL},
    translate::Rules,
};

pub use engine::Answers;

/// The name of the container of [`labels`].
pub const CONTAINER: &str = "c";

/// The records of a container with these labels, which are its environment too, and what is wrong with them.
///
/// It runs on one network and exposes one port; nothing else is known of it.
#[must_use]
pub fn labels(
    labels: &BTreeMap<String, String>,
    schemes: &[LabelScheme],
) -> (Vec<Record>, Vec<Diagnostic>) {
    let env = labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    let container = Container {
        id: "0123456789abcdef".to_owned(),
        name: CONTAINER.to_owned(),
        labels: labels.into(),
        env: Some(env.collect()),
        excess: None,
        phase: Phase::Serving,
        mode: NetworkMode::Own,
        attachments: vec![Attached {
            network: NETWORK.to_owned(),
            network_id: NETWORK.to_owned(),
            v4: Some(IpAddr::from([172, 17, 0, 2])),
            v6: None,
        }],
        exposed: [80].into(),
        published: Vec::new(),
        stop: None,
    };
    translated(container, schemes)
}

/// The same of a container as the engine shows it when asked for one. Nothing where it is no such answer.
#[must_use]
pub fn inspection(json: &str, schemes: &[LabelScheme]) -> Option<(Vec<Record>, Vec<Diagnostic>)> {
    Some(translated(inspected(json)?, schemes))
}

/// The same of Swarm services as a manager lists them, reached at their virtual addresses.
#[must_use]
pub fn services(json: &str, schemes: &[LabelScheme]) -> Option<(Vec<Record>, Vec<Diagnostic>)> {
    let mut follower = Follower::of_cluster(schemes, Spread::Vip);
    follower
        .hear(&format!("services {json}"))
        .then(|| follower.snapshot())
}

/// A follower of containers, or of a cluster, which takes lines: a word, a blank, and JSON.
///
/// `event` is one of the engine's events and `containers` a listing of it. Of containers, `container` is an inspection;
/// of a cluster, `services`, `tasks` and `nodes` are the managers' listings and `local` is an inspection.
#[derive(Debug)]
pub enum Follower {
    /// Follows containers.
    Containers(Box<FollowedContainers>),
    /// Follows a cluster.
    Cluster(Box<FollowedCluster>),
}

/// The containers that are followed.
#[derive(Debug)]
pub struct FollowedContainers(Book);

/// The cluster that is followed.
#[derive(Debug)]
pub struct FollowedCluster(SwarmBook);

/// The changes to report: records that are new or other, keys of those that are gone, and what is wrong.
pub type Told = (Vec<Record>, Vec<RecordKey>, Vec<Diagnostic>);

impl Follower {
    /// Follows containers of the host it runs on.
    #[must_use]
    pub fn of_containers(schemes: &[LabelScheme]) -> Self {
        Self::Containers(Box::new(FollowedContainers(book(schemes))))
    }

    /// Follows a cluster from inside its network.
    #[must_use]
    pub fn of_cluster(schemes: &[LabelScheme], spread: Spread) -> Self {
        let rules = SwarmRules {
            options: Options::new(schemes, &["docker"]),
            narrow: Narrow::default(),
            spread,
            max_label_bytes: MAX_LABEL_BYTES,
        };
        let inside = Viewpoint::Container {
            networks: [NETWORK.to_owned()].into(),
        };
        let cluster = Cluster {
            own_node: "own".to_owned(),
            ..Cluster::default()
        };
        let book = SwarmBook::new(rules, cluster, networks(), reach(inside));
        Self::Cluster(Box::new(FollowedCluster(book)))
    }

    /// Takes in a line; false where it says nothing.
    pub fn hear(&mut self, line: &str) -> bool {
        let Some((word, json)) = line.split_once(' ') else {
            return false;
        };
        let heard = match self {
            Self::Containers(followed) => followed.hear(word, json),
            Self::Cluster(followed) => followed.hear(word, json),
        };
        heard.is_some()
    }

    /// The changes since the last report.
    pub fn changes(&mut self) -> Option<Told> {
        let changes = match self {
            Self::Containers(followed) => followed.0.changes(),
            Self::Cluster(followed) => followed.0.changes(),
        };
        changes.map(|changes| {
            let diagnostics = changes.diagnostics();
            (changes.set, changes.remove, diagnostics)
        })
    }

    /// Everything there is.
    pub fn snapshot(&mut self) -> (Vec<Record>, Vec<Diagnostic>) {
        match self {
            Self::Containers(followed) => followed.0.snapshot(),
            Self::Cluster(followed) => followed.0.snapshot(),
        }
    }
}

impl FollowedContainers {
    fn hear(&mut self, word: &str, json: &str) -> Option<()> {
        let book = &mut self.0;
        match word {
            "event" => {
                let event = event(json)?;
                let known = book.known(&event.id);
                match event.step(known, true) {
                    Step::Nothing | Step::Read => {}
                    Step::Leaves => book.leaves(&event.id),
                    Step::Died => book.died(&event.id),
                    Step::Gone => book.forget(&event.id),
                }
            }
            "container" => {
                book.put(inspected(json)?, None);
            }
            "containers" => {
                let listed = listed(json)?;
                book.replace(listed.into_iter().map(|found| (found, None)).collect());
            }
            _ => return None,
        }
        Some(())
    }
}

impl FollowedCluster {
    fn hear(&mut self, word: &str, json: &str) -> Option<()> {
        let book = &mut self.0;
        match word {
            "event" => {
                book.hear(&event(json)?);
            }
            "services" => {
                let mut gathered = Gathered::new(book.rules.max_label_bytes);
                for mut service in list::<ListedService>(json.as_bytes()).ok()?.0 {
                    book.rules.drop_unread(&mut service);
                    gathered.push(service.id.clone(), service);
                }
                book.cluster.set_services(gathered.into_objects().collect());
            }
            "tasks" => {
                book.cluster.set_tasks(list(json.as_bytes()).ok()?.0);
            }
            "nodes" => book.cluster.set_nodes(list(json.as_bytes()).ok()?.0),
            "containers" => book.cluster.set_locals(listed(json)?),
            "local" => {
                let container = inspected(json)?;
                let task = container.labels.get(TASK_LABEL)?.to_owned();
                book.cluster.set_local(task, container);
            }
            _ => return None,
        }
        book.cluster.retire();
        Some(())
    }
}

fn event(json: &str) -> Option<Event> {
    Event::read(Piece::Whole(json.as_bytes()))
}

fn inspected(json: &str) -> Option<Container> {
    let inspected: InspectedContainer = serde_json::from_str(json).ok()?;
    Some(Container::from_inspect(inspected))
}

fn listed(json: &str) -> Option<Vec<Container>> {
    let (listed, _) = list::<ListedContainer>(json.as_bytes()).ok()?;
    Some(listed.into_iter().map(Container::from_list).collect())
}

/// A time of the engine's, as its event stream takes it back.
#[must_use]
pub fn time(text: &str) -> Option<String> {
    moment::since(text)
}

fn translated(container: Container, schemes: &[LabelScheme]) -> (Vec<Record>, Vec<Diagnostic>) {
    let mut book = book(schemes);
    book.replace(vec![(container, None)]);
    book.snapshot()
}

fn book(schemes: &[LabelScheme]) -> Book {
    Book::new(rules(schemes), networks(), reach(Viewpoint::Host))
}

fn rules(schemes: &[LabelScheme]) -> Rules {
    Rules {
        options: Options::new(schemes, &["docker"]),
        narrow: Narrow::default(),
        services: Vec::new(),
        one_off: false,
        own_project: None,
        max_label_bytes: MAX_LABEL_BYTES,
    }
}

const NETWORK: &str = "net";

fn networks() -> Networks {
    let network = Network {
        name: NETWORK.to_owned(),
        driver: "bridge".to_owned(),
        internal: false,
        ingress: false,
    };
    [(NETWORK.to_owned(), network)].into()
}

fn reach(viewpoint: Viewpoint) -> Reach {
    Reach {
        viewpoint,
        network: None,
        node_address: None,
        family: Family::V4,
    }
}
