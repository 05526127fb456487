//! Swarm's services, tasks and nodes, and the records that they make. Pure.

mod api;
mod book;
mod cluster;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use api::{ListedNode, ListedService, ListedTask};
pub(crate) use book::{Heard, SwarmBook};
#[cfg(test)]
pub(crate) use cluster::Local;
pub(crate) use cluster::{Cluster, TASK_LABEL};
pub(crate) use records::SwarmRules;
