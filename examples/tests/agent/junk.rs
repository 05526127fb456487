//! Values of many megabytes that are of no use.

use std::{fs, time::Duration};

use crate::world::{NamedServer, World, eventually};

/// The bytes of the first value. A file of more than 16 MiB is not read at all.
const LARGEST: usize = 15_000_000;
/// The bytes of the others.
const LARGE: usize = 1_000_000;
/// The most that any of what people read may have, in bytes.
const MOST: usize = 200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h10_values_of_many_megabytes_are_cut_in_log_status_and_health() {
    let world = World::start().await;
    let server = NamedServer::start("a");
    let here = world.folder.path().display().to_string();
    let folder = world.path("services");
    fs::create_dir(&folder).unwrap();
    for at in 0..4 {
        let junk = match at {
            0 => "x".repeat(LARGEST),
            _ => "x".repeat(LARGE),
        };
        let text = match at {
            0 => format!("[services.junk-{at}]\nendpoints = [\"{junk}\"]\n"),
            1 => format!("[services.junk-{at}]\nroutes = [\"{junk}\"]\n"),
            2 => format!("[services.junk-{at}]\nmode = \"{junk}\"\n"),
            _ => format!("[services.\"{junk}\"]\nendpoints = [\"127.0.0.1:1\"]\n"),
        };
        fs::write(folder.join(format!("{at}.toml")), text).unwrap();
    }
    world.write_endpoints("services.toml", &[&server]);
    let junk =
        format!("[[sources]]\nkind = \"file\"\nname = \"junk\"\npath = \"{here}/services\"\n");
    let config = world.config("") + &junk;
    world.write("agent.toml", &config);
    let agent = world.agent();
    world.until_served_by(&server);
    agent.until_logged("junk");
    eventually("the files are reported", || {
        let status = world.call(&["status", "--json"]);
        status.code == Some(0) && status.out.contains("/services")
    });
    // What is read again and again is not reported again and again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for arguments in [["status", "--json"], ["status", "--healthy"]] {
        let called = world.call(&arguments);
        let expected = match arguments[1] {
            "--json" => Some(0),
            _ => Some(3),
        };
        assert_eq!(called.code, expected, "{arguments:?}");
        let said = called.out.len() + called.err.len();
        assert!((1..MOST).contains(&said), "{arguments:?}: {said} bytes");
    }
    let log = agent.log().len();
    assert!(log < MOST, "{log} bytes of log");
    agent.signal("TERM");
}
