//! The fuzz targets' corpora, replayed: what fuzzing once found stays found.

#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the fuzz targets' own sources, and a target fails by panicking"
)]

#[path = "../../fuzz/src/bytes.rs"]
mod bytes;
#[path = "../../fuzz/src/config.rs"]
mod config;
#[path = "../../fuzz/src/planner/mod.rs"]
mod planner;
#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/tables.rs"]
mod tables;
#[path = "../../fuzz/src/haproxy.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    replay::replay(env!("CARGO_MANIFEST_DIR"), target, run);
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
    replay("tables", tables::tables);
}
