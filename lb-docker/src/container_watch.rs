//! Follows the containers of one engine for as long as one link holds.
//!
//! Events are heard while containers are read: an engine answers late for a container that it is busy with, and what
//! happened to another one meanwhile must not wait for that.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use lb_core::{Cursor, Diagnostic, Severity, Sink, SourceError, Update};
use tokio::time::{Instant, sleep_until};

use crate::{
    api::Info,
    book::Book,
    config::DockerConfig,
    container::Container,
    container_reader::{CONTAINER, described, list, unreadable},
    engine::Engine,
    error::{EngineError, chain},
    liveness::{Pulse, ended, now, together},
    moment,
    readings::{All, Listing, Read, Readings},
    refresh::{CONTAINER_EVENTS, Early, Event, Kind, Step},
    surveyor::{Survey, survey},
    tell::tell,
    told::Told,
    translate::{ENGINE_STOP_TIMEOUT, Rules},
};

type Events = Pin<Box<dyn Stream<Item = Result<Event, EngineError>> + Send>>;

/// One attempt.
pub(crate) struct Watch<'a> {
    config: &'a DockerConfig,
    engine: Engine,
    events: Events,
    pulse: Pulse,
    /// Events that came before the first listing was done.
    early: Vec<Event>,
    /// If `true`, events can be missing, so that everything must be listed again soon.
    gap: bool,
    book: Book,
    own: Option<Container>,
    readings: Readings,
    listing: Listing,
    /// If `true`, all is to be listed when the listing under way is done.
    list_again: bool,
    /// Counts the listings in a row that came too late.
    late: u32,
    /// The diagnostics of what cannot be read that were reported.
    unread: Told,
    /// Until when a container that was told to stop may take.
    leaving: BTreeMap<String, Instant>,
    at: Cursor,
}

impl<'a> Watch<'a> {
    /// Subscribes, then lists. Events from before the listing are repeated by it, which does no harm.
    pub(crate) async fn open(
        config: &'a DockerConfig,
        attempt: u64,
        sink: &Sink,
    ) -> Result<(Self, Vec<Diagnostic>), SourceError> {
        let engine = Engine::new(&config.connection)?;
        let info: Info = engine.get("/info").await?;
        let at = Cursor::new(format!("{}@{}#{attempt}", info.id, info.system_time), 0);
        let pulse = Pulse::start(
            engine.clone(),
            config.ping_interval,
            at.clone(),
            sink.clone(),
        );
        let since = moment::since(&info.system_time);
        let mut gap = since.is_none();
        let mut events: Events =
            Box::pin(engine.events(since, &["container", "network"], &CONTAINER_EVENTS));
        let mut early = Early::default();
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
                        Some(event) => gap |= !early.keep(event?),
                        None => return Err(ended()),
                    },
                    found = &mut listing => break found?,
                }
            }
        };
        let (survey, rules, listed) = found;
        let mut book = Book::new(rules, survey.networks, survey.reach);
        book.replace(listed.containers);
        let complaints: Vec<Diagnostic> = listed
            .unread
            .into_iter()
            .map(|(_, complaint)| complaint)
            .collect();
        let mut unread = Told::default();
        // They are sent before the reset.
        unread.replace(complaints.clone());
        let watch = Self {
            config,
            engine,
            events,
            pulse,
            early: early.events,
            gap,
            book,
            own: survey.own,
            readings: Readings::default(),
            listing: Listing::default(),
            list_again: false,
            late: 0,
            unread,
            leaving: BTreeMap::new(),
            at,
        };
        Ok((watch, complaints))
    }

    pub(crate) async fn reset(&mut self, sink: &Sink) -> Result<(), SourceError> {
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

    pub(crate) async fn follow(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let early = std::mem::take(&mut self.early);
        self.catch_up(early, sink).await?;
        let mut resync_at = now() + self.config.resync_interval;
        loop {
            if std::mem::take(&mut self.gap) {
                resync_at = resync_at.min(now() + AFTER_GAP);
            }
            let patience = self.leaving.values().min().copied();
            tokio::select! {
                event = self.events.next() => {
                    let first = event.ok_or_else(ended)??;
                    let events = together(first, &mut self.events)?;
                    self.handle(events, sink).await?;
                }
                read = self.readings.next() => {
                    if let Some((id, found)) = read {
                        self.take_in(id, found, sink).await?;
                        self.tell(sink).await?;
                    }
                    self.begin();
                }
                listed = self.listing.next() => {
                    match listed {
                        Ok(all) => self.take_in_all(all, sink).await?,
                        Err(error) => self.take_in_late(error, sink).await?,
                    }
                    self.begin();
                }
                answered = self.pulse.beat() => {
                    answered?;
                    sink.send(Update::Progress { at: self.at.clone() }).await?;
                }
                () = sleep_until(resync_at) => {
                    self.list();
                    resync_at = now() + self.config.resync_interval;
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
        for event in others {
            if self.book.known(&event.id).is_some() || event.action == "start" {
                for dependent in self.book.dependents(&event.id) {
                    self.readings.ask(dependent);
                }
                self.readings.ask(event.id);
            }
        }
        self.handle(told_to_stop, sink).await
    }

    /// Says at once what events alone tell, and has read what they name.
    async fn handle(&mut self, events: Vec<Event>, sink: &Sink) -> Result<(), SourceError> {
        let mut told_to_stop = BTreeSet::new();
        let mut moved = false;
        for event in events {
            let attributes = event
                .attributes
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            let claimed = event.oversized || self.book.rules().claims(attributes);
            self.gap |= event.kind == Kind::Unread;
            let known = self.book.known(&event.id);
            let step = event.step(known, claimed);
            // Also one that could never be read.
            if event.kind == Kind::Container && matches!(event.action.as_str(), "die" | "destroy") {
                self.resolve(&event.id, sink).await?;
            }
            if step != Step::Nothing {
                self.listing.outdate(&event.id);
            }
            match step {
                Step::Nothing => {}
                Step::Read => self.readings.ask(event.id.clone()),
                Step::Leaves => {
                    let stop = known.flatten();
                    self.book.leaves(&event.id);
                    told_to_stop.insert(event.id.clone());
                    let timeout = stop
                        .and_then(|stop| stop.timeout)
                        .unwrap_or(ENGINE_STOP_TIMEOUT);
                    self.leaving
                        .insert(event.id.clone(), now() + timeout * 2 + PATIENCE);
                    // One that is killed has no time to take.
                    if stop.is_none() && !event.kills() {
                        self.readings.ask(event.id.clone());
                    }
                }
                Step::Died => {
                    // Whoever listens learns that it was draining, however fast it stopped.
                    if told_to_stop.contains(&event.id) {
                        self.tell(sink).await?;
                    }
                    self.book.died(&event.id);
                    self.leaving.remove(&event.id);
                    self.readings.outdate(&event.id);
                    self.readings.ask(event.id.clone());
                }
                Step::Gone => {
                    // And that it stopped before it was gone.
                    self.book.died(&event.id);
                    self.tell(sink).await?;
                    self.book.forget(&event.id);
                    self.leaving.remove(&event.id);
                    self.readings.forget(&event.id);
                }
            }
            if event.kind == Kind::Network || matches!(event.action.as_str(), "start" | "die") {
                for dependent in self.book.dependents(&event.id) {
                    self.readings.ask(dependent);
                }
            }
            moved |= event.kind == Kind::Network
                && self.own.as_ref().is_some_and(|own| own.id == event.id);
        }
        self.tell(sink).await?;
        if moved {
            self.list();
        }
        self.begin();
        Ok(())
    }

    /// Begins to read what is waiting for it. Inspecting some costs less than listing all; a listing of all costs
    /// less than inspecting many.
    fn begin(&mut self) {
        if self.listing.is_under_way() {
            return;
        }
        for id in self.book.returning() {
            self.readings.ask(id);
        }
        let waiting = self.readings.waiting();
        if self.list_again || (waiting > MIN_LIST && waiting * 4 > self.book.len()) {
            self.list_again = false;
            self.readings.clear();
            let (engine, config) = (self.engine.clone(), self.config.reach.clone());
            self.listing
                .begin(engine, config, self.book.rules().clone());
        } else {
            self.readings
                .begin(&self.engine, &self.config.reach, self.book.networks());
        }
    }

    /// Has everything listed, after the listing that is under way.
    fn list(&mut self) {
        self.list_again = true;
        self.begin();
    }

    /// Takes in one container, and has those read once more that had its address.
    async fn take_in(
        &mut self,
        id: String,
        found: Result<Read, EngineError>,
        sink: &Sink,
    ) -> Result<(), SourceError> {
        self.listing.outdate(&id);
        match found {
            Ok(read) => {
                self.resolve(&id, sink).await?;
                let labels = &read.container.labels;
                if read.container.excess.is_none() && !self.book.rules().claims(labels.iter()) {
                    return Ok(());
                }
                if let Some(survey) = read.survey {
                    self.set_surroundings(survey);
                }
                let suspect = read.suspect;
                for other in self.book.put(read.container, read.through) {
                    if !suspect {
                        self.readings.suspect(other);
                    }
                }
            }
            Err(error) if error.is_not_found() => {
                self.resolve(&id, sink).await?;
                self.book.forget(&id);
            }
            // What was known of it stays, and the others go on.
            Err(error) if error.is_of_the_object() => {
                self.gap |= error.is_late();
                let complaint = unreadable(CONTAINER, &id, chain(&error));
                let object = complaint.object.clone();
                for update in self.unread.set(&object, vec![complaint]) {
                    sink.send(update).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A container that could not be read was read, or is gone.
    async fn resolve(&mut self, id: &str, sink: &Sink) -> Result<(), SourceError> {
        for update in self.unread.set(&described(CONTAINER, id), Vec::new()) {
            sink.send(update).await?;
        }
        Ok(())
    }

    /// A listing that takes too long is made again, a few times: the engine may be busy with what one container says, and
    /// tells of the others meanwhile.
    async fn take_in_late(&mut self, error: EngineError, sink: &Sink) -> Result<(), SourceError> {
        self.late += 1;
        if !error.is_late() || self.late > MAX_LATE {
            return Err(error.into());
        }
        self.gap = true;
        let complaint = Diagnostic {
            object: LISTING.to_owned(),
            field: None,
            value: None,
            message: chain(&error),
            severity: Severity::Warning,
        };
        for update in self.unread.set(LISTING, vec![complaint]) {
            sink.send(update).await?;
        }
        Ok(())
    }

    async fn take_in_all(&mut self, all: All, sink: &Sink) -> Result<(), SourceError> {
        self.late = 0;
        self.set_surroundings(all.survey);
        let mut unknown = all.outdated;
        let mut complaints = Vec::new();
        for (id, complaint) in all.listed.unread {
            complaints.push(complaint);
            unknown.insert(id);
        }
        for update in self.unread.replace(complaints) {
            sink.send(update).await?;
        }
        self.book.replace_but(all.listed.containers, &unknown);
        self.tell(sink).await
    }

    fn set_surroundings(&mut self, survey: Survey) {
        self.book.set_surroundings(survey.networks, survey.reach);
        self.own = survey.own;
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
        match self.book.changes() {
            Some(changes) => tell(changes, &mut self.at, sink).await,
            None => Ok(()),
        }
    }
}

/// The rules of what to take, with the project that this program itself belongs to.
pub(crate) fn rules(config: &DockerConfig, survey: &Survey) -> Rules {
    let own_project = survey
        .own
        .as_ref()
        .and_then(|own| own.compose())
        .map(|compose| compose.project.to_owned());
    Rules {
        options: config.options(),
        narrow: config.narrow(),
        services: config.services.clone(),
        one_off: config.one_off,
        own_project,
        max_label_bytes: config.max_label_bytes,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// From how many containers on a listing may replace inspections.
const MIN_LIST: usize = 8;
/// The time after which to list again when events may have been missed.
const AFTER_GAP: Duration = Duration::from_secs(1);
/// The object that diagnostics of a listing name.
const LISTING: &str = "list of containers";
/// The most listings in a row that may come too late.
const MAX_LATE: u32 = 5;
/// The time beyond twice its own after which a container that was told to stop counts as staying.
const PATIENCE: Duration = Duration::from_secs(60);
