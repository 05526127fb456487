//! Readers of what the agent says: browsers, terminals and logs.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use crate::world::{NamedServer, World};

fn ask(address: &str, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h12_a_request_for_a_foreign_host_is_not_answered() {
    let world = World::start().await;
    world.write("agent.toml", &world.config("metrics = \"127.0.0.1:0\""));
    world.write_endpoints("services.toml", &[&NamedServer::start("a")]);
    let agent = world.agent();
    let line: Value = serde_json::from_str(&agent.until_logged("serving metrics")).unwrap();
    let address = line["address"].as_str().unwrap();
    assert!(ask(address, "/status", "localhost").starts_with("HTTP/1.1 200"));
    let foreign = ask(address, "/status", "evil.example");
    assert!(
        !foreign.starts_with("HTTP/1.1 200") && !foreign.contains("generation"),
        "{foreign}"
    );
}

/// Everything that a tenant's file says reaches a reader escaped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h09_no_answer_of_the_agent_speaks_to_a_terminal() {
    const HOSTILE: &str = r"\u001b]0;owned\u0007\u001b[2J\nWARN forged\r\u202e";
    let world = World::start().await;
    let a = NamedServer::start("a");
    let config = world.config("metrics = \"127.0.0.1:0\"");
    let here = world.folder.path().display();
    let mut tenants = String::new();
    for (number, text) in [
        format!("[services.\"{HOSTILE}\"]\nendpoints = [\"10.0.0.1:80\"]\n"),
        format!("[services.x]\nendpoints = [\"{HOSTILE}\"]\n"),
        format!("[services.y]\nendpoints = [\"10.0.0.1:80\"]\nroutes = [\"{HOSTILE}/\"]\n"),
        format!("\"{HOSTILE}\" = 1\n"),
        format!("[services.z.\"{HOSTILE}\"]\na = 1\n"),
    ]
    .iter()
    .enumerate()
    {
        world.write(&format!("tenant{number}.toml"), text);
        tenants.push_str(&format!(
            "[[sources]]\nkind = \"file\"\nname = \"t{number}\"\npath = \"{here}/tenant{number}.toml\"\n"
        ));
    }
    world.write("agent.toml", &format!("{config}{tenants}"));
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    world.until_served_by(&a);
    let line: Value = serde_json::from_str(&agent.until_logged("serving metrics")).unwrap();
    let address = line["address"].as_str().unwrap().to_owned();
    let status = world.call(&["status"]).out;
    assert!(status.contains("\\u{1b}"), "the texts are shown: {status}");
    let answers = [
        ("status", status),
        ("status --json", world.call(&["status", "--json"]).out),
        ("status --healthy", world.call(&["status", "--healthy"]).err),
        ("plan", world.call(&["plan"]).out),
        ("plan, errors", world.call(&["plan"]).err),
        ("check", world.call(&["check"]).out),
        ("explain", world.call(&["explain", "\u{1b}[2Jx\nWARN"]).err),
        ("/status", ask(&address, "/status", "localhost")),
        ("/metrics", ask(&address, "/metrics", "localhost")),
        ("/", ask(&address, "/", "localhost")),
        ("log", agent.log()),
    ];
    for (name, text) in &answers {
        let own = |c: &char| matches!(c, '\n' | '\r' | '\t') && name.starts_with('/') || *c == '\n';
        let found = text
            .chars()
            .find(|c| (c.is_control() && !own(c)) || *c == '\u{202e}');
        assert_eq!(found, None, "{name}: {text:?}");
        let forged = text
            .lines()
            .find(|line| line.trim_start().starts_with("WARN forged"));
        assert_eq!(forged, None, "{name}");
    }
}
