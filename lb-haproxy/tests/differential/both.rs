//! A real HAProxy and a simulated one, told the same.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use lb_haproxy::{
    process::{Executable, Haproxy},
    simulator::{
        BackendModel, Balance, CheckModel, ConfigModel, ConnectionId, MapModel, Profile,
        ServerModel, Simulator,
    },
};

use super::{normal::normal, support::Place};

/// Commands may make HAProxy do nothing for as long as this; then it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const CONFIG: &str = "global
  stats socket DIR/admin.sock level admin
  stats timeout 1h
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend fe
  bind unix@DIR/fe.sock
  use_backend %[path,map_str(DIR/a.map)]
  use_backend %[path,map_str(DIR/b.map)]
backend alpha
  balance roundrobin
  server-template slot 1-3 127.0.0.1:1 disabled
backend beta
  balance leastconn
  server-template slot 1-3 127.0.0.1:1 disabled check inter 24h
backend gamma
  balance static-rr
  server s1 127.0.0.2:8001 weight 10
  server s2 127.0.0.2:8002 weight 20
  server u unix@/nonexistent
backend delta
  balance roundrobin
  server t1 127.0.0.3:80 track beta/slot1
";

pub(crate) struct Both {
    pub(crate) version: (u32, u32),
    place: Place,
    haproxy: Haproxy,
    real: UnixStream,
    simulated: Simulator,
    socket: ConnectionId,
    now: Duration,
    /// The last lines that were said, for the message of a failure.
    said: VecDeque<String>,
}

impl Both {
    pub(crate) async fn start(executable: &Executable) -> Self {
        let place = Place::new(CONFIG);
        let file = |name: &str| place.dir.path().join(name);
        std::fs::write(file("a.map"), "k1 v1\nk2 v2\nk1 v3\n").unwrap();
        std::fs::write(file("b.map"), "").unwrap();
        let haproxy = place.start(executable).await;
        let mut real = UnixStream::connect(file("admin.sock")).unwrap();
        real.set_read_timeout(Some(PATIENCE)).unwrap();
        real.write_all(b"prompt\n").unwrap();
        assert_eq!(read_prompt(&mut real), "");
        let mut ask = |line: &str| {
            real.write_all(line.as_bytes()).unwrap();
            read_prompt(&mut real)
        };
        let info = ask("show info\n");
        let version = version_of(&info);
        let maps = maps_of(&ask("show map\n"));
        let mut simulated = Simulator::new(Profile::of(version.0, version.1), config(maps));
        let socket = simulated.connect().unwrap();
        simulated.send(socket, b"prompt\n");
        assert_eq!(simulated.receive(socket), b"\n> ");
        let mut both = Self {
            version,
            place,
            haproxy,
            real,
            simulated,
            socket,
            now: Duration::ZERO,
            said: VecDeque::new(),
        };
        both.say("set severity-output number", "start");
        both
    }

    pub(crate) async fn end(self) {
        self.haproxy.stop().await.unwrap();
        drop(self.place);
    }

    /// Says a line (or a line with its payload) to both and compares what they answer.
    pub(crate) fn say(&mut self, line: &str, place: &str) {
        let dir = self.place.dir.path().to_str().unwrap();
        let line = format!("{}\n", line.replace("DIR", dir));
        self.said.push_back(line.clone());
        self.simulated.send(self.socket, line.as_bytes());
        if line.contains("wait ") {
            self.pass(Duration::from_secs(1));
        }
        let expected = String::from_utf8(self.simulated.receive(self.socket)).unwrap();
        self.real.write_all(line.as_bytes()).unwrap();
        let prompts = expected.matches("\n> ").count();
        assert!(
            prompts > 0,
            "the simulation does not answer {line:?}: {expected:?}"
        );
        let mut heard = String::new();
        for _ in 0..prompts {
            let _ = write!(heard, "{}\n> ", read_prompt(&mut self.real));
        }
        // Where the prompt brought its own line feed, it was not part of the text before.
        let expected = normal(&expected);
        let heard = normal(&heard);
        assert!(
            heard == expected,
            "{}",
            self.disagreement(place, &heard, &expected)
        );
        self.settle();
        if self.said.len() > 3000 {
            self.said.pop_front();
        }
    }

    /// Compares all that can be seen.
    pub(crate) fn compare_all(&mut self) {
        for line in [
            "show servers state",
            "show servers conn",
            "show map DIR/a.map",
            "show map DIR/b.map",
            "show map",
        ] {
            self.say(line, "comparison");
        }
        for backend in ["alpha", "beta", "gamma", "delta"] {
            self.say(&format!("show stat {backend} 4 -1"), "comparison");
        }
    }

    /// Waits until addresses that were accepted are in effect.
    fn settle(&mut self) {
        if !self.simulated.is_pending() {
            return;
        }
        self.pass(Duration::from_millis(10));
        self.simulated.send(self.socket, b"show servers state\n");
        let expected = normal(&String::from_utf8(self.simulated.receive(self.socket)).unwrap());
        for attempt in 0.. {
            self.real.write_all(b"show servers state\n").unwrap();
            let heard = normal(&format!("{}\n> ", read_prompt(&mut self.real)));
            if heard == expected {
                return;
            }
            assert!(
                attempt < 20_000,
                "{}",
                self.disagreement("settling", &heard, &expected)
            );
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.simulated.advance(self.now);
    }

    fn disagreement(&self, place: &str, heard: &str, expected: &str) -> String {
        let mut text = format!(
            "HAProxy {}.{} disagrees ({place}) after\n",
            self.version.0, self.version.1
        );
        for line in &self.said {
            let _ = writeln!(text, "  {line:?}");
        }
        let (mut real, mut simulated) = (heard.lines(), expected.lines());
        loop {
            match (real.next(), simulated.next()) {
                (None, None) => break,
                (one, other) if one != other => {
                    let _ = writeln!(text, "real      {one:?}\nsimulated {other:?}");
                }
                _ => {}
            }
        }
        let _ = write!(text, "real {heard:?}\nsimulated {expected:?}");
        text
    }
}

/// Reads up to the next prompt, and leaves the prompt out.
fn read_prompt(real: &mut UnixStream) -> String {
    let mut text: Vec<u8> = Vec::new();
    let mut byte = [0_u8; 1];
    let mut buffer = [0_u8; 16384];
    while !text.ends_with(b"\n> ") {
        // The last bytes one by one: what follows a prompt belongs to the next reply.
        let count = match peek(real, &mut buffer) {
            0 => panic!(
                "HAProxy closed the connection after {:?}",
                String::from_utf8_lossy(&text)
            ),
            count => count,
        };
        let seen = buffer.get(..count).unwrap();
        let joined = [&text[text.len().saturating_sub(2)..], seen].concat();
        let skip = joined.len() - count;
        match joined.windows(3).position(|three| three == b"\n> ") {
            Some(at) => {
                let take = at + 3 - skip;
                for _ in 0..take {
                    real.read_exact(&mut byte).unwrap();
                    text.extend_from_slice(&byte);
                }
            }
            None => {
                real.read_exact(buffer.get_mut(..count).unwrap()).unwrap();
                text.extend_from_slice(buffer.get(..count).unwrap());
            }
        }
    }
    text.truncate(text.len() - 3);
    String::from_utf8(text).unwrap()
}

fn peek(real: &UnixStream, buffer: &mut [u8]) -> usize {
    use std::os::fd::AsFd as _;
    let _ = real.as_fd();
    rustix::net::recv(real, buffer, rustix::net::RecvFlags::PEEK)
        .unwrap()
        .0
}

fn version_of(info: &str) -> (u32, u32) {
    let text = info
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .unwrap();
    let mut parts = text.split('.');
    let mut number = || parts.next().unwrap().parse().unwrap();
    (number(), number())
}

fn maps_of(list: &str) -> Vec<MapModel> {
    list.lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (id, rest) = line.split_once(" (").unwrap();
            let (file, description) = rest.split_once(") ").unwrap();
            let description = description.split(". curr_ver").next().unwrap();
            let entries = match file.ends_with("a.map") {
                true => vec![("k1", "v1"), ("k2", "v2"), ("k1", "v3")],
                false => Vec::new(),
            };
            MapModel {
                id: id.parse().unwrap(),
                file: file.to_owned(),
                description: description.to_owned(),
                entries: entries
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            }
        })
        .collect()
}

fn config(maps: Vec<MapModel>) -> ConfigModel {
    let check = CheckModel {
        inter: Duration::from_secs(86400),
        ..CheckModel::default()
    };
    let server = |name: &str, address: Option<&str>, weight| ServerModel {
        name: name.to_owned(),
        address: address.map(|text| text.parse().unwrap()),
        weight,
        disabled: false,
        check: None,
        agent: false,
        track: None,
        restorable: false,
    };
    let mut gamma = BackendModel::slots("gamma", 0, None);
    gamma.balance = Balance::Static;
    gamma.servers = vec![
        server("s1", Some("127.0.0.2:8001"), 10),
        server("s2", Some("127.0.0.2:8002"), 20),
        server("u", None, 1),
    ];
    let mut delta = BackendModel::slots("delta", 0, None);
    let mut tracking = server("t1", Some("127.0.0.3:80"), 1);
    tracking.track = Some(("beta".to_owned(), "slot1".to_owned()));
    delta.servers = vec![tracking];
    ConfigModel {
        backends: vec![
            BackendModel::slots("alpha", 3, None),
            BackendModel::slots("beta", 3, Some(check)),
            gamma,
            delta,
        ],
        maps,
        ..ConfigModel::default()
    }
}
