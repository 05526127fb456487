//! An endpoint that answers each request with its name.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Answers over kept connections until it is dropped.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, name));
            }
        });
        Self { address, task }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `/never` is not answered.
async fn converse(mut stream: TcpStream, name: &'static str) {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
        while let Some((request, rest)) = heard.split_once("\r\n\r\n") {
            let answered = !request.starts_with("GET /never");
            heard = rest.to_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                name.len()
            );
            if answered && stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// An address that nobody listens at.
pub(crate) fn nowhere() -> SocketAddr {
    ([127, 0, 0, 77], crate::support::free_port()).into()
}
