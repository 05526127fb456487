//! Following the keys API: list, then wait from the index of the listing.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use lb_core::{
    Cursor, Descriptor, Name, Sink, Source, SourceError, Update, credentials::hidden_in_value,
};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use super::answer::{Said, read};
use crate::{
    error::EtcdError,
    layout::{Change, Layout, LayoutConfig, Step, View},
};

/// The configuration of a source of the keys API of etcd 2.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdV2Config {
    /// The members as `http://host:port`. One is used at a time; when it fails, the next.
    pub endpoints: Vec<String>,
    /// The meanings of the keys. All keys of this API begin with a slash.
    pub layouts: Vec<LayoutConfig>,
    /// The longest silence of a healthy source. Default `15s`.
    #[serde(
        default = "default_liveness",
        deserialize_with = "lb_core::duration::deserialize"
    )]
    pub liveness: Duration,
    /// The largest answer that is taken, in bytes. Default 64 MiB.
    #[serde(default = "default_max_answer_bytes")]
    pub max_answer_bytes: usize,
}

impl EtcdV2Config {
    /// Follows these layouts on these members, with the defaults.
    #[must_use]
    pub fn new(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        layouts: impl Into<Vec<LayoutConfig>>,
    ) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            layouts: layouts.into(),
            liveness: default_liveness(),
            max_answer_bytes: default_max_answer_bytes(),
        }
    }
}

/// Follows the keys API of etcd 2, read-only. It has no transactions, so a batch is one key, or one directory gone.
#[derive(Debug)]
pub struct EtcdV2Source {
    name: Name,
    config: EtcdV2Config,
    endpoints: Vec<Uri>,
    next: usize,
    layout: Arc<Layout>,
    view: Option<View>,
    /// The cluster of the last listing, and how often its store was seen to go back.
    history: (Arc<str>, u32),
    /// The last index that was told.
    told: u64,
    /// The cursor of the last update that was sent, unless an attempt was cut since.
    reported: Option<Cursor>,
}

/// An answer whose body is still to come.
struct Head {
    cluster: Arc<str>,
    index: u64,
    body: Incoming,
    /// Drives the connection; ends with this value.
    _connection: tokio::task::JoinSet<()>,
}

impl EtcdV2Source {
    /// A source of this name. Connects to nobody yet.
    ///
    /// # Errors
    /// [`EtcdError`] names the setting or the rule of a layout that cannot work.
    pub fn new(name: Name, config: EtcdV2Config) -> Result<Self, EtcdError> {
        let invalid = |value: &str| EtcdError::Config {
            field: "endpoints",
            value: format!("{:?}", hidden_in_value(value)),
            expected: "http://host:port without a user, at least one",
        };
        let mut endpoints = Vec::new();
        for text in &config.endpoints {
            let uri: Uri = text.parse().map_err(|_| invalid(text))?;
            let has_user = uri
                .authority()
                .is_some_and(|all| all.as_str().contains('@'));
            if uri.scheme_str() != Some("http") || uri.port_u16().is_none() || has_user {
                return Err(invalid(text));
            }
            endpoints.push(uri);
        }
        if endpoints.is_empty() {
            return Err(invalid(""));
        }
        let layout = Layout::new(&config.layouts)?;
        if !layout.prefix().starts_with('/')
            || !layout.prefix().bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(EtcdError::Config {
                field: "layouts",
                value: format!("{:?}", layout.prefix()),
                expected: "keys that begin with a slash",
            });
        }
        Ok(Self {
            name,
            config,
            endpoints,
            next: 0,
            layout: Arc::new(layout),
            view: None,
            history: (Arc::default(), 0),
            told: 0,
            reported: None,
        })
    }

    async fn attempt(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let at = self.next % self.endpoints.len();
        let endpoint = self.endpoints.get(at).cloned().unwrap_or_default();
        let mut cursor = match resume {
            Some(cursor) if self.reported.as_ref() == Some(&cursor) && self.view.is_some() => {
                sink.send(Update::Resumed { at: cursor.clone() }).await?;
                cursor
            }
            _ => self.list(&endpoint, sink).await?,
        };
        loop {
            let third = self.config.liveness / 3;
            let query = format!("recursive=true&wait=true&waitIndex={}", cursor.revision + 1);
            let head = self.get(&endpoint, &query, third).await?;
            if head.cluster != self.history.0 {
                return Err(SourceError::CursorGone {
                    what: format!("another cluster answers at {endpoint}"),
                });
            }
            if head.index != 0 && head.index < cursor.revision {
                return Err(SourceError::CursorGone {
                    what: format!("the store at {endpoint} went back to index {}", head.index),
                });
            }
            let index = head.index;
            let body = Limited::new(head.body, self.config.max_answer_bytes).collect();
            let Ok(body) = timeout(third, body).await else {
                // Nothing of ours has happened up to the index at which the waiting began.
                cursor.revision = cursor.revision.max(index);
                self.report(&cursor, Update::Progress { at: cursor.clone() }, sink)
                    .await?;
                continue;
            };
            let body = body.map_err(|error| failed(&endpoint, &*error))?.to_bytes();
            if body.is_empty() {
                return Err(SourceError::transient(format!(
                    "{endpoint} ended the waiting"
                )));
            }
            match read(&body) {
                Said::Cleared => {
                    return Err(SourceError::CursorGone {
                        what: format!("the history since the cursor is gone, says {endpoint}"),
                    });
                }
                Said::Refused(what) => {
                    return Err(SourceError::transient(format!(
                        "{endpoint} answers: {what}"
                    )));
                }
                Said::Listing(_) => {
                    return Err(SourceError::transient(format!(
                        "{endpoint} answers a listing, expected a change"
                    )));
                }
                Said::Changed {
                    index,
                    change,
                    below,
                } => {
                    cursor.revision = cursor.revision.max(index);
                    self.tell(&cursor, change, below, sink).await?;
                }
            }
        }
    }

    async fn list(&mut self, endpoint: &Uri, sink: &Sink) -> Result<Cursor, SourceError> {
        let head = self
            .get(endpoint, "recursive=true&quorum=true", self.config.liveness)
            .await?;
        let body = Limited::new(head.body, self.config.max_answer_bytes).collect();
        let body = in_time(endpoint, self.config.liveness, body).await?;
        let body = body.map_err(|error| failed(endpoint, &*error))?.to_bytes();
        let changes = match read(&body) {
            Said::Listing(changes) => changes,
            Said::Refused(what) => {
                return Err(SourceError::transient(format!(
                    "{endpoint} answers: {what}"
                )));
            }
            Said::Cleared | Said::Changed { .. } => {
                return Err(SourceError::transient(format!(
                    "{endpoint} answers a change, expected a listing"
                )));
            }
        };
        let mut view = View::new(Arc::clone(&self.layout));
        view.load(changes, self.view.as_ref());
        let diagnostics = view.diagnostics();
        let cursor = Cursor::new(self.epoch(head.cluster, head.index), head.index);
        let records = view.records();
        self.view = Some(view);
        let reset = Update::Reset {
            at: cursor.clone(),
            records,
        };
        // Those told right before a reset stay.
        for diagnostic in diagnostics {
            sink.send(Update::Diagnostic(diagnostic)).await?;
        }
        self.report(&cursor, reset, sink).await?;
        Ok(cursor)
    }

    /// The epoch of a listing at this index: a store that went back counts anew.
    fn epoch(&mut self, cluster: Arc<str>, index: u64) -> Arc<str> {
        let (before, restored) = &mut self.history;
        if *before != cluster {
            (*before, *restored) = (cluster, 0);
        } else if index < self.told {
            *restored += 1;
        }
        self.told = index;
        match *restored {
            0 => Arc::clone(before),
            times => format!("{before}.{times}").into(),
        }
    }

    async fn tell(
        &mut self,
        cursor: &Cursor,
        change: Option<Change>,
        below: Option<String>,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        let Some(view) = &mut self.view else {
            return Ok(());
        };
        self.reported = None;
        let below = below
            .map(|below| view.keys_below(&below))
            .unwrap_or_default();
        let changes = below.into_iter().map(Change::delete).chain(change);
        let Step {
            set,
            remove,
            resolved,
            diagnostics,
        } = view.apply(changes.collect::<Vec<_>>());
        let update = if set.is_empty() && remove.is_empty() {
            Update::Progress { at: cursor.clone() }
        } else {
            Update::Batch {
                at: cursor.clone(),
                set,
                remove,
            }
        };
        self.report(cursor, update, sink).await?;
        for object in resolved {
            sink.send(Update::Resolved { object }).await?;
        }
        for diagnostic in diagnostics {
            sink.send(Update::Diagnostic(diagnostic)).await?;
        }
        Ok(())
    }

    /// A cut while sending leaves nothing reported, so that the next attempt lists.
    async fn report(
        &mut self,
        cursor: &Cursor,
        update: Update,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        self.reported = None;
        self.told = self.told.max(cursor.revision);
        sink.send(update).await?;
        self.reported = Some(cursor.clone());
        Ok(())
    }

    async fn get(&self, endpoint: &Uri, query: &str, limit: Duration) -> Result<Head, SourceError> {
        // A directory is asked for; its prefix may be more than that.
        let directory = self
            .layout
            .prefix()
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        let target = format!("/v2/keys{directory}/?{query}");
        let (Some(host), Some(port)) = (endpoint.host(), endpoint.port_u16()) else {
            return Err(SourceError::config(format!("{endpoint} is no endpoint")));
        };
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let request = Request::get(target)
            .header(header::HOST, format!("{host}:{port}"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(endpoint, &error))?;
        let asked = async {
            let stream = TcpStream::connect((bare, port))
                .await
                .map_err(|error| failed(endpoint, &error))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| failed(endpoint, &error))?;
            let mut driver = tokio::task::JoinSet::new();
            driver.spawn(async move { drop(connection.await) });
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| failed(endpoint, &error))?;
            Ok::<_, SourceError>((answer, driver))
        };
        let (answer, driver) = in_time(endpoint, limit, asked).await??;
        let header = |name: &str| {
            let value = answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Head {
            cluster: format!("v2-{}", header("X-Etcd-Cluster-Id")).into(),
            index: header("X-Etcd-Index").parse().unwrap_or_default(),
            body: answer.into_body(),
            _connection: driver,
        })
    }
}

#[async_trait]
impl Source for EtcdV2Source {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.name.clone(), "etcd-v2")
            .with_liveness(self.config.liveness)
            .with_resume()
            .with_trust(self.name.clone())
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let result = self.attempt(resume, sink).await;
        if matches!(result, Err(SourceError::Transient { .. })) {
            self.next = self.next.wrapping_add(1);
        }
        result
    }
}

async fn in_time<T>(
    endpoint: &Uri,
    limit: Duration,
    what: impl Future<Output = T>,
) -> Result<T, SourceError> {
    timeout(limit, what)
        .await
        .map_err(|_| SourceError::transient(format!("{endpoint} did not answer within {limit:?}")))
}

fn failed(endpoint: &Uri, error: &(dyn std::error::Error + 'static)) -> SourceError {
    SourceError::transient(format!(
        "{endpoint} failed: {}",
        crate::client::chain(error)
    ))
}

fn default_liveness() -> Duration {
    Duration::from_secs(15)
}

fn default_max_answer_bytes() -> usize {
    64 * 1024 * 1024
}
