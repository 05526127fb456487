//! This crate is pure as a whole.

use std::path::Path;

use lb_core::testkit::Purity;

#[test]
fn the_grammars_are_pure() {
    let found = Purity::default()
        .check(Path::new(env!("CARGO_MANIFEST_DIR")), &["src"])
        .unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
