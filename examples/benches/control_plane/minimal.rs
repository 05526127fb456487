//! The floor of following etcd: one watch, one write to the socket, one read-back. It trusts everything it is told,
//! re-points a server that may still be in use, and is lost when anything fails.

use std::{fmt::Write as _, future::ready, net::SocketAddr};

use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
    task::JoinHandle,
};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Puts keys, as any program does.
#[derive(Debug, Clone)]
pub struct Writer(Channel);

/// A minimal program at work. Dropping it ends it.
#[derive(Debug)]
pub struct Minimal {
    applied: mpsc::Receiver<String>,
    task: JoinHandle<Result<(), Failure>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    second: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "3")]
    revision: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

impl Writer {
    pub async fn connect(url: &str) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
        Ok(Self(endpoint.connect().await?))
    }

    /// Puts a key; the revision at which it is there.
    pub async fn put(&self, key: &str, value: &str) -> Result<u64, Failure> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let put = Pair {
            key: key.into(),
            second: value.into(),
        };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec = ProstCodec::<Pair, PutResponse>::default();
        let answer = grpc.unary(Request::new(put), path, codec).await?;
        Ok(answer.into_inner().header.unwrap_or_default().revision)
    }
}

impl Minimal {
    /// Follows keys `<prefix><slot>`: a value `ip:port` points that slot of the backend there, a number is its weight.
    pub async fn start(
        url: &str,
        prefix: &'static str,
        socket: &str,
        backend: &'static str,
    ) -> Result<Self, Failure> {
        let channel = Writer::connect(url).await?.0;
        let mut end: Vec<u8> = prefix.into();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let create = WatchRequest {
            create: Some(Pair {
                key: prefix.into(),
                second: end,
            }),
        };
        let requests = stream::once(ready(create)).chain(stream::pending());
        let mut grpc = Grpc::new(channel);
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let mut answers = grpc
            .streaming(Request::new(requests), path, codec)
            .await?
            .into_inner();
        while let Some(answer) = answers.message().await? {
            if answer.created {
                break;
            }
        }
        let mut socket = UnixStream::connect(socket).await?;
        talk(&mut socket, "prompt\n", 1).await?;
        let (tell, applied) = mpsc::channel(16);
        let task = tokio::spawn(async move {
            while let Some(answer) = answers.message().await? {
                for kv in answer.events.into_iter().filter_map(|event| event.kv) {
                    let slot = String::from_utf8(kv.key)?.replacen(prefix, "", 1);
                    let value = String::from_utf8(kv.value)?;
                    apply(&mut socket, backend, &slot, &value).await?;
                    tell.send(slot).await?;
                }
            }
            Ok(())
        });
        Ok(Self { applied, task })
    }

    /// Waits until a slot was set and read back.
    pub async fn applied(&mut self, slot: &str) -> Result<(), Failure> {
        while let Some(applied) = self.applied.recv().await {
            if applied == slot {
                return Ok(());
            }
        }
        Err("the minimal program ended".into())
    }
}

impl Drop for Minimal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One write with all commands, and one read-back.
async fn apply(
    socket: &mut UnixStream,
    backend: &str,
    slot: &str,
    value: &str,
) -> Result<(), Failure> {
    let mut commands = String::new();
    // The place of what was set among the fields of a server's line, and what must be there.
    let (count, place, expected) = match value.parse::<SocketAddr>() {
        Ok(address) => {
            let (ip, port) = (address.ip(), address.port());
            writeln!(
                commands,
                "set server {backend}/{slot} addr {ip} port {port}"
            )?;
            writeln!(commands, "set server {backend}/{slot} state ready")?;
            (2, 4, ip.to_string())
        }
        Err(_) => {
            writeln!(commands, "set server {backend}/{slot} weight {value}")?;
            (1, 7, value.to_owned())
        }
    };
    talk(socket, &commands, count).await?;
    let table = talk(socket, &format!("show servers state {backend}\n"), 1).await?;
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(3) == Some(slot));
    match line.and_then(|line| line.split(' ').nth(place)) {
        Some(found) if found == expected => Ok(()),
        found => Err(format!("{slot} has {found:?}, expected {expected:?}").into()),
    }
}

/// Says something and reads until so many prompts have come.
async fn talk(socket: &mut UnixStream, words: &str, prompts: usize) -> Result<String, Failure> {
    socket.write_all(words.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut seen = 0;
    let mut looked_at = 0;
    while seen < prompts {
        if socket.read_buf(&mut answer).await? == 0 {
            return Err("HAProxy closed the socket".into());
        }
        seen += answer[looked_at..]
            .windows(3)
            .filter(|window| window == b"\n> ")
            .count();
        looked_at = answer.len().saturating_sub(2);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
