//! What the programs need: the installed library, and a HAProxy of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The time a program may take: much longer than any does.
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn ffi() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder into which cargo has built the libraries that this test is about.
pub(crate) fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

/// A folder with the library installed in it, made once.
pub(crate) fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // Beside the test, so that no copy of the libraries is left elsewhere.
        let folder = built().join("lb-installed");
        let mut install = Command::new(ffi().join("install"));
        install.args([&built(), &folder]);
        succeed(&mut install);
        folder
    })
}

/// Returns `true`: without the program, the test cannot run and fails.
pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .env("PATH", path())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(found, "cannot run: {program} is not in PATH");
    found
}

/// The folders of programs, also those for administrators.
pub(crate) fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/sbin:/sbin:/usr/local/sbin")
}

/// Runs a command to its good end.
pub(crate) fn succeed(command: &mut Command) -> String {
    let (good, text) = run(command);
    assert!(good, "{command:?} failed:\n{text}");
    text
}

/// Runs a command, and gives whether it ended well and what it printed.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let mut child = Process(
        command
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}")),
    );
    let watched = child.0.id();
    let (done, late) = std::sync::mpsc::channel::<()>();
    // A program that hangs is ended, by its own number: it is our child until it is waited for.
    let watch = std::thread::spawn(move || {
        if late
            .recv_timeout(LIMIT)
            .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            let _ = Command::new("kill").arg(watched.to_string()).status();
        }
    });
    let Output {
        status,
        stdout,
        stderr,
    } = child.output();
    drop(done);
    watch.join().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    (status.success(), text)
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn output(&mut self) -> Output {
        use std::io::Read;
        let mut stderr = self.0.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut stdout = Vec::new();
        let mut pipe = self.0.stdout.take().unwrap();
        pipe.read_to_end(&mut stdout).unwrap();
        Output {
            status: self.0.wait().unwrap(),
            stdout,
            stderr: errors.join().unwrap().unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A HAProxy with a backend `web` of eight slots and a backend `db` of two, ended with the test.
pub(crate) struct Haproxy {
    folder: TempDir,
    _process: Process,
}

impl Haproxy {
    /// `None`, said aloud, where there is no HAProxy.
    pub(crate) fn start() -> Option<Self> {
        if !is_there("haproxy") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("lbc").tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let config = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n  stats socket {} level admin mode 600\n  stats timeout 1h\ndefaults\n  mode http\n  \
             timeout client 5s\n  timeout server 5s\n  timeout connect 1s\nbackend web\n  balance roundrobin\n  \
             load-server-state-from-file none\n  server-template slot 1-8 127.0.0.1:1 disabled\n\
             backend db\n  server-template slot 1-2 127.0.0.1:1 disabled\n\
             listen unused\n  bind unix@{}\n",
            socket.display(),
            folder.path().join("unused.sock").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Process(
            Command::new("haproxy")
                .args(["-db", "-f"])
                .arg(&config)
                .env("PATH", path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
        let begun = now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < LIMIT, "HAProxy does not answer: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self {
            folder,
            _process: process,
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// A folder of its own for what the test makes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits on real time")]
fn now() -> Instant {
    Instant::now()
}
