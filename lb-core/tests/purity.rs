//! The pure parts of this crate name no runtime, clock, file, socket or task.

use std::path::Path;

use lb_core::testkit::Purity;

const PURE: &[&str] = &[
    "backoff.rs",
    "chain.rs",
    "condition.rs",
    "driver.rs",
    "engine",
    "event.rs",
    "guard.rs",
    "limits",
    "limits.rs",
    "merge",
    "model",
    "reconciler",
    "source/error.rs",
    "source/file/files.rs",
    "source/file/parse.rs",
    "source/file/schema.rs",
    "source/protocol.rs",
    "source/update.rs",
    "status.rs",
    "text.rs",
    "time.rs",
];

fn rules() -> Purity {
    Purity::default()
        .forbid("crate::plane")
        .forbid("crate::testkit")
}

fn sources() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn the_pure_parts_are_pure() {
    let found = rules().check(&sources(), PURE).unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_edge_is_not_pure_so_the_check_sees_something() {
    for edge in ["plane/clock.rs", "plane/run.rs", "source/feed.rs"] {
        assert!(
            !rules().check(&sources(), &[edge]).unwrap().is_empty(),
            "{edge}"
        );
    }
}

#[test]
fn a_pure_file_with_an_impure_line_added_is_found() {
    for place in PURE.iter().filter(|place| place.ends_with(".rs")) {
        let text = std::fs::read_to_string(sources().join(place)).unwrap();
        for line in [
            "use tokio::time;",
            "fn f() { std::time::Instant::now(); }",
            "use std::fs;",
        ] {
            let before = text.find("#[cfg(test)]").unwrap_or(text.len());
            let (above, below) = text.split_at(before);
            let found = rules().check_text(&format!("{above}\n{line}\n{below}"));
            assert_eq!(found.len(), 1, "{place}: {line}");
        }
    }
}

#[test]
fn a_check_of_nothing_is_an_error() {
    assert!(rules().check(&sources(), &["no-such-file.rs"]).is_err());
}
