//! The packages for Python and Go, with programs of their own.

use std::process::Command;

use crate::world::{Haproxy, built, ffi, installed, is_there, succeed};

fn python(script: &str) -> Command {
    let mut python = Command::new("python3");
    python
        .arg("-B")
        .arg(ffi().join(script))
        .env("PYTHONPATH", ffi().join("python"))
        .env("LD_LIBRARY_PATH", installed().join("lib"));
    python
}

#[test]
fn python_attaches_to_a_running_haproxy() {
    if !is_there("python3") {
        return;
    }
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    let text = succeed(python("examples/attach.py").arg(haproxy.socket()));
    assert!(
        text.contains("\"draining\"") || text.contains("verified"),
        "{text}"
    );
}

#[test]
fn python_holds_its_contract_and_leaks_nothing() {
    if !is_there("python3") {
        return;
    }
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    succeed(python("python/test_lb.py").env("LB_TEST_SOCKET", haproxy.socket()));
}

fn go(arguments: &[&str]) -> Command {
    let lib = installed().join("lib");
    let mut go = Command::new("go");
    go.args(arguments)
        .current_dir(ffi().join("go"))
        .env("CGO_ENABLED", "1")
        .env(
            "CGO_CFLAGS",
            format!("-g -O1 -I{}", installed().join("include").display()),
        )
        .env(
            "CGO_LDFLAGS",
            format!("-L{0} -Wl,-rpath,{0}", lib.display()),
        )
        .env("GOCACHE", built().join("lb-go-cache"))
        .env("GOPATH", built().join("lb-go"))
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("GODEBUG", "cgocheck=2");
    go
}

#[test]
fn go_is_vetted_and_races_nowhere() {
    if !is_there("go") || !is_there("cc") {
        return;
    }
    succeed(&mut go(&["vet", "./..."]));
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    succeed(go(&["test", "-race", "-count=1", "./lb"]).env("LB_TEST_SOCKET", haproxy.socket()));
}

#[test]
fn go_attaches_to_a_running_haproxy() {
    if !is_there("go") || !is_there("cc") {
        return;
    }
    let Some(haproxy) = Haproxy::start() else {
        return;
    };
    let text = succeed(go(&["run", "./cmd/attach"]).arg(haproxy.socket()));
    assert!(text.contains("verified"), "{text}");
}
