//! Real engines for tests, and a follower that keeps what a source says.

pub(crate) mod engine;
pub(crate) mod follower;

/// The source of the program in the test images.
pub(crate) const SERVER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/support/server.c");
