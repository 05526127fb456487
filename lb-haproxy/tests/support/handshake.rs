//! Connections that begin as a TLS handshake does, and a server that says its name to them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The most time an answer takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The first message of a TLS handshake, as far as it takes to name a server; an empty name is left out.
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

/// The answer to the first bytes of a connection; empty where it is closed.
pub(crate) async fn dial(address: SocketAddr, first: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as much of a close as an end.
        let _reset = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    timeout(LIMIT, exchange).await.unwrap()
}
