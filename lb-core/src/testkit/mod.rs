//! Helps to test sources, drivers and control planes. Behind the feature `testkit`.
//!
//! - [`FakeSource`] says what a test tells it to; [`FakeDriver`] is a target that keeps what it is given.
//! - [`conformance`] checks a source against its contract, with its real server.
//! - [`Purity`] holds the pure parts of a crate pure.
//! - [`free_port`] finds a port for a server that can only be told one.
//! - [`SimClock`] is time for the pure parts.
//! - [`waiting_threads`] checks how many jobs that block wait at once on a runtime.

mod clock;
pub mod conformance;
mod fake_driver;
mod fake_source;
mod port;
mod purity;
mod waiting;

pub use clock::SimClock;
pub use fake_driver::{FakeDriver, FakeTarget};
pub use fake_source::{FakeSource, Script};
pub use port::free_port;
pub use purity::{Impurity, Purity};
pub use waiting::waiting_threads;
