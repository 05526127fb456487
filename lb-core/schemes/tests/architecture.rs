//! This crate is pure as a whole.

use std::path::Path;

use lb_core::testkit::Purity;

#[test]
fn the_grammars_are_pure() {
    let found = Purity::default()
        .check(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &[
                "src/constraint.rs",
                "src/diagnostics.rs",
                "src/docker_flow",
                "src/easy_haproxy.rs",
                "src/keys.rs",
                "src/labels.rs",
                "src/options.rs",
                "src/own.rs",
                "src/scheme.rs",
                "src/spec.rs",
                "src/traefik",
                "src/virtual_host.rs",
            ],
        )
        .unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
