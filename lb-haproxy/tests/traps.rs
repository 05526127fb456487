//! The table of traps, and those tests of it that have no better place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path, time::Duration};

use lb_core::Name;
use lb_haproxy::{
    config::{Backend, Bind, Check, Config, Frontend, Slots},
    proto::Command,
};
use support::Place;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The known traps, without those found since.
const KNOWN: usize = 40;

fn read(path: impl AsRef<Path>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn every_trap_has_a_test_that_exists_or_a_reason() {
    let table = read("TRAPS.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= KNOWN);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.len(), 5, "{row:?}");
        assert_eq!(row[0], (at + 1).to_string(), "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let tests: Vec<&str> = row[4]
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains("::"))
            .collect();
        assert!(
            !tests.is_empty() || row[4].starts_with("cannot happen"),
            "{row:?}"
        );
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let path = match file.strip_prefix("examples/") {
                Some(file) => format!("../examples/{file}"),
                None => file.to_owned(),
            };
            let text = read(path);
            assert!(
                text.contains(&format!("fn {name}(")),
                "no test {test} of trap {}",
                row[0]
            );
        }
    }
}

#[test]
fn what_is_broken_somewhere_is_sent_nowhere() {
    let sent = [
        "plan/decide.rs",
        "plan/decide/leave.rs",
        "plan/decide/place.rs",
        "plan/planner.rs",
        "plan/dynamic.rs",
        "driver/apply.rs",
        "client/worker.rs",
    ];
    for file in sent {
        let text = read(Path::new("src").join(file));
        assert!(!text.contains("SetCheckAddr"), "{file}");
    }
    let commands = read("src/proto/encode.rs");
    assert!(!commands.contains("fqdn"));
}

#[test]
fn no_generated_configuration_has_a_default_server() {
    let name = |text: &str| -> Name { text.parse().unwrap() };
    let mut config = Config::new("/run/admin.sock".parse().unwrap());
    config.global.server_state_file = Some("/run/state".parse().unwrap());
    let bind = Bind::Tcp("127.0.0.1:80".parse().unwrap());
    let mut web = Frontend::new(name("in"), bind);
    web.default_backend = Some(name("web"));
    config.frontends.push(web);
    let mut slots = Slots::new(name("slot"), 10);
    slots.check = Some(Check::default());
    slots.maxconn = Some(100);
    slots.pool_max_conn = Some(0);
    config.backends.push(Backend::new(name("web"), slots));
    for version in ["2.2.9", "2.6.12", "3.0.11", "3.2.26", "3.4.7"] {
        let text = config.render(&version.parse().unwrap()).unwrap();
        assert!(text.contains("server-template slot 1-10 "), "{text}");
        for word in ["default-server", "init-state"] {
            assert!(!text.contains(word), "{version}: {text}");
        }
    }
}

/// One command of another client, and what it is told.
async fn ask(place: &Place, command: &str) -> String {
    let path = place.dir.path().join("admin.sock");
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream
        .write_all(format!("{command}\n").as_bytes())
        .await
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply.trim().to_owned()
}

/// The states of all servers, without the seconds since their last changes.
async fn states(place: &Place) -> Vec<String> {
    let table = ask(place, "show servers state web").await;
    let lines = table.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(' ').collect();
        if fields.len() > 9 {
            fields.remove(9);
        }
        fields.join(" ")
    });
    lines.collect()
}

/// The limit of sessions of a server, as the statistics have it.
async fn limit(place: &Place, server: &str) -> String {
    let table = ask(place, "show stat").await;
    let mut rows = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    let column = head.iter().position(|title| *title == "slim").unwrap();
    let row = rows.find(|row| row.get(1) == Some(&server)).unwrap();
    (*row.get(column).unwrap()).to_owned()
}

#[tokio::test]
async fn a_limit_that_another_client_sets_is_told_by_the_statistics_only() {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        let place = Place::new(
            "global\n  stats socket DIR/admin.sock mode 600 level admin\n\
             defaults\n  mode tcp\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n\
             backend web\n  server-template slot 1-2 127.0.0.1:1 disabled maxconn 100\n",
        );
        let _haproxy = place.start(&executable).await;
        let before = states(&place).await;
        assert_eq!(limit(&place, "slot1").await, "100");
        assert_eq!(ask(&place, "set maxconn server web/slot1 1").await, "");
        assert_eq!(states(&place).await, before);
        assert_eq!(limit(&place, "slot1").await, "1");
        // The next tenant has it too.
        ask(&place, "set server web/slot1 addr 127.0.0.2 port 80").await;
        assert_eq!(limit(&place, "slot1").await, "1");
    }
}

/// The conversation asks for a longer time than `stats timeout`, which here is a second.
#[tokio::test]
async fn an_idle_conversation_outlives_the_configured_timeout() {
    for executable in support::executables() {
        println!("HAProxy {}", executable.version().await.unwrap());
        let place = Place::new(
            "global\n  stats socket DIR/admin.sock mode 600 level admin\n  stats timeout 1s\n\
             defaults\n  mode tcp\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n\
             frontend in\n  bind 127.0.0.1:PORT\n",
        );
        let haproxy = place.start(&executable).await;
        let mut client = haproxy.connect().await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let reply = client.exec(&Command::ShowInfo).await.unwrap();
        assert!(reply.text().starts_with("Name:"));
    }
}
