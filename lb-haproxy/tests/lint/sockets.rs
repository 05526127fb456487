//! The admin sockets.

use std::{
    io::{Read as _, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{self, fs::PermissionsExt as _},
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use lb_haproxy::{
    config::lint::Code,
    process::{Executable, Haproxy},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use crate::{
    support::{executables, free_port},
    world::{Bare, LIMIT, World, always, ask, found, prepare, shows, until, with_lines},
};

const SOCKET: &str = "stats socket DIR/admin.sock level admin mode 600 expose-fd listeners";

#[tokio::test]
async fn without_a_socket_nothing_can_be_changed() {
    let good = with_lines("");
    let bad = good.replace(SOCKET, "");
    shows(
        Code::NoSocket,
        &bad,
        &good,
        always,
        async |executable, text| {
            let (place, _) = prepare(text);
            let mut options = place.options(executable);
            if text == bad {
                options.start = Duration::from_secs(3);
            }
            Haproxy::start(options).await.is_err()
        },
    )
    .await;
}

#[tokio::test]
async fn a_socket_of_less_than_admin_is_refused_changes() {
    let good = with_lines("");
    for level in ["level operator", "level user", ""] {
        let bad = good.replace("level admin", level);
        shows(
            Code::SocketLevel,
            &bad,
            &good,
            always,
            async |executable, text| {
                let mut bare = Bare::start(executable, text, "true");
                assert!(bare.serves().await);
                let reply = bare
                    .ask("set server b/slot1 addr 127.0.0.9 port 9")
                    .await
                    .unwrap();
                reply.contains("Permission denied")
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_socket_for_everyone_is_open_to_everyone() {
    let good = with_lines("");
    for mode in ["mode 666", "mode 0777"] {
        let bad = good.replace("mode 600", mode);
        shows(
            Code::SocketMode,
            &bad,
            &good,
            always,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let file = world.place.dir.path().join("admin.sock");
                // To connect to a socket is to be allowed to write to its file.
                std::fs::metadata(file).unwrap().permissions().mode() & 0o002 != 0
            },
        )
        .await;
    }
}

/// A socket in the abstract namespace has no file, so no mode and no owner.
#[tokio::test]
async fn case_p21_an_abstract_socket_is_open_to_everyone() {
    let name = format!("lb-lint-{}", std::process::id());
    let line = |address: &str| {
        let more = format!("{SOCKET}\n  stats socket {address} level admin mode 600");
        with_lines("").replace(SOCKET, &more)
    };
    // HAProxy fills the name up with zeros.
    let mut padded = name.clone().into_bytes();
    padded.resize(107, 0);
    let abstract_name = unix::net::SocketAddr::from_abstract_name(&padded).unwrap();
    shows(
        Code::SocketMode,
        &line(&format!("abns@{name}")),
        &line("DIR/other.sock"),
        always,
        async |executable, text| {
            let _world = World::start(executable, text).await;
            let Ok(mut stream) = unix::net::UnixStream::connect_addr(&abstract_name) else {
                return false;
            };
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let change = b"set server b/slot1 addr 127.0.0.9 port 9\n";
            stream.write_all(change).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            reply.contains("changed from")
        },
    )
    .await;
}

#[tokio::test]
async fn a_socket_at_every_address_is_reached_from_elsewhere() {
    let port = free_port();
    let line = |host: &str| {
        let more = format!("{SOCKET}\n  stats socket ipv4@{host}:{port} level admin");
        with_lines("").replace(SOCKET, &more)
    };
    shows(
        Code::SocketAddress,
        &line("0.0.0.0"),
        &line("127.0.0.1"),
        always,
        async |executable, text| {
            let _world = World::start(executable, text).await;
            // Not the address of the loopback interface that the mended one has.
            let Ok(mut stream) = TcpStream::connect(("127.0.0.2", port)).await else {
                return false;
            };
            let change = b"set server b/slot1 addr 127.0.0.9 port 9\n";
            stream.write_all(change).await.unwrap();
            let mut reply = String::new();
            let read = stream.read_to_string(&mut reply);
            timeout(LIMIT, read).await.unwrap().unwrap();
            reply.contains("changed from")
        },
    )
    .await;
}

/// A process that is ended with its owner.
struct Second(Child);

impl Drop for Second {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[tokio::test]
async fn without_listeners_handed_over_another_process_does_not_start() {
    let good = with_lines("");
    let bad = good.replace(" expose-fd listeners", "");
    let fails = async |executable: &Executable, text: &str| {
        let world = World::start(executable, text).await;
        let socket = world.place.dir.path().join("admin.sock");
        let second = Command::new(executable.path())
            .args(["-db", "-f"])
            .arg(&world.place.config)
            .arg("-x")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut second = Second(second);
        let pid = format!("Pid: {}\n", second.0.id());
        let wait = async {
            loop {
                if let Some(status) = second.0.try_wait().unwrap() {
                    return !status.success();
                }
                // It took the socket over, so it serves.
                if ask(&socket, "show info")
                    .await
                    .is_ok_and(|info| info.contains(&pid))
                {
                    return false;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, wait).await.unwrap()
    };
    shows(Code::NoExposeFd, &bad, &good, always, fails).await;
}

#[tokio::test]
async fn one_connection_too_many_waits_without_a_word() {
    let good = with_lines("");
    for bad in [
        good.replace("  stats maxconn 32\n", ""),
        good.replace("maxconn 32", "maxconn 5"),
    ] {
        let most = if bad.contains("maxconn 5") { 5 } else { 10 };
        shows(
            Code::FewAdminConnections,
            &bad,
            &good,
            always,
            async |executable, text| {
                let world = World::start(executable, text).await;
                let path = world.place.dir.path().join("admin.sock");
                // The ones that looked whether it had started may not be counted out yet.
                until("idle sockets", async || {
                    world.ask("show info").await.contains("\nCurrConns: ")
                })
                .await;
                let mut held = Vec::new();
                for _ in 0..most {
                    let mut stream = UnixStream::connect(&path).await.unwrap();
                    stream.write_all(b"prompt\n").await.unwrap();
                    let mut prompt = [0; 3];
                    timeout(LIMIT, stream.read_exact(&mut prompt))
                        .await
                        .unwrap()
                        .unwrap();
                    held.push(stream);
                }
                let mut late = UnixStream::connect(&path).await.unwrap();
                late.write_all(b"show info\n").await.unwrap();
                let mut byte = [0];
                let limit = if text == bad {
                    Duration::from_secs(1)
                } else {
                    LIMIT
                };
                let waits = timeout(limit, late.read_exact(&mut byte)).await.is_err();
                // It was nothing else than the others: without them it is answered.
                drop(held);
                if waits {
                    timeout(LIMIT, late.read_exact(&mut byte))
                        .await
                        .unwrap()
                        .unwrap();
                }
                waits
            },
        )
        .await;
    }
}

/// A short `stats timeout` is no finding: a conversation sets its own, and lives on.
#[tokio::test]
async fn a_short_stats_timeout_ends_no_conversation() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let text =
            with_lines("").replace("  stats maxconn", "  stats timeout 500ms\n  stats maxconn");
        assert_eq!(found(&text, &version), []);
        let world = World::start(&executable, &text).await;
        let mut client = world.haproxy.connect().await.unwrap();
        sleep(Duration::from_secs(4)).await;
        let show = lb_haproxy::proto::Command::ShowServersState(None);
        client.exec(&show).await.unwrap();
    }
}

/// HAProxy takes short addresses, addresses of IPv4 in IPv6, and variables without quotes.
#[tokio::test]
async fn case_p21_a_socket_of_this_machine_is_one_however_it_is_spelled() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        for spelling in [
            "127.1:9999",
            "[::ffff:127.0.0.1]:9999",
            "${ADDRESS}",
            "127.0.0.1:${NUMBER}",
            "ipv4@${HOST}:9999",
        ] {
            let port = free_port();
            let address = spelling.replace("9999", &port.to_string());
            let more = format!(
                "setenv ADDRESS 127.0.0.1:{port}\n  setenv HOST 127.0.0.1\n  setenv NUMBER {port}\n  {SOCKET}\n  \
                 stats socket {address} level admin"
            );
            let text = with_lines("").replace(SOCKET, &more);
            assert_eq!(found(&text, &version), [], "{version}: {address}");
            let _world = World::start(&executable, &text).await;
            TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        }
    }
}
