//! The checked-in messages are those of `proto/etcd.proto`.
#![expect(
    clippy::unwrap_used,
    reason = "tests: whatever is not as it should be ends them"
)]

use std::{fs, path::Path};

const HEADER: &str =
    "// Generated from proto/etcd.proto by tests/wire.rs; BLESS=1 writes it anew.\n\n";

/// The generated file is what the protocol file gives: nobody edits one without the other.
#[test]
fn messages_are_generated_from_the_protocol_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile(["etcd.proto"], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .out_dir(out.path())
        .compile_fds(files)
        .unwrap();
    let body = fs::read_to_string(out.path().join("etcdserverpb.rs")).unwrap();
    let expected = rustfmt(&format!("{HEADER}{body}"));

    let checked_in = root.join("src/client/wire.rs");
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&checked_in, &expected).unwrap();
    }
    let found = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        found == expected,
        "{} is stale: run the test once with BLESS=1",
        checked_in.display()
    );
}

/// The file is formatted as the rest, so that formatting the workspace leaves it alone.
fn rustfmt(source: &str) -> String {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(source.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "rustfmt refuses the messages");
    String::from_utf8(output.stdout).unwrap()
}
