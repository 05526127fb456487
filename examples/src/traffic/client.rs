//! A user's side of a request: no retry, nothing forgiven.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::{http1, http2},
    header::{COOKIE, HeaderValue, SET_COOKIE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lb_core::Name;
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::{
    content::Ask,
    expected::{Expected, Question},
    raw,
    server::{ENDPOINT_HEADER, SERVICE_HEADER},
};

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 from the first byte, without negotiation.
    Http2,
    /// One line `SERVICE PATH` over TCP; the answer is a line `ADDRESS SERVICE LENGTH` and a body.
    Raw,
}

/// One user of one service: connects to its frontend and checks every byte of every answer.
#[derive(Debug)]
pub struct Client {
    service: Name,
    frontend: SocketAddr,
    protocol: Protocol,
    connection: Option<Connection>,
    /// The cookie that it was given, to be shown from now on.
    cookie: Option<HeaderValue>,
    /// Its number among all users of this process.
    number: u64,
}

/// The header in which a client says who it is.
pub const USER_HEADER: &str = "x-user";

static USERS: AtomicU64 = AtomicU64::new(0);

/// A whole and right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address that says it answered.
    pub endpoint: SocketAddr,
    /// The number of bytes the body had.
    pub length: u64,
}

/// Why a request was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The frontend refused, or the connection broke before the answer began.
    #[error("no answer")]
    Connection(#[source] io::Error),
    /// The HTTP conversation broke, before the answer or within it.
    #[error("the conversation broke")]
    Http(#[source] hyper::Error),
    /// Another status than 200, such as HAProxy's own 503.
    #[error("status {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer does not name an endpoint and the service that was asked.
    #[error("the answer is of service {service:?} at {endpoint:?}")]
    Identity {
        /// The endpoint as the answer names it.
        endpoint: String,
        /// The service as the answer names it.
        service: String,
    },
    /// The body is not what was asked for.
    #[error("the body is wrong after {right} bytes of {expected}")]
    Body {
        /// The number of bytes that were right.
        right: u64,
        /// The number of bytes there should have been.
        expected: u64,
    },
    /// Nothing, or not everything, came in time.
    #[error("not answered within {limit:?}")]
    Timeout {
        /// The limit.
        limit: Duration,
    },
}

enum Connection {
    Http1 {
        sender: http1::SendRequest<Empty<Bytes>>,
        _driver: Background,
    },
    Http2 {
        sender: http2::SendRequest<Empty<Bytes>>,
        _driver: Background,
    },
    Raw(BufReader<TcpStream>),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http1 { .. } => "Http1",
            Self::Http2 { .. } => "Http2",
            Self::Raw(_) => "Raw",
        })
    }
}

/// The task that drives a connection; it ends with its owner.
#[derive(Debug)]
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A user of `service`, whose frontend is at `frontend`. Connects at the first request.
    #[must_use]
    pub fn new(service: Name, frontend: SocketAddr, protocol: Protocol) -> Self {
        Self {
            service,
            frontend,
            protocol,
            connection: None,
            cookie: None,
            number: USERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The service it uses.
    #[must_use]
    pub fn service(&self) -> &Name {
        &self.service
    }

    /// Closes the connection: the next request makes a new one.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// One request, over the kept connection where there is one that is still open.
    ///
    /// # Errors
    /// [`Loss`] for anything but a whole and right answer within `limit`. The connection is then closed.
    pub async fn get(&mut self, ask: Ask, limit: Duration) -> Result<Answer, Loss> {
        self.get_telling(ask, limit, |_| {}).await
    }

    /// The same; `begun` is told who answers as soon as the answer begins.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn get_telling(
        &mut self,
        ask: Ask,
        limit: Duration,
        begun: impl FnOnce(SocketAddr) + Send,
    ) -> Result<Answer, Loss> {
        let result = timeout(limit, self.attempt(ask, begun))
            .await
            .unwrap_or(Err(Loss::Timeout { limit }));
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn attempt(
        &mut self,
        ask: Ask,
        begun: impl FnOnce(SocketAddr) + Send,
    ) -> Result<Answer, Loss> {
        let question = Question {
            service: self.service.as_str(),
            ask,
            begun,
        };
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(self.frontend, self.protocol).await?,
        };
        let answer = connection
            .ask(self.frontend, self.number, &mut self.cookie, question)
            .await;
        self.connection = Some(connection);
        answer
    }
}

impl Connection {
    async fn open(frontend: SocketAddr, protocol: Protocol) -> Result<Self, Loss> {
        let stream = TcpStream::connect(frontend)
            .await
            .map_err(Loss::Connection)?;
        stream.set_nodelay(true).map_err(Loss::Connection)?;
        match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(Loss::Http)?;
                // How the conversation ends is told to whoever waits for an answer.
                let background = tokio::spawn(async move { drop(driver.await) });
                Ok(Self::Http1 {
                    sender,
                    _driver: Background(background),
                })
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(Loss::Http)?;
                let background = tokio::spawn(async move { drop(driver.await) });
                Ok(Self::Http2 {
                    sender,
                    _driver: Background(background),
                })
            }
            Protocol::Raw => Ok(Self::Raw(BufReader::new(stream))),
        }
    }

    /// Returns `true` if a request can be sent: a user agent notices a connection that was closed while it was idle.
    fn is_open(&self) -> bool {
        match self {
            Self::Http1 { sender, .. } => !sender.is_closed(),
            Self::Http2 { sender, .. } => !sender.is_closed(),
            Self::Raw(stream) => {
                let mut none = [0];
                let closed = stream.get_ref().try_read(&mut none);
                matches!(closed, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
        }
    }

    async fn ask<F: FnOnce(SocketAddr)>(
        &mut self,
        frontend: SocketAddr,
        number: u64,
        cookie: &mut Option<HeaderValue>,
        question: Question<'_, F>,
    ) -> Result<Answer, Loss> {
        let Question { service, ask, .. } = question;
        let request = |uri| request(uri, service, frontend, number, cookie.as_ref());
        let response = match self {
            Self::Http1 { sender, .. } => {
                sender.ready().await.map_err(Loss::Http)?;
                let request = request(ask.to_string())?;
                sender.send_request(request).await
            }
            Self::Http2 { sender, .. } => {
                sender.ready().await.map_err(Loss::Http)?;
                let request = request(format!("http://{frontend}{ask}"))?;
                sender.send_request(request).await
            }
            Self::Raw(stream) => return raw_exchange(stream, question).await,
        };
        let response = response.map_err(Loss::Http)?;
        if let Some(given) = given_cookie(&response) {
            *cookie = Some(given);
        }
        check(response, question).await
    }
}

fn request(
    uri: String,
    service: &str,
    frontend: SocketAddr,
    number: u64,
    cookie: Option<&HeaderValue>,
) -> Result<Request<Empty<Bytes>>, Loss> {
    let mut request = Request::builder()
        .uri(uri)
        .header("host", frontend.to_string())
        .header(SERVICE_HEADER, service)
        .header(USER_HEADER, number);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    request
        .body(Empty::new())
        .map_err(|error| Loss::Connection(io::Error::other(error)))
}

/// `NAME=VALUE` of the cookie that the answer sets.
fn given_cookie(response: &Response<Incoming>) -> Option<HeaderValue> {
    let cookie = response.headers().get(SET_COOKIE)?.to_str().ok()?;
    let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
    HeaderValue::from_str(pair).ok()
}

async fn check<F: FnOnce(SocketAddr)>(
    response: Response<Incoming>,
    question: Question<'_, F>,
) -> Result<Answer, Loss> {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(Loss::Status {
            status: head.status,
        });
    }
    let text = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let mut expected = Expected::new(text(ENDPOINT_HEADER), text(SERVICE_HEADER), question)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Loss::Http)?.into_data() {
            expected.take(&data)?;
        }
    }
    expected.end()
}

async fn raw_exchange<F: FnOnce(SocketAddr)>(
    stream: &mut BufReader<TcpStream>,
    question: Question<'_, F>,
) -> Result<Answer, Loss> {
    let Some(head) = raw::ask(stream, question.service, question.ask)
        .await
        .map_err(Loss::Connection)?
    else {
        return Err(Loss::Connection(io::ErrorKind::UnexpectedEof.into()));
    };
    let mut expected = Expected::new(&head.endpoint.to_string(), &head.service, question)?;
    let mut buffer = [0; 4096];
    let mut left = head.length;
    while left > 0 {
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let (part, _) = buffer.split_at_mut(room);
        let read = stream.read(part).await.map_err(Loss::Connection)?;
        if read == 0 {
            break;
        }
        expected.take(part.split_at(read).0)?;
        left -= read as u64;
    }
    expected.end()
}
