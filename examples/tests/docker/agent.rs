//! The agent as a process, with a real engine as its source.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output},
};

use lb_examples::testbed::{Options, Testbed};

use crate::{
    http::{until, until_served},
    network::{NETWORK, Reachable},
    support::engine::{Engine, available},
    users::{executables, name},
};

/// The running agent, killed when the test is over.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(config: &PathBuf, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-agent"));
    command.args(words).arg("-c").arg(config);
    command.env_remove("LB_LOG").env_remove("LB_CONFIG");
    command
}

/// The output of a command that must succeed.
fn call(config: &PathBuf, words: &[&str]) -> String {
    let output = agent(config, words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_follows_an_engine_and_explains_its_addresses() {
    if !available() {
        return;
    }
    let engine = Engine::start();
    let _reachable = Reachable::new(&engine);
    engine.docker(&["network", "create", "--internal", "back"]);
    let options = Options::new(vec![name("web")], 8);
    let bed = Testbed::start(executables().pop().unwrap(), options);
    let bed = bed.await.unwrap();
    let frontend = bed.frontends().first().unwrap().1;
    let config = engine.dir().join("agent.toml");
    let text = format!(
        "[agent]\nsocket = \"{here}/agent.sock\"\n\
         [[sources]]\nkind = \"docker\"\nlabels = [\"lb\"]\n\
         [sources.connection]\nhost = \"{host}\"\n\
         [sources.reach]\nfrom = \"host\"\nnetwork = \"{NETWORK}\"\n\
         [[targets]]\nname = \"edge\"\nsocket = \"{socket}\"\n",
        here = engine.dir().display(),
        host = engine.host(),
        socket = bed.haproxy.socket().display(),
    );
    fs::write(&config, text).unwrap();
    call(&config, &["check"]);
    let run = |container: &str, network: &str| {
        let label = ["-l", "lb.service=web", "-e", "SERVICE=web"];
        let network = ["--network", network];
        engine.run(container, &[label.as_slice(), &network].concat())
    };
    let id = run("web-1", NETWORK);
    engine.docker(&["network", "connect", "back", "web-1"]);
    run("hidden", "back");
    engine.run("plain", &[]);
    let log = fs::File::create(engine.dir().join("agent.log")).unwrap();
    let mut command = agent(&config, &["run"]);
    let _agent = Agent(command.stderr(log).spawn().unwrap());

    tokio::task::block_in_place(|| {
        let ip = engine.ip("web-1", NETWORK);
        let answer = until_served(frontend, "web", "/", "web");
        assert_eq!(answer.endpoint, Some(format!("{ip}:80")));
        run("web-2", NETWORK);
        let second = format!("{}:80", engine.ip("web-2", NETWORK));
        until(frontend, "web", "/", |answer| {
            answer.endpoint.as_ref() == Some(&second)
        });

        let explained = call(&config, &["explain", "web-1"]);
        let inner = engine.ip("web-1", "back");
        let id = id.get(..12).unwrap();
        let expected = format!(
            "source docker: container web-1 ({id}), reached from the engine's machine\n\
             service web: {ip}:80: network {NETWORK} is asked for; port 80 is the only one exposed\n  \
             network back (bridge) {inner}:80: usable\n  \
             network {NETWORK} (bridge) {ip}:80: chosen\n"
        );
        assert_eq!(explained, expected);
        let explained = call(&config, &["explain", "hidden"]);
        let refused = format!("no address: network \"{NETWORK}\" is asked for and it is not on it");
        assert!(explained.contains(&refused), "{explained}");
        let explained = call(&config, &["explain", "plain"]);
        assert!(explained.contains("serves no service"), "{explained}");
        let json = call(&config, &["explain", "--json", "web-1"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json.to_string().contains(&ip), "{json}");
        let unknown = agent(&config, &["explain", "nobody"]).output().unwrap();
        assert_eq!(unknown.status.code(), Some(1));
        assert!(errors(&unknown).contains("\"nobody\""), "{unknown:?}");
        let status = call(&config, &["status"]);
        assert!(status.contains("docker  live"), "{status}");

        engine.docker(&["rm", "-f", "web-1", "web-2"]);
        until(frontend, "web", "/", |answer| answer.status == 503);
    });
}
