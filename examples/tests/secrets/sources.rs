//! Secrets in containers, Swarm services, keys of etcd and files, and everything that a running agent tells of them.

use std::{fs, net::SocketAddr, path::Path};

use lb_core::testkit::free_port;
use lb_haproxy::process::{Haproxy, HaproxyOptions};
use serde_json::Value;

use crate::{
    agent::{Agent, eventually, page, status, told},
    etcd::server::{Member, binaries},
    keys::{FILES, KEYS, LAYOUTS},
    labels::{OBJECTS, Object},
    planted::Planted,
    routed,
    support::engine::{Engine, available},
    users::executables,
};

/// The options of `docker` for an object: `flags` are those for a label and a variable.
fn options(planted: &Planted, object: &Object, place: &str, flags: [&str; 2]) -> Vec<String> {
    let pairs = [(flags[0], object.labels), (flags[1], object.variables)];
    let mut options = vec!["--label".to_owned(), format!("test={}", object.name)];
    let planted = pairs
        .into_iter()
        .flat_map(|(flag, all)| all.iter().map(move |pair| (flag, pair)))
        .flat_map(|(flag, (key, value))| {
            let value = planted.plant(format!("{place} {}: {key}", object.name), value);
            [flag.to_owned(), format!("{key}={value}")]
        });
    options.extend(planted);
    options
}

fn plant_objects(planted: &Planted, engine: &Engine) {
    for object in OBJECTS {
        let container = options(planted, object, "container", ["--label", "--env"]);
        let words: Vec<&str> = container.iter().map(String::as_str).collect();
        engine.run(object.name, &words);
        let service = options(planted, object, "service", ["--label", "--env"]);
        let words: Vec<&str> = service.iter().map(String::as_str).collect();
        engine.service(&format!("swarm-{}", object.name), &words);
    }
}

fn plant_keys(planted: &Planted, etcd: &Member) {
    let labels = OBJECTS.iter().flat_map(|object| object.labels);
    for (label, value) in labels.filter(|(label, _)| label.starts_with("traefik.")) {
        let value = planted.plant(format!("key of {label}"), value);
        etcd.api().put(&label.replace('.', "/"), &value);
    }
    for (key, value) in KEYS {
        let place = format!("key {key}");
        let key = planted.plant(place.clone(), key);
        etcd.api().put(&key, &planted.plant(place, value));
    }
}

fn plant_files(planted: &Planted, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (file, text) in FILES {
        let text = planted.plant(format!("file {file}"), text);
        fs::write(folder.join(file), text).unwrap();
    }
}

/// One start of the agent: its sources, what each must name, and what is explained.
///
/// A status lists 64 diagnostics of a source, so each object has a source of its own.
struct Round {
    sources: String,
    named: Vec<(String, String)>,
    explained: Vec<String>,
}

/// Rounds of containers and Swarm services.
fn of_objects(engine: &Engine) -> Vec<Round> {
    let host = engine.host();
    let round = |objects: &[Object]| {
        let mut round = Round {
            sources: String::new(),
            named: Vec::new(),
            explained: Vec::new(),
        };
        for Object { name, .. } in objects {
            let common = format!(
                "labels = [\"lb\", \"docker-flow\", \"traefik\", \"easy-haproxy\", \"virtual-host\"]\n\
                 constraints = \"Label(`test`, `{name}`)\"\nreach = {{ from = \"host\" }}\n"
            );
            round.sources.push_str(&format!(
                "[[sources]]\nkind = \"docker\"\nname = \"c-{name}\"\n{common}\
                 connection = {{ host = \"{host}\" }}\n\
                 [[sources]]\nkind = \"swarm\"\nname = \"s-{name}\"\n{common}\
                 managers = [{{ host = \"{host}\" }}]\n"
            ));
            round
                .named
                .push((format!("c-{name}"), format!("container {name}")));
            // A Swarm service has no variables.
            if !name.starts_with("nginx") {
                round
                    .named
                    .push((format!("s-{name}"), format!("swarm-{name}")));
            }
            round
                .explained
                .extend([(*name).to_owned(), format!("swarm-{name}")]);
        }
        round
    };
    OBJECTS.chunks(4).map(round).collect()
}

/// The round of keys and files.
fn of_keys(folder: &Path, etcd: &Member) -> Round {
    let mut round = Round {
        sources: format!(
            "[[sources]]\nkind = \"file\"\npath = \"{}/services\"\n",
            folder.display()
        ),
        named: vec![
            ("file".to_owned(), "broken.toml".to_owned()),
            ("file".to_owned(), "list.json".to_owned()),
        ],
        explained: Vec::new(),
    };
    for (name, layout, key) in LAYOUTS {
        let layout = layout.replace('\n', " ");
        round.sources.push_str(&format!(
            "[[sources]]\nkind = \"etcd\"\nname = \"{name}\"\nlayouts = [{layout}]\n\
             connection = {{ endpoints = [\"{}\"] }}\n",
            etcd.endpoint()
        ));
        round.named.push(((*name).to_owned(), (*key).to_owned()));
    }
    round
}

/// The objects with secrets of which their source has told nothing yet.
fn untold(round: &Round, status: &Value) -> Vec<String> {
    let sources = status.get("sources").and_then(Value::as_array).unwrap();
    let told = |wanted: &str| {
        let mut all = sources.iter();
        let source = all.find(|source| source.get("name").and_then(Value::as_str) == Some(wanted));
        source.map_or_else(String::new, |source| source["diagnostics"].to_string())
    };
    let missing = round
        .named
        .iter()
        .filter(|(source, object)| !told(source).contains(object));
    missing
        .map(|(source, object)| format!("{source}: {object}"))
        .collect()
}

/// All that a running agent tells, with what it is.
fn collect(agent: &Agent, config: &Path, round: &Round, format: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let words: &[&[&str]] = &[
        &["status"],
        &["status", "--json"],
        &["status", "--healthy"],
        &["check"],
        &["check", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["plan", "--log", "trace"],
        &["confirm"],
    ];
    for words in words {
        all.push((words.join(" "), told(config, words)));
    }
    for name in &round.explained {
        for words in [["explain", name, "--json"].as_slice(), &["explain", name]] {
            all.push((words.join(" "), told(config, words)));
        }
    }
    let address = agent.pages();
    for path in ["/", "/metrics", "/status"] {
        all.push((path.to_owned(), page(&address, path)));
    }
    all.push((format!("log, {format}"), agent.log()));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s05_secrets_in_every_source_are_never_told() {
    assert!(available());
    let engine = Engine::start();
    engine.swarm();
    let etcd = Member::single(binaries().last().unwrap());
    let folder = engine.dir();
    let planted = Planted::default();
    tokio::task::block_in_place(|| {
        plant_objects(&planted, &engine);
        plant_keys(&planted, &etcd);
        plant_files(&planted, &folder.join("services"));
    });
    let config = folder.join("agent.toml");
    let at = |file: &str| folder.join(file).display().to_string();
    let frontend: SocketAddr = free_port().unwrap();
    let executable = executables().pop().unwrap();
    let version = executable.version().await.unwrap();
    let haproxy = routed::configuration(folder, frontend)
        .render(&version)
        .unwrap();
    fs::write(at("haproxy.cfg"), haproxy).unwrap();
    let socket = at("admin.sock").parse().unwrap();
    let options = HaproxyOptions::new(executable, at("haproxy.cfg"), socket, at("master.sock"));
    let haproxy = Haproxy::start(options).await.unwrap();

    let mut leaks = Vec::new();
    let mut rounds = of_objects(&engine);
    rounds.push(of_keys(folder, &etcd));
    for (round, format) in rounds
        .iter()
        .flat_map(|round| [(round, "json"), (round, "text")])
    {
        let text = format!(
            "[agent]\nsocket = \"{}\"\nmetrics = \"127.0.0.1:0\"\n{}\
             [[targets]]\nname = \"edge\"\nsocket = \"{}\"\n",
            at("agent.sock"),
            round.sources,
            at("admin.sock"),
        );
        fs::write(&config, text).unwrap();
        tokio::task::block_in_place(|| {
            let agent = Agent::start(&config, format);
            eventually("everything is told", || {
                let waits = vec!["no status".to_owned()];
                status(&config).map_or(waits, |status| untold(round, &status))
            });
            for (what, told) in collect(&agent, &config, round, format) {
                leaks.extend(planted.leaks(&what, &told));
            }
            agent.end();
        });
    }
    haproxy.stop().await.unwrap();
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
}
