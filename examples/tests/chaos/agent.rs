//! The agent as a process of its own, following a file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lb_core::{Endpoint, EndpointState, RecordKey};
use lb_examples::{testbed::Haproxy, traffic::now};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::flood::Memory;

/// The file with the desired state, and the agent while it runs. Dropping it kills the agent.
pub(crate) struct Agent {
    folder: TempDir,
    child: Option<Child>,
}

impl Agent {
    /// An agent for this HAProxy, which is not started yet.
    pub(crate) fn new(haproxy: &Haproxy) -> Self {
        Self::with(haproxy, Vec::new(), None)
    }

    /// The same with more sources after the file, and with an address for metrics.
    pub(crate) fn with(
        haproxy: &Haproxy,
        mut others: Vec<Value>,
        metrics: Option<SocketAddr>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("lb-").tempdir().unwrap();
        let file = json!({ "kind": "file", "path": folder.path().join("services.json") });
        others.insert(0, file);
        let mut agent = json!({ "socket": folder.path().join("agent.sock") });
        if let Some(metrics) = metrics {
            agent["metrics"] = metrics.to_string().into();
        }
        let config = json!({
            "agent": agent,
            "sources": others,
            "targets": [{
                "name": "haproxy",
                "socket": haproxy.socket(),
                "master": haproxy.master(),
                "timeout": "1s",
                "policy": { "resync": "2s" },
                "files": { "server_state": haproxy.state() },
            }],
        });
        fs::write(folder.path().join("agent.json"), config.to_string()).unwrap();
        let agent = Self {
            folder,
            child: None,
        };
        agent.write(&BTreeMap::new());
        agent
    }

    /// Writes the whole desired state, each endpoint with a route of its service, so that no reader sees half of it.
    pub(crate) fn write(&self, endpoints: &BTreeMap<RecordKey, Endpoint>) {
        let mut services = BTreeMap::<String, (Vec<Value>, Vec<String>)>::new();
        for (key, endpoint) in endpoints {
            let (listed, routes) = services.entry(key.service.to_string()).or_default();
            let state = match endpoint.state {
                EndpointState::Pending => "pending",
                EndpointState::Draining { .. } => "draining",
                EndpointState::Down => "down",
                _ => "ready",
            };
            listed.push(json!({
                "id": key.id,
                "address": endpoint.address,
                "weight": endpoint.weight,
                "state": state,
            }));
            routes.push(format!(
                "{}.{}.example/",
                endpoint.address.ip(),
                key.service
            ));
        }
        let services: BTreeMap<String, Value> = services
            .into_iter()
            .map(|(service, (endpoints, routes))| {
                (service, json!({ "endpoints": endpoints, "routes": routes }))
            })
            .collect();
        let fresh = self.at("services.new");
        fs::write(&fresh, json!({ "services": services }).to_string()).unwrap();
        fs::rename(fresh, self.at("services.json")).unwrap();
    }

    /// Starts it; one that runs is killed before.
    pub(crate) fn start(&mut self) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.at("agent.log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lb-agent"))
            .env_remove("LB_LOG")
            .env_remove("LB_CONFIG")
            .arg("-c")
            .arg(self.at("agent.json"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// From now on it gets no new file or connection; what it has open stays.
    pub(crate) fn starve(&self) -> Rlimit {
        // Those of the standard streams are taken already.
        let none = Rlimit {
            current: Some(3),
            ..getrlimit(Resource::Nofile)
        };
        prlimit(Some(self.pid()), Resource::Nofile, none).unwrap()
    }

    /// Gives it back what it might have before.
    pub(crate) fn feed(&self, before: Rlimit) {
        prlimit(Some(self.pid()), Resource::Nofile, before).unwrap();
    }

    /// Returns `true` if it runs still: it must not end by itself.
    pub(crate) fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_none_or(|child| child.try_wait().unwrap().is_none())
    }

    /// The memory that it takes.
    pub(crate) fn memory(&self) -> Memory {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let status = fs::read_to_string(status).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.unwrap().parse().unwrap()
        };
        Memory {
            now: value("VmRSS:"),
            most: value("VmHWM:"),
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at("agent.sock")
    }

    /// The agent's answer to the operator who asks for its status, and the time it takes.
    pub(crate) async fn status(&self) -> (Result<String, String>, Duration) {
        let began = now();
        let asked = tokio::process::Command::new(env!("CARGO_BIN_EXE_lb-agent"))
            .env_remove("LB_LOG")
            .arg("-c")
            .arg(self.at("agent.json"))
            .args(["status", "--json"])
            .stdin(Stdio::null())
            .output();
        let output = asked.await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let answer = match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        };
        (answer, began.elapsed())
    }

    /// The number of bytes it has logged.
    pub(crate) fn log_size(&self) -> u64 {
        fs::metadata(self.at("agent.log")).unwrap().len()
    }

    fn pid(&self) -> Pid {
        let id = self.child.as_ref().unwrap().id();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    fn at(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.at("agent.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(40)..);
            eprintln!(
                "--- the agent's last lines\n{}",
                last.unwrap_or_default().join("\n")
            );
        }
    }
}
