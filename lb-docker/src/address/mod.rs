//! Which address leads to a container or task from where the load balancer runs, and why.
//!
//! The same facts give the same choice: candidates are sorted by name, never taken from a map's order.

mod choice;
mod choose;
mod network;
mod port;
mod reach;
#[cfg(test)]
mod tests;

pub use choice::{AddressChoice, Candidate};
pub(crate) use choose::{Place, Want, choose};
pub(crate) use network::{Network, Networks};
pub(crate) use port::port;
pub(crate) use reach::{Reach, Viewpoint};
