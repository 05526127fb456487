//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/core.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    replay::replay(env!("CARGO_MANIFEST_DIR"), target, run);
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("model", targets::model);
    replay("source_file", targets::source_file);
}
