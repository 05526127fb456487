//! The programs of the pages `README.md`, `lb_core` and `lb_haproxy`, as they stand there, again and again on real
//! HAProxies: when they say that an endpoint is in effect, it serves, and nothing else does (P2).

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

#[expect(dead_code, reason = "these tests need a part of it")]
#[path = "support/users.rs"]
mod users;

use std::{
    cell::RefCell,
    error::Error,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use lb_examples::traffic::Dropped;
use lb_haproxy::{
    HaproxyDriver, TargetConfig,
    process::{Executable, Haproxy, HaproxyOptions},
};

/// Runs a page's program once.
macro_rules! program {
    ($name:ident) => {
        mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));

            pub(super) fn run() -> Result<(), Box<dyn std::error::Error>> {
                main()
            }
        }
    };
}

program!(readme);
program!(core_page);
program!(haproxy_page);

type Program = (&'static str, fn() -> Result<(), Box<dyn Error>>);

const PROGRAMS: [Program; 3] = [
    ("README.md", readme::run),
    ("lb_core", core_page::run),
    ("lb_haproxy", haproxy_page::run),
];

/// The configuration of HAProxy in `README.md`.
const CONFIG: &str = include_str!(concat!(env!("OUT_DIR"), "/readme.cfg"));

/// A check that soon lets a server in, and takes it out only when it really fails: HAProxy gives up on each after 50 ms,
/// in which it may not have run at all beside other load.
const QUICK_CHECK: &str = " check inter 50ms fall 100 ";

/// The surroundings in which a program runs, on its thread.
struct Round {
    what: String,
    socket: PathBuf,
    front: SocketAddr,
    endpoint: SocketAddr,
    dropped: Dropped,
    looked: u32,
}

thread_local! {
    static ROUND: RefCell<Option<Round>> = const { RefCell::new(None) };
}

fn with<T>(ask: impl FnOnce(&mut Round) -> T) -> T {
    ROUND.with_borrow_mut(|round| ask(round.as_mut().unwrap()))
}

fn socket() -> String {
    with(|round| round.socket.display().to_string())
}

fn endpoint() -> String {
    with(|round| round.endpoint.to_string())
}

/// The target that takes the place of the one that a page shows.
fn instead_of<T>(_shown: T) -> HaproxyDriver {
    let target = TargetConfig::new("edge".parse().unwrap(), socket().parse().unwrap());
    HaproxyDriver::new(target)
}

/// Asks, right after the program was told that its endpoint is in effect.
fn look() {
    with(|round| {
        round.looked += 1;
        for request in 0..10 {
            let served_by = served_by(round.front);
            let expected = Some(round.endpoint.to_string());
            assert_eq!(
                served_by,
                expected,
                "{}, request {request}: {}",
                round.what,
                round.evidence()
            );
        }
    });
}

impl Round {
    /// Gathers what HAProxy shows of its servers and checks, and what the kernel dropped meanwhile.
    fn evidence(&self) -> String {
        let ask = |command: &str| {
            let mut stream = UnixStream::connect(&self.socket).unwrap();
            stream.write_all(command.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        format!(
            "{}\n{}\n{:?}",
            ask("show servers state web\n"),
            ask("show stat web 4 -1\n"),
            self.dropped.since()
        )
    }
}

/// The answer to a request on a connection of its own; `None` when no server gives one.
fn served_by(front: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(front).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

/// A server that answers with its address, until the test ends.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _asked = stream.read(&mut [0; 1024]);
            let _gone = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{address}");
        }
    });
    address
}

/// Runs each program so many times on one HAProxy.
fn play(executable: &Executable, slots: &str, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let front = lb_core::testkit::free_port().unwrap();
    let around = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend front\n  bind {front}\n  default_backend web\nbackend web\n"
    );
    let config = CONFIG
        .replace("/run/haproxy", &here)
        .replace(" check ", slots)
        .replace("backend web\n", &around);
    fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
    let options = HaproxyOptions::new(
        executable.clone(),
        folder.path().join("haproxy.cfg"),
        format!("{here}/admin.sock").parse().unwrap(),
        folder.path().join("master.sock"),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let haproxy = runtime.block_on(Haproxy::start(options)).unwrap();
    let servers: Vec<SocketAddr> = (0..5).map(|_| server()).collect();
    for (page, run) in PROGRAMS {
        let begun = Instant::now();
        for (round, endpoint) in servers.iter().cycle().take(rounds).enumerate() {
            let what = format!("{page} on {}, round {round}", executable.path().display());
            let fresh = Round {
                what: what.clone(),
                socket: folder.path().join("admin.sock"),
                front,
                endpoint: *endpoint,
                dropped: Dropped::begin(),
                looked: 0,
            };
            ROUND.set(Some(fresh));
            if let Err(error) = run() {
                panic!("{what}: {error}: {}", with(|round| round.evidence()));
            }
            assert_eq!(with(|round| round.looked), 1, "{what}");
        }
        println!("{page}: {rounds} rounds in {:?}", begun.elapsed());
    }
    drop(runtime.block_on(haproxy.stop()));
}

#[test]
fn case_p02_the_programs_of_the_pages_never_end_while_something_else_serves() {
    let executables = users::executables();
    let newest = executables.len() - 1;
    let all: Vec<_> = executables
        .into_iter()
        .enumerate()
        .map(|(at, executable)| {
            // 2.6 and the newest of the matrix get all rounds.
            let rounds = if at == newest || at == 1 { 60 } else { 12 };
            thread::spawn(move || {
                play(&executable, QUICK_CHECK, rounds);
                play(&executable, " ", rounds);
            })
        })
        .collect();
    for one in all {
        one.join().unwrap();
    }
}

/// With the check as the page has it, a program waits for it as long as it takes.
#[test]
fn case_p02_the_programs_work_with_the_configuration_of_the_page() {
    let executable = users::executables().pop().unwrap();
    play(&executable, " check ", 2);
}
