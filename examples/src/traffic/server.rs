//! An endpoint that says who it is, and tells the oracle who asked.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{content::Ask, download::Download, oracle::Oracle, raw};

/// The header in which a client says what service it asks.
pub const SERVICE_HEADER: &str = "x-service";
/// The header in which an endpoint says who it is.
pub const ENDPOINT_HEADER: &str = "x-endpoint";

/// A server at one loopback address. Every answer carries that address, and every request is told to the oracle.
///
/// Dropping it stops it abruptly.
pub struct IdentityServer {
    shared: Arc<Shared>,
    running: Option<Running>,
}

/// The protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speaks {
    /// HTTP/1.1, and HTTP/2 to clients that begin with it.
    #[default]
    Http,
    /// Lines over TCP: see [`Client`](super::Client).
    Raw,
}

pub(super) struct Shared {
    pub(super) address: SocketAddr,
    /// The address as text: body and header of the answers.
    pub(super) identity: Bytes,
    pub(super) oracle: Arc<Oracle>,
    speaks: Speaks,
    requests: AtomicU64,
}

struct Running {
    phase: watch::Sender<Phase>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// No new connection; what runs may end.
    Leaving,
    /// All connections are cut.
    Dying,
}

/// More connections than this wait to be accepted.
const CONNECTIONS: usize = 4096;

impl IdentityServer {
    /// Serves HTTP at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Fails if the address cannot be bound.
    pub async fn start(address: SocketAddr, oracle: Arc<Oracle>) -> io::Result<Self> {
        Self::start_speaking(Speaks::Http, address, oracle).await
    }

    /// Serves at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Fails if the address cannot be bound.
    pub async fn start_speaking(
        speaks: Speaks,
        address: SocketAddr,
        oracle: Arc<Oracle>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            address,
            identity: Bytes::from(address.to_string()),
            oracle,
            speaks,
            requests: AtomicU64::new(0),
        });
        let running = Some(Running::begin(listener, &shared));
        Ok(Self { shared, running })
    }

    /// The address at which it serves, also while it is stopped.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The number of requests for some service that have arrived since it was first started.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Returns `true` if it serves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Dies: the port refuses and all connections are cut when this returns.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.phase.send_replace(Phase::Dying);
            let _ended = running.listening.await;
        }
    }

    /// Leaves: the port refuses, and requests in flight may end within `limit`. Gives whether all did.
    pub async fn leave(&mut self, limit: Duration) -> bool {
        let Some(mut running) = self.running.take() else {
            return true;
        };
        running.phase.send_replace(Phase::Leaving);
        let ended = timeout(limit, &mut running.listening).await.is_ok();
        if !ended {
            running.listening.abort();
            let _ended = running.listening.await;
        }
        ended
    }

    /// Serves again at the same address. Does nothing while it serves.
    ///
    /// # Errors
    /// Fails if another program has bound the address.
    pub async fn restart(&mut self) -> io::Result<()> {
        if self.running.is_none() {
            let listener = TcpListener::bind(self.shared.address).await?;
            self.running = Some(Running::begin(listener, &self.shared));
        }
        Ok(())
    }
}

impl Drop for IdentityServer {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.listening.abort();
        }
    }
}

impl fmt::Debug for IdentityServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityServer")
            .field("address", &self.shared.address)
            .field("running", &self.is_running())
            .field("requests", &self.requests())
            .finish()
    }
}

impl Shared {
    /// Tells the oracle of a request.
    pub(super) fn arrived(&self, service: Option<&str>) {
        match service {
            Some(service) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                self.oracle.arrived(self.address, service);
            }
            None => self.oracle.arrived_unclaimed(),
        }
    }
}

impl Running {
    fn begin(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        let (phase, phases) = watch::channel(Phase::Serving);
        let listening = tokio::spawn(listen(listener, Arc::clone(shared), phases));
        Self { phase, listening }
    }
}

/// Accepts until told to leave, then waits for what runs. Aborting it cuts every connection.
async fn listen(listener: TcpListener, shared: Arc<Shared>, mut phases: watch::Receiver<Phase>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                // A failed accept concerns one connection, or passes: the client sees what became of it.
                if let Ok((stream, _)) = accepted {
                    let _best_effort = stream.set_nodelay(true);
                    connections.spawn(converse(stream, Arc::clone(&shared), phases.clone()));
                } else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Some(_) = connections.join_next() => {}
            _ = phases.changed() => break,
        }
    }
    drop(listener);
    let dies = async {
        let _ended = phases.wait_for(|phase| *phase == Phase::Dying).await;
    };
    tokio::select! {
        () = dies => connections.shutdown().await,
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>, mut phases: watch::Receiver<Phase>) {
    if shared.speaks == Speaks::Raw {
        return raw::answer(stream, &shared).await;
    }
    let builder = auto::Builder::new(TokioExecutor::new());
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut serving = true;
    loop {
        tokio::select! {
            // A connection that ends in an error is the client's to report.
            _ = connection.as_mut() => return,
            _ = phases.changed(), if serving => {
                if *phases.borrow() == Phase::Dying {
                    return;
                }
                serving = false;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Either<Full<Bytes>, Download>>, Infallible> {
    let service = request.headers().get(SERVICE_HEADER);
    shared.arrived(service.and_then(|value| value.to_str().ok()));
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let identity = || Either::Left(Full::new(shared.identity.clone()));
    let mut response = match Ask::parse(path) {
        Some(Ask::Identity) => Response::new(identity()),
        Some(Ask::Slow(time)) => {
            tokio::time::sleep(time).await;
            Response::new(identity())
        }
        Some(ask @ Ask::Download(_)) => Response::new(Either::Right(Download::new(ask))),
        None => {
            let mut response = Response::new(identity());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    if let Ok(identity) = HeaderValue::from_maybe_shared(shared.identity.clone()) {
        response.headers_mut().insert(ENDPOINT_HEADER, identity);
    }
    if let Some(service) = service {
        response
            .headers_mut()
            .insert(SERVICE_HEADER, service.clone());
    }
    Ok(response)
}
