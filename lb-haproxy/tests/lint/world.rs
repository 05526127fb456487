//! A HAProxy with a configuration that is looked at by the linter too.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lb_haproxy::{
    config::lint::{Code, ConfigFile, LintOptions, lint},
    process::{Executable, Haproxy},
    proto::Version,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::support::{Place, executables, free_port};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A `global` section in which there is nothing to be found.
pub(crate) const GLOBAL: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats maxconn 32
  hard-stop-after 60s
  server-state-file DIR/state
";

/// The same.
pub(crate) const DEFAULTS: &str = "\
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 1s
  option redispatch
  retries 1
  option abortonclose
  load-server-state-from-file global
frontend in
  bind 127.0.0.1:PORT
  default_backend b
";

/// A slot that the state file gives back.
pub(crate) const RESTORED: &str = "slot.invalid:1 disabled init-addr last,127.0.0.1";

/// A whole configuration with this backend.
pub(crate) fn with_backend(backend: &str) -> String {
    format!("{GLOBAL}{DEFAULTS}backend b\n{backend}")
}

/// A whole configuration whose backend has slots that nothing is wrong with, and these lines before them.
pub(crate) fn with_lines(lines: &str) -> String {
    with_backend(&format!(
        "{lines}  server-template slot 1-4 {RESTORED} check\n"
    ))
}

/// The findings in a configuration, in the order of the text.
pub(crate) fn found(text: &str, version: &Version) -> Vec<Code> {
    let mut options = LintOptions::default();
    options.version = Some(version.clone());
    // What users who stay need of the policy has a test of its own.
    options.policy.persistence = true;
    found_with(text, &options)
}

pub(crate) fn found_with(text: &str, options: &LintOptions) -> Vec<Code> {
    let text = &text.replace("DIR", "/run/haproxy");
    let file = ConfigFile {
        name: "haproxy.cfg",
        text,
    };
    let findings = lint(&[file], options);
    for finding in &findings {
        assert!(!finding.message.is_empty() && !finding.instead.is_empty());
        assert!(finding.line > 0, "{finding}");
    }
    findings.iter().map(|finding| finding.code).collect()
}

/// Shows that the one configuration has a finding and fails, on all versions where `applies`, and on none else; and
/// that the other one has none and does not fail on any.
pub(crate) async fn shows(
    code: Code,
    bad: &str,
    good: &str,
    applies: impl Fn(&Version) -> bool,
    fails: impl AsyncFn(&Executable, &str) -> bool,
) {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        println!("HAProxy {version}");
        let expected = if applies(&version) {
            vec![code]
        } else {
            vec![]
        };
        assert_eq!(found(bad, &version), expected, "{version}: {bad}");
        assert_eq!(found(good, &version), [], "{version}: {good}");
        let failed = fails(&executable, bad).await;
        assert_eq!(failed, applies(&version), "{version}: {bad}");
        assert!(!fails(&executable, good).await, "{version}: {good}");
    }
}

pub(crate) fn always(_: &Version) -> bool {
    true
}

/// A running HAProxy.
pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) haproxy: Haproxy,
    pub(crate) frontend: SocketAddr,
}

/// A folder with this configuration, and the port in it.
pub(crate) fn prepare(text: &str) -> (Place, SocketAddr) {
    let port = free_port();
    let place = Place::new(&text.replace("PORT", &port.to_string()));
    std::fs::write(place.dir.path().join("state"), "1\n").unwrap();
    (place, ([127, 0, 0, 1], port).into())
}

impl World {
    pub(crate) async fn start(executable: &Executable, text: &str) -> Self {
        let (place, frontend) = prepare(text);
        let haproxy = place.start(executable).await;
        Self {
            place,
            haproxy,
            frontend,
        }
    }

    /// The answer of HAProxy to one command.
    pub(crate) async fn ask(&self, command: &str) -> String {
        ask(&self.place.dir.path().join("admin.sock"), command)
            .await
            .unwrap()
    }

    /// Columns of a server in `show servers state`.
    pub(crate) async fn server(&self, server: &str) -> Row {
        let table = self.ask("show servers state b").await;
        let mut lines = table.lines().skip_while(|line| !line.starts_with("# "));
        let columns: Vec<String> = words(lines.next().unwrap()).skip(1).collect();
        let row = lines
            .map(|line| words(line).collect::<Vec<String>>())
            .find(|row| row.get(3).is_some_and(|name| name == server))
            .unwrap_or_else(|| panic!("{server} in {table}"));
        let field = |name: &str| {
            let at = columns.iter().position(|column| column == name);
            at.and_then(|at| row.get(at).cloned()).unwrap_or_default()
        };
        Row {
            address: field("srv_addr"),
            port: field("srv_port"),
            up: field("srv_op_state") == "2",
            check: field("srv_check_result"),
        }
    }

    /// Points a slot somewhere, waits until it does, and lets it serve.
    pub(crate) async fn fill(&self, slot: &str, address: SocketAddr) {
        self.point(slot, address).await;
        assert_eq!(
            self.ask(&format!("set server b/{slot} state ready")).await,
            ""
        );
    }

    pub(crate) async fn point(&self, slot: &str, address: SocketAddr) {
        let (ip, port) = (address.ip(), address.port());
        self.ask(&format!("set server b/{slot} addr {ip} port {port}"))
            .await;
        until("the address", async || {
            let row = self.server(slot).await;
            row.address == ip.to_string() && row.port == port.to_string()
        })
        .await;
    }

    pub(crate) async fn rest(&self, slot: &str) {
        assert_eq!(
            self.ask(&format!("set server b/{slot} state maint")).await,
            ""
        );
        until("the slot's rest", async || !self.server(slot).await.up).await;
    }

    /// Writes the state file and reloads.
    pub(crate) async fn reload(&mut self) {
        let state = self.ask("show servers state").await;
        std::fs::write(self.place.dir.path().join("state"), format!("{state}\n")).unwrap();
        self.haproxy.reload().await.unwrap();
    }
}

pub(crate) struct Row {
    pub(crate) address: String,
    pub(crate) port: String,
    pub(crate) up: bool,
    pub(crate) check: String,
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

/// One command in a conversation of its own.
pub(crate) async fn ask(socket: &std::path::Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(LIMIT, read).await.unwrap()?;
    Ok(answer.trim().to_owned())
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(LIMIT, wait).await.is_ok(), "waited for {what}");
}

/// Returns `true` if HAProxy starts with it.
pub(crate) async fn starts(executable: &Executable, text: &str) -> bool {
    let (place, _) = prepare(text);
    Haproxy::start(place.options(executable)).await.is_ok()
}

/// A HAProxy without a master, in the limits that a shell sets; ended with its owner.
pub(crate) struct Bare {
    pub(crate) place: Place,
    child: Child,
}

impl Bare {
    pub(crate) fn start(executable: &Executable, text: &str, limit: &str) -> Self {
        let (place, _) = prepare(text);
        let printed = std::fs::File::create(place.dir.path().join("printed")).unwrap();
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("{limit}; exec \"$0\" \"$@\""))
            .arg(executable.path())
            .args(["-db", "-f"])
            .arg(&place.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(printed)
            .spawn()
            .unwrap();
        Self { place, child }
    }

    /// Waits until it answers, or has ended.
    pub(crate) async fn serves(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.ask("show info").await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn ask(&self, command: &str) -> std::io::Result<String> {
        ask(&self.place.dir.path().join("admin.sock"), command).await
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.place.dir.path().join("printed")).unwrap()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
