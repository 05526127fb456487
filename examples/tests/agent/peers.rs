//! A HAProxy that answers what no HAProxy answers: a relay that changes what a real one says.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use crate::world::{Agent, NamedServer, World, eventually};

/// So many backends are listed that HAProxy does not have: 28 MB of them.
const MANY: usize = 400_000;

/// More than an agent needs that is not tested, whatever its peer answers.
const MOST_MEMORY: u64 = 192 << 20;

/// More than it needs for the longest answer, once, and the names in it. It took 98 MiB; with a copy of the answer 126, with
/// the servers of others 147, with all rows at once 175.
const MOST_FOR_NAMES: u64 = 112 << 20;

/// So many commands may be sent in 8 s to a peer that contradicts itself.
const MOST_COMMANDS: u64 = 400;

/// The treatment of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Honest,
    /// Lists backends that are not there.
    Many,
    /// Lists every server twice.
    Twice,
    /// Ends `show info` after three lines.
    Partial,
    /// Does not end `show info`.
    Endless,
    /// Shows the first server in another state at every reading.
    Flapping,
    /// Shows no server in its statistics.
    Blind,
}

struct Peer {
    mode: Arc<Mutex<Mode>>,
    /// The number of commands that were answered.
    readings: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Peer {
    fn start(world: &World) -> Self {
        let listener = UnixListener::bind(world.path("peer.sock")).unwrap();
        let real = world.path("admin.sock");
        let peer = Self {
            mode: Arc::new(Mutex::new(Mode::Honest)),
            readings: Arc::default(),
            open: Arc::default(),
        };
        let (mode, readings, open) = (
            Arc::clone(&peer.mode),
            Arc::clone(&peer.readings),
            Arc::clone(&peer.open),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (mode, readings, real) =
                    (Arc::clone(&mode), Arc::clone(&readings), real.clone());
                // What ends a connection early is the agent's to report.
                std::thread::spawn(move || relay(stream, real, &mode, &readings));
            }
        });
        peer
    }

    /// Answers like this from now on, on new connections.
    fn become_(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn readings(&self) -> u64 {
        self.readings.load(Ordering::Relaxed)
    }
}

fn relay(
    client: UnixStream,
    real: PathBuf,
    mode: &Mutex<Mode>,
    readings: &AtomicU64,
) -> Option<()> {
    let mut server = UnixStream::connect(real).ok()?;
    let mut answers = BufReader::new(server.try_clone().ok()?);
    let mut out = client.try_clone().ok()?;
    let (lines, asked) = mpsc::channel::<String>();
    std::thread::spawn(move || {
        let mut client = BufReader::new(client);
        let mut line = String::new();
        while client.read_line(&mut line).is_ok_and(|count| count > 0) {
            if server.write_all(line.as_bytes()).is_err() || lines.send(line.clone()).is_err() {
                break;
            }
            line.clear();
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
    while let Ok(line) = asked.recv() {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n> ") {
            let mut byte = [0];
            answers.read_exact(&mut byte).ok()?;
            answer.push(byte[0]);
        }
        let mut answer = String::from_utf8(answer).unwrap();
        let mode = *mode.lock().unwrap();
        let count = readings.fetch_add(1, Ordering::Relaxed);
        answer = changed(mode, line.trim_end(), answer, count, &mut out)?;
        out.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

fn changed(
    mode: Mode,
    line: &str,
    answer: String,
    count: u64,
    out: &mut UnixStream,
) -> Option<String> {
    let info = line == "show info";
    let states = line.starts_with("show servers state");
    let rows = || -> Vec<&str> { answer.lines().filter(|row| row.contains(" slot")).collect() };
    Some(match mode {
        Mode::Partial if info => {
            let lines: Vec<&str> = answer.lines().take(3).collect();
            format!("{}\n\n> ", lines.join("\n"))
        }
        Mode::Endless if info => {
            let more = "Something: 1\n".repeat(5000);
            out.write_all(answer.strip_suffix("\n> ")?.as_bytes())
                .ok()?;
            loop {
                out.write_all(more.as_bytes()).ok()?;
            }
        }
        Mode::Twice if states => {
            let twice = rows().join("\n");
            format!("{}{twice}\n\n> ", answer.strip_suffix("\n> ")?)
        }
        Mode::Flapping if states => {
            let first = rows().first()?.to_string();
            let mut fields: Vec<&str> = first.split(' ').collect();
            fields[6] = if count.is_multiple_of(2) { "0" } else { "1" };
            answer.replace(&first, &fields.join(" "))
        }
        Mode::Blind if line.starts_with("show stat ") => {
            format!("{}\n\n> ", answer.lines().next()?)
        }
        Mode::Many if line == "show servers state" => {
            let mut text = answer.strip_suffix("\n> ")?.to_owned();
            let row = rows().first()?.to_string();
            let (_, rest) = row
                .splitn(3, ' ')
                .collect::<Vec<_>>()
                .join(" ")
                .split_once(' ')
                .map(|(id, rest)| (id.to_owned(), rest.to_owned()))?;
            let rest = rest.split_once(' ')?.1;
            for number in 0..MANY {
                text.push_str(&format!("{} b{number} {rest}\n", number + 100));
            }
            text + "\n> "
        }
        _ => answer,
    })
}

/// The memory that the agent had at most since this was last asked, in bytes.
fn peak(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    std::fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").unwrap();
    kib << 10
}

/// The conditions of the target, once there are some.
fn conditions(world: &World) -> Option<String> {
    let called = world.call(&["status", "--json"]);
    (called.code == Some(0)).then(|| called.json()["status"]["conditions"].to_string())
}

fn healthy(world: &World) -> bool {
    world.call(&["status", "--healthy"]).code == Some(0)
}

fn ended_in(agent: &mut Agent) -> Duration {
    let begun = Instant::now();
    agent.signal("TERM");
    assert_eq!(agent.ended().code(), Some(0));
    begun.elapsed()
}

fn config(world: &World, more: &str) -> String {
    let config = world.config("");
    format!("{}{more}", config.replace("admin.sock", "peer.sock"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h13_a_peer_that_contradicts_itself_is_reported_and_asked_ever_less() {
    let world = World::start().await;
    let peer = Peer::start(&world);
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    world.write("agent.toml", &config(&world, ""));
    world.write_endpoints("services.toml", &[&a]);
    let mut agent = world.agent();
    world.until_served_by(&a);
    eventually("all is well", || healthy(&world));
    for (mode, said) in [
        (Mode::Many, "HAProxy has more than 100000 backends"),
        (Mode::Twice, "expected a server that was not listed yet"),
        (Mode::Partial, "show info has no "),
        (Mode::Endless, "reply of more than 1048576 bytes"),
        (Mode::Blind, ""),
        (Mode::Flapping, ""),
    ] {
        peer.become_(mode);
        if said.is_empty() {
            // What is to be done needs what such a peer does not tell.
            world.write_endpoints("services.toml", &[&a, &b]);
            std::thread::sleep(Duration::from_secs(1));
            world.write_endpoints("services.toml", &[&a]);
        } else {
            let name = format!("{mode:?} is said");
            eventually(&name, || {
                conditions(&world).is_some_and(|all| all.contains(said) && all.contains("\"edge\""))
            });
            assert!(!healthy(&world), "{mode:?}");
        }
        let before = peer.readings();
        std::thread::sleep(Duration::from_secs(8));
        let count = peer.readings() - before;
        let peak = peak(&agent);
        assert!(count < MOST_COMMANDS, "{mode:?}: {count} commands in 8 s");
        assert!(peak < MOST_MEMORY, "{mode:?}: {} MiB", peak >> 20);
        assert_eq!(world.served_by().as_deref(), Some("a"), "{mode:?}");

        peer.become_(Mode::Honest);
        if mode == Mode::Flapping {
            // It may look as if another client took the server out each time, which is told for minutes.
            continue;
        }
        eventually("the condition ends", || {
            healthy(&world) && conditions(&world).is_some_and(|all| all == "[]")
        });
    }
    world.write_endpoints("services.toml", &[&b]);
    world.until_served_by(&b);
    let took = ended_in(&mut agent);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h13_an_agent_ends_at_once_whatever_its_peer_answers() {
    for mode in [Mode::Many, Mode::Endless, Mode::Flapping] {
        let world = World::start().await;
        let peer = Peer::start(&world);
        peer.become_(mode);
        world.write("agent.toml", &config(&world, ""));
        world.write_endpoints("services.toml", &[&NamedServer::start("a")]);
        let mut agent = world.agent();
        match mode {
            Mode::Flapping => eventually("it was read often", || peer.readings() > 40),
            _ => drop(agent.until_logged("a pass failed")),
        }
        let peak = peak(&agent);
        assert!(peak < MOST_MEMORY, "{mode:?}: {} MiB", peak >> 20);
        std::thread::sleep(Duration::from_millis(700));
        let took = ended_in(&mut agent);
        assert!(took < Duration::from_secs(6), "{mode:?}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h13_backends_that_are_not_managed_cost_their_names() {
    let world = World::start().await;
    let peer = Peer::start(&world);
    peer.become_(Mode::Many);
    let (a, b) = (NamedServer::start("a"), NamedServer::start("b"));
    world.write("agent.toml", &config(&world, "manage = [\"web\"]\n"));
    world.write_endpoints("services.toml", &[&a]);
    let agent = world.agent();
    world.until_served_by(&a);
    world.write_endpoints("services.toml", &[&b]);
    world.until_served_by(&b);
    eventually("all is well", || healthy(&world));
    let peak = peak(&agent);
    assert!(peak < MOST_FOR_NAMES, "{} MiB", peak >> 20);
}
