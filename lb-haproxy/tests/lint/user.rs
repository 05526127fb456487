//! A user of a frontend.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::world::LIMIT;

/// A connection to a frontend.
pub(crate) struct User {
    stream: TcpStream,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Who answered.
    pub(crate) body: String,
    /// The cookie that was set, as it is sent back.
    pub(crate) cookie: String,
}

impl User {
    pub(crate) async fn connect(frontend: SocketAddr) -> Self {
        let stream = TcpStream::connect(frontend).await.unwrap();
        Self { stream }
    }

    pub(crate) async fn send(&mut self, path: &str, header: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Asks over this connection.
    pub(crate) async fn ask(&mut self, path: &str, header: &str) -> Answer {
        self.send(path, header).await;
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let read = timeout(LIMIT, self.stream.read(&mut buffer));
            let count = read.await.unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if let Some(answer) = parse(&text, count == 0) {
                return answer;
            }
            assert!(count > 0, "{text:?}");
        }
    }
}

/// One request over a connection of its own.
pub(crate) async fn get(frontend: SocketAddr, path: &str, header: &str) -> Answer {
    User::connect(frontend).await.ask(path, header).await
}

fn parse(text: &str, ended: bool) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let whole = match header("content-length") {
        Some(length) => body.len() >= length.parse().unwrap(),
        None => ended,
    };
    whole.then(|| Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: body.to_owned(),
        cookie: header("set-cookie")
            .and_then(|cookie| cookie.split(';').next())
            .unwrap_or_default()
            .to_owned(),
    })
}
