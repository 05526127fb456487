//! The compose file and the Swarm stack of the examples, as they are.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use lb_core::Name;
use lb_examples::traffic::now;
use lb_haproxy::config::{Backend, Bind, Config, Frontend, Slots};

use crate::{
    http::{until, until_served},
    images::{self, AGENT, HAPROXY, example},
    support::engine::{Engine, IMAGE, available, exists, run},
    users::{LIMIT, name},
};

/// An engine with the examples' images, and where its published ports are reached.
struct World {
    front: SocketAddr,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let engine = Engine::start();
        let [_, near] = engine.link(None);
        images::agent(&engine);
        images::haproxy(&engine);
        for service in ["echo", "shop", "demo"] {
            let dockerfile = format!("FROM {IMAGE}\nENV SERVICE={service}\n");
            let context = engine.dir().join(service);
            fs::create_dir(&context).unwrap();
            fs::write(context.join("Dockerfile"), dockerfile).unwrap();
            engine.docker(&["build", "-q", "-t", service, &context.display().to_string()]);
        }
        let near: Ipv4Addr = near.parse().unwrap();
        Self {
            front: SocketAddr::new(near.into(), 80),
            engine,
        }
    }

    /// A copy of an example's folder, which is written to.
    fn copy(&self, folder: &str) -> String {
        let copy = self.engine.dir().join(format!("{folder}-example"));
        let copy = copy.display().to_string();
        run("cp", &["-r", &example(folder), &copy]);
        copy
    }

    /// Runs a command in a folder, with the images that the examples ask for.
    fn call(&self, folder: &str, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_SOCKET", self.engine.socket())
            .env("HAPROXY_IMAGE", HAPROXY)
            .env("LB_AGENT_IMAGE", AGENT)
            .envs([
                ("ECHO_IMAGE", "echo"),
                ("SHOP_IMAGE", "shop"),
                ("DEMO_IMAGE", "demo"),
            ])
            .env("COMPOSE_PROJECT_NAME", "example")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks until this many endpoints of a service have answered.
    fn until_spread(&self, host: &str, path: &str, service: &str, count: usize) {
        let began = now();
        let mut endpoints = BTreeSet::new();
        while endpoints.len() < count {
            let answer = until_served(self.front, host, path, service);
            endpoints.insert(answer.endpoint.unwrap());
            assert!(began.elapsed() < LIMIT, "only {endpoints:?} answer");
        }
    }
}

/// The configuration that the examples' `haproxy.cfg` is made from, with its maps in this folder.
fn config(maps: &str, state: Option<&str>) -> String {
    let mut config = Config::new("/run/lb/admin.sock".parse().unwrap());
    config.global.server_state_file = state.map(|state| state.parse().unwrap());
    config.service_map = Some(format!("{maps}/lb-services.map").parse().unwrap());
    let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80);
    let mut http = Frontend::new(name("http"), Bind::Tcp(everywhere));
    http.route_map = Some(format!("{maps}/lb-routes.map").parse().unwrap());
    config.frontends.push(http);
    for number in 1..=4 {
        let slots = Slots::new(Name::from_text("slot"), 20);
        let spare = name(&format!("spare-http-{number}"));
        config.backends.push(Backend::new(spare, slots));
    }
    let text = config.render(&"3.2.0".parse().unwrap()).unwrap();
    format!(
        "# Made by lb's generator of configurations. Services get one of the spare backends; routes come from a map.\n{text}"
    )
}

/// Written anew where `BLESS` is set.
#[test]
fn the_examples_have_the_generated_haproxy_configuration() {
    for (folder, text) in [
        (
            "compose",
            config("/var/lib/lb", Some("/var/lib/lb/server-state")),
        ),
        ("swarm", config("/etc/haproxy", None)),
    ] {
        let file = example(&format!("{folder}/haproxy.cfg"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&file).unwrap_or_default(),
            text,
            "{file}"
        );
    }
}

#[test]
fn the_compose_example_scales_behind_haproxy() {
    if !available() {
        return;
    }
    if !exists("docker-compose") {
        panic!("cannot run: docker-compose is not in PATH");
    }
    let world = World::new();
    let folder = world.copy("compose");
    let compose = |arguments: &[&str]| world.call(&folder, "docker-compose", arguments);
    compose(&["up", "-d"]);
    until_served(world.front, "any.example", "/", "echo");
    until_served(world.front, "any.example", "/shop", "shop");
    until_served(world.front, "shop.example", "/cart", "shop");
    compose(&["up", "-d", "--scale", "echo=10"]);
    world.until_spread("any.example", "/", "echo", 10);

    let agent = world.engine.docker(&[
        "ps",
        "-q",
        "--filter",
        "label=com.docker.compose.service=agent",
    ]);
    let ask = |words: &[&str]| {
        let exec = ["exec", agent.as_str(), "/lb-agent"];
        world.engine.docker(&[exec.as_slice(), words].concat())
    };
    let status = ask(&["status"]);
    assert!(status.contains("2 services, 11 endpoints"), "{status}");
    let explained = ask(&["explain", "example_shop_1"]);
    for part in [
        "source docker: container example_shop_1 (",
        "), reached from the load balancer's container",
        "network example_default is the only one shared; port 80 is asked for",
        ": chosen",
    ] {
        assert!(explained.contains(part), "{part:?} is not in\n{explained}");
    }

    // HAProxy restarted while there is no agent serves what it served.
    compose(&["stop", "agent"]);
    compose(&["restart", "haproxy"]);
    world.until_spread("any.example", "/", "echo", 10);
    until_served(world.front, "shop.example", "/", "shop");
    compose(&["start", "agent"]);
    compose(&["up", "-d", "--scale", "echo=1"]);
    until_served(world.front, "any.example", "/", "echo");
    compose(&["down", "-v", "-t", "1"]);
    assert!(Path::new(&folder).join("state/lb-routes.map").exists());
}

#[test]
fn the_swarm_example_follows_its_services() {
    if !available() {
        return;
    }
    let world = World::new();
    let engine = &world.engine;
    engine.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    let folder = world.copy("swarm");
    let deploy = ["stack", "deploy", "-c", "stack.yml"];
    let quick = ["--resolve-image", "never", "--detach=true", "example"];
    world.call(&folder, "docker", &[deploy, quick].concat());
    until_served(world.front, "any.example", "/demo", "demo");
    world.until_spread("shop.example", "/", "shop", 2);
    world.until_spread("any.example", "/demo/hello", "demo", 2);
    until(world.front, "any.example", "/", |answer| {
        answer.status == 404
    });
    engine.docker(&["service", "scale", "--detach", "example_shop=5"]);
    world.until_spread("shop.example", "/", "shop", 5);

    let filter = "label=com.docker.swarm.service.name=example_agent";
    let agent = engine.docker(&["ps", "-q", "--filter", filter]);
    let explained = engine.docker(&["exec", &agent, "/lb-agent", "explain", "example_shop"]);
    for part in [
        "source swarm: Swarm service example_shop, reached from the load balancer's container",
        "network example_proxy (overlay)",
    ] {
        assert!(explained.contains(part), "{part:?} is not in\n{explained}");
    }
    engine.docker(&["service", "rm", "example_shop"]);
    until(world.front, "shop.example", "/", |answer| {
        answer.status == 404
    });
    until_served(world.front, "any.example", "/demo", "demo");
}
