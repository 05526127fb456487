//! A real HAProxy, servers that tell their names, and the agent as a process.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use lb_haproxy::process::{Executable, Haproxy, HaproxyOptions};
use tempfile::TempDir;

/// The time anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a running HAProxy.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) haproxy: Haproxy,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_on(Executable::find(None).unwrap()).await
    }

    /// One with this HAProxy.
    pub(crate) async fn start_on(executable: Executable) -> Self {
        Self::start_with(executable, |here| format!(
            "global\n  stats socket {here}/admin.sock mode 600 level admin\n\
             defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend front\n  bind unix@{here}/front.sock\n  default_backend web\n\
             backend web\n  server-template slot 1-4 127.0.0.1:1 disabled\n"
        ))
        .await
    }

    /// One with this HAProxy and configuration, of which the folder is known.
    pub(crate) async fn start_with(
        executable: Executable,
        config: impl FnOnce(&str) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display().to_string();
        fs::write(folder.path().join("haproxy.cfg"), config(&here)).unwrap();
        let options = HaproxyOptions::new(
            executable,
            folder.path().join("haproxy.cfg"),
            format!("{here}/admin.sock").parse().unwrap(),
            folder.path().join("master.sock"),
        );
        let haproxy = Haproxy::start(options).await.unwrap();
        Self { folder, haproxy }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file so that nobody sees half of it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let fresh = self.path(&format!(".{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    /// Writes a file of services with these endpoints of the service `web`.
    pub(crate) fn write_endpoints(&self, name: &str, servers: &[&NamedServer]) {
        let addresses: Vec<String> = servers
            .iter()
            .map(|server| format!("\"{}\"", server.address))
            .collect();
        let text = format!("[services.web]\nendpoints = [{}]\n", addresses.join(", "));
        self.write(name, &text);
    }

    /// The agent's usual configuration, with more text at its end.
    pub(crate) fn config(&self, more: &str) -> String {
        let here = self.folder.path().display();
        format!(
            "[agent]\nsocket = \"{here}/agent.sock\"\n{more}\n\
             [[sources]]\nkind = \"file\"\npath = \"{here}/services.toml\"\n\
             [[targets]]\nname = \"edge\"\nsocket = \"{here}/admin.sock\"\n"
        )
    }

    /// Starts the agent with the configuration in `agent.toml`.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_with("agent.toml", "agent.log")
    }

    /// Starts another agent.
    pub(crate) fn agent_with(&self, config: &str, log: &str) -> Agent {
        let log_path = self.path(log);
        let log = fs::File::create(&log_path).unwrap();
        let child = agent_command()
            .args(["--log-format", "json", "-c"])
            .arg(self.path(config))
            .stdin(Stdio::null())
            .env("NOTIFY_SOCKET", self.path("notify.sock"))
            .stderr(log)
            .spawn()
            .unwrap();
        Agent {
            child,
            log: log_path,
        }
    }

    /// Runs a command of the agent to its end.
    pub(crate) fn call(&self, arguments: &[&str]) -> Called {
        self.call_with("agent.toml", arguments)
    }

    /// Runs a command of the agent, with this configuration, to its end.
    pub(crate) fn call_with(&self, config: &str, arguments: &[&str]) -> Called {
        let output = agent_command()
            .args(arguments)
            .arg("-c")
            .arg(self.path(config))
            .output()
            .unwrap();
        Called::new(output, self.folder.path())
    }

    /// Who answers a request through HAProxy; `None` when nobody does.
    pub(crate) fn served_by(&self) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("front.sock")).ok()?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Waits until requests are answered by this server.
    pub(crate) fn until_served_by(&self, server: &NamedServer) {
        eventually(&format!("{} serves", server.name), || {
            self.served_by().as_deref() == Some(&server.name)
        });
    }
}

fn agent_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-agent"));
    command.env_remove("LB_LOG").env_remove("LB_CONFIG");
    command
}

/// An HTTP server that answers with its name, for as long as the test runs.
pub(crate) struct NamedServer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

impl NamedServer {
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let body = name.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A request that is cut is the client's failure to report.
                let _ = answer(stream, &body);
            }
        });
        Self {
            name: name.to_owned(),
            address,
        }
    }
}

fn answer(mut stream: std::net::TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A running agent, killed when the test is over.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "the agent did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line of the log with this text, and returns it.
    pub(crate) fn until_logged(&self, text: &str) -> String {
        let mut found = None;
        eventually(&format!("{text:?} is logged"), || {
            let log = self.log();
            found = log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the agent\n{}", self.log());
        }
    }
}

/// The outcome of a command of the agent, with the test's folder written as `HERE`.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Called {
    fn new(output: Output, here: &Path) -> Self {
        let here = here.display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&here, "HERE");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Waits for a condition, as long as it may take.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
