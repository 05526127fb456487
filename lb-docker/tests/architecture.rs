//! What this crate's parts may know.

use std::path::Path;

use lb_core::testkit::Purity;

/// Decisions are made in pure code: no runtime, no clock, no file, no socket, and of the engine's client only its
/// descriptions of answers.
#[test]
fn the_pure_parts_are_pure() {
    let found = Purity::default()
        .forbid("bollard::query_parameters")
        .forbid("futures_util")
        .forbid("crate::engine")
        .forbid("crate::surroundings")
        .forbid("crate::surveyor")
        .check(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &[
                "src/address",
                "src/api.rs",
                "src/book.rs",
                "src/contest.rs",
                "src/config.rs",
                "src/connection.rs",
                "src/container.rs",
                "src/duration.rs",
                "src/explain.rs",
                "src/moment.rs",
                "src/narrow.rs",
                "src/pieces.rs",
                "src/refresh.rs",
                "src/swarm",
                "src/told.rs",
                "src/translate.rs",
            ],
        )
        .unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
