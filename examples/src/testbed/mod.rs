//! A HAProxy, endpoints, a program's desired states and a control plane between them, for the demo and the tests.
//!
//! - [`Testbed`]: all of it together
//! - [`Haproxy`]: the child process, read apart from what is under test
//! - [`Tap`]: between a driver and HAProxy's socket, counting what is said
//! - [`Desired`]: the desired state, followed until it is verified

mod addresses;
mod bed;
mod desired;
mod error;
mod haproxy;
mod shape;
mod tap;

pub use bed::{Options, Testbed, endpoint_at};
pub use desired::{Announced, Desired, Followed};
pub use error::TestbedError;
pub use haproxy::{Haproxy, Setup, Slot};
pub use shape::Shape;
pub use tap::{Heard, Tap};
