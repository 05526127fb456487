//! The client against real HAProxies, and against what is none.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod support;

use std::{path::Path, time::Duration};

use lb_core::Weight;
use lb_haproxy::{
    Client, ClientConfig, ClientError, SocketAddress,
    client::{Interruption, socket_identity},
    process::Haproxy,
    proto::{
        Accepted, AdminState, Command, Health, Info, MapName, Refusal, Reply, ServerRef,
        ServersConn, ServersState, SessionError, Stat, map_batches, parse_map_entries, verdict,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use support::{Place, executables};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    time::timeout,
};

const CONFIG: &str = "\
global
  stats socket DIR/admin.sock level admin mode 600 expose-fd listeners
  stats socket DIR/operator.sock level operator mode 600
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend main
  bind 127.0.0.1:PORT
  use_backend %[path,map_beg(DIR/routes.map,web)]
backend web
  balance roundrobin
  server-template slot 1-400 127.0.0.1:1 disabled
";

const LONG: Duration = Duration::from_secs(60);

fn slot(number: usize) -> ServerRef {
    ServerRef::new(
        "web".parse().unwrap(),
        format!("slot{number}").parse().unwrap(),
    )
}

fn place() -> Place {
    let place = Place::new(CONFIG);
    std::fs::write(place.dir.path().join("routes.map"), "/a web\n").unwrap();
    place
}

/// Time enough on a busy machine; what a test waits for in earnest is an event.
fn patient() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.connect = LONG;
    config.reply = LONG;
    config.batch = LONG;
    config
}

/// For what shall take too long.
fn brief() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.connect = Duration::from_millis(700);
    config.reply = Duration::from_millis(700);
    config
}

fn replies(results: Vec<Result<Reply, ClientError>>) -> Vec<Reply> {
    results.into_iter().map(Result::unwrap).collect()
}

async fn connect(haproxy: &Haproxy) -> Client {
    Client::connect(haproxy.admin(), patient()).await.unwrap()
}

/// A process that is stopped, and goes on when this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    async fn workers(haproxy: &Haproxy) -> Self {
        let workers = haproxy.processes().await.unwrap().workers;
        let pids: Vec<Pid> = workers
            .iter()
            .filter_map(|worker| Pid::from_raw(i32::try_from(worker.pid).unwrap()))
            .collect();
        let stopped = Self(pids);
        for pid in &stopped.0 {
            kill_process(*pid, Signal::STOP).unwrap();
            // The signal reaches the threads one by one.
            while !Self::stands(*pid) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        stopped
    }

    fn stands(pid: Pid) -> bool {
        std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))
            .unwrap()
            .all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
                stat.rsplit_once(')').unwrap().1.starts_with(" T")
            })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill_process(*pid, Signal::CONT).unwrap();
        }
    }
}

#[tokio::test]
async fn many_lines_in_a_batch_get_each_its_own_reply() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        let mut commands = Vec::new();
        for number in 1..=100 {
            let address = format!("127.0.1.{number}:8{number:03}").parse().unwrap();
            commands.push(Command::SetAddr(slot(number), address));
            commands.push(Command::SetWeight(slot(number), Weight::new(7).unwrap()));
            commands.push(Command::SetState(slot(number), AdminState::Drain));
        }
        commands.push(Command::SetState(slot(9999), AdminState::Drain));
        commands.push(Command::ShowServersState(Some("web".parse().unwrap())));
        commands.push(Command::SetAddr(slot(1), "127.0.1.1:8001".parse().unwrap()));
        commands.push(Command::ShowServersState(Some("none".parse().unwrap())));
        commands.push(Command::ShowBackend);
        let before = client.counters();
        let replies = replies(client.exec_all(&commands).await);
        assert_eq!(replies.len(), 305);
        for (command, reply) in commands.iter().zip(&replies).take(300) {
            assert_eq!(verdict(command, reply), Ok(Accepted::Done), "{command:?}");
        }
        let verdicts: Vec<_> = commands
            .iter()
            .zip(&replies)
            .skip(300)
            .map(|(command, reply)| verdict(command, reply))
            .collect();
        assert_eq!(
            verdicts,
            [
                Err(Refusal::NoSuchServer),
                Ok(Accepted::Text),
                Ok(Accepted::Unchanged),
                Err(Refusal::NoSuchBackend),
                Ok(Accepted::Text),
            ]
        );
        assert_eq!(replies.last().unwrap().text().lines().nth(1), Some("web"));
        let after = client.counters();
        assert_eq!(after.commands - before.commands, 305);
        assert_eq!(after.changes - before.changes, 302);
        assert!(after.bytes_written > before.bytes_written);

        // Read back until the addresses have arrived, which takes its time since 2.9.
        let show = Command::ShowServersState(Some("web".parse().unwrap()));
        timeout(LONG, async {
            loop {
                let reply = client.exec(&show).await.unwrap();
                let state = ServersState::parse(reply.text()).unwrap();
                let arrived = |number: usize| {
                    let address = format!("127.0.1.{number}:8{number:03}").parse().unwrap();
                    let row = state
                        .rows
                        .iter()
                        .find(|row| row.server_ref() == slot(number));
                    let row = row.unwrap();
                    assert!(row.admin.is_drain() && row.weight == 7);
                    row.socket_addr() == Some(address)
                };
                if (1..=100).all(arrived) {
                    return;
                }
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_batch_larger_than_all_buffers_does_not_stand_still() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        // 400 servers are 30 kB a reply: 6 MB of replies while 200 kB of commands are written.
        let mut commands = Vec::new();
        for number in 1..=200 {
            commands.push(Command::ShowServersState(None));
            commands.push(Command::SetState(slot(number), AdminState::Drain));
        }
        let replies = replies(timeout(LONG, client.exec_all(&commands)).await.unwrap());
        for (command, reply) in commands.iter().zip(&replies) {
            assert!(verdict(command, reply).is_ok(), "{command:?}: {reply}");
        }
        let rows = ServersState::parse(replies.first().unwrap().text())
            .unwrap()
            .rows;
        assert!(rows.len() >= 400, "{}", rows.len());
        let stat = client
            .exec(&Command::ShowStat("web".parse().unwrap(), None))
            .await
            .unwrap();
        assert_eq!(Stat::parse(stat.text()).unwrap().rows.len(), 400);
        let conn = client.exec(&Command::ShowServersConn(None)).await.unwrap();
        assert!(ServersConn::parse(conn.text()).unwrap().rows.len() >= 400);
        assert!(client.is_usable());
    }
}

#[tokio::test]
async fn a_map_is_replaced_in_one_transaction() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        let map: MapName = place
            .dir
            .path()
            .join("routes.map")
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let entries: Vec<_> = (0..2000)
            .map(|number| {
                let key = format!("/path-{number}").parse().unwrap();
                (key, format!("web{number}").parse().unwrap())
            })
            .collect();
        let transactions = client.info().version.at_least(2, 4);
        let version = match transactions {
            true => {
                let command = Command::PrepareMap(map.clone());
                let reply = client.exec(&command).await.unwrap();
                match verdict(&command, &reply).unwrap() {
                    Accepted::Version(version) => Some(version),
                    other => unreachable!("{other:?}"),
                }
            }
            false => None,
        };
        let mut commands = map_batches(&map, version, entries.clone());
        assert!(commands.len() > 3);
        commands.extend(version.map(|version| Command::CommitMap {
            map: map.clone(),
            version,
        }));
        for (command, result) in commands.iter().zip(client.exec_all(&commands).await) {
            let reply = result.unwrap();
            assert_eq!(verdict(command, &reply), Ok(Accepted::Done), "{reply}");
        }
        let reply = client.exec(&Command::ShowMap(Some(map))).await.unwrap();
        let found = parse_map_entries(reply.text()).unwrap();
        let before = if transactions { 0 } else { 1 };
        assert_eq!(found.len(), entries.len() + before);
        for (entry, (key, value)) in found.iter().skip(before).zip(&entries) {
            assert_eq!(
                (entry.key.as_str(), entry.value.as_str()),
                (key.as_str(), value.as_str())
            );
        }
    }
}

#[tokio::test]
async fn a_socket_of_too_low_a_level_is_refused_with_the_level_it_needs() {
    for executable in executables() {
        let place = place();
        let _haproxy = place.start(&executable).await;
        let operator = SocketAddress::unix(place.dir.path().join("operator.sock")).unwrap();
        let error = Client::connect(&operator, patient()).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Level { found, .. } if found == "operator"),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .ends_with("has level \"operator\", expected `level admin`")
        );
    }
}

#[tokio::test]
async fn a_hanging_process_costs_a_deadline_and_its_outcome_is_unknown() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut hasty = patient();
        hasty.reply = Duration::from_millis(300);
        let mut client = Client::connect(haproxy.admin(), hasty).await.unwrap();
        let mut idle = Client::connect(haproxy.admin(), patient()).await.unwrap();
        let stopped = Stopped::workers(&haproxy).await;
        let commands = [
            Command::SetState(slot(1), AdminState::Drain),
            Command::SetState(slot(2), AdminState::Drain),
        ];
        let results = timeout(LONG, client.exec_all(&commands)).await.unwrap();
        for result in results {
            assert!(
                matches!(
                    result,
                    Err(ClientError::Unknown {
                        first: 0,
                        source: Interruption::Timeout { .. }
                    })
                ),
                "{result:?}"
            );
        }
        assert!(!client.is_usable());
        assert!(matches!(
            client.exec(&Command::ShowInfo).await,
            Err(ClientError::Ended)
        ));
        let error = Client::connect(haproxy.admin(), brief()).await.unwrap_err();
        assert!(
            matches!(error, ClientError::ConnectTimeout { .. }),
            "{error}"
        );
        drop(stopped);
        assert!(
            idle.exec(&Command::ShowInfo).await.is_ok(),
            "another one goes on"
        );
    }
}

#[tokio::test]
async fn the_connection_beyond_the_limit_waits_no_longer_than_told() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut clients = Vec::new();
        let error = loop {
            match Client::connect(haproxy.admin(), brief()).await {
                Ok(client) => clients.push(client),
                Err(error) => break error,
            }
            assert!(clients.len() <= 10);
        };
        assert!(
            matches!(error, ClientError::ConnectTimeout { .. }),
            "{error}"
        );
        drop(clients);
        timeout(LONG, async {
            while Client::connect(haproxy.admin(), brief()).await.is_err() {}
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_end_of_the_process_is_told_to_the_idle() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let path = place.dir.path().join("admin.sock");
        let mut client = connect(&haproxy).await;
        let before = socket_identity(&path).unwrap();
        assert_eq!(socket_identity(&path).unwrap(), before);
        let early = timeout(Duration::from_millis(50), client.closed()).await;
        assert!(early.is_err(), "it is still there");
        assert!(
            client.exec(&Command::ShowInfo).await.is_ok(),
            "and the wait took nothing"
        );
        haproxy.stop().await.unwrap();
        timeout(LONG, client.closed()).await.unwrap();
        assert!(!client.is_usable());
        let missing = Client::connect(&place.admin, brief()).await.unwrap_err();
        assert!(matches!(missing, ClientError::Connect { .. }), "{missing}");
        let _again = place.start(&executable).await;
        assert_ne!(socket_identity(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn the_old_worker_refuses_changes_and_says_why() {
    for executable in executables() {
        let place = place();
        let mut haproxy = place.start(&executable).await;
        let mut old = connect(&haproxy).await;
        assert!(!old.info().stopping);
        haproxy.reload().await.unwrap();
        let new = haproxy.connect().await.unwrap();
        assert_ne!(new.epoch(), old.epoch());
        let command = Command::SetState(slot(1), AdminState::Drain);
        timeout(LONG, async {
            loop {
                match old.exec(&command).await {
                    Ok(reply) => {
                        // The new worker may serve a moment before the old one has stopped.
                        if let Err(refusal) = verdict(&command, &reply) {
                            assert_eq!(refusal, Refusal::ProxyDisabled);
                            let info = old.exec(&Command::ShowInfo).await.unwrap();
                            return assert!(Info::parse(info.text()).unwrap().stopping);
                        }
                    }
                    Err(error) => return assert!(error.is_unknown(), "{error}"),
                }
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn health_and_weight_do_what_they_say() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        let commands = [
            Command::SetState(slot(3), AdminState::Ready),
            Command::SetHealth(slot(3), Health::Down),
            Command::ShutdownSessions(slot(3)),
        ];
        for (command, result) in commands.iter().zip(client.exec_all(&commands).await) {
            assert_eq!(verdict(command, &result.unwrap()), Ok(Accepted::Done));
        }
        let reply = client.exec(&Command::ShowServersState(None)).await.unwrap();
        let state = ServersState::parse(reply.text()).unwrap();
        let row = state
            .rows
            .iter()
            .find(|row| row.server_ref() == slot(3))
            .unwrap();
        assert!(!row.op.is_up() && !row.admin.is_maint(), "{row:?}");
    }
}

/// A server that answers a greeting as HAProxy does, then gives `after` in pieces of one byte, and ends.
fn impostor(path: &Path, after: &'static [u8]) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        let mut answered = 0;
        let info = b"[6]: admin\n\n> Name: HAProxy\nVersion: 3.0.1\nUptime_sec: 1\nPid: 7\nNbproc: 1\n\n> ";
        let answers: [&[u8]; 3] = [b"\n> ", b"\n> \n> ", info];
        let lines = [1, 3, 5];
        while answered < answers.len() {
            let mut buffer = [0; 1000];
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                return;
            }
            sent.extend_from_slice(buffer.get(..count).unwrap());
            let received = sent.iter().filter(|byte| **byte == b'\n').count();
            while lines
                .get(answered)
                .is_some_and(|needed| received >= *needed)
            {
                for byte in answers.get(answered).unwrap().iter() {
                    stream.write_all(&[*byte]).await.unwrap();
                }
                answered += 1;
            }
        }
        let mut buffer = [0; 1000];
        if stream.read(&mut buffer).await.unwrap() > 0 {
            for byte in after {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
}

#[tokio::test]
async fn replies_that_came_before_the_end_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    impostor(&path, b"\n> [3]: No such server.\n\n> \n");
    let address = SocketAddress::unix(&path).unwrap();
    let mut client = Client::connect(&address, patient()).await.unwrap();
    assert_eq!(client.info().pid, 7);
    let command = Command::SetState(slot(1), AdminState::Maint);
    let results = client.exec_all(&vec![command; 4]).await;
    let [first, second, third, fourth] = &results[..] else {
        unreachable!("{results:?}");
    };
    assert_eq!(first.as_ref().unwrap().text(), "");
    assert_eq!(second.as_ref().unwrap().text(), "No such server.");
    for result in [third, fourth] {
        assert!(
            matches!(
                result,
                Err(ClientError::Unknown {
                    first: 2,
                    source: Interruption::Session(SessionError::Eof {
                        unknown: 2,
                        unsent: 0
                    })
                })
            ),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_admin_socket_is_told_from_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-x\r\n\n> ").await.unwrap();
    });
    let address = SocketAddress::unix(&path).unwrap();
    let error = Client::connect(&address, patient()).await.unwrap_err();
    assert!(matches!(error, ClientError::NotHaproxy { .. }), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_reply_without_end_is_cut_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    impostor(&path, &[b'x'; 5000]);
    let address = SocketAddress::unix(&path).unwrap();
    let mut config = patient();
    config.session.reply_limit = 1000;
    let mut client = Client::connect(&address, config).await.unwrap();
    let error = client.exec(&Command::ShowInfo).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Unknown {
                source: Interruption::Session(SessionError::ReplyTooLong { limit: 1000, .. }),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_dropped_half_way_ends_the_client() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        let stopped = Stopped::workers(&haproxy).await;
        let call = timeout(Duration::from_millis(20), client.exec(&Command::ShowInfo));
        assert!(call.await.is_err());
        drop(stopped);
        assert!(!client.is_usable());
        assert!(matches!(
            client.exec(&Command::ShowInfo).await,
            Err(ClientError::Ended)
        ));
    }
}

#[tokio::test]
async fn a_batch_with_a_command_that_cannot_be_written_sends_nothing() {
    for executable in executables() {
        let place = place();
        let haproxy = place.start(&executable).await;
        let mut client = connect(&haproxy).await;
        let before = client.counters();
        let commands = [
            Command::SetState(slot(1), AdminState::Drain),
            Command::SetAddr(slot(1), "0.0.0.0:80".parse().unwrap()),
        ];
        let results = client.exec_all(&commands).await;
        assert!(matches!(
            &results[..],
            [Err(ClientError::NotSent), Err(ClientError::Refused(_))]
        ));
        assert_eq!(client.counters(), before);
        assert!(client.exec(&Command::ShowInfo).await.is_ok());
    }
}
