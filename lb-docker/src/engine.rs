//! One engine: its few questions and answers, each with a deadline and a bound. Never a write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::de::{DeserializeOwned, Error as _};
use tokio::time::timeout;

use crate::{
    api::{Listing, take_in},
    config::ConnectionConfig,
    connection::{Address, resolve},
    error::EngineError,
    pieces::{Elements, Lines, MAX_OBJECT, NoArray},
    refresh::Event,
    surroundings::Here,
};

/// A way to one engine.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    docker: Docker,
    address: Arc<Address>,
    name: Arc<str>,
    limit: Duration,
    /// Counts what the engine has said.
    moved: Arc<AtomicU64>,
}

impl Engine {
    /// Decides which engine is meant; nothing is sent yet.
    pub(crate) fn new(config: &ConnectionConfig) -> Result<Self, EngineError> {
        let address = resolve(config, &Here)?;
        let limit = config.answer_time();
        let name: Arc<str> = address.to_string().into();
        let docker =
            client(&address, limit).map_err(|cause| cause.unwrap_or_settings(&name, limit))?;
        Ok(Self {
            docker,
            address: Arc::new(address),
            name,
            limit,
            moved: Arc::default(),
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for `path` and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let text = self.get_bytes(path, MAX_OBJECT).await?;
        serde_json::from_slice(&text).map_err(|cause| unreadable(path, cause))
    }

    /// Asks for a list; what cannot be read of it comes apart, with ids.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Listing<T>, EngineError> {
        self.list_some(path, Some).await
    }

    /// Asks for a list, of which only what `wanted` makes of its objects is kept. One object at a time is in memory.
    pub(crate) async fn list_some<T: DeserializeOwned, K>(
        &self,
        path: &str,
        wanted: impl FnMut(T) -> Option<K>,
    ) -> Result<Listing<K>, EngineError> {
        self.list_seen(path, wanted, |_| ()).await
    }

    /// The same; `seen` is shown the bytes of the answer.
    pub(crate) async fn list_seen<T: DeserializeOwned, K>(
        &self,
        path: &str,
        mut wanted: impl FnMut(T) -> Option<K>,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Listing<K>, EngineError> {
        let mut elements = Elements::new(MAX_OBJECT);
        let mut listing = Listing::default();
        let read = self.read(path, |bytes| {
            seen(bytes);
            let fed = elements.feed(bytes, |piece| take_in(&mut listing, piece, &mut wanted));
            match fed {
                Ok(()) if listing.0.len() <= MAX_OBJECTS => Ok(()),
                Ok(()) => Err(EngineError::TooLarge {
                    endpoint: endpoint(path),
                    most: format!("{MAX_OBJECTS} objects"),
                }),
                Err(cause) => Err(unreadable(path, serde_json::Error::custom(cause))),
            }
        });
        read.await?;
        match elements.is_whole() {
            true => Ok(listing),
            false => Err(unreadable(path, serde_json::Error::custom(NoArray))),
        }
    }

    /// Asks for `path`, of whose answer nothing is kept.
    pub(crate) async fn answers(&self, path: &str) -> Result<(), EngineError> {
        self.read(path, |_| Ok(())).await
    }

    /// Asks for `path`, whose answer has at most so many bytes.
    pub(crate) async fn get_bytes(&self, path: &str, most: usize) -> Result<Vec<u8>, EngineError> {
        let mut all = Vec::new();
        let read = self.read(path, |bytes| {
            if all.len() + bytes.len() > most {
                return Err(EngineError::TooLarge {
                    endpoint: endpoint(path),
                    most: format!("{most} bytes"),
                });
            }
            all.extend_from_slice(bytes);
            Ok(())
        });
        read.await?;
        Ok(all)
    }

    /// Asks for `path` and takes its answer in as it comes. While bytes come, an answer may take longer than the limit,
    /// but not for ever.
    async fn read(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let whole = async {
            let mut answer = std::pin::pin!(self.stream(path));
            loop {
                let next = timeout(self.limit, answer.next()).await;
                match next.map_err(|_| self.late(path, self.limit))? {
                    Some(bytes) => take(&bytes?)?,
                    None => return Ok(()),
                }
            }
        };
        let longest = self.limit.saturating_mul(LONGEST_ANSWER);
        match timeout(longest, whole).await {
            Ok(read) => read,
            Err(_) => Err(self.late(path, longest)),
        }
    }

    fn late(&self, path: &str, limit: Duration) -> EngineError {
        EngineError::Timeout {
            endpoint: endpoint(path),
            limit,
        }
    }

    /// Asks for `path`: the bytes of its answer. The client's own calls demand that an answer's every field and state is
    /// one that it knows, leave out some that we need, and hold answers of any size in memory; so its plainest call that
    /// passes bytes on is sent to another path.
    fn stream(&self, path: &str) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        let wanted = path.to_owned();
        let docker = self
            .docker
            .clone()
            .with_request_modifier(move |mut request| {
                let mut parts = request.uri().clone().into_parts();
                parts.path_and_query = wanted.parse().ok();
                if let Ok(uri) = parts.try_into() {
                    *request.uri_mut() = uri;
                }
                request
            });
        let (name, limit, endpoint) = (Arc::clone(&self.name), self.limit, endpoint(path));
        let counts = u64::from(path != PING);
        let moved = Arc::clone(&self.moved);
        docker.export_container("lb").map(move |bytes| {
            moved.fetch_add(counts, Ordering::Relaxed);
            bytes.map_err(|cause| EngineError::new(&endpoint, &name, limit, cause))
        })
    }

    /// Counts what the engine has said, other than to pings.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Asks whether the engine still answers.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), EngineError> {
        match timeout(limit, self.get_bytes(PING, MAX_OBJECT)).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(self.late(PING, limit)),
        }
    }

    /// Follows the engine's events of these types and actions, from `since` (seconds, with a fraction) on.
    pub(crate) fn events(
        &self,
        since: Option<String>,
        types: &[&str],
        actions: &[&str],
    ) -> impl Stream<Item = Result<Event, EngineError>> + Send + use<> {
        let mut filters = serde_json::Map::new();
        filters.insert("type".to_owned(), types.into());
        if !actions.is_empty() {
            filters.insert("event".to_owned(), actions.into());
        }
        let filters = encoded(&serde_json::Value::from(filters).to_string());
        let since = since.map(|since| format!("since={}&", encoded(&since)));
        let path = format!("/events?{}filters={filters}", since.unwrap_or_default());
        let mut lines = Lines::new(MAX_OBJECT);
        self.stream(&path)
            .map(move |bytes| {
                let mut events = Vec::new();
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(error) => return stream::iter(vec![Err(error)]),
                };
                lines.feed(&bytes, |piece| events.extend(Event::read(piece).map(Ok)));
                stream::iter(events)
            })
            .flatten()
    }
}

/// The endpoint that is asked, without its parameters: errors name it.
fn endpoint(path: &str) -> String {
    format!("GET {}", path.split('?').next().unwrap_or(path))
}

fn unreadable(path: &str, cause: serde_json::Error) -> EngineError {
    EngineError::Answer {
        endpoint: endpoint(path),
        cause,
    }
}

/// `text` as part of a path or parameter.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            all.push(char::from(byte));
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
        all
    })
}

enum ClientError {
    Client(bollard::errors::Error),
    #[cfg_attr(
        all(feature = "ssh", feature = "tls"),
        expect(dead_code, reason = "every way is compiled in")
    )]
    Missing(&'static str),
}

impl ClientError {
    fn unwrap_or_settings(self, name: &str, limit: Duration) -> EngineError {
        use bollard::errors::Error;
        match self {
            Self::Client(error @ Error::SocketNotFoundError(_)) => {
                EngineError::new("connecting", name, limit, error)
            }
            Self::Client(error) => EngineError::Settings {
                what: format!("{name}: {error}"),
            },
            Self::Missing(feature) => EngineError::Settings {
                what: format!("{name}: this program was built without the feature {feature:?}"),
            },
        }
    }
}

fn client(address: &Address, limit: Duration) -> Result<Docker, ClientError> {
    let seconds = limit.as_secs().max(1);
    match address {
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
        }
        Address::Tcp(authority) => {
            Docker::connect_with_http(authority, seconds, API_DEFAULT_VERSION)
        }
        #[cfg(feature = "tls")]
        Address::Tls {
            authority,
            ca,
            cert,
            key,
        } => {
            // Fails when the program has chosen one already, which is then used.
            let _chosen = rustls::crypto::ring::default_provider().install_default();
            Docker::connect_with_ssl(authority, key, cert, ca, seconds, API_DEFAULT_VERSION)
        }
        #[cfg(not(feature = "tls"))]
        Address::Tls { .. } => return Err(ClientError::Missing("tls")),
        #[cfg(feature = "ssh")]
        Address::Ssh(url) => Docker::connect_with_ssh(url, seconds, API_DEFAULT_VERSION, None),
        #[cfg(not(feature = "ssh"))]
        Address::Ssh(_) => return Err(ClientError::Missing("ssh")),
    }
    .map_err(ClientError::Client)
}

/// By this it is asked whether the engine answers.
const PING: &str = "/_ping";
/// The most objects of one list.
const MAX_OBJECTS: usize = 100_000;
/// The number of times that an answer may take the limit while its bytes come in.
const LONGEST_ANSWER: u32 = 6;
