//! Follows the containers of one engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use lb_core::{Cursor, Descriptor, Diagnostic, Sink, Source, SourceError, Update};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    api::Info,
    book::Book,
    config::DockerConfig,
    container::{Container, Phase},
    container_reader::{Listed, list, network_owner},
    engine::Engine,
    error::EngineError,
    explain::Explanation,
    moment,
    reads::{Found, Reads},
    refresh::{CONTAINER_EVENTS, Event, Kind, Step},
    surveyor::{Survey, inspect, survey},
    translate::{ENGINE_STOP_TIMEOUT, Fate, Rules, translate},
};

/// The containers of one engine, by their labels or by their compose service.
///
/// ```no_run
/// use lb_docker::{DockerConfig, DockerSource};
///
/// // Reads the environment as the `docker` command does, and containers with `lb.*` labels.
/// let source = DockerSource::new(DockerConfig::default());
/// ```
#[derive(Debug)]
pub struct DockerSource {
    config: DockerConfig,
    attempts: u64,
}

impl DockerSource {
    /// A source with this configuration. Nothing is connected yet.
    #[must_use]
    pub fn new(config: DockerConfig) -> Self {
        Self {
            config,
            attempts: 0,
        }
    }

    /// How the addresses of a container, given by name or id, are chosen, and what is wrong with it.
    ///
    /// # Errors
    /// [`SourceError::Config`] when there is no such container or no engine is meant; otherwise what the engine
    /// answered.
    pub async fn explain(&self, container: &str) -> Result<Explanation, SourceError> {
        let engine = Engine::new(&self.config.connection)?;
        let survey = survey(&engine, &self.config.reach).await?;
        let found = match inspect(&engine, container).await {
            Err(error) if error.is_not_found() => {
                return Err(SourceError::config(format!(
                    "container is {container:?}, expected one that the engine has"
                )));
            }
            found => found?,
        };
        let through = network_owner(&engine, &found).await?;
        let rules = rules(&self.config, &survey);
        let translation = translate(
            &found,
            through.as_ref(),
            Fate::Stays,
            &rules,
            &survey.networks,
            &survey.reach,
            |_| None,
        );
        Ok(Explanation {
            object: found.object(),
            reach: survey.reach.viewpoint.to_string(),
            services: translation.choices,
            diagnostics: translation.complaints,
        })
    }
}

#[async_trait]
impl Source for DockerSource {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.config.name.clone(), "docker")
            .with_liveness(self.config.ping_interval * 4)
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        self.attempts += 1;
        let (mut watch, complaints) = Watch::open(&self.config, self.attempts).await?;
        for complaint in complaints {
            sink.send(Update::Diagnostic(complaint)).await?;
        }
        watch.reset(sink).await?;
        watch.follow(sink).await
    }
}

type Listing = BoxFuture<'static, Result<(Survey, Listed), EngineError>>;
type Events = Pin<Box<dyn Stream<Item = Result<Event, EngineError>> + Send>>;

/// One attempt.
struct Watch<'a> {
    config: &'a DockerConfig,
    engine: Engine,
    events: Events,
    /// Events that came before the first listing was done.
    early: Vec<Event>,
    /// Whether events can be missing, so that everything must be listed again soon.
    gap: bool,
    book: Book,
    own: Option<Container>,
    reads: Reads,
    /// A listing that is under way.
    listing: Option<Listing>,
    /// What happened to containers since it began: it may tell of a time before.
    since: BTreeSet<String>,
    dead_since: BTreeSet<String>,
    /// Whether everything must be listed once more.
    list_again: bool,
    /// Until when a container that was told to stop may take.
    leaving: BTreeMap<String, Instant>,
    at: Cursor,
}

impl<'a> Watch<'a> {
    /// Subscribes, then lists. Events from before the listing are repeated by it, which does no harm.
    async fn open(
        config: &'a DockerConfig,
        attempt: u64,
    ) -> Result<(Self, Vec<Diagnostic>), SourceError> {
        let engine = Engine::new(&config.connection)?;
        let info: Info = engine.get("/info").await?;
        let since = moment::since(&info.system_time);
        let mut gap = since.is_none();
        let mut events: Events =
            Box::pin(engine.events(since, &["container", "network"], &CONTAINER_EVENTS));
        let mut early = Vec::new();
        let found = {
            let mut listing = Box::pin(async {
                let survey = survey(&engine, &config.reach).await?;
                let rules = rules(config, &survey);
                let listed = list(&engine, &rules).await?;
                Ok::<_, EngineError>((survey, rules, listed))
            });
            loop {
                tokio::select! {
                    biased;
                    event = events.next() => match event {
                        Some(event) if early.len() < MAX_EARLY => early.push(event?),
                        Some(event) => {
                            event?;
                            gap = true;
                        }
                        None => return Err(ended()),
                    },
                    found = &mut listing => break found?,
                }
            }
        };
        let (survey, rules, listed) = found;
        let mut book = Book::new(rules, survey.networks, survey.reach);
        book.replace(listed.containers);
        let watch = Self {
            config,
            reads: Reads::new(engine.clone()),
            listing: None,
            since: BTreeSet::new(),
            dead_since: BTreeSet::new(),
            list_again: false,
            engine,
            events,
            early,
            gap,
            book,
            own: survey.own,
            leaving: BTreeMap::new(),
            at: Cursor::new(format!("{}@{}#{attempt}", info.id, info.system_time), 0),
        };
        Ok((watch, listed.unread))
    }

    async fn reset(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let (records, complaints) = self.book.snapshot();
        for complaint in complaints {
            sink.send(Update::Diagnostic(complaint)).await?;
        }
        sink.send(Update::Reset {
            at: self.at.clone(),
            records,
        })
        .await?;
        Ok(())
    }

    async fn follow(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let early = std::mem::take(&mut self.early);
        self.catch_up(early, sink).await?;
        let mut ping = Box::pin(ping_later(self.engine.clone(), self.config.ping_interval));
        let first = match self.gap {
            true => AFTER_GAP.min(self.config.resync_interval),
            false => self.config.resync_interval,
        };
        let mut resync = Box::pin(sleep(first));
        loop {
            let patience = self.leaving.values().min().copied();
            tokio::select! {
                event = self.events.next() => {
                    let mut events = vec![event.ok_or_else(ended)??];
                    while events.len() < MAX_TOGETHER {
                        match self.events.next().now_or_never() {
                            Some(event) => events.push(event.ok_or_else(ended)??),
                            None => break,
                        }
                    }
                    self.handle(events, sink).await?;
                }
                answered = &mut ping => {
                    answered?;
                    sink.send(Update::Progress { at: self.at.clone() }).await?;
                    ping.set(ping_later(self.engine.clone(), self.config.ping_interval));
                }
                found = self.reads.next() => {
                    self.take_in(found).await?;
                    while let Some(found) = self.reads.next().now_or_never() {
                        self.take_in(found).await?;
                    }
                    self.tell(sink).await?;
                }
                listed = finish(&mut self.listing) => {
                    let (survey, listed) = listed?;
                    self.replace(survey, listed, sink).await?;
                }
                () = &mut resync => {
                    self.list();
                    resync.set(sleep(self.config.resync_interval));
                }
                () = at(patience) => self.lose_patience(sink).await?,
            }
        }
    }

    /// Reads again whatever events from before the listing's end are about. What they say may be older than what was
    /// listed: one that died may run again.
    async fn catch_up(&mut self, events: Vec<Event>, sink: &Sink) -> Result<(), SourceError> {
        let (mut told_to_stop, others): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| event.action == "kill");
        told_to_stop.retain(|event| !others.iter().any(|other| other.id == event.id));
        let mut read = BTreeSet::new();
        for event in others {
            if self.book.known(&event.id).is_some() || event.action == "start" {
                read.extend(self.book.dependents(&event.id));
                read.insert(event.id);
            }
        }
        self.handle(told_to_stop, sink).await?;
        for id in read {
            self.reads.ask(id);
        }
        Ok(())
    }

    /// Says at once what events alone tell, then reads what they name, and says what that tells.
    async fn handle(&mut self, events: Vec<Event>, sink: &Sink) -> Result<(), SourceError> {
        let mut read = BTreeSet::new();
        let mut told_to_stop = BTreeSet::new();
        let mut moved = false;
        for event in events {
            let attributes = event
                .attributes
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            let claimed = self.book.rules().claims(attributes);
            // What is being read for the first time is as good as known.
            let known = self
                .book
                .known(&event.id)
                .or_else(|| self.reads.is_asked(&event.id).then_some(None));
            match event.step(known, claimed) {
                Step::Nothing => {}
                Step::Read => {
                    read.insert(event.id.clone());
                }
                Step::Leaves => {
                    let stop = known.flatten();
                    self.book.leaves(&event.id);
                    told_to_stop.insert(event.id.clone());
                    let timeout = stop
                        .and_then(|stop| stop.timeout)
                        .unwrap_or(ENGINE_STOP_TIMEOUT);
                    self.leaving
                        .insert(event.id.clone(), now() + timeout * 2 + PATIENCE);
                    if stop.is_none() {
                        read.insert(event.id.clone());
                    }
                }
                Step::Died => {
                    // Whoever listens learns that it was draining, however fast it stopped.
                    if told_to_stop.contains(&event.id) {
                        self.tell(sink).await?;
                    }
                    self.book.died(&event.id);
                    self.leaving.remove(&event.id);
                    if self.listing.is_some() {
                        self.dead_since.insert(event.id.clone());
                    }
                    read.insert(event.id.clone());
                }
                Step::Gone => {
                    // And that it stopped before it was gone.
                    self.book.died(&event.id);
                    self.tell(sink).await?;
                    self.book.forget(&event.id);
                    self.leaving.remove(&event.id);
                    self.reads.forget(&event.id);
                    if self.listing.is_some() {
                        self.since.insert(event.id.clone());
                        self.dead_since.insert(event.id.clone());
                    }
                    read.remove(&event.id);
                }
            }
            if event.kind == Kind::Network || matches!(event.action.as_str(), "start" | "die") {
                read.extend(self.book.dependents(&event.id));
            }
            moved |= event.kind == Kind::Network
                && self.own.as_ref().is_some_and(|own| own.id == event.id);
        }
        self.tell(sink).await?;
        if moved {
            self.survey().await?;
        }
        self.read(read);
        Ok(())
    }

    /// Has these containers read again, while events go on. Inspecting some costs less than listing all; a listing of
    /// all costs less than inspecting many.
    fn read(&mut self, ids: BTreeSet<String>) {
        if ids.len() > MIN_LIST && ids.len() * 4 > self.book.len() {
            self.list();
            return;
        }
        if self.listing.is_some() {
            self.since.extend(ids.iter().cloned());
        }
        for id in ids {
            self.reads.ask(id);
        }
    }

    /// Takes in what was found of one container.
    async fn take_in(&mut self, found: Found) -> Result<(), SourceError> {
        if self.listing.is_some() {
            self.since.insert(found.id.clone());
        }
        match found.inspection {
            Ok((container, through)) => {
                let labels = container
                    .labels
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str()));
                if !self.book.rules().claims(labels) {
                    return Ok(());
                }
                if self.book.needs_networks(&container) {
                    self.survey().await?;
                }
                let runs = container.phase != Phase::Stopped;
                let sharers = self.book.put(container, through);
                if runs && self.leaving.contains_key(&found.id) {
                    // It was told to stop while it was being read.
                    self.book.leaves(&found.id);
                }
                // Whoever had an address that another has now is read once more, and only once.
                if !found.suspect {
                    for id in sharers {
                        self.reads.suspect(id);
                    }
                }
            }
            Err(error) if error.is_not_found() => self.book.forget(&found.id),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Lists everything, while events go on.
    fn list(&mut self) {
        if self.listing.is_some() {
            self.list_again = true;
            return;
        }
        self.since = self.reads.asked().cloned().collect();
        self.dead_since.clear();
        let (engine, reach) = (self.engine.clone(), self.config.reach.clone());
        let rules = self.book.rules().clone();
        let listing = async move {
            let survey = survey(&engine, &reach).await?;
            let listed = list(&engine, &rules).await?;
            Ok((survey, listed))
        };
        self.listing = Some(listing.boxed());
    }

    /// Takes in what was listed. What happened to a container since is newer, so it is read once more.
    async fn replace(
        &mut self,
        survey: Survey,
        listed: Listed,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        self.book.set_surroundings(survey.networks, survey.reach);
        self.own = survey.own;
        for complaint in listed.unread {
            sink.send(Update::Diagnostic(complaint)).await?;
        }
        self.book.replace(listed.containers);
        for id in std::mem::take(&mut self.dead_since) {
            self.book.died(&id);
        }
        let leaving: Vec<String> = self.leaving.keys().cloned().collect();
        for id in leaving {
            self.book.leaves(&id);
        }
        let since = std::mem::take(&mut self.since);
        self.tell(sink).await?;
        if std::mem::take(&mut self.list_again) {
            self.list();
        } else {
            self.read(since);
        }
        Ok(())
    }

    async fn survey(&mut self) -> Result<(), SourceError> {
        let survey = survey(&self.engine, &self.config.reach).await?;
        self.book.set_surroundings(survey.networks, survey.reach);
        self.own = survey.own;
        Ok(())
    }

    async fn lose_patience(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let now = now();
        let late: Vec<String> = self
            .leaving
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.leaving.remove(&id);
            self.book.stays(&id);
        }
        self.tell(sink).await
    }

    async fn tell(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let Some(changes) = self.book.changes() else {
            return Ok(());
        };
        for complaint in changes.complaints {
            sink.send(Update::Diagnostic(complaint)).await?;
        }
        if !changes.set.is_empty() || !changes.remove.is_empty() {
            self.at.revision += 1;
            sink.send(Update::Batch {
                at: self.at.clone(),
                set: changes.set,
                remove: changes.remove,
            })
            .await?;
        }
        Ok(())
    }
}

fn rules(config: &DockerConfig, survey: &Survey) -> Rules {
    let own_project = survey
        .own
        .as_ref()
        .and_then(|own| own.compose())
        .map(|compose| compose.project.to_owned());
    Rules {
        schemes: config.labels.clone(),
        services: config.services.clone(),
        one_off: config.one_off,
        own_project,
    }
}

/// Waits, then asks whether the engine still answers: a link may be silent for ever without an error.
pub(crate) async fn ping_later(engine: Engine, interval: Duration) -> Result<(), EngineError> {
    sleep(interval).await;
    engine.ping(interval * 2).await
}

pub(crate) fn ended() -> SourceError {
    SourceError::transient("GET /events: the engine ended the stream")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: pure code is given the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits for the listing that is under way; for ever when there is none.
async fn finish(listing: &mut Option<Listing>) -> Result<(Survey, Listed), EngineError> {
    let Some(under_way) = listing else {
        return std::future::pending().await;
    };
    let listed = under_way.await;
    *listing = None;
    listed
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The most events kept while the first listing is under way.
const MAX_EARLY: usize = 4096;
/// The most events handled in one go.
const MAX_TOGETHER: usize = 256;
/// From how many containers on a listing may replace inspections.
const MIN_LIST: usize = 8;
/// When to list again after events may have been missed.
const AFTER_GAP: Duration = Duration::from_secs(1);
/// How much longer than twice its time a container that was told to stop may take until it counts as staying.
const PATIENCE: Duration = Duration::from_secs(60);
