//! Serves HTTP/1 on the agent's unix socket and, where configured, on a TCP port.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};

use crate::{
    failure::Failure,
    page::{Pages, Rights},
    socket::Listening,
};

/// How many connections one listener serves at once; more wait to be accepted.
const CONNECTIONS: usize = 32;

/// How long a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(5);

/// How long one connection may live.
const CONNECTION: Duration = Duration::from_secs(60);

/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the own user on the agent's socket, until dropped.
pub(crate) async fn unix(listening: Listening, pages: Arc<Pages>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listening.accept().await {
            Ok(stream) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    connection(stream, pages, Rights::Owner).await;
                    drop(permit);
                });
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Serves everyone who can connect, for reading only, until dropped.
pub(crate) async fn tcp(listener: TcpListener, pages: Arc<Pages>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    connection(stream, pages, Rights::Reader).await;
                    drop(permit);
                });
            }
            Err(error) => refused(&error).await,
        }
    }
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
) {
    let service = service_fn(move |request| answer(Arc::clone(&pages), rights, request));
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
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, _) = request.into_parts();
    let page = pages.answer(rights, &head.method, head.uri.path(), head.uri.query());
    Ok(page.into_response())
}
