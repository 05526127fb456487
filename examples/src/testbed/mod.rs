//! A HAProxy, endpoints, a program's wishes and a control plane between them, for the demo and the tests.
//!
//! - [`Testbed`]: all of it together
//! - [`Haproxy`]: the child process, read apart from what is under test
//! - [`Tap`]: between a driver and HAProxy's socket, counting what is said
//! - [`Wishes`]: what is wished for, followed until it is verified

mod addresses;
mod bed;
mod error;
mod haproxy;
mod shape;
mod tap;
mod wishes;

pub use bed::{Options, Testbed, endpoint_at};
pub use error::TestbedError;
pub use haproxy::{Haproxy, Setup, Slot};
pub use shape::Shape;
pub use tap::{Heard, Tap};
pub use wishes::{Announced, Followed, Wishes};
