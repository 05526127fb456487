//! The crate against real etcd servers, started by the tests on loopback.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: whatever is not as it should be ends them"
)]

mod conditions;
mod conformance;
mod faults;
mod follow;
mod hostile;
mod links;
#[cfg(feature = "register")]
mod program;
mod registration;
mod scale;
mod support;
mod tls;
#[cfg(feature = "v2")]
mod v2;
