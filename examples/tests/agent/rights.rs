//! The rights that the agent needs, and those that the image and the unit give it.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use crate::world::{NamedServer, World, eventually};

/// The user of the image, and of HAProxy's own.
const USER: u32 = 99;

fn example(file: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(here.join(file)).unwrap()
}

/// The agent as the image's user, with a runtime socket of mode 600 that belongs to that user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_needs_no_right_but_those_of_its_files_and_sockets() {
    let world = World::start().await;
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    world.write("agent.toml", &world.config(""));
    world.write_endpoints("services.toml", &[&a]);
    // The program may be in a folder of root's.
    let program = world.path("lb-agent");
    fs::copy(env!("CARGO_BIN_EXE_lb-agent"), &program).unwrap();
    let root = is_root();
    let mut command = Command::new(&program);
    command.arg("-c").arg(world.path("agent.toml"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    if root {
        for path in [world.folder.path().to_owned(), world.path("admin.sock")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        command.uid(USER).gid(USER);
    }
    let mut agent = command.spawn().unwrap();
    world.until_served_by(&a);
    world.write_endpoints("services.toml", &[&b]);
    world.until_served_by(&b);
    eventually("all is well", || {
        world.call(&["status", "--healthy"]).code == Some(0)
    });
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    for field in ["CapEff", "CapPrm"] {
        let line = format!("{field}:\t0000000000000000");
        assert!(!root || status.contains(&line), "{status}");
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nUid:\t0\t")
}

#[test]
fn image_and_unit_do_not_run_as_root() {
    let dockerfile = example("Dockerfile");
    assert!(dockerfile.contains("\nUSER 99:99\n"), "{dockerfile}");
    let unit = example("lb-agent.service");
    for line in [
        "User=lb",
        "Group=haproxy",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
}
