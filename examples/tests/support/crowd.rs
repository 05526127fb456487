//! A stand-in for a Docker engine with more containers than a machine for tests can run.
//!
//! It speaks as much of the engine's API as is needed to be followed: listings, inspections, and events that tell all
//! labels of a container, as an engine does.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

/// The number of containers it has in a flood.
pub(crate) const CONTAINERS: usize = 500;
/// The number of labels each has, besides those by which it is a tenant's.
const LABELS: usize = 1000;
/// The time from one event to the next.
const EVENT: Duration = Duration::from_millis(20);

type Body = BoxBody<Bytes, Infallible>;

/// A running one, which falls silent when it is over.
pub(crate) struct Crowd {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// The flood is over.
    over: Arc<AtomicBool>,
    containers: usize,
    /// Its containers run; before, it has none.
    open: AtomicBool,
    listing: Bytes,
    tenant: SocketAddr,
    events: AtomicU64,
    listings: AtomicU64,
}

/// The labels of a container: of every tenth, a claim of an honest service.
pub(crate) fn labels(number: usize) -> Vec<(String, String)> {
    let service = match number % 10 {
        0 => "a".to_owned(),
        _ => format!("crowd-{}", number % 50),
    };
    let mut labels = vec![
        ("lb.service".to_owned(), service),
        ("lb.port".to_owned(), "80".to_owned()),
        (
            "lb.routes".to_owned(),
            format!("crowd-{number}.example/ *.crowd-{number}.example/"),
        ),
    ];
    labels.extend((0..LABELS).map(|at| match at % 2 {
        0 => (
            format!("lb.junk-{at}"),
            format!("value {at} of {number}, and nothing else"),
        ),
        _ => (
            format!("com.example.part-{at}"),
            format!("value {at} of {number}, and nothing else"),
        ),
    }));
    labels
}

impl Crowd {
    pub(crate) async fn start(
        tenant: SocketAddr,
        containers: usize,
        over: Arc<AtomicBool>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let all: Vec<Value> = (0..containers).map(|at| listed(at, tenant)).collect();
        let state = Arc::new(State {
            over,
            containers,
            open: AtomicBool::new(false),
            listing: Value::from(all).to_string().into(),
            tenant,
            events: AtomicU64::new(0),
            listings: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A connection that is cut is its client's affair.
                tokio::spawn(async move { drop(served.await) });
            }
        });
        Self { address, state }
    }

    pub(crate) fn host(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Runs its containers.
    pub(crate) fn open(&self) {
        self.state.open.store(true, Ordering::Relaxed);
    }

    pub(crate) fn events(&self) -> u64 {
        self.state.events.load(Ordering::Relaxed)
    }

    pub(crate) fn listings(&self) -> u64 {
        self.state.listings.load(Ordering::Relaxed)
    }
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn all_labels(number: usize) -> Value {
    let labels = labels(number).into_iter();
    Value::Object(labels.map(|(key, value)| (key, value.into())).collect())
}

fn networks(number: usize, tenant: SocketAddr) -> Value {
    let address = match number % 10 {
        0 => tenant.ip().to_string(),
        _ => format!("172.30.{}.{}", number / 250, 1 + number % 250),
    };
    json!({ "bridge": { "NetworkID": "net", "IPAddress": address } })
}

fn listed(number: usize, tenant: SocketAddr) -> Value {
    json!({
        "Id": id(number),
        "Names": [format!("/crowd-{number}")],
        "Labels": all_labels(number),
        "State": "running",
        "Status": "Up",
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": { "Networks": networks(number, tenant) },
    })
}

fn inspected(number: usize, tenant: SocketAddr) -> Value {
    json!({
        "Id": id(number),
        "Name": format!("/crowd-{number}"),
        "State": { "Status": "running" },
        "Config": { "Labels": all_labels(number) },
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": { "Networks": networks(number, tenant) },
    })
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let path = path.find("/v1.").map_or(path, |_| {
        path.get(1..)
            .and_then(|path| path.find('/').and_then(|at| path.get(at..)))
            .unwrap_or(path)
    });
    let full = |bytes: Bytes| Full::new(bytes).boxed();
    let body = match path {
        "/_ping" => full(Bytes::from_static(b"OK")),
        "/info" => full(
            json!({ "ID": "crowd", "SystemTime": "2026-01-01T00:00:00.000000000Z" })
                .to_string()
                .into(),
        ),
        "/networks" => full(
            json!([{ "Id": "net", "Name": "bridge", "Driver": "bridge" }])
                .to_string()
                .into(),
        ),
        "/containers/json" => {
            state.listings.fetch_add(1, Ordering::Relaxed);
            match state.open.load(Ordering::Relaxed) {
                true => full(state.listing.clone()),
                false => full(Bytes::from_static(b"[]")),
            }
        }
        "/events" => events(state),
        _ => {
            let hex = path.split('/').nth(2).unwrap_or_default();
            match usize::from_str_radix(hex, 16) {
                Ok(number) if number < state.containers => {
                    full(inspected(number, state.tenant).to_string().into())
                }
                _ => {
                    let mut missing = Response::new(full(Bytes::from_static(b"{}")));
                    *missing.status_mut() = hyper::StatusCode::NOT_FOUND;
                    return Ok(missing);
                }
            }
        }
    };
    Ok(Response::new(body))
}

/// Containers that start one after the other, and then change again and again.
fn events(state: Arc<State>) -> Body {
    let next = move |at: usize| {
        let state = Arc::clone(&state);
        async move {
            while !state.open.load(Ordering::Relaxed) {
                sleep(EVENT).await;
            }
            if state.over.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            sleep(EVENT).await;
            state.events.fetch_add(1, Ordering::Relaxed);
            let number = (at / 2) % state.containers;
            let action = match (at < 2 * state.containers, at % 2) {
                (true, _) => "start",
                (false, 0) => "die",
                (false, _) => "start",
            };
            let event = json!({
                "Type": "container",
                "Action": action,
                "Actor": { "ID": id(number), "Attributes": all_labels(number) },
                "scope": "local",
                "time": 1_767_225_600,
                "timeNano": 1_767_225_600_000_000_000_i64,
            });
            let frame = Frame::data(Bytes::from(format!("{event}\n")));
            Some((Ok(frame), at + 1))
        }
    };
    StreamBody::new(Box::pin(stream::unfold(0, next))).boxed()
}
