//! Follows the services of a Swarm through one of its managers.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    pin::Pin,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, Stream, StreamExt};
use lb_core::{Cursor, Descriptor, Sink, Source, SourceError, Update};
use tokio::time::{Instant, sleep_until};

use crate::{
    api::{Info, ListedContainer},
    budget::Gathered,
    config::{ConnectionConfig, SwarmConfig},
    container::Container,
    container_reader::CONTAINER,
    engine::{Engine, encoded},
    error::{EngineError, chain},
    explain::Explanation,
    liveness::{Pulse, ended, now, together},
    moment,
    refresh::{Event, Kind},
    surveyor::{inspect, survey},
    swarm::{
        Cluster, Heard, ListedNode, ListedService, ListedTask, SwarmBook, SwarmRules, TASK_LABEL,
    },
    tell::tell,
    unread::Unread,
};

/// The services of a Swarm, by their labels.
///
/// ```no_run
/// use lb_docker::{SwarmConfig, SwarmSource};
///
/// // The manager is the engine that the `docker` command would use.
/// let source = SwarmSource::new(SwarmConfig::default());
/// ```
#[derive(Debug)]
pub struct SwarmSource {
    config: SwarmConfig,
    attempts: u64,
    /// The manager that is asked next, by its place in the list.
    next: usize,
}

impl SwarmSource {
    /// A source with this configuration. Nothing is connected yet.
    #[must_use]
    pub fn new(config: SwarmConfig) -> Self {
        Self {
            config,
            attempts: 0,
            next: 0,
        }
    }

    /// The routes of a service, how the addresses of its tasks are chosen, and what is wrong with it. The service is given
    /// by name or id.
    ///
    /// # Errors
    /// [`SourceError::Config`] when there is no such service or no manager is meant; otherwise what the manager
    /// answered.
    pub async fn explain(&self, service: &str) -> Result<Explanation, SourceError> {
        // Progress concerns nobody here.
        let (sink, _) = Sink::channel(1);
        let mut watch = Watch::open(&self.config, self.manager(), self.attempts, &sink).await?;
        let reach = watch.reach_text.clone();
        let Some((object, translation)) = watch.book.explain(service) else {
            return Err(SourceError::config(format!(
                "service is {service:?}, expected one that the Swarm has"
            )));
        };
        Ok(Explanation::new(object, reach, translation))
    }

    fn manager(&self) -> ConnectionConfig {
        let count = self.config.managers.len().max(1);
        self.config
            .managers
            .get(self.next % count)
            .cloned()
            .unwrap_or_default()
    }
}

#[async_trait]
impl Source for SwarmSource {
    fn describe(&self) -> Descriptor {
        Descriptor::new(self.config.name.clone(), "swarm")
            .with_liveness(self.config.ping_interval * 4)
    }

    async fn watch(&mut self, _resume: Option<Cursor>, sink: &Sink) -> Result<(), SourceError> {
        self.attempts += 1;
        let manager = self.manager();
        // Unless this attempt lives long, the next one asks the next manager; also when this one is cancelled.
        self.next = self.next.wrapping_add(1);
        let mut watch = Watch::open(&self.config, manager, self.attempts, sink).await?;
        self.next = self.next.wrapping_sub(1);
        let followed = async {
            watch.reset(sink).await?;
            watch.follow(sink).await
        }
        .await;
        self.next = self.next.wrapping_add(1);
        followed
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, EngineError>> + Send>>;

/// One attempt with one manager.
struct Watch<'a> {
    config: &'a SwarmConfig,
    engine: Engine,
    events: Events,
    pulse: Pulse,
    book: SwarmBook,
    unread: Unread,
    /// Of the managers' last answer about tasks: the same again needs no work.
    tasks_digest: u64,
    digests: RandomState,
    /// Until when tasks are listed often, whatever they look like.
    eager_until: Option<Instant>,
    /// The number of listings in a row, made often, that told nothing new.
    idle: u32,
    reach_text: String,
    at: Cursor,
}

impl<'a> Watch<'a> {
    async fn open(
        config: &'a SwarmConfig,
        manager: ConnectionConfig,
        attempt: u64,
        sink: &Sink,
    ) -> Result<Self, SourceError> {
        let engine = Engine::new(&manager)?;
        let info: Info = engine.get("/info").await?;
        if !info.swarm.control_available {
            let why = match info.swarm.error.is_empty() {
                true => info.swarm.local_node_state.clone(),
                false => info.swarm.error.clone(),
            };
            return Err(SourceError::transient(format!(
                "the engine is no Swarm manager that can answer now ({why})"
            )));
        }
        let at = Cursor::new(
            format!("{}@{}#{attempt}", info.swarm.cluster.id, info.system_time),
            0,
        );
        let pulse = Pulse::start(
            engine.clone(),
            config.ping_interval,
            at.clone(),
            sink.clone(),
        );
        let since = moment::since(&info.system_time);
        let mut events: Events = Box::pin(engine.events(since, &TYPES, &ACTIONS));
        let found = survey(&engine, &config.reach).await?;
        let mut cluster = Cluster {
            own_node: info.swarm.node_id.clone(),
            ..Cluster::default()
        };
        let mut unread = Unread::default();
        // The subscription goes out with the first look at the events; what comes meanwhile stays in them.
        let early = events.next().now_or_never();
        let rules = SwarmRules {
            options: config.options(),
            narrow: config.narrow(),
            spread: config.spread,
            max_label_bytes: config.max_label_bytes,
        };
        read_services(&engine, &rules, &mut cluster, &mut unread).await?;
        read_nodes(&engine, &mut cluster, &mut unread).await?;
        let digests = RandomState::new();
        let (tasks, tasks_digest) = read_tasks(&engine, &digests, &mut unread).await?;
        cluster.set_tasks(tasks);
        read_locals(&engine, &mut cluster, &mut unread).await?;
        let reach_text = found.reach.viewpoint.to_string();
        let mut watch = Self {
            config,
            engine,
            events,
            pulse,
            book: SwarmBook::new(rules, cluster, found.networks, found.reach),
            unread,
            tasks_digest,
            digests,
            eager_until: None,
            idle: 0,
            reach_text,
            at,
        };
        if let Some(event) = early {
            // Whatever it was, what it was about has been listed since; but it may go on.
            event.ok_or_else(ended)??;
            watch.be_eager();
        }
        Ok(watch)
    }

    async fn reset(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let (records, complaints) = self.book.snapshot();
        let complaints = complaints.into_iter().map(Update::Diagnostic);
        for update in self.unread.take().into_iter().chain(complaints) {
            sink.send(update).await?;
        }
        sink.send(Update::Reset {
            at: self.at.clone(),
            records,
        })
        .await?;
        Ok(())
    }

    async fn follow(&mut self, sink: &Sink) -> Result<(), SourceError> {
        let mut poll_at = now() + self.poll_delay();
        let mut all_at = now() + self.config.poll_interval;
        loop {
            tokio::select! {
                event = self.events.next() => {
                    let first = event.ok_or_else(ended)??;
                    let events = together(first, &mut self.events)?;
                    self.handle(events, sink).await?;
                    poll_at = poll_at.min(now() + self.poll_delay());
                }
                answered = self.pulse.beat() => {
                    answered?;
                    sink.send(Update::Progress { at: self.at.clone() }).await?;
                }
                () = sleep_until(all_at) => {
                    self.list_all().await?;
                    self.tell(sink).await?;
                    all_at = now() + self.config.poll_interval;
                    poll_at = now() + self.poll_delay();
                }
                () = sleep_until(poll_at) => {
                    self.poll().await?;
                    self.tell(sink).await?;
                    poll_at = now() + self.poll_delay();
                }
            }
        }
    }

    async fn handle(&mut self, events: Vec<Event>, sink: &Sink) -> Result<(), SourceError> {
        let (mut services, mut nodes) = (false, false);
        let mut read = Vec::new();
        for event in events {
            match event.kind {
                Kind::Swarm | Kind::Unread => {
                    // Both have `update`; only services have replicas, and reading both is cheap.
                    services = true;
                    nodes = true;
                }
                Kind::Network => {}
                Kind::Container => match self.book.hear(&event) {
                    Heard::Nothing => {}
                    Heard::Fate => self.be_eager(),
                    Heard::Read { task, container } => {
                        self.be_eager();
                        read.push((task, container));
                    }
                },
            }
        }
        // What the node's own engine says comes before what the managers say of it.
        self.tell(sink).await?;
        for (task, id) in read {
            self.read_local(task, &id).await?;
        }
        if services || nodes {
            let (rules, cluster) = (&self.book.rules, &mut self.book.cluster);
            read_services(&self.engine, rules, cluster, &mut self.unread).await?;
            read_nodes(&self.engine, cluster, &mut self.unread).await?;
            self.poll().await?;
            self.be_eager();
        }
        self.tell(sink).await
    }

    async fn read_local(&mut self, task: String, id: &str) -> Result<(), SourceError> {
        match inspect(&self.engine, id).await {
            Ok(container) => {
                self.unread.read(CONTAINER, id);
                self.book.cluster.set_local(task, container);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.unread.read(CONTAINER, id);
                Ok(())
            }
            Err(error) if error.is_of_the_object() => {
                self.unread.failed(CONTAINER, id, chain(&error));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lists tasks; a state that the managers told before needs no work.
    async fn poll(&mut self) -> Result<(), SourceError> {
        let (tasks, digest) = read_tasks(&self.engine, &self.digests, &mut self.unread).await?;
        if digest == self.tasks_digest {
            self.idle = self.idle.saturating_add(1);
        } else if self.book.cluster.set_tasks(tasks) {
            self.tasks_digest = digest;
            self.idle = 0;
        }
        Ok(())
    }

    async fn list_all(&mut self) -> Result<(), SourceError> {
        let found = survey(&self.engine, &self.config.reach).await?;
        self.book.set_surroundings(found.networks, found.reach);
        let (rules, cluster) = (&self.book.rules, &mut self.book.cluster);
        read_services(&self.engine, rules, cluster, &mut self.unread).await?;
        read_nodes(&self.engine, cluster, &mut self.unread).await?;
        read_locals(&self.engine, cluster, &mut self.unread).await?;
        self.poll().await
    }

    async fn tell(&mut self, sink: &Sink) -> Result<(), SourceError> {
        for update in self.unread.take() {
            sink.send(update).await?;
        }
        self.book.cluster.retire();
        match self.book.changes() {
            Some(changes) => tell(changes, &mut self.at, sink).await,
            None => Ok(()),
        }
    }

    /// The managers learn later than events tell: look often for a while.
    fn be_eager(&mut self) {
        self.eager_until = Some(now() + EAGER);
        self.idle = 0;
    }

    /// The time until tasks are listed next: short while something changes, and longer and longer while nothing comes
    /// of it.
    fn poll_delay(&self) -> Duration {
        let eager = self.eager_until.is_some_and(|until| now() < until);
        if eager || !self.book.has_converged() {
            let step = 1 + self.idle / IDLE_POLLS;
            (self.config.converge_interval * step).min(self.config.poll_interval)
        } else {
            self.config.poll_interval
        }
    }
}

async fn read_services(
    engine: &Engine,
    rules: &SwarmRules,
    cluster: &mut Cluster,
    unread: &mut Unread,
) -> Result<(), EngineError> {
    let mut gathered = Gathered::new(rules.max_label_bytes);
    let take = |mut service: ListedService| {
        rules.drop_unread(&mut service);
        gathered.push(service.id.clone(), service);
        Some(())
    };
    let (_, bad) = engine.list_some("/services", take).await?;
    cluster.set_services(gathered.into_objects().collect());
    unread.listed("Swarm service", bad);
    Ok(())
}

async fn read_nodes(
    engine: &Engine,
    cluster: &mut Cluster,
    unread: &mut Unread,
) -> Result<(), EngineError> {
    let (listed, bad) = engine.list::<ListedNode>("/nodes").await?;
    cluster.set_nodes(listed);
    unread.listed("Swarm node", bad);
    Ok(())
}

/// Lists tasks, with a digest of the answer. A task has the labels and variables of its containers, of which nothing is
/// kept.
async fn read_tasks(
    engine: &Engine,
    digests: &RandomState,
    unread: &mut Unread,
) -> Result<(Vec<ListedTask>, u64), EngineError> {
    let mut digest = digests.build_hasher();
    let (listed, bad) = engine
        .list_seen("/tasks", Some, |bytes| digest.write(bytes))
        .await?;
    unread.listed("Swarm task", bad);
    Ok((listed, digest.finish()))
}

/// Reads the containers of all tasks on this node in one call.
async fn read_locals(
    engine: &Engine,
    cluster: &mut Cluster,
    unread: &mut Unread,
) -> Result<(), EngineError> {
    let filter = encoded(&format!(r#"{{"label":["{TASK_LABEL}"]}}"#));
    let path = format!("/containers/json?filters={filter}");
    let read = |listed: ListedContainer| {
        let mut container = Container::from_list(listed);
        container.keep_little();
        Some(container)
    };
    let (listed, bad) = engine.list_some(&path, read).await?;
    cluster.set_locals(listed);
    unread.listed(CONTAINER, bad);
    Ok(())
}

const TYPES: [&str; 3] = ["container", "node", "service"];
/// Those of containers, and those of services and nodes.
const ACTIONS: [&str; 10] = [
    "start",
    "die",
    "kill",
    "pause",
    "unpause",
    "health_status",
    "destroy",
    "create",
    "update",
    "remove",
];
/// The time for which tasks are listed often after an event.
const EAGER: Duration = Duration::from_secs(5);
/// After how many listings that told nothing new the pause between them grows.
const IDLE_POLLS: u32 = 300;
