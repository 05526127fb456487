//! TLS connections go by their server names.

use std::{fmt::Write as _, net::SocketAddr};

use lb_core::{Mode, Name};
use lb_haproxy::{
    capability::Capabilities,
    config::{Bind, Config, Frontend},
    driver::converge_map,
    proto::MapName,
    routes::compile_sni,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    bed::*,
    support::{Place, executables, free_port},
};

/// The first message of a TLS handshake, as far as it takes to name a server.
pub(crate) fn client_hello(server_name: &str) -> Vec<u8> {
    let two = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut extensions = Vec::new();
    if !server_name.is_empty() {
        let length = server_name.len();
        extensions.extend([0, 0]);
        extensions.extend(two(length + 5));
        extensions.extend(two(length + 3));
        extensions.push(0);
        extensions.extend(two(length));
        extensions.extend(server_name.as_bytes());
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(two(extensions.len()));
    body.extend(extensions);
    let mut hello = vec![22, 3, 1];
    hello.extend(two(body.len() + 4));
    hello.extend([1, 0]);
    hello.extend(two(body.len()));
    hello.extend(body);
    hello
}

/// A TCP server that answers the first bytes of a client with its name.
pub(crate) async fn tcp_server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = [0; 1024];
                if stream.read(&mut some).await.is_ok_and(|read| read > 0) {
                    // A client that is gone already is the test's own business.
                    let _gone = stream.write_all(name.as_bytes()).await;
                }
            });
        }
    });
    address
}

/// What answers to the first bytes of a connection; empty where it is closed.
pub(crate) async fn dial(address: SocketAddr, first: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as much of a close as an end.
        let _reset = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    timeout(LONG, exchange).await.unwrap()
}

#[tokio::test]
async fn connections_go_where_their_server_name_says() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let capabilities = Capabilities::of(version.major().into(), version.minor().into());
        let place = Place::new("");
        let dir = place.dir.path();
        let map: MapName = dir.join("sni.map").to_str().unwrap().parse().unwrap();
        let mut routes = vec![
            route("db.example", "/", "one", 0),
            route("*.example", "/", "two", 0),
            route("*.a.b.c.d.e.example", "/", "three", 0),
            route("none.example", "/", "none", 0),
        ];
        let backend = |service: &Name| (service.as_str() != "none").then(|| service.clone());
        let compiled = compile_sni(&routes, backend).map;
        std::fs::write(map.as_str(), compiled.file_text()).unwrap();
        let port = free_port();
        let mut config = Config::new(place_path(&place, "admin.sock"));
        let bind = Bind::Tcp(([127, 0, 0, 1], port).into());
        let mut main = Frontend::new("main".parse().unwrap(), bind);
        main.mode = Mode::Tcp;
        main.route_map = Some(map.clone());
        config.frontends.push(main);
        let mut config = config.render(&version).unwrap();
        for name in ["one", "two", "three", "rest"] {
            let server = tcp_server(name).await;
            writeln!(config, "backend {name}\n  mode tcp\n  server s {server}").unwrap();
        }
        std::fs::write(&place.config, config).unwrap();
        let haproxy = place.start(&executable).await;
        let front: SocketAddr = ([127, 0, 0, 1], port).into();
        let names = [
            ("db.example", "one"),
            ("DB.Example", "one"),
            ("x.db.example", "two"),
            ("other.example", "two"),
            ("x.a.b.c.d.e.example", "three"),
            ("1.2.3.4.5.6.7.a.b.c.d.e.example", "three"),
            ("a.b.c.d.e.example", "two"),
            ("none.example", ""),
        ];
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for unknown in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(unknown)).await, "", "{unknown}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "");

        routes.push(route("*", "/", "rest", 0));
        let wanted = compile_sni(&routes, backend).map;
        let mut client = haproxy.connect().await.unwrap();
        converge_map(&mut client, &map, &wanted, &capabilities)
            .await
            .unwrap();
        for (name, answer) in names {
            assert_eq!(dial(front, &client_hello(name)).await, answer, "{name}");
        }
        for other in ["example", "unknown", ""] {
            assert_eq!(dial(front, &client_hello(other)).await, "rest", "{other}");
        }
        assert_eq!(dial(front, b"hello\r\n").await, "rest", "no handshake");
        haproxy.stop().await.unwrap();
    }
}
