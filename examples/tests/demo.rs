//! The demo does what its help says.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(120);

fn demo(arguments: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_demo"));
    program
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    program
}

async fn run(arguments: &str) -> Output {
    let program = demo(arguments).spawn().unwrap();
    let ended = timeout(LIMIT, program.wait_with_output()).await;
    ended.unwrap().unwrap()
}

#[tokio::test]
async fn the_story_is_told_and_its_result_is_json_without_a_fault() {
    let output = run("--seconds 10 --users 10 --json").await;
    let text = String::from_utf8(output.stdout).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| match result.get(name).and_then(serde_json::Value::as_u64) {
        Some(number) => number,
        None => panic!("no number {name} in {text}"),
    };
    assert_eq!(result.get("ok"), Some(&true.into()), "{text}");
    assert!(output.status.success());
    assert!(number("requests") > 100, "{text}");
    assert!(number("changes") > 20, "{text}");
    assert_eq!(number("changes"), number("verified"), "{text}");
    for name in ["lost", "misrouted", "reloads"] {
        assert_eq!(number(name), 0, "{text}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_it_cleanly() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut program = demo("--seconds 60 --users 5").spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let title = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        let title = title.unwrap();
        assert!(title.starts_with("HAProxy "), "{title}");
        assert!(!title.contains('\x1b'), "colours without a terminal");
        let pid = i32::try_from(program.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let status = timeout(LIMIT, program.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[tokio::test]
async fn wrong_usage_is_told_from_failure() {
    let help = run("--help").await;
    assert!(help.status.success());
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--seconds N")
    );
    let wrong = run("--users none").await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("--users"));
    let missing = run("--haproxy /nowhere/haproxy").await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("/nowhere/haproxy")
    );
}
