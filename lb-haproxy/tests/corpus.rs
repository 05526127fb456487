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
#[path = "../../fuzz/src/haproxy.rs"]
mod targets;

#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "it is the fuzz targets' own source, and a target fails by panicking"
)]
#[path = "../../fuzz/src/config.rs"]
mod config;

#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "it is the fuzz targets' own source, and a target fails by panicking"
)]
#[path = "../../fuzz/src/planner.rs"]
mod planner;

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
        // Every beginning of a good answer is a good test, too.
        for end in 0..data.len().min(300) {
            run(&data[..end]);
        }
        count += 1;
    }
    assert!(count >= 3, "{target} has {count} seeds");
}

#[test]
fn the_corpora_hold_what_the_targets_state() {
    replay("session", targets::session);
    replay("servers_state", targets::servers_state);
    replay("conn", targets::conn);
    replay("stat", targets::stat);
    replay("info", targets::info);
    replay("map", targets::map);
    replay("proc", targets::proc);
    replay("verdict", targets::verdict);
    replay("encode", targets::encode);
    replay("config", config::config);
    replay("growth", config::growth);
    replay("pem", config::pem);
    replay("planner", planner::planner);
}
