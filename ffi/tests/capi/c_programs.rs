//! Programs in C: as they are, under valgrind, and with the compilers' checkers.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::world::{Haproxy, ffi, installed, is_there, run, succeed};

/// The way a program is built.
#[derive(Clone, Copy)]
enum How {
    Shared,
    Static,
    /// With AddressSanitizer and UndefinedBehaviorSanitizer.
    Checked,
    /// With ThreadSanitizer.
    Threads,
}

fn compile(source: &Path, folder: &Path, how: How) -> PathBuf {
    let name = source.file_stem().unwrap().to_str().unwrap();
    let program = folder.join(format!("{name}-{}", how as u8));
    let lib = installed().join("lib");
    let mut cc = Command::new("cc");
    cc.args([
        "-std=c99",
        "-D_DEFAULT_SOURCE",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-g",
        "-pthread",
    ])
    .arg("-I")
    .arg(installed().join("include"));
    match how {
        How::Checked => {
            cc.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        }
        How::Threads => {
            cc.arg("-fsanitize=thread");
        }
        How::Shared | How::Static => {}
    }
    cc.arg(source).arg("-o").arg(&program);
    if matches!(how, How::Static) {
        cc.arg(lib.join("liblb.a")).args(private_libs());
    } else {
        cc.arg("-L").arg(&lib).arg("-llb");
        cc.arg(format!("-Wl,-rpath,{}", lib.display()));
    }
    succeed(&mut cc);
    program
}

/// The libraries that the static library needs, by `lb.pc`.
fn private_libs() -> Vec<String> {
    let pc = std::fs::read_to_string(installed().join("lib/pkgconfig/lb.pc")).unwrap();
    let line = pc
        .lines()
        .find_map(|line| line.strip_prefix("Libs.private: "));
    line.unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Runs a program in every way, each time on a HAProxy that knows nothing of the last.
fn prove(source: &str, needs_haproxy: bool) {
    if !is_there("cc") {
        return;
    }
    let source = ffi().join(source);
    let folder = tempfile::tempdir().unwrap();
    let valgrind = is_there("valgrind");
    let shared = compile(&source, folder.path(), How::Shared);
    let mut ways = vec![
        Command::new(&shared),
        Command::new(compile(&source, folder.path(), How::Checked)),
    ];
    if valgrind {
        let mut command = Command::new("valgrind");
        command
            .args([
                "--quiet",
                "--error-exitcode=99",
                "--leak-check=full",
                "--fair-sched=yes",
            ])
            .args([
                "--errors-for-leak-kinds=definite,indirect,possible",
                "--show-leak-kinds=definite,indirect,possible",
            ])
            .arg("--child-silent-after-fork=yes")
            .arg(&shared);
        ways.push(command);
    }
    for mut command in ways {
        if needs_haproxy {
            let Some(haproxy) = Haproxy::start() else {
                return;
            };
            succeed(command.arg(haproxy.socket()));
        } else {
            succeed(&mut command);
        }
    }
}

#[test]
fn every_argument_is_looked_at() {
    prove("tests/c/arguments.c", true);
}

#[test]
fn events_in_an_epoll_loop() {
    prove("tests/c/loop.c", true);
}

#[test]
fn case_e05_a_program_learns_when_its_own_writes_are_in_effect() {
    prove("tests/c/tickets.c", true);
}

#[test]
fn a_source_by_callback() {
    prove("tests/c/pull.c", true);
}

#[test]
fn threads_may_do_what_the_header_says() {
    prove("tests/c/threads.c", false);
}

#[test]
fn a_fork_and_a_signal() {
    prove("tests/c/processes.c", false);
}

#[test]
fn the_driver_alone() {
    prove("tests/c/slots.c", true);
}

#[test]
fn case_p07_planes_and_slots_of_one_process_share_no_backend() {
    prove("tests/c/owners.c", true);
}

#[test]
fn the_example_attaches_to_a_running_haproxy() {
    prove("examples/attach.c", true);
}

#[test]
fn threads_do_not_race() {
    if !is_there("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = compile(
        &ffi().join("tests/c/threads.c"),
        folder.path(),
        How::Threads,
    );
    // The library is not built for the checker, which would not see how memory is handed over within it: it watches the
    // program, and what the two share. Within the library the language forbids races.
    let rules = folder.path().join("rules");
    std::fs::write(&rules, "called_from_lib:liblb.so.1\n").unwrap();
    let options = format!("halt_on_error=1 suppressions={}", rules.display());
    succeed(Command::new(program).env("TSAN_OPTIONS", options));
}

#[test]
fn the_static_library_does_the_same() {
    if !is_there("cc") {
        return;
    }
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    let program = compile(
        &ffi().join("examples/attach.c"),
        haproxy.folder(),
        How::Static,
    );
    succeed(Command::new(program).arg(haproxy.socket()));
}

#[test]
fn pkg_config_tells_what_a_program_needs() {
    if !is_there("pkg-config") || !is_there("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ten.c");
    std::fs::write(&file, ten_lines()).unwrap();
    let program = folder.path().join("ten");
    let build = format!(
        "cc {} $(pkg-config --cflags --libs lb) -o {}",
        file.display(),
        program.display()
    );
    let pkgconfig = installed().join("lib/pkgconfig");
    succeed(
        Command::new("sh")
            .args(["-c", &build])
            .env("PKG_CONFIG_PATH", pkgconfig),
    );
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    let mut ten = Command::new(&program);
    ten.arg(haproxy.socket())
        .env("LD_LIBRARY_PATH", installed().join("lib"));
    let (good, text) = run(&mut ten);
    assert!(good, "{text}");
}

/// The program of `README.md`: its first block of C.
fn ten_lines() -> String {
    let readme = std::fs::read_to_string(ffi().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```c\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}
