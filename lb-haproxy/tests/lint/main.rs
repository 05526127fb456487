//! The linter against real HAProxies: for each kind of finding a configuration that has it, the failure it warns of,
//! and the same configuration mended, which does not fail and has no finding.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end in a panic"
)]

mod cases;
mod endpoint;
mod examples;
mod names;
mod process;
mod slots;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod user;
mod world;
