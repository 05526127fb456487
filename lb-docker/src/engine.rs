//! One engine: its few questions and answers, each with a deadline. Never a write.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::EventsOptions};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    api::{self, Listing},
    config::ConnectionConfig,
    connection::{Address, resolve},
    error::EngineError,
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
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for `path` and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let text = self.get_text(path).await?;
        serde_json::from_str(&text).map_err(|cause| EngineError::Answer {
            endpoint: endpoint(path),
            cause,
        })
    }

    /// Asks for a list; what cannot be read of it comes apart, with ids.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Listing<T>, EngineError> {
        let text = self.get_text(path).await?;
        api::list(&text).map_err(|cause| EngineError::Answer {
            endpoint: endpoint(path),
            cause,
        })
    }

    /// Asks for `path`. The client's own calls demand that an answer's every field and state is one that it
    /// knows, and leave out some that we need; so its plainest call is sent to another path.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, EngineError> {
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
        self.within(self.limit, &endpoint(path), docker.ping())
            .await
    }

    /// Asks whether the engine still answers.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), EngineError> {
        self.within(limit, "GET /_ping", self.docker.ping()).await?;
        Ok(())
    }

    /// Follows the engine's events of these types and actions, from `since` (seconds, with a fraction) on.
    pub(crate) fn events(
        &self,
        since: Option<String>,
        types: &[&str],
        actions: &[&str],
    ) -> impl Stream<Item = Result<Event, EngineError>> + Send + use<> {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let mut filters: HashMap<String, Vec<String>> = HashMap::new();
        filters.insert("type".to_owned(), list(types));
        if !actions.is_empty() {
            filters.insert("event".to_owned(), list(actions));
        }
        let options = EventsOptions {
            since,
            until: None,
            filters: Some(filters),
        };
        let (name, limit) = (Arc::clone(&self.name), self.limit);
        self.docker
            .events(Some(options))
            .filter_map(move |message| {
                let event = match message {
                    Ok(message) => Event::from_message(message).map(Ok),
                    Err(cause) => Some(Err(EngineError::new("GET /events", &name, limit, cause))),
                };
                std::future::ready(event)
            })
    }

    async fn within<T>(
        &self,
        limit: Duration,
        endpoint: &str,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match timeout(limit, call).await {
            Ok(answer) => {
                answer.map_err(|cause| EngineError::new(endpoint, &self.name, limit, cause))
            }
            Err(_) => Err(EngineError::Timeout {
                endpoint: endpoint.to_owned(),
                limit,
            }),
        }
    }
}

/// What is asked, without its parameters: errors name it.
fn endpoint(path: &str) -> String {
    format!("GET {}", path.split('?').next().unwrap_or(path))
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
