//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end in a panic"
)]

use std::path::Path;

#[expect(unreachable_pub, reason = "it is the fuzz targets' own source")]
#[path = "../../fuzz/src/etcd.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let data = std::fs::read(path).unwrap();
        run(&data);
        // What is cut anywhere is a good test, too.
        for end in 0..data.len().min(600) {
            run(&data[..end]);
        }
        count += 1;
    }
    assert!(count >= 5, "{target} has {count} seeds");
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("etcd_layout", targets::layout);
    replay("etcd_pattern", targets::pattern);
    replay("etcd_serf", targets::serf);
}
