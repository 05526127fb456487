//! What the libraries export.

use std::{fs, process::Command};

use crate::{
    header::functions,
    world::{ffi, installed, is_there, succeed},
};

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    if !is_there("nm") {
        return;
    }
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only"])
        .arg(installed().join("lib/liblb.so"));
    let mut exported: Vec<String> = succeed(&mut nm)
        .lines()
        .filter_map(|line| line.split_whitespace().last().map(str::to_owned))
        .collect();
    exported.sort();
    let header = fs::read_to_string(ffi().join("include/lb.h")).unwrap();
    assert_eq!(exported, functions(&header));
    // The list that a reviewer sees change.
    let file = ffi().join("include/lb.symbols");
    let text = exported.join("\n") + "\n";
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), text);
}

#[test]
fn the_library_has_the_name_that_its_interface_number_says() {
    if !is_there("objdump") {
        return;
    }
    let header = fs::read_to_string(ffi().join("include/lb.h")).unwrap();
    let number = header
        .lines()
        .find_map(|line| line.strip_prefix("#define LB_ABI_VERSION "))
        .unwrap();
    let mut objdump = Command::new("objdump");
    objdump.arg("-p").arg(installed().join("lib/liblb.so"));
    let text = succeed(&mut objdump);
    let name = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("SONAME"))
        .unwrap();
    assert_eq!(name.trim(), format!("liblb.so.{number}"));
    assert!(installed().join("lib").join(name.trim()).exists());
}

/// Locks that keep one table of waiting threads for the whole process are not to be had in a child: its table names
/// the parent's threads, and the first that waits writes to them. A package that a test asks for can bring them in.
#[test]
fn no_lock_outlives_a_fork_with_the_threads_of_the_parent() {
    if !is_there("nm") {
        return;
    }
    let mut nm = Command::new("nm");
    nm.arg(installed().join("lib/liblb.so"));
    let symbols = succeed(&mut nm);
    assert!(symbols.contains("tokio"), "the names are stripped");
    let shared: Vec<&str> = symbols
        .lines()
        .filter(|line| line.contains("parking_lot"))
        .collect();
    assert!(shared.is_empty(), "{shared:#?}");
}
