//! Swarm's services, tasks and nodes, and the records that they make. Pure.

mod api;
mod book;
mod cluster;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use api::{ListedNode, ListedService, ListedTask};
pub(crate) use book::SwarmBook;
pub(crate) use cluster::{Cluster, Local};
pub(crate) use records::SwarmRules;
