//! The source: list at a revision, watch from the next.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lb_core::{Cursor, Descriptor, Diagnostic, Name, Severity, Sink, Source, SourceError, Update};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    client::{Connector, Session, Stream, progress_is_ordered, wire},
    config::EtcdConfig,
    error::EtcdError,
    layout::{Layout, Step, View},
    listing,
    pager::Pager,
    patience::{Fruitless, PROGRESS_REQUESTS, Patience, Wait},
    progress::{Ended, Follower, Position, Relist, Told, may_resume},
    status::EtcdStatusReader,
};

/// Follows keys of an etcd cluster.
///
/// ```no_run
/// use lb_etcd::{EtcdConfig, EtcdSource, layout::LayoutConfig};
///
/// let confd = LayoutConfig::Confd { prefix: "/proxy".into(), service: None };
/// let config = EtcdConfig::new(["http://127.0.0.1:2379"]).with_layouts([confd]);
/// let source = EtcdSource::new("etcd".parse()?, config)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Cursors have the cluster's number as epoch and etcd's revision as revision. A revision is told as one batch.
#[derive(Debug)]
pub struct EtcdSource {
    name: Name,
    config: EtcdConfig,
    connector: Connector,
    layout: Arc<Layout>,
    /// The records reported so far; `None` before the first listing.
    told: Option<Telling>,
    /// The reason to list at the next attempt, whatever the cursor.
    relist: Option<Relist>,
    fruitless: Fruitless,
    pager: Pager,
    status: EtcdStatusReader,
}

/// The records reported, and the place where the history goes on.
#[derive(Debug)]
struct Telling {
    view: View,
    position: Position,
    /// The cursor of the last update that was sent.
    reported: Cursor,
    /// If `true`, the view is ahead of what was sent: an attempt was cut in between.
    torn: bool,
}

impl EtcdSource {
    /// A source of this name. Connects to nobody yet.
    ///
    /// # Errors
    /// [`EtcdError`] names the setting or the rule of a layout that cannot work.
    pub fn new(name: Name, config: EtcdConfig) -> Result<Self, EtcdError> {
        let connector = Connector::new(config.connection.clone())?;
        let layout = Arc::new(Layout::new(&config.layouts)?);
        if config.liveness < Duration::from_millis(100) {
            return Err(EtcdError::Config {
                field: "liveness",
                value: format!("{:?}", config.liveness),
                expected: "100ms or more",
            });
        }
        if config.page_keys == 0 {
            return Err(EtcdError::Config {
                field: "page_keys",
                value: "0".to_owned(),
                expected: "1 or more",
            });
        }
        let pager = Pager::new(config.page_keys);
        Ok(Self {
            name,
            config,
            connector,
            layout,
            told: None,
            relist: None,
            fruitless: Fruitless::default(),
            pager,
            status: EtcdStatusReader::default(),
        })
    }

    /// Reads the source's state, also while a control plane owns the source.
    #[must_use]
    pub fn status(&self) -> EtcdStatusReader {
        self.status.clone()
    }

    async fn attempt(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let session = self.connector.open().await?;
        self.status.change(|status| {
            status.endpoint = Some(Arc::clone(session.endpoint()));
            session.version().clone_into(&mut status.version);
        });
        let result = match self.begin(&session, resume, sink).await {
            Ok(()) => self.follow(&session, sink).await,
            Err(error) => Err(error),
        };
        if matches!(
            &result,
            Err(SourceError::Transient { .. } | SourceError::Denied { .. })
        ) {
            self.connector.distrust();
        }
        result
    }

    /// Resumes where that is possible, else lists everything.
    async fn begin(
        &mut self,
        session: &Session,
        resume: Option<Cursor>,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        let why = match self.resumable(session, resume.as_ref()).await? {
            Ok(at) => {
                self.status.change(|status| status.resumes += 1);
                sink.send(Update::Resumed { at }).await?;
                return Ok(());
            }
            Err(why) => why,
        };
        let known = self.told.as_ref().map(|telling| &telling.view);
        let (config, layout, pager) = (&self.config, &self.layout, &mut self.pager);
        let mut listed = listing::list(session, config, layout, known, pager, sink).await?;
        self.relist = None;
        self.fruitless.progressed();
        let before = self.told.as_ref().map(|telling| &telling.position);
        let why = why.in_hindsight(before, &listed.position);
        if let Some(before) = before {
            listed.position = listed.position.after(before, &why);
        }
        let at = listed.position.cursor(listed.position.revision);
        if why != Relist::First {
            tracing::warn!(source = %self.name, endpoint = %session.endpoint(), %why, "listed all keys again");
        }
        let records = listed.view.records();
        self.status.change(|status| {
            status.cluster = Arc::clone(&listed.position.cluster);
            status.applied_revision = listed.position.revision;
            status.server_revision = listed.position.revision;
            status.keys = listed.view.key_count();
            status.records = records.len();
            status.listings += 1;
            status.last_listing = Some(why.to_string());
        });
        let telling = self.told.insert(Telling {
            view: listed.view,
            position: listed.position,
            reported: at.clone(),
            torn: true,
        });
        let in_clear = self
            .connector
            .password_in_clear()
            .map(|endpoint| Diagnostic {
                object: "connection".to_owned(),
                field: Some("auth".to_owned()),
                value: Some(endpoint.to_owned()),
                message: "the password is sent unencrypted, expected https".to_owned(),
                severity: Severity::Warning,
            });
        // Those told right before a reset stay.
        for diagnostic in in_clear.into_iter().chain(telling.view.diagnostics()) {
            sink.send(Update::Diagnostic(diagnostic)).await?;
        }
        sink.send(Update::Reset { at, records }).await?;
        telling.torn = false;
        Ok(())
    }

    /// The cursor, if the watch can go on from what has been told up to it; else why not.
    async fn resumable(
        &self,
        session: &Session,
        resume: Option<&Cursor>,
    ) -> Result<Result<Cursor, Relist>, SourceError> {
        if let Some(why) = &self.relist {
            return Ok(Err(why.clone()));
        }
        let (Some(cursor), Some(telling)) = (resume, &self.told) else {
            return Ok(Err(Relist::First));
        };
        if telling.torn || telling.reported != *cursor {
            return Ok(Err(Relist::First));
        }
        let position = &telling.position;
        let revision = position.revision;
        if self.fruitless.must_list(revision) {
            return Ok(Err(Relist::Stalled { revision }));
        }
        let prefix = self.layout.prefix();
        let witness = position.witness.as_ref();
        let probe = wire::RangeRequest {
            key: witness.map_or_else(
                || listing::range_start(prefix),
                |witness| witness.key.clone(),
            ),
            limit: 1,
            revision: i64::try_from(position.revision).unwrap_or_default(),
            count_only: witness.is_none(),
            ..wire::RangeRequest::default()
        };
        match session.range(probe).await {
            Ok(answer) => Ok(may_resume(position, &answer).map(|()| cursor.clone())),
            Err(EtcdError::Compacted { .. }) => Ok(Err(Relist::Compacted)),
            Err(EtcdError::TooLarge { .. }) => Ok(Err(Relist::TooLarge { revision })),
            Err(EtcdError::Call { message, .. }) if message.contains("future revision") => {
                Ok(Err(Relist::Restored {
                    before: position.revision,
                    now: None,
                }))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn follow(&mut self, session: &Session, sink: &Sink) -> Result<(), SourceError> {
        let Some(telling) = &mut self.told else {
            return Err(SourceError::transient("nothing was listed"));
        };
        let liveness = self.config.liveness;
        let (key, range_end) = listing::range(self.layout.prefix());
        let create = wire::WatchCreateRequest {
            key,
            range_end,
            start_revision: i64::try_from(telling.position.revision + 1).unwrap_or(i64::MAX),
            progress_notify: true,
            // etcd cuts small events into fragments in a time that grows with their number squared: minutes for what
            // it sends whole at once. What is too large to be taken whole is listed.
            fragment: false,
        };
        self.fruitless.begin();
        let mut waits = true;
        let mut stream = session.watch(create).await?;
        let mut follower = Follower::new(
            telling.position.clone(),
            progress_is_ordered(session.version()),
            self.config.connection.max_message_bytes,
        );
        let period = liveness / PROGRESS_REQUESTS;
        let mut ticks = interval_at(next(period), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut patience = Patience::default();

        loop {
            let revision = telling.position.revision;
            let answer = tokio::select! {
                answer = stream.next() => answer,
                _ = ticks.tick() => {
                    if waits {
                        self.fruitless.waited(revision);
                    }
                    match patience.waited(stream.pulse().bytes()) {
                        Wait::Quiet => ask_for_progress(&stream),
                        Wait::Receiving => {
                            let at = telling.reported.clone();
                            sink.send(Update::Progress { at }).await?;
                        }
                        Wait::TooSlow => {
                            let why = Relist::TooSlow { revision };
                            return Err(end(Ended::Relist(why), session, &mut self.relist));
                        }
                        Wait::Silent => {
                            return Err(EtcdError::Silent {
                                call: "watch",
                                endpoint: Arc::clone(session.endpoint()),
                                after: liveness,
                            }
                            .into());
                        }
                    }
                    continue;
                }
            };
            patience.answered(stream.pulse().bytes());
            let told = match answer {
                Ok(answer) => follower.handle(answer),
                Err(EtcdError::TooLarge { .. }) => {
                    Err(Ended::Relist(Relist::TooLarge { revision }))
                }
                Err(error) => return Err(error.into()),
            };
            let told = told.map_err(|ended| end(ended, session, &mut self.relist))?;
            for told in told {
                let progressed = match &told {
                    Told::Created => false,
                    Told::CaughtUp => follower.position.revision >= follower.server_revision,
                    Told::Batch { .. } => true,
                };
                telling.tell(told, &follower, sink).await?;
                if progressed {
                    self.fruitless.progressed();
                    waits = false;
                }
            }
            telling.position = follower.position.clone();
            let view = &telling.view;
            self.status.change(|status| {
                status.applied_revision = follower.position.revision;
                status.server_revision = follower.server_revision;
                status.keys = view.key_count();
                status.records = view.record_count();
            });
            if view.has_room_again() {
                return Err(end(Ended::Relist(Relist::Room), session, &mut self.relist));
            }
        }
    }
}

#[async_trait]
impl Source for EtcdSource {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.name.clone(), "etcd")
            .with_liveness(self.config.liveness)
            .with_resume()
            .with_trust(self.name.clone())
    }

    async fn watch(&mut self, resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        let result = self.attempt(resume, sink).await;
        self.status.change(|status| {
            status.endpoint = None;
            status.last_error = result
                .as_ref()
                .err()
                .map(|error| crate::client::chain(error));
        });
        result
    }
}

impl Telling {
    /// Applies and sends; a cut in between leaves the telling torn, so that the next attempt lists.
    async fn tell(
        &mut self,
        told: Told,
        follower: &Follower,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        let (revision, changes) = match told {
            Told::Created => return Ok(()),
            Told::CaughtUp => {
                let at = self.position.cursor(follower.position.revision);
                self.torn = true;
                sink.send(Update::Progress { at: at.clone() }).await?;
                self.reported = at;
                self.torn = false;
                return Ok(());
            }
            Told::Batch { revision, changes } => (revision, changes),
        };
        self.torn = true;
        let Step {
            set,
            remove,
            resolved,
            diagnostics,
        } = self.view.apply(changes);
        let at = self.position.cursor(revision);
        let update = if set.is_empty() && remove.is_empty() {
            Update::Progress { at: at.clone() }
        } else {
            Update::Batch {
                at: at.clone(),
                set,
                remove,
            }
        };
        sink.send(update).await?;
        self.reported = at;
        for object in resolved {
            sink.send(Update::Resolved { object }).await?;
        }
        for diagnostic in diagnostics {
            sink.send(Update::Diagnostic(diagnostic)).await?;
        }
        // A cut after this batch goes on behind it, so that nothing older is told again.
        self.position.revision = revision;
        self.position.witness = None;
        self.torn = false;
        Ok(())
    }
}

fn ask_for_progress(stream: &Stream<wire::WatchRequest, wire::WatchResponse>) {
    let progress =
        wire::watch_request::RequestUnion::ProgressRequest(wire::WatchProgressRequest {});
    stream.ask(wire::WatchRequest {
        request_union: Some(progress),
    });
}

/// Ends a watch; what the next attempt must list for is kept in `relist`.
fn end(ended: Ended, session: &Session, relist: &mut Option<Relist>) -> SourceError {
    match ended {
        Ended::Relist(why) => {
            let what = format!("{why}, says {}", session.endpoint());
            *relist = Some(why);
            SourceError::CursorGone { what }
        }
        Ended::Cancelled { reason } => session.watch_cancelled(&reason).into(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: when to ask for progress"
)]
fn next(period: Duration) -> Instant {
    Instant::now() + period
}
