//! What the crate's pure folders must not know.

use std::path::Path;

use lb_core::testkit::Purity;

/// No pure file reads a clock, a socket or a file, spawns, or knows the client and the driver.
#[test]
fn the_pure_parts_are_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let pure = [
        "capability.rs",
        "config",
        "forecast.rs",
        "growth",
        "observed.rs",
        "plan",
        "policy.rs",
        "proto",
        "routes",
    ];
    let purity = Purity::default()
        .forbid("crate::client")
        .forbid("crate::driver")
        .forbid("crate::process");
    let found = purity.check(&src, &pure).unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
