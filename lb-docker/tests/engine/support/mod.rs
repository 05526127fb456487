//! Real engines for tests, and a follower that keeps what a source says.

pub(crate) mod engine;
pub(crate) mod follower;
