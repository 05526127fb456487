//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may end in a panic"
)]

use std::path::Path;

#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "it is the fuzz targets' own source, and a target fails by panicking"
)]
#[path = "../../fuzz/src/core.rs"]
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
    assert!(count >= 3, "{target} has {count} seeds");
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("model", targets::model);
    replay("source_file", targets::source_file);
}
