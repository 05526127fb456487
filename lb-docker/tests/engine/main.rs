//! Both sources against real engines, each test with one of its own.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which fail by panicking"
)]

mod conformance;
mod containers;
mod faults;
mod labelled;
mod narrow;
mod planes;
mod remote;
mod slow;
mod support;
mod swarm;
mod swarm_conformance;
mod unreadable;
