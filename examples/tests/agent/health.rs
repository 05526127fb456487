//! What `lb-agent status --healthy` and the metrics say while something is broken, and after it is fixed (O1).

use lb_core::ConditionKind;

use crate::{
    get,
    world::{Agent, NamedServer, World, eventually},
};

/// The value of a metric.
fn metric(address: &str, name: &str) -> Option<u64> {
    let text = get(address, "GET /metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

fn address(agent: &Agent) -> String {
    let line = agent.until_logged("serving metrics");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    line["address"].as_str().unwrap().to_owned()
}

fn until_healthy(world: &World) {
    eventually("all is well", || {
        world.call(&["status", "--healthy"]).code == Some(0)
    });
}

/// The output of `status --healthy` once it is unhealthy with this text.
fn until_unhealthy(world: &World, expected: &str) {
    eventually(&format!("unhealthy: {expected}"), || {
        let called = world.call(&["status", "--healthy"]);
        called.code == Some(3) && called.err.contains(expected)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_o01_a_broken_file_of_services_is_unhealthy_until_it_is_fixed() {
    let world = World::start().await;
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    world.write("agent.toml", &world.config("metrics = \"127.0.0.1:0\""));
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    let address = address(&agent);
    world.until_served_by(&a);
    until_healthy(&world);
    // Every kind of condition has a metric, also while there is none of it.
    for kind in ConditionKind::ALL {
        let name = format!("lb_conditions{{kind=\"{kind}\"}}");
        assert_eq!(metric(&address, &name), Some(0), "{name}");
    }

    world.write(
        "services.toml",
        "[services.web]\nendpoints = [\"10.0.0.1\"]\n",
    );
    until_unhealthy(&world, "services.toml");
    let broken = world.call(&["status", "--healthy"]);
    for part in ["failed", "source file", "endpoints", "10.0.0.1"] {
        assert!(broken.err.contains(part), "{part:?} is not in {broken:?}");
    }
    assert_eq!(metric(&address, "lb_conditions{kind=\"failed\"}"), Some(1));
    assert_eq!(
        world.served_by().as_deref(),
        Some("a"),
        "it changes nothing"
    );

    world.write_endpoints("services.toml", &[&b]);
    world.until_served_by(&b);
    until_healthy(&world);
    assert_eq!(metric(&address, "lb_conditions{kind=\"failed\"}"), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_o01_a_broken_configuration_after_a_hangup_is_unhealthy_until_it_is_fixed() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    let config = world.config("metrics = \"127.0.0.1:0\"");
    world.write("agent.toml", &config);
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    let address = address(&agent);
    world.until_served_by(&a);
    until_healthy(&world);

    world.write("readable.toml", &config);
    world.write("agent.toml", "sources = 3");
    agent.signal("HUP");
    agent.until_logged("everything stays as it is");
    // The status is asked by a configuration that can be read.
    eventually("unhealthy", || {
        let called = world.call_with("readable.toml", &["status", "--healthy"]);
        called.code == Some(3)
            && called
                .err
                .contains("failed object HERE/agent.toml: everything stays as it is")
            && called
                .err
                .contains("agent.toml:1:11: sources: invalid type")
    });
    assert_eq!(metric(&address, "lb_conditions{kind=\"failed\"}"), Some(1));
    assert_eq!(world.served_by().as_deref(), Some("a"));

    world.write("agent.toml", &config);
    agent.signal("HUP");
    until_healthy(&world);
    assert_eq!(metric(&address, "lb_conditions{kind=\"failed\"}"), Some(0));
}

/// A removal that the guard holds back is unhealthy until it is confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_o01_a_held_removal_is_unhealthy_until_it_is_confirmed() {
    let world = World::start().await;
    let a = NamedServer::start("a");
    let config = world.config("metrics = \"127.0.0.1:0\"");
    world.write(
        "agent.toml",
        &format!("{config}[guard.overall]\nhold = \"1h\"\n"),
    );
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    let address = address(&agent);
    world.until_served_by(&a);
    until_healthy(&world);
    world.write_endpoints("services.toml", &[]);
    until_unhealthy(&world, "hold source file service web");
    assert_eq!(metric(&address, "lb_conditions{kind=\"hold\"}"), Some(1));
    world.call(&["confirm", "web"]);
    until_healthy(&world);
    assert_eq!(metric(&address, "lb_conditions{kind=\"hold\"}"), Some(0));
}
