//! `lb-agent lint`.

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_guarantee_in_haproxys_own_configuration_is_found() {
    let world = World::start().await;
    let here = world.path("").display().to_string();
    let own = world.path("own.cfg").display().to_string();
    let more = world.path("more.cfg").display().to_string();
    let good = format!(
        "global\n  stats socket {here}own.sock level admin mode 600 expose-fd listeners\n  stats maxconn 32\n  \
         hard-stop-after 15m\n  server-state-file {here}state\ndefaults\n  mode http\n  timeout connect 500ms\n  \
         timeout client 30s\n  timeout server 30s\n  option redispatch\n  load-server-state-from-file global\n"
    );
    let backend = "backend web\n  cookie SRV insert indirect nocache dynamic\n  dynamic-cookie-key secret\n  \
                   server-template slot 1-4 slot.invalid:1 disabled init-addr last,127.0.0.1 check\n";
    world.write("agent.toml", &world.config(""));

    // A file for each half, as with several -f. Who stays with a server is known from the target's policy only.
    world.write("own.cfg", &good);
    world.write("more.cfg", backend);
    let called = world.call(&["lint", &own, &more, "--json"]);
    assert_eq!(called.code, Some(1));
    let found: serde_json::Value = serde_json::from_str(&called.out).unwrap();
    assert_eq!(found["haproxy"]["accepted"], true, "{found}");
    assert_eq!(
        found["findings"][0]["code"], "drained-are-visited",
        "{found}"
    );
    assert_eq!(found["findings"][0]["file"], "HERE/more.cfg");
    assert_eq!(found["findings"][0]["line"], 2);
    let policy = "[targets.policy]\npersistence = true\n";
    world.write("agent.toml", &format!("{}{policy}", world.config("")));
    let called = world.call(&["lint", &own, &more, "--target", "edge"]);
    assert_eq!(called.code, Some(0), "{}", called.out);
    assert!(
        called.out.contains("2 files: nothing found"),
        "{}",
        called.out
    );

    // Notes are no reason to fail, as the help says.
    let slow = good.replace("timeout connect 500ms", "timeout connect 5s");
    world.write("own.cfg", &slow);
    let called = world.call(&["lint", &own, &more, "--target", "edge"]);
    assert_eq!(called.code, Some(0), "{}", called.out);
    assert!(called.out.contains("note[slow-connect]"), "{}", called.out);
    let help = world.call(&["lint", "--help"]).out;
    assert!(
        help.contains("0 when nothing was found or notes alone"),
        "{help}"
    );

    // What HAProxy itself refuses is said in its words.
    world.write(
        "own.cfg",
        &good
            .replace("level admin", "level user")
            .replace("mode http", "mode https"),
    );
    let called = world.call(&["lint", &own, &more, "--target", "edge"]);
    assert_eq!(called.code, Some(1));
    let socket = "HERE/own.cfg:2: error[socket-level]: global: ";
    assert!(called.out.contains(socket), "{}", called.out);
    assert!(called.out.contains("does not take it"), "{}", called.out);
    assert!(called.out.contains("'https'"), "{}", called.out);

    for wrong in [
        &["lint"][..],
        &["lint", "/nowhere.cfg"],
        &["lint", &own, "--target", "nobody"],
        &["lint", &own, "--haproxy", "/nowhere"],
        &["lint", &own, "--haproxy-version", "new"],
    ] {
        let called = world.call(wrong);
        assert_eq!(called.code, Some(2), "{wrong:?}");
        assert!(!called.err.is_empty());
    }
}

/// The program's own name, and a way to an agent whose configuration file was broken since it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_o07_version_and_status_of_a_broken_file_help() {
    let world = World::start().await;
    let called = world.call(&["--version"]);
    assert!(called.out.starts_with("lb-agent "), "{}", called.out);
    world.write("broken.toml", "[agent\n");
    let called = world.call_with("broken.toml", &["status"]);
    assert_eq!(called.code, Some(1));
    assert!(called.err.contains("broken.toml:1"), "{}", called.err);
    assert!(called.err.contains("--socket"), "{}", called.err);
}
