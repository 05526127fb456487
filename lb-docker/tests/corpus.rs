//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

#[path = "../../fuzz/src/docker.rs"]
mod docker;
#[path = "../../fuzz/src/docker_engine.rs"]
mod docker_engine;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

fn replay(target: &str, run: fn(&[u8])) {
    replay::replay(env!("CARGO_MANIFEST_DIR"), target, run);
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("labels", docker::labels);
    replay("moment", docker::moment);
    replay("containers", docker::containers);
    replay("swarm", docker::swarm);
    replay("docker_engine", docker_engine::engine);
}
