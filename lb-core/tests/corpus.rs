//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

use std::path::Path;

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

#[test]
fn every_target_is_documented_and_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let (manifest, page) = (text("fuzz/Cargo.toml"), text("fuzz/README.md"));
    let replays: String = ["lb-core", "lb-docker", "lb-etcd", "lb-haproxy", "ffi"]
        .map(|package| text(&format!("{package}/tests/corpus.rs")))
        .concat();
    let names = manifest.split("[[bin]]").skip(1).map(|bin| {
        let name = bin.trim().strip_prefix("name = \"").expect("a name");
        name.split('"').next().expect("a name")
    });
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
        assert!(replays.contains(&format!("\"{name}\"")), "{name}");
    }
}
