//! Follows the services of a Swarm through one of its managers.

use std::{pin::Pin, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt, Stream, StreamExt};
use lb_core::{Cursor, Descriptor, Diagnostic, Sink, Source, SourceError, Update};
use tokio::time::{Instant, sleep_until};

use crate::{
    api::{Info, ListedContainer},
    config::{ConnectionConfig, SwarmConfig},
    container::Container,
    container_reader::unreadable,
    engine::{Engine, encoded},
    error::EngineError,
    explain::Explanation,
    liveness::{ended, now, ping_later},
    moment,
    refresh::{Event, Kind},
    surveyor::{inspect, survey},
    swarm::{
        Cluster, Heard, ListedNode, ListedService, ListedTask, SwarmBook, SwarmRules, TASK_LABEL,
    },
    tell::tell,
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
    /// Which of the managers is asked next.
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

    /// How the addresses of a service's tasks are chosen, and what is wrong with it. The service is given by name
    /// or id.
    ///
    /// # Errors
    /// [`SourceError::Config`] when there is no such service or no manager is meant; otherwise what the manager
    /// answered.
    pub async fn explain(&self, service: &str) -> Result<Explanation, SourceError> {
        let mut watch = Watch::open(&self.config, self.manager(), self.attempts).await?;
        let reach = watch.reach_text.clone();
        let Some((object, translation)) = watch.book.explain(service) else {
            return Err(SourceError::config(format!(
                "service is {service:?}, expected one that the Swarm has"
            )));
        };
        Ok(Explanation {
            object,
            reach,
            services: translation.choices,
            diagnostics: translation.complaints,
        })
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
        let mut watch = Watch::open(&self.config, manager, self.attempts).await?;
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
    book: SwarmBook,
    unread: Vec<Diagnostic>,
    /// The managers' last answer about tasks: the same again needs no work.
    tasks_text: String,
    /// Until when tasks are listed often, whatever they look like.
    eager_until: Option<Instant>,
    /// How many listings in a row, made often, told nothing new.
    idle: u32,
    reach_text: String,
    at: Cursor,
}

impl<'a> Watch<'a> {
    async fn open(
        config: &'a SwarmConfig,
        manager: ConnectionConfig,
        attempt: u64,
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
        let since = moment::since(&info.system_time);
        let mut events: Events = Box::pin(engine.events(since, &TYPES, &ACTIONS));
        let found = survey(&engine, &config.reach).await?;
        let mut cluster = Cluster {
            own_node: info.swarm.node_id.clone(),
            ..Cluster::default()
        };
        let mut unread = Vec::new();
        // The subscription goes out with the first look at the events; what comes meanwhile stays in them.
        let early = events.next().now_or_never();
        read_services(&engine, &mut cluster, &mut unread).await?;
        read_nodes(&engine, &mut cluster, &mut unread).await?;
        let tasks_text = engine.get_text("/tasks").await?;
        read_tasks(&tasks_text, &mut cluster, &mut unread)?;
        read_locals(&engine, &mut cluster).await?;
        let rules = SwarmRules {
            options: config.options(),
            narrow: config.narrow(),
            spread: config.spread,
        };
        let reach_text = found.reach.viewpoint.to_string();
        let mut watch = Self {
            config,
            engine,
            events,
            book: SwarmBook::new(rules, cluster, found.networks, found.reach),
            unread,
            tasks_text,
            eager_until: None,
            idle: 0,
            reach_text,
            at: Cursor::new(
                format!("{}@{}#{attempt}", info.swarm.cluster.id, info.system_time),
                0,
            ),
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
        for complaint in self.unread.drain(..).chain(complaints) {
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
        let mut ping = Box::pin(ping_later(self.engine.clone(), self.config.ping_interval));
        let mut poll_at = now() + self.poll_delay();
        let mut all_at = now() + self.config.poll_interval;
        loop {
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
                    poll_at = poll_at.min(now() + self.poll_delay());
                }
                answered = &mut ping => {
                    answered?;
                    sink.send(Update::Progress { at: self.at.clone() }).await?;
                    ping.set(ping_later(self.engine.clone(), self.config.ping_interval));
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
                Kind::Swarm => {
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
            let cluster = &mut self.book.cluster;
            read_services(&self.engine, cluster, &mut self.unread).await?;
            read_nodes(&self.engine, cluster, &mut self.unread).await?;
            self.poll().await?;
            self.be_eager();
        }
        self.tell(sink).await
    }

    async fn read_local(&mut self, task: String, id: &str) -> Result<(), SourceError> {
        match inspect(&self.engine, id).await {
            Ok(container) => {
                self.book.cluster.set_local(task, container);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists tasks; a state that the managers told before needs no work.
    async fn poll(&mut self) -> Result<(), SourceError> {
        let text = self.engine.get_text("/tasks").await?;
        if text == self.tasks_text {
            self.idle = self.idle.saturating_add(1);
            return Ok(());
        }
        if read_tasks(&text, &mut self.book.cluster, &mut self.unread)? {
            self.tasks_text = text;
            self.idle = 0;
        }
        Ok(())
    }

    async fn list_all(&mut self) -> Result<(), SourceError> {
        let found = survey(&self.engine, &self.config.reach).await?;
        self.book.set_surroundings(found.networks, found.reach);
        let cluster = &mut self.book.cluster;
        read_services(&self.engine, cluster, &mut self.unread).await?;
        read_nodes(&self.engine, cluster, &mut self.unread).await?;
        read_locals(&self.engine, cluster).await?;
        self.poll().await
    }

    async fn tell(&mut self, sink: &Sink) -> Result<(), SourceError> {
        for complaint in self.unread.drain(..) {
            sink.send(Update::Diagnostic(complaint)).await?;
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

    /// When to list tasks next: soon while something changes, and less and less often while nothing comes of it.
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
    cluster: &mut Cluster,
    unread: &mut Vec<Diagnostic>,
) -> Result<(), EngineError> {
    let (listed, bad) = engine.list::<ListedService>("/services").await?;
    cluster.set_services(listed);
    complain("Swarm service", bad, unread);
    Ok(())
}

async fn read_nodes(
    engine: &Engine,
    cluster: &mut Cluster,
    unread: &mut Vec<Diagnostic>,
) -> Result<(), EngineError> {
    let (listed, bad) = engine.list::<ListedNode>("/nodes").await?;
    cluster.set_nodes(listed);
    complain("Swarm node", bad, unread);
    Ok(())
}

/// Takes in a listing of tasks; false when it is older than what is known.
fn read_tasks(
    text: &str,
    cluster: &mut Cluster,
    unread: &mut Vec<Diagnostic>,
) -> Result<bool, EngineError> {
    let (listed, bad) =
        crate::api::list::<ListedTask>(text).map_err(|cause| EngineError::Answer {
            endpoint: "GET /tasks".to_owned(),
            cause,
        })?;
    complain("Swarm task", bad, unread);
    Ok(cluster.set_tasks(listed))
}

/// Reads the containers of all tasks on this node in one call.
async fn read_locals(engine: &Engine, cluster: &mut Cluster) -> Result<(), EngineError> {
    let filter = encoded(&format!(r#"{{"label":["{TASK_LABEL}"]}}"#));
    let path = format!("/containers/json?filters={filter}");
    let (listed, _unread) = engine.list::<ListedContainer>(&path).await?;
    cluster.set_locals(listed.into_iter().map(Container::from_list).collect());
    Ok(())
}

fn complain(kind: &str, bad: Vec<(String, String)>, unread: &mut Vec<Diagnostic>) {
    for (id, error) in bad {
        let diagnostic = unreadable(kind, &id, error);
        if !unread.contains(&diagnostic) && unread.len() < MAX_TOGETHER {
            unread.push(diagnostic);
        }
    }
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
/// The most events handled in one go.
const MAX_TOGETHER: usize = 256;
/// How long tasks are listed often after an event.
const EAGER: Duration = Duration::from_secs(5);
/// After how many listings that told nothing new the pause between them grows.
const IDLE_POLLS: u32 = 300;
