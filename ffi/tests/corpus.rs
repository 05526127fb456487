//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/setup.rs"]
mod setup;
#[path = "../../fuzz/src/spec.rs"]
mod spec;

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay::replay(env!("CARGO_MANIFEST_DIR"), "spec", spec::spec);
    replay::replay(env!("CARGO_MANIFEST_DIR"), "setup", setup::setup);
}
