//! What the managers say, put in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::api::{ListedNode, ListedService, ListedTask};
use crate::{
    container::{Container, address},
    translate::Fate,
};

/// The facts known of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<String, KnownService>,
    pub(crate) tasks: BTreeMap<String, ListedTask>,
    /// The tasks of each service.
    pub(crate) by_service: BTreeMap<String, BTreeSet<String>>,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// The containers of tasks on the node that we are connected to, by task.
    pub(crate) locals: BTreeMap<String, Local>,
    /// The node that we are connected to.
    pub(crate) own_node: String,
}

/// A service, which outlives its removal until its last task has stopped.
#[derive(Debug, Clone)]
pub(crate) struct KnownService {
    pub(crate) listed: ListedService,
    pub(crate) removed: bool,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) up: bool,
    pub(crate) down: bool,
    /// The address at which other machines reach it.
    pub(crate) address: Option<IpAddr>,
}

/// A task's container as its own engine sees it: sooner than the managers.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) container: Container,
    pub(crate) fate: Fate,
}

/// The stage of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It will run.
    Coming,
    /// It runs and shall.
    Running,
    /// It runs and shall not.
    Leaving,
    /// It runs no more, or never will.
    Over,
}

impl Cluster {
    pub(crate) fn set_services(&mut self, listed: Vec<ListedService>) {
        let now: BTreeSet<&str> = listed.iter().map(|service| service.id.as_str()).collect();
        for (id, known) in &mut self.services {
            known.removed |= !now.contains(id.as_str());
        }
        for service in listed {
            self.services.insert(
                service.id.clone(),
                KnownService {
                    listed: service,
                    removed: false,
                },
            );
        }
    }

    /// Takes in a listing of tasks; false when it is older than what is known, which changes nothing.
    pub(crate) fn set_tasks(&mut self, listed: Vec<ListedTask>) -> bool {
        let older = listed.iter().any(|task| {
            self.tasks
                .get(&task.id)
                .is_some_and(|known| known.version.index > task.version.index)
        });
        if older {
            return false;
        }
        self.tasks = listed
            .into_iter()
            .map(|task| (task.id.clone(), task))
            .collect();
        self.by_service.clear();
        for task in self.tasks.values() {
            let of_service = self.by_service.entry(task.service_id.clone()).or_default();
            of_service.insert(task.id.clone());
        }
        true
    }

    /// Takes in what an inspection shows of a task's container. What it was told to do stays.
    pub(crate) fn set_local(&mut self, task: String, mut container: Container) {
        // The labels that count are those of the service.
        container.keep_little();
        let known = self.locals.get(&task);
        let fate = known.map_or(Fate::Stays, |local| local.fate);
        self.locals.insert(task, Local { container, fate });
    }

    /// Takes in a listing of all tasks' containers on our node.
    pub(crate) fn set_locals(&mut self, listed: Vec<Container>) {
        let task_of = |container: &Container| container.labels.get(TASK_LABEL).map(str::to_owned);
        let tasks: BTreeSet<String> = listed.iter().filter_map(task_of).collect();
        // One that is not listed has stopped; without its event only the managers know what becomes of its task.
        self.locals
            .retain(|task, local| local.fate == Fate::Died || tasks.contains(task));
        for mut container in listed {
            let Some(task) = task_of(&container) else {
                continue;
            };
            // A listing does not tell how a container is stopped.
            let known = self.locals.get(&task);
            container.stop = known.and_then(|local| local.container.stop);
            self.set_local(task, container);
        }
    }

    /// Forgets removed services whose last task has stopped, and the containers of tasks that are no more.
    pub(crate) fn retire(&mut self) {
        let tasks = &self.tasks;
        self.locals.retain(|task, _| tasks.contains_key(task));
        let runs = |id: &String| {
            let mut of_service = self.by_service.get(id).into_iter().flatten();
            of_service.any(|id| {
                tasks
                    .get(id)
                    .is_some_and(|task| task.stage() != Stage::Over)
            })
        };
        self.services.retain(|id, known| !known.removed || runs(id));
    }

    pub(crate) fn set_nodes(&mut self, listed: Vec<ListedNode>) {
        self.nodes = listed
            .into_iter()
            .map(|node| (node.id.clone(), Node::new(&node)))
            .collect();
    }

    pub(crate) fn tasks_of(&self, service: &str) -> impl Iterator<Item = &ListedTask> {
        let ids = self.by_service.get(service).into_iter().flatten();
        ids.filter_map(|id| self.tasks.get(id))
    }

    /// Returns `true` if these services have all the tasks they shall have, and no others.
    pub(crate) fn has_converged(&self, services: impl Iterator<Item = String>) -> bool {
        services.into_iter().all(|id| {
            let Some(known) = self.services.get(&id) else {
                return true;
            };
            let mut running: u64 = 0;
            for task in self.tasks_of(&id) {
                match task.stage() {
                    Stage::Coming | Stage::Leaving => return false,
                    Stage::Running => running += 1,
                    Stage::Over => {}
                }
            }
            let updating = matches!(
                known.listed.update_status.state.as_str(),
                "updating" | "rollback_started"
            );
            let missing = known
                .listed
                .spec
                .mode
                .replicated
                .as_ref()
                .is_some_and(|mode| running < mode.replicas);
            known.removed || (!updating && !missing)
        })
    }
}

impl ListedTask {
    pub(crate) fn stage(&self) -> Stage {
        let wanted = matches!(self.desired_state.as_str(), "running" | "ready");
        match self.status.state.as_str() {
            "running" if self.desired_state == "running" => Stage::Running,
            "running" => Stage::Leaving,
            "new" | "allocated" | "pending" | "assigned" | "accepted" | "preparing" | "ready"
            | "starting"
                if wanted =>
            {
                Stage::Coming
            }
            _ => Stage::Over,
        }
    }
}

impl Node {
    fn new(node: &ListedNode) -> Self {
        let reachable = |text: &str| address(text).filter(|address| !address.is_loopback());
        let manager = node
            .manager_status
            .addr
            .rsplit_once(':')
            .map_or("", |(host, _)| host.trim_matches(['[', ']']));
        Self {
            up: node.status.state == "ready",
            down: node.status.state == "down",
            address: node
                .spec
                .labels
                .get(NODE_ADDRESS_LABEL)
                .and_then(|text| address(text))
                .or_else(|| reachable(&node.status.addr))
                .or_else(|| reachable(manager)),
        }
    }
}

/// The label by which a container names its task.
pub(crate) const TASK_LABEL: &str = "com.docker.swarm.task.id";

/// The label that gives a node's address where Swarm's own is none that others can reach.
const NODE_ADDRESS_LABEL: &str = "lb.address";
