//! The header is what the sources say, and every compiler takes it.

use std::{fs, process::Command};

use crate::world::{ffi, is_there, succeed};

#[test]
fn the_header_is_what_the_sources_say() {
    let config = cbindgen::Config::from_file(ffi().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    // In the order in which a reader needs them.
    for file in [
        "text",
        "status",
        "library",
        "callback",
        "log",
        "batch",
        "plane",
        "ask",
        "publisher",
        "events",
        "slots",
        "generate",
        "lint",
    ] {
        builder = builder.with_src(ffi().join(format!("src/capi/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    let text = String::from_utf8(text).unwrap();
    let file = ffi().join("include/lb.h");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == text,
        "include/lb.h is stale: BLESS=1 cargo test -p lb-ffi --test capi header"
    );
}

#[test]
fn the_header_compiles_alone_in_every_standard_without_a_warning() {
    if !is_there("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Twice: a second inclusion must do no harm.
    let text =
        "#include <lb.h>\n#include <lb.h>\nint main(void) { return (int)lb_abi_version(); }\n";
    for (compiler, ending, standards) in [
        ("cc", "c", &["c99", "c11", "c2x"][..]),
        ("c++", "cc", &["c++11", "c++20"][..]),
    ] {
        if !is_there(compiler) {
            continue;
        }
        let file = folder.path().join(format!("alone.{ending}"));
        fs::write(&file, text).unwrap();
        for standard in standards {
            let mut compile = Command::new(compiler);
            compile
                .arg(format!("-std={standard}"))
                .args([
                    "-Wall",
                    "-Wextra",
                    "-Wpedantic",
                    "-Werror",
                    "-fsyntax-only",
                    "-I",
                ])
                .arg(ffi().join("include"))
                .arg(&file);
            succeed(&mut compile);
        }
    }
}

#[test]
fn every_function_is_called_with_good_and_bad_arguments() {
    let header = fs::read_to_string(ffi().join("include/lb.h")).unwrap();
    let program = fs::read_to_string(ffi().join("tests/c/arguments.c")).unwrap();
    for name in functions(&header) {
        assert!(
            program.contains(&format!("{name}(")),
            "arguments.c does not call {name}"
        );
    }
}

/// The names of the functions that a header declares.
pub(crate) fn functions(header: &str) -> Vec<String> {
    let mut names: Vec<String> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '/', '#', '*']) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('('))
        .filter_map(|(before, _)| before.split([' ', '*']).next_back())
        .filter(|name| name.starts_with("lb_"))
        .map(str::to_owned)
        .collect();
    names.sort();
    assert!(names.len() > 40, "the header was not understood: {names:?}");
    names
}
