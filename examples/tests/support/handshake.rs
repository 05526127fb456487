//! Connections that begin as a TLS handshake does, and a server that says its name to them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// The first message of a TLS handshake, as far as it takes to name a server.
fn client_hello(server_name: &str) -> Vec<u8> {
    let two = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let length = server_name.len();
    let mut extensions = vec![0, 0];
    extensions.extend(two(length + 5));
    extensions.extend(two(length + 3));
    extensions.push(0);
    extensions.extend(two(length));
    extensions.extend(server_name.as_bytes());
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

/// What answers to a handshake with this server name; empty where the connection is closed.
pub(crate) fn dial(frontend: SocketAddr, server_name: &str) -> String {
    let mut stream = TcpStream::connect(frontend).unwrap();
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).unwrap();
    stream.write_all(&client_hello(server_name)).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        read => drop(read.unwrap()),
    }
    String::from_utf8(answer).unwrap()
}
