//! The pure parts know no runtime, no clock, no file and no socket.

use std::path::Path;

use lb_core::testkit::Purity;

/// The meaning of keys and of a watch, and the writes, are decided without doing anything.
#[test]
fn decisions_are_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let places = [
        "layout",
        "client/call.rs",
        "client/release.rs",
        "config.rs",
        "pager.rs",
        "patience.rs",
        "progress.rs",
        "register/args.rs",
        "registration/entry.rs",
        "registration/gate.rs",
        "registration/serf.rs",
        "registration/write.rs",
        "v2/answer.rs",
    ];
    let found = Purity::default().check(&root, &places).unwrap();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
