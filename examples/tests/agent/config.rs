//! `lb-agent config`.

use crate::world::World;

const HAPROXY: &str = r#"
[haproxy]
socket = "HEREadmin.sock"
server_state_file = "HEREstate"
service_map = "HEREservices.map"
hard_stop_after = "5m"
stats = "127.0.0.1:8404"

[[haproxy.frontends]]
name = "web"
bind = "127.0.0.1:8080"
route_map = "HEREroutes.map"
rate_limit = { requests = 600, period = "1m" }

[[haproxy.frontends]]
name = "raw"
bind = "127.0.0.1:8081"
mode = "tcp"
default_backend = "db"

[[haproxy.backends]]
name = "shop"
slots = 4
balance = "hash source"
http_reuse = "always"
server_header = "x-served-by"
cookie = { name = "SRV", key = "secret" }
check = { path = "/health", host = "shop.example", inter = "5s", expect = 200 }

[[haproxy.backends]]
name = "db"
slots = 2
mode = "tcp"
balance = "leastconn"
check = true
"#;

/// A written configuration is one that HAProxy accepts; what it refuses, or what makes no sense, leaves the file as it
/// is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxys_own_configuration_is_written_from_the_agents() {
    let world = World::start().await;
    let here = world.path("").display().to_string();
    for map in ["routes.map", "services.map", "state"] {
        world.write(map, "");
    }
    let described = HAPROXY.replace("HERE", &here);
    let agent = |haproxy: &str| format!("{}{haproxy}", world.config(""));
    let out = world.path("written.cfg").display().to_string();

    world.write("agent.toml", &agent(""));
    let called = world.call(&["config"]);
    assert_eq!(called.code, Some(1));

    world.write("agent.toml", &agent(&described));
    let called = world.call(&["check"]);
    assert_eq!(called.code, Some(0));
    // A map that HAProxy looks up and that no policy fills.
    for told in [
        "haproxy.frontends[0].route_map: is HERE/routes.map, and targets[0].policy.route_map is \"lb-routes.map\"",
        "haproxy.service_map: is HERE/services.map, and targets[0].policy.service_map is \"lb-services.map\"",
    ] {
        assert!(called.out.contains(told), "{told}: {}", called.out);
    }
    assert_eq!(world.call(&["check", "--strict"]).code, Some(1));
    let policy = "[targets.policy]\nroute_map = \"routes.map\"\nservice_map = \"services.map\"\n";
    let same = format!("{}{policy}{described}", world.config(""));
    world.write("agent.toml", &same);
    let called = world.call(&["check"]);
    assert!(!called.out.contains("fill"), "{}", called.out);
    world.write("agent.toml", &agent(&described));
    let called = world.call(&["config", "-o", &out]);
    assert_eq!(called.code, Some(0), "{}", called.out);
    assert!(called.out.contains("accepted by HAProxy"), "{}", called.out);
    let written = std::fs::read_to_string(&out).unwrap();
    for part in [
        "server-template slot 1-4",
        "balance source",
        "http-reuse always",
        "x-served-by",
        "hard-stop-after 300000ms",
        "http-check expect status 200",
        "routes.map",
    ] {
        assert!(written.contains(part), "{part} is missing in:\n{written}");
    }

    // The same of a configuration that the target names.
    let named = format!("{}config_file = \"{out}\"\n", world.config(""));
    for (policy, known) in [("", false), (policy, true)] {
        world.write("agent.toml", &format!("{named}{policy}"));
        let called = world.call(&["check"]);
        let told = "written.cfg looks routes up in HERE/routes.map";
        assert_eq!(called.out.contains(told), !known, "{}", called.out);
    }
    world.write("agent.toml", &agent(&described));

    let wrong = described.replace("hash source", "hash moon");
    world.write("agent.toml", &agent(&wrong));
    let called = world.call(&["config", "-o", &out]);
    assert_eq!(called.code, Some(1));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), written, "unchanged");

    // HAProxy refuses a folder of certificates that is not there.
    let tls = "[[haproxy.frontends]]\nname = \"tls\"\ntls = { bind = \"127.0.0.1:8443\", certificates = \"/nowhere\" }\n";
    world.write("agent.toml", &agent(&format!("{described}{tls}")));
    let called = world.call(&["config", "-o", &out]);
    assert_eq!(called.code, Some(1));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), written, "unchanged");

    // The owner's own lines stay.
    world.write("agent.toml", &agent(&described));
    world.write(
        "template.cfg",
        "# lb: global\n  log /dev/log local0\n# lb: defaults\n# lb: frontends\n# lb: backends\n",
    );
    let template = world.path("template.cfg").display().to_string();
    let called = world.call(&["config", "--template", &template]);
    assert_eq!(called.code, Some(0), "{}", called.out);
    assert!(
        called.out.contains("  log /dev/log local0\n"),
        "{}",
        called.out
    );
}
