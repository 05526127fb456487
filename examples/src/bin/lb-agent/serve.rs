//! Serves HTTP/1 on the agent's unix socket and, where configured, on a TCP port.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use crate::{
    failure::Failure,
    hosts::Hosts,
    page::{Pages, Rights},
    socket::Listening,
};

/// The most connections that one listener serves at once. For a newer one the oldest of those that have asked for nothing
/// is closed, else the oldest.
const CONNECTIONS: usize = 256;

/// The least time for which a connection is kept, so that its client has the time to ask. Newer ones wait until then.
const YOUNG: Duration = Duration::from_millis(250);

/// The time a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(5);

/// The time one connection may live.
const CONNECTION: Duration = Duration::from_secs(60);

/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// The connections of one listener, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<Served>,
}

struct Served {
    task: AbortHandle,
    since: Instant,
    asked: Asked,
}

/// A mark that a client has asked for something.
type Asked = Arc<AtomicBool>;

impl Connections {
    /// Waits until there is room for one more connection.
    async fn room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.order.retain(|served| !served.task.is_finished());
            if self.order.len() < CONNECTIONS {
                return;
            }
            let idle = |served: &Served| !served.asked.load(Ordering::Relaxed);
            let oldest = self.order.iter().position(idle).unwrap_or(0);
            let Some(served) = self.order.get(oldest) else {
                return;
            };
            let old = served.since + YOUNG;
            if old > now() {
                // Meanwhile it may end, or ask.
                tokio::time::sleep(PAUSE.min(old.saturating_duration_since(now()))).await;
            } else if let Some(oldest) = self.order.remove(oldest) {
                oldest.task.abort();
            }
        }
    }

    fn serve<C>(&mut self, connection: impl FnOnce(Asked) -> C)
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let asked = Asked::default();
        let task = self.tasks.spawn(connection(Arc::clone(&asked)));
        let since = now();
        self.order.push_back(Served { task, since, asked });
    }
}

/// Serves the own user on the agent's socket, until dropped.
pub(crate) async fn unix(listening: Listening, pages: Arc<Pages>) {
    let mut connections = Connections::default();
    loop {
        connections.room().await;
        match listening.accept().await {
            Ok(stream) => {
                let pages = Arc::clone(&pages);
                let hosts = Arc::default();
                connections.serve(|asked| connection(stream, pages, Rights::Owner, hosts, asked));
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Serves everyone who can connect and asks for one of these hosts, for reading only, until dropped.
pub(crate) async fn tcp(listener: TcpListener, pages: Arc<Pages>, hosts: Arc<Hosts>) {
    let mut connections = Connections::default();
    loop {
        connections.room().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                let hosts = Arc::clone(&hosts);
                connections.serve(|asked| connection(stream, pages, Rights::Reader, hosts, asked));
            }
            Err(error) => refused(&error).await,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: connections have an age"
)]
fn now() -> Instant {
    Instant::now()
}

/// Takes the port for metrics.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| Failure::with(format!("agent.metrics: {address}"), cause))
}

async fn refused(error: &io::Error) {
    tracing::warn!("a connection could not be accepted: {error}");
    tokio::time::sleep(PAUSE).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    pages: Arc<Pages>,
    rights: Rights,
    hosts: Arc<Hosts>,
    asked: Asked,
) {
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        answer(Arc::clone(&pages), rights, Arc::clone(&hosts), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION, served).await {
        tracing::debug!("a connection failed: {error}");
    }
}

async fn answer(
    pages: Arc<Pages>,
    rights: Rights,
    hosts: Arc<Hosts>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, _) = request.into_parts();
    let host = head.uri.authority().map(ToString::to_string);
    let host = host.or_else(|| {
        let header = head.headers.get(hyper::header::HOST)?;
        Some(String::from_utf8_lossy(header.as_bytes()).into_owned())
    });
    if rights == Rights::Reader && !hosts.allow(host.as_deref()) {
        let text = "this host is not served here; add it to agent.hosts\n";
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = hyper::StatusCode::MISDIRECTED_REQUEST;
        return Ok(response);
    }
    let page = pages.answer(rights, &head.method, head.uri.path(), head.uri.query());
    Ok(page.into_response())
}
