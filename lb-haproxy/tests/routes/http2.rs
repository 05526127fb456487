//! A client of HTTP/2 that writes any bytes where a host belongs.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::bed::LONG;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// `END_STREAM`, and of `SETTINGS` the acknowledgement.
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection on which one request is made after the other, without TLS.
pub(crate) struct Http2 {
    address: SocketAddr,
    stream: TcpStream,
    next: u32,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        first.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&first).await.unwrap();
        Self {
            address,
            stream,
            next: 1,
        }
    }

    /// The answer to a request for this path with these fields: the body of a 200, else the status, or `reset`.
    pub(crate) async fn ask(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        timeout(LONG, self.exchange(path, fields)).await.unwrap()
    }

    async fn exchange(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut block = Vec::new();
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", path)];
        let (own, others): (Vec<_>, Vec<_>) =
            fields.iter().partition(|(name, _)| name.starts_with(':'));
        for (name, value) in pseudo.iter().chain(own).chain(others) {
            // A literal that is not indexed, and not compressed.
            block.push(0);
            for text in [name, value] {
                let length = u8::try_from(text.len()).unwrap();
                assert!(length < 127, "{text} takes more than one byte of length");
                block.push(length);
                block.extend(text.as_bytes());
            }
        }
        let id = self.next;
        self.next += 2;
        let request = frame(HEADERS, END | END_HEADERS, id, &block);
        self.stream.write_all(&request).await.unwrap();
        let (mut status, mut body) = (String::new(), Vec::new());
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                *self = Self::connect(self.address).await;
                return "reset".to_owned();
            }
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.unwrap();
            let (kind, flags) = (head[3], head[4]);
            let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                SETTINGS if flags & END == 0 => {
                    let known = frame(SETTINGS, END, 0, &[]);
                    self.stream.write_all(&known).await.unwrap();
                }
                GOAWAY => {
                    *self = Self::connect(self.address).await;
                    return "reset".to_owned();
                }
                RST_STREAM if of == id && status.is_empty() => return "reset".to_owned(),
                HEADERS if of == id => {
                    status = status_of(&payload);
                }
                DATA if of == id => {
                    body.extend(&payload);
                    // Of each connection, 64 KiB may be sent before the client says that it has read.
                    let read = u32::try_from(length).unwrap().to_be_bytes();
                    if length > 0 {
                        let more = frame(WINDOW_UPDATE, 0, 0, &read);
                        self.stream.write_all(&more).await.unwrap();
                    }
                }
                _ => {}
            }
            if of == id && matches!(kind, HEADERS | DATA) && flags & END != 0 {
                return match status.as_str() {
                    "200" => String::from_utf8(body).unwrap(),
                    _ => status,
                };
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The status, which comes first: by its place in the table that everybody has, or as a text after the name's place.
fn status_of(block: &[u8]) -> String {
    match block {
        [0x88, ..] => "200".to_owned(),
        [0x8c, ..] => "400".to_owned(),
        [0x8d, ..] => "404".to_owned(),
        [0x08 | 0x48, 3, text @ ..] => String::from_utf8(text[..3].to_vec()).unwrap(),
        other => panic!("no status in {other:02x?}"),
    }
}
