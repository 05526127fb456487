//! A Docker engine of the test's own, as the tests of lb-docker have it, with a server that names itself.

#[path = "../../../lb-docker/tests/engine/support/engine.rs"]
#[expect(dead_code, reason = "the tests of lb-docker need more of it")]
pub(crate) mod engine;

/// The source of the program in the test images.
pub(crate) const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/server.c");
