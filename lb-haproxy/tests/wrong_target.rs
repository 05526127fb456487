//! Sockets that lead to something else than expected: each is said to be what it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/side_by_side.rs"]
mod side_by_side;
mod support;

use std::{error::Error as _, path::Path, sync::Arc};

use lb_core::{ConditionKind, DriveError, Driver as _, Endpoint, Name, Report, Snapshot};
use lb_haproxy::{HaproxyDriver, TargetConfig, process::Executable};
use side_by_side::side_by_side;
use support::{Place, executables};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats socket DIR/operator.sock level operator mode 600
  stats socket DIR/user.sock level user mode 600
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind unix@DIR/front.sock
backend web
  server-template slot 1-4 127.0.0.1:1 disabled
";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

async fn converge(socket: &Path) -> Result<Report, DriveError> {
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new("127.0.0.1:9001".parse().unwrap());
    edit.set_endpoint(&name("web"), &name("web-1"), endpoint);
    let socket = format!("unix@{}", socket.display()).parse().unwrap();
    let mut driver = HaproxyDriver::new(TargetConfig::new(name("edge"), socket));
    driver.converge(&Arc::new(edit.commit().unwrap())).await
}

/// The driver's report of a socket.
async fn said_of(socket: &Path) -> String {
    let error = converge(socket).await.unwrap_err();
    assert!(matches!(error, DriveError::WrongTarget { .. }), "{error:?}");
    assert_eq!(error.kind(), ConditionKind::WrongTarget);
    error.source().unwrap().to_string()
}

/// A program that answers each connection's lines by `answer`, and ends it after one that gives nothing.
fn program(socket: &Path, answer: fn(&str) -> &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut prompt = "";
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if line == "prompt\n" {
                        prompt = "\n> ";
                    }
                    let text = format!("{}{prompt}", answer(line.trim_end()));
                    let sent = stream.write_all(text.as_bytes()).await;
                    if sent.is_err() || prompt.is_empty() {
                        return;
                    }
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p24_what_is_at_the_other_end_is_said() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let _haproxy = place.start(&executable).await;
        let dir = place.dir.path();
        for (socket, found) in [
            ("operator.sock", "a stats socket of level \"operator\""),
            ("user.sock", "a stats socket of level \"user\""),
            ("master.sock", "the master CLI of HAProxy"),
            ("front.sock", "an HTTP server"),
            ("haproxy.cfg", "a regular file"),
        ] {
            let said = said_of(&dir.join(socket)).await;
            assert!(
                said.contains(&format!("{socket} is {found}, expected")),
                "{said}"
            );
        }
        let report = converge(&dir.join("admin.sock")).await.unwrap();
        assert_eq!(report.about.unwrap().program, "HAProxy");
        assert!(
            report
                .conditions
                .iter()
                .all(|c| c.kind != ConditionKind::UnknownVersion)
        );
    })
    .await;
}

#[tokio::test]
async fn case_p24_old_versions_and_other_programs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old.sock");
    program(&old, |line| match line {
        "show cli level" => "admin\n",
        "show info" => "Name: HAProxy\nVersion: 2.0.33\nNbproc: 1\nPid: 7\nUptime_sec: 9\n",
        _ => "",
    });
    let older = dir.path().join("older.sock");
    program(&older, |line| match line {
        "show info" => "Name: HAProxy\nVersion: 1.7.9\nNbproc: 1\nPid: 7\nUptime_sec: 9\n",
        "prompt" => "",
        _ => "Unknown command. Please enter one of the following commands only :\n",
    });
    let other = dir.path().join("other.sock");
    program(&other, |_| "-ERR unknown command\r\n");
    for (socket, found) in [
        (old, "HAProxy 2.0.33, expected"),
        (older, "HAProxy 1.7.9, expected"),
        (
            other,
            "another program, which answers \"-ERR unknown command\"",
        ),
    ] {
        let said = said_of(&socket).await;
        assert!(said.contains(found), "{said}");
    }
}

/// A real HAProxy that calls itself 4.0.
#[tokio::test]
async fn case_p24_a_newer_version_is_driven_and_reported() {
    side_by_side(executables(), async |executable: Executable| {
        let place = Place::new(CONFIG);
        let _haproxy = place.start(&executable).await;
        let version = format!("Version: {}", executable.version().await.unwrap());
        let later = place.dir.path().join("later.sock");
        let listener = UnixListener::bind(&later).unwrap();
        let admin = place.dir.path().join("admin.sock");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&admin).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_client, &mut to_server).await },
                );
                let version = version.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..count]);
                        let text = text.replace(&version, "Version: 4.0.1");
                        to_client.write_all(text.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let report = converge(&later).await.unwrap();
        assert!(report.applied > 0, "{report:?}");
        assert_eq!(report.about.as_ref().unwrap().version, "4.0.1");
        let told = report
            .conditions
            .iter()
            .find(|c| c.kind == ConditionKind::UnknownVersion);
        assert!(!told.unwrap().kind.needs_operator());
    })
    .await;
}
