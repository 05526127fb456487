//! Two agents, and an agent beside a program, on one HAProxy.

use std::sync::Arc;

use lb_core::{DriveError, Driver as _, Snapshot};
use lb_haproxy::{HaproxyDriver, TargetConfig};

use crate::world::{NamedServer, World};

/// The second says who the first is and does not start; a killed one locks nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_a_second_agent_says_who_the_first_is_and_does_not_start() {
    let world = World::start().await;
    let server = NamedServer::start("a");
    world.write_endpoints("services.toml", &[&server]);
    world.write("agent.toml", &world.config(""));
    let mut first = world.agent();
    world.until_served_by(&server);

    // Another name, and the same HAProxy.
    let other = world
        .config("")
        .replace("agent.sock", "other.sock")
        .replace("\"edge\"", "\"other\"");
    world.write("other.toml", &other);
    let refused = world.call_with("other.toml", &["run"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let owner = format!(
        "target other is managed by lb-agent (process {}, target edge, manage all backends)",
        first.pid()
    );
    assert!(refused.err.contains(&owner), "{refused:?}");

    // A control plane in another program is refused as well.
    let socket = world.path("admin.sock").display().to_string();
    let config = TargetConfig::new("program".parse().unwrap(), socket.parse().unwrap());
    let mut driver = HaproxyDriver::new(config);
    let nothing = Arc::new(Snapshot::default());
    let error = driver.converge(&nothing).await.unwrap_err();
    assert!(matches!(error, DriveError::Owned { .. }), "{error:?}");

    first.signal("KILL");
    let _killed = first.ended();
    let again = world.agent();
    again.until_logged("connected to HAProxy");
    world.until_served_by(&server);
}

/// What a program writes into a backend that it manages stays, beside an agent that manages another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_p07_agents_of_different_backends_run_side_by_side() {
    let world = World::start().await;
    let server = NamedServer::start("a");
    world.write_endpoints("services.toml", &[&server]);
    let config = world.config("");
    world.write("agent.toml", &format!("{config}manage = [\"web\"]\n"));
    let _web = world.agent();
    world.until_served_by(&server);
    let other = config
        .replace("agent.sock", "other.sock")
        .replace("services", "none");
    world.write("none.toml", "[services]\n");
    world.write("other.toml", &format!("{other}manage = [\"db-*\"]\n"));
    let _db = world.agent_with("other.toml", "other.log");
    crate::world::eventually("the second agent is well", || {
        world.call_with("other.toml", &["status", "--healthy"]).code == Some(0)
    });
    assert_eq!(world.served_by().as_deref(), Some("a"));
    let refused = world.call_with("other.toml", &["check"]);
    assert_eq!(refused.code, Some(0), "{refused:?}");
    world.write("other.toml", &format!("{other}manage = []\n"));
    let refused = world.call_with("other.toml", &["check"]);
    assert!(
        refused.code != Some(0) && refused.err.contains("manage"),
        "{refused:?}"
    );
}
