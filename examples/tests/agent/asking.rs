//! Whatever is asked of the agent, over its own socket and its TCP port.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    status,
    world::{LIMIT, NamedServer, World, eventually},
};

const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "MOVE", "SET", "confirm",
];
const PATHS: [&str; 16] = [
    "/",
    "/metrics",
    "/status",
    "/status/",
    "/services",
    "/services/web",
    "/sources/file",
    "/targets/edge",
    "/drain?service=web",
    "/reload",
    "/reconcile",
    "/shutdown",
    "/confirm/web",
    "//confirm",
    "/%63onfirm",
    "/../confirm",
];
const BODY: &str = "{\"services\":{\"web\":{\"endpoints\":[]}},\"state\":\"down\",\"weight\":0}";

/// Sends one request; returns the code of its answer, or zero where there is none.
fn code(mut stream: impl Read + Write, method: &str, path: &str) -> u16 {
    // An answer that comes before its body was read may be lost when the connection is closed.
    let body = if method == "GET" { "" } else { BODY };
    let length = body.len();
    let sent = write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         X-HTTP-Method-Override: DELETE\r\nConnection: close\r\n\r\n{body}"
    );
    let mut answer = Vec::new();
    // One that is refused before its body was read may be cut off.
    let _ = sent.and_then(|()| stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// The desired state and that of HAProxy, without times and counters.
fn state(world: &World) -> Value {
    let status = status(world).unwrap();
    let mut servers = String::new();
    let mut stream = UnixStream::connect(world.path("admin.sock")).unwrap();
    stream.write_all(b"show servers state\n").unwrap();
    stream.read_to_string(&mut servers).unwrap();
    let servers: Vec<String> = servers
        .lines()
        .map(|line| {
            let fields = line.split(' ').enumerate();
            // Without the time since the last change.
            let fields = fields.filter_map(|(at, field)| (at != 9).then_some(field));
            fields.collect::<Vec<_>>().join(" ")
        })
        .collect();
    json!({
        "generation": status["generation"],
        "services": status["services"],
        "endpoints": status["endpoints"],
        "conditions": status["conditions"],
        "servers": servers,
    })
}

/// Sends everything but a confirmation over the socket, and all of that, confirmations included, over the port.
fn ask_everything(world: &World, port: &str) {
    let unix = || {
        let stream = UnixStream::connect(world.path("agent.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    };
    let tcp = || {
        let stream = TcpStream::connect(port).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    };
    for method in METHODS {
        for path in PATHS {
            let reads = matches!(path, "/" | "/metrics" | "/status") && method == "GET";
            for answered in [code(unix(), method, path), code(tcp(), method, path)] {
                match reads {
                    true => assert_eq!(answered, 200, "{method} {path}"),
                    false => assert!(
                        answered == 0 || (400..500).contains(&answered),
                        "{method} {path}: {answered}"
                    ),
                }
            }
        }
        for path in ["/confirm", "/confirm?service=web"] {
            let answered = code(tcp(), method, path);
            assert!(
                (400..500).contains(&answered),
                "{method} {path}: {answered}"
            );
            if method != "POST" {
                let answered = code(unix(), method, path);
                assert!(
                    (400..500).contains(&answered),
                    "{method} {path}: {answered}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_asked_of_the_agent_changes_what_is_desired() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    world.write("agent.toml", &world.config("metrics = \"127.0.0.1:0\""));
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    world.until_served_by(&a);
    eventually("all is well", || {
        world.call(&["status", "--healthy"]).code == Some(0)
    });
    let line: Value = serde_json::from_str(&agent.until_logged("serving metrics")).unwrap();
    let port = line["address"].as_str().unwrap();

    let before = state(&world);
    ask_everything(&world, port);
    // A confirmation confirms what a source has asked for, which is nothing yet.
    let unix = || UnixStream::connect(world.path("agent.sock")).unwrap();
    for path in ["/confirm", "/confirm?service=web", "/confirm?service=other"] {
        assert_eq!(code(unix(), "POST", path), 200, "{path}");
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state(&world), before);
    assert_eq!(world.served_by().as_deref(), Some("a"));

    // What the guard holds stays held, whatever else is asked.
    world.write_endpoints("services.toml", &[]);
    agent.until_logged("removal held back");
    let before = state(&world);
    ask_everything(&world, port);
    assert_eq!(code(unix(), "POST", "/confirm?service=other"), 200);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state(&world), before);
    assert_eq!(world.served_by().as_deref(), Some("a"));
}
