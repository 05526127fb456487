//! The agent as a process, and all that it tells.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// The time anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A running agent, killed when the test is over.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

/// A command of the agent.
pub(crate) fn command(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-agent"));
    command.args(words).arg("-c").arg(config);
    command.env_remove("LB_LOG").env_remove("LB_CONFIG");
    command
}

/// Both outputs of a command of the agent, which may fail.
pub(crate) fn told(config: &Path, words: &[&str]) -> String {
    told_by(command(config, words))
}

pub(crate) fn told_by(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

impl Agent {
    /// Starts one that logs everything in this format.
    pub(crate) fn start(config: &Path, format: &str) -> Self {
        let log = config.with_file_name(format!("{format}.log"));
        let mut run = command(config, &["run", "--log", "trace", "--log-format", format]);
        let child = run
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Ends it as its supervisor does, and waits.
    pub(crate) fn end(mut self) {
        self.signal("TERM");
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The address of its pages.
    pub(crate) fn pages(&self) -> String {
        let mut found = None;
        eventually("pages are served", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("serving metrics"));
            found = line.and_then(|line| {
                let from = line.find("127.0.0.1:")?;
                let end = |c: char| !c.is_ascii_digit() && c != '.' && c != ':';
                let rest = line.get(from..)?;
                let until = rest.find(end).unwrap_or(rest.len());
                rest.get(..until).map(str::to_owned)
            });
            match found {
                Some(_) => Vec::new(),
                None => vec!["an address".to_owned()],
            }
        });
        found.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status as the agent gives it, once it answers.
pub(crate) fn status(config: &Path) -> Option<Value> {
    let output = command(config, &["status", "--json"]).output().unwrap();
    let whole: Value = serde_json::from_slice(&output.stdout).ok()?;
    whole.get("status").cloned()
}

/// The text of a page.
pub(crate) fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

/// Waits until nothing is missing, as long as it may take.
pub(crate) fn eventually(what: &str, mut missing: impl FnMut() -> Vec<String>) {
    let begun = Instant::now();
    loop {
        let missing = missing();
        if missing.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < LIMIT,
            "never happened: {what}: {missing:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
