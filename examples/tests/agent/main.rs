//! The agent as its users run it: a process, a real HAProxy, a file that is edited.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

mod asking;
mod clients;
mod config;
#[path = "../support/crowd.rs"]
#[expect(dead_code, reason = "the flood needs more of it")]
mod crowd;
mod health;
mod junk;
mod lint;
mod listings;
mod peers;
mod readers;
mod rights;
mod world;

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
};

use serde_json::{Value, json};

use crate::world::{LIMIT, NamedServer, World, eventually};

/// The status, once the agent answers.
fn status(world: &World) -> Option<Value> {
    let called = world.call(&["status", "--json"]);
    (called.code == Some(0)).then(|| called.json()["status"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_file_is_followed_and_i2_the_end_of_the_agent_leaves_haproxy_serving() {
    let world = World::start().await;
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    let notified = UnixDatagram::bind(world.path("notify.sock")).unwrap();
    notified.set_read_timeout(Some(LIMIT)).unwrap();
    let next_notice = || {
        let mut buffer = [0; 256];
        let length = notified.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    world.write("agent.toml", &world.config("metrics = \"127.0.0.1:0\""));
    world.write_endpoints("services.toml", &[&a]);
    let mut agent = world.agent();
    assert_eq!(next_notice(), "READY=1");
    world.until_served_by(&a);
    // Only what is still there is said to be in effect: the first is logged before the second takes its place.
    agent.until_logged("endpoint in effect");
    world.write_endpoints("services.toml", &[&b]);
    world.until_served_by(&b);

    // I10: the log leads from the source's cursor to the verification.
    eventually("both changes are logged", || {
        agent.log().matches("\"message\":\"verified\"").count() >= 2
    });
    let line: Value =
        serde_json::from_str(&agent.until_logged("\"message\":\"verified\"")).unwrap();
    assert_eq!(line["target_name"], "edge", "{line}");
    assert!(
        line["cursors"].as_str().unwrap().starts_with("file=file@"),
        "{line}"
    );
    assert!(line["latency_us"].as_u64().unwrap() > 0, "{line}");

    let line: Value = serde_json::from_str(&agent.until_logged("endpoint in effect")).unwrap();
    assert_eq!(
        (&line["service"], &line["endpoint"]),
        (&json!("web"), &json!(a.address)),
        "{line}"
    );
    let line: Value = serde_json::from_str(&agent.until_logged("applied: ")).unwrap();
    assert_eq!(
        (&line["span"]["target_name"], &line["span"]["generation"]),
        (&json!("edge"), &json!(1)),
        "{line}"
    );

    eventually("all is well", || {
        world.call(&["status", "--healthy"]).code == Some(0)
    });
    let shown = world.call(&["status"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for part in [
        "1 service, 1 endpoint, 0 routes",
        "file    file  live",
        "edge    idle",
    ] {
        assert!(
            shown.out.contains(part),
            "{part:?} is not in\n{}",
            shown.out
        );
    }
    let mode = std::fs::metadata(world.path("agent.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let line: Value = serde_json::from_str(&agent.until_logged("serving metrics")).unwrap();
    let metrics = get(line["address"].as_str().unwrap(), "GET /metrics");
    for part in [
        "\nlb_endpoints 1\n",
        "\nlb_source_live{source=\"file\",kind=\"file\"} 1\n",
        "\nlb_target_failures{target=\"edge\"} 0\n",
        "\nlb_target_latency_seconds_bucket{target=\"edge\",le=\"+Inf\"} ",
    ] {
        assert!(metrics.contains(part), "{part:?} is not in\n{metrics}");
    }
    let address = line["address"].as_str().unwrap();
    assert!(get(address, "GET /status").contains("\"generation\""));
    assert!(
        get(address, "POST /confirm").starts_with("HTTP/1.1 405"),
        "whoever can connect may only look"
    );
    assert!(get(address, "GET /other").starts_with("HTTP/1.1 404"));

    agent.signal("TERM");
    assert_eq!(next_notice(), "STOPPING=1");
    assert_eq!(agent.ended().code(), Some(0));
    assert!(!world.path("agent.sock").exists());
    assert_eq!(world.served_by().as_deref(), Some("b"));
    drop(world.haproxy.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_changes_what_is_written_differently_and_nothing_else() {
    let world = World::start().await;
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    let config = world.config("");
    world.write("agent.toml", &config);
    world.write_endpoints("services.toml", &[&a]);
    let mut agent = world.agent();
    world.until_served_by(&a);

    world.write("agent.toml", "sources = 3");
    agent.signal("HUP");
    let line = agent.until_logged("everything stays as it is");
    assert!(
        line.contains("agent.toml:1:11: sources: invalid type"),
        "{line}"
    );
    assert_eq!(world.served_by().as_deref(), Some("a"));

    // A source is added; the first is not disturbed.
    let here = world.folder.path().display().to_string();
    let second =
        format!("[[sources]]\nkind = \"file\"\nname = \"second\"\npath = \"{here}/second.toml\"\n");
    world.write(
        "second.toml",
        "[services.other]\nendpoints = [\"127.0.0.1:9\"]\n",
    );
    world.write("agent.toml", &format!("{config}{second}"));
    agent.signal("HUP");
    agent.until_logged("source second added");
    eventually("the second source is live", || {
        status(&world).is_some_and(|status| {
            status["sources"][1]["name"] == "second"
                && status["sources"][1]["health"]["state"] == "live"
        })
    });
    let now = status(&world).unwrap();
    assert_eq!(now["sources"][0]["attempts"], 1);
    assert_eq!(now["endpoints"], 2);

    // Their order decides which of two counts that disagree; it is kept, and that is said until they are as written.
    let (head, first) = config.split_once("[[sources]]").unwrap();
    let swapped = format!("{head}{second}[[sources]]{first}");
    world.write("agent.toml", &swapped);
    let said = "the order of the sources: second, file in the file, file, second in effect";
    for _ in 0..2 {
        agent.signal("HUP");
        agent.until_logged(said);
        eventually("the order that waits is a condition", || {
            status(&world).is_some_and(|status| status["conditions"].to_string().contains(said))
        });
    }

    // The first is changed: another file, whose endpoint takes over without a gap.
    world.write_endpoints("moved.toml", &[&b]);
    let moved = config.replace("services.toml", "moved.toml");
    world.write("agent.toml", &moved);
    agent.signal("HUP");
    agent.until_logged("source file changed");
    agent.until_logged("source second removed");
    eventually("b serves, and nobody is refused", || {
        world.served_by().expect("somebody serves") == "b"
    });

    // The guard is changed: a removal that it would hold back goes through at once.
    let unguarded = format!("settle = \"1ms\"\n{moved}[guard.overall]\nenabled = false\n");
    world.write("agent.toml", &unguarded);
    agent.signal("HUP");
    agent.until_logged("guard changed");
    agent.until_logged("settle and resync changed");
    world.write_endpoints("moved.toml", &[]);
    eventually("nobody serves", || world.served_by().is_none());
    world.write_endpoints("moved.toml", &[&b]);
    world.until_served_by(&b);

    // A target is changed: the new driver adopts what it finds.
    let other = format!("{moved}timeout = \"3s\"\n");
    world.write("agent.toml", &other);
    agent.signal("HUP");
    agent.until_logged("target edge changed");
    world.write_endpoints("moved.toml", &[&a]);
    world.until_served_by(&a);

    agent.signal("INT");
    assert_eq!(agent.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_an_emptying_file_is_held_until_it_is_confirmed() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    let config = format!("{}[guard.overall]\nhold = \"1h\"\n", world.config(""));
    world.write("agent.toml", &config);
    world.write_endpoints("services.toml", &[&a]);
    let _agent = world.agent();
    world.until_served_by(&a);
    let confirmed = world.call(&["confirm"]);
    assert_eq!(
        (confirmed.code, confirmed.out.as_str()),
        (Some(0), "nothing was held back\n")
    );

    world.write_endpoints("services.toml", &[]);
    eventually("the removal is held back", || {
        status(&world).is_some_and(|status| status["holds"][0]["service"] == "web")
    });
    let shown = world.call(&["status"]).out;
    assert!(shown.contains("HELD BACK"), "{shown}");
    assert_eq!(world.served_by().as_deref(), Some("a"));

    assert_eq!(
        world.call(&["confirm", "other"]).out,
        "nothing was held back\n"
    );
    assert_eq!(
        world.call(&["confirm", "web"]).out,
        "let through: 1 record\n"
    );
    eventually("nobody serves", || world.served_by().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p23_a_plan_says_what_a_run_would_do_and_does_nothing() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    world.write("agent.toml", &world.config(""));
    world.write_endpoints("services.toml", &[&a]);

    let before = servers(&world).await;
    let plan = world.call(&["plan"]);
    let text = plan.out.replace(&a.address.to_string(), "ADDRESS");
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(
        text.starts_with("desired: 1 service, 1 endpoint, 0 routes\n\ntarget edge: "),
        "{text}"
    );
    assert!(
        text.contains("new endpoint: its address goes into a free slot"),
        "{text}"
    );
    let steps: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("    ") && !line.contains("then read back"))
        .collect();
    assert!(!steps.is_empty(), "{text}");
    assert!(
        steps.iter().all(|step| step.contains("  # ")),
        "each step has its reason: {text}"
    );
    assert_eq!(world.call(&["plan", "--exit-code"]).code, Some(2));
    let json = world.call(&["plan", "--json", "--target", "edge"]).json();
    assert_eq!(json["endpoints"], 1);
    assert!(json["targets"][0]["steps"].as_u64().unwrap() > 0, "{json}");
    assert!(
        json["targets"][0]["plan"]["stages"][0]["steps"].is_array(),
        "{json}"
    );
    let many: Vec<NamedServer> = (0..6).map(|_| NamedServer::start("many")).collect();
    world.write_endpoints("services.toml", &many.iter().collect::<Vec<_>>());
    let full = world.call(&["plan"]).out;
    assert!(
        full.contains("no free slot: a server is made for it")
            || full.contains("only a reload gives more: backend web has 4 slots and needs 2 more"),
        "{full}"
    );
    world.write_endpoints("services.toml", &[&a]);
    assert_eq!(servers(&world).await, before, "a plan writes nothing");

    let mut agent = world.agent();
    world.until_served_by(&a);
    agent.signal("TERM");
    assert_eq!(agent.ended().code(), Some(0));
    eventually("there is nothing to do any more", || {
        world.call(&["plan", "--exit-code"]).code == Some(0)
    });
    let idle = world.call(&["plan"]).out;
    assert!(
        idle.contains("target edge: 0 steps\n  nothing to do\n"),
        "{idle}"
    );

    let unknown = world.call(&["plan", "--target", "core"]);
    assert_eq!(unknown.code, Some(1));
    assert_eq!(
        unknown.err,
        "lb-agent: --target: target core is not in the configuration file\n"
    );
    // P23: a source that cannot be read is named at once, with line and field.
    world.write(
        "services.toml",
        "[services.web]\nendpoints = [\"10.0.0.1\"]\n",
    );
    let broken = world.call(&["plan", "--timeout", "1s"]);
    assert_eq!(broken.code, Some(1), "{broken:?}");
    let (waiting, ended) = broken
        .err
        .split_once("lb-agent: no source completed its initial sync within 1s\n")
        .unwrap();
    for text in [waiting, ended] {
        assert!(text.contains("source file: "), "{broken:?}");
        assert!(
            text.contains("endpoints") && text.contains("10.0.0.1"),
            "{broken:?}"
        );
    }
    std::fs::remove_file(world.path("services.toml")).unwrap();
    let silent = world.call(&["plan", "--timeout", "300ms"]);
    assert_eq!(silent.code, Some(1), "{silent:?}");
    assert!(
        silent.err.contains(
            "lb-agent: no source completed its initial sync within 300ms\n  source file: "
        ),
        "{silent:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_end_with_one_and_say_where_they_are() {
    let world = World::start().await;
    let absent = world.call(&["check"]);
    assert_eq!(absent.code, Some(1));
    assert_eq!(
        absent.err,
        "lb-agent: cannot read HERE/agent.toml: No such file or directory (os error 2)\n"
    );

    world.write("agent.toml", &world.config("metrics = 9469"));
    for command in ["check", "plan", "run", "status"] {
        let wrong = world.call(&[command]);
        assert_eq!(wrong.code, Some(1), "{command}: {wrong:?}");
        let expected =
            "lb-agent: HERE/agent.toml:3:11: agent.metrics: invalid type: integer `9469`";
        assert!(wrong.err.starts_with(expected), "{command}: {wrong:?}");
    }

    world.write("agent.toml", &world.config(""));
    let warned = world.call(&["check"]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert_eq!(
        warned.out,
        "HERE/agent.toml:6:8: warning: sources[0].path: HERE/services.toml: there is no such file\n\
         HERE/agent.toml: ok: 1 source, 1 target\n"
    );
    assert_eq!(world.call(&["check", "--strict"]).code, Some(1));
    let json = world.call(&["check", "--json"]).json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["problems"][0]["line"], 6);
    assert_eq!(json["problems"][0]["severity"], json!("warning"));

    let twice = format!(
        "{0}{1}",
        world.config(""),
        "[[targets]]\nname = \"edge\"\nsocket = \"/x\"\n"
    );
    world.write("agent.toml", &twice);
    for command in ["check", "run"] {
        let called = world.call(&[command]);
        assert_eq!(called.code, Some(1));
        let text = called.out + &called.err;
        let expected = "HERE/agent.toml:11:8: error: targets[1].name: target edge is there already as targets[0]";
        assert!(text.contains(expected), "{text}");
    }

    world.write("agent.toml", &world.config(""));
    let unexplained = world.call(&["explain", "shop-web-1"]);
    assert_eq!(unexplained.code, Some(1));
    assert_eq!(
        unexplained.err,
        "lb-agent: the configuration file has no such source of containers\n"
    );

    let nobody = world.call(&["status"]);
    assert_eq!(nobody.code, Some(1));
    assert!(
        nobody
            .err
            .starts_with("lb-agent: no agent is running at HERE/agent.sock"),
        "{nobody:?}"
    );

    let mut agent = world.agent();
    eventually("the agent answers", || status(&world).is_some());
    let second = world.call(&["run"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second
            .err
            .contains("an agent is running at HERE/agent.sock already"),
        "{second:?}"
    );
    let sick = world.call(&["status", "--healthy"]);
    assert_eq!(sick.code, Some(3), "{sick:?}");
    assert!(sick.err.contains("never_synced source file:"), "{sick:?}");
    agent.signal("TERM");
    assert_eq!(
        agent.ended().code(),
        Some(0),
        "it ends though nothing was ever known"
    );
}

/// One request over TCP, with the whole answer.
fn get(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// HAProxy's own report of its servers, but for the time that passes.
async fn servers(world: &World) -> Vec<String> {
    const SECONDS_SINCE_CHANGE: usize = 9;
    let mut client = world.haproxy.connect().await.unwrap();
    let command = lb_haproxy::proto::Command::ShowServersState(None);
    let reply = client.exec(&command).await.unwrap();
    let timeless = |line: &str| {
        let columns = line.split(' ').enumerate();
        let kept = columns.filter(|(place, _)| *place != SECONDS_SINCE_CHANGE);
        kept.map(|(_, column)| column).collect::<Vec<_>>().join(" ")
    };
    reply.text().lines().map(timeless).collect()
}
