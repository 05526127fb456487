//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

#[path = "../../fuzz/src/bytes.rs"]
mod bytes;
#[path = "../../fuzz/src/etcd.rs"]
mod etcd;
#[path = "../../fuzz/src/etcd_watch.rs"]
mod etcd_watch;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

fn replay(target: &str, run: fn(&[u8])) {
    replay::replay(env!("CARGO_MANIFEST_DIR"), target, run);
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("etcd_layout", etcd::layout);
    replay("etcd_pattern", etcd::pattern);
    replay("etcd_serf", etcd::serf);
    replay("etcd_v2", etcd::v2);
    replay("etcd_watch", etcd_watch::watch);
}
