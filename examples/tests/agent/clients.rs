//! Clients that connect to the agent and say nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::world::{NamedServer, World, eventually};

/// The number of clients that say nothing.
const IDLE: usize = 1000;
/// The time an answer may take on a busy machine; it took more than 20 s where idle clients were waited for.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection of either kind.
trait Stream: Read + Write {
    /// Returns `true` if the other end has closed it.
    fn is_closed(&mut self) -> bool;
}

impl Stream for TcpStream {
    fn is_closed(&mut self) -> bool {
        self.set_nonblocking(true).unwrap();
        matches!(self.read(&mut [0]), Ok(0))
    }
}

impl Stream for UnixStream {
    fn is_closed(&mut self) -> bool {
        self.set_nonblocking(true).unwrap();
        matches!(self.read(&mut [0]), Ok(0))
    }
}

/// Asks over a connection; returns the head of the answer.
fn ask(stream: &mut dyn Stream, path: &str) -> String {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_h12_1000_idle_clients_keep_no_other_from_its_answer() {
    let most = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let world = World::start().await;
    let server = NamedServer::start("a");
    world.write("agent.toml", &world.config("metrics = \"127.0.0.1:0\""));
    world.write_endpoints("services.toml", &[&server]);
    let agent = world.agent();
    world.until_served_by(&server);
    let line = agent.until_logged("serving metrics");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = line["address"].as_str().unwrap().to_owned();

    let tcp = || {
        let stream = TcpStream::connect(&port).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        Box::new(stream) as Box<dyn Stream>
    };
    let unix = || {
        let stream = UnixStream::connect(world.path("agent.sock")).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        Box::new(stream) as Box<dyn Stream>
    };
    type Connect<'a> = &'a dyn Fn() -> Box<dyn Stream>;
    let kinds: [(&str, Connect<'_>); 2] = [("tcp", &tcp), ("unix", &unix)];
    for (kind, connect) in kinds {
        let begun = Instant::now();
        // This one has asked for something before they come, and asks again after them.
        let mut asking = connect();
        let keep = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        asking.write_all(keep).unwrap();
        assert!(asking.read(&mut [0; 64]).unwrap() > 0);
        let mut idle: Vec<Box<dyn Stream>> = (0..IDLE).map(|_| connect()).collect();
        for path in ["/status", "/metrics"] {
            let began = Instant::now();
            let answer = ask(connect().as_mut(), path);
            assert_eq!(answer, "HTTP/1.1 200 OK", "{kind} {path}");
            assert!(began.elapsed() < ANSWER, "{kind} {path}");
        }
        eventually("the oldest are closed", || {
            let closed = idle.iter_mut().take(IDLE - 100).filter_map(|client| {
                let closed = client.is_closed();
                closed.then_some(())
            });
            closed.count() == IDLE - 100
        });
        // After five seconds without a word any is closed.
        if begun.elapsed() < Duration::from_secs(4) {
            assert!(
                idle.last_mut().is_some_and(|last| !last.is_closed()),
                "{kind}: the newest stays"
            );
            assert!(
                !asking.is_closed(),
                "{kind}: one that has asked is kept before those that have not"
            );
        }
    }
    agent.signal("TERM");
}
