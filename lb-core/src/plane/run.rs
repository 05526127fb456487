//! Runs a control plane: starts the tasks of sources and targets, and ends them.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet},
};

use super::{
    builder::Builder,
    drive::{Ask, CLOSE_LIMIT, Drive},
    error::PlaneError,
    handle::Handle,
    shared::{Job, Shared},
    supervise::Supervise,
};
use crate::{
    backoff::BackoffConfig,
    driver::Driver,
    engine::{AttemptEnd, EndKind},
    merge::SourceId,
    model::Name,
    reconciler::TargetId,
    source::{Descriptor, Source},
};

/// The most questions for a preview that wait for one target.
const ASKS: usize = 8;

/// Sources, the model and targets, put together: see [`ControlPlane::builder`].
///
/// Dropping it ends all its tasks. Nothing is changed in any target by that.
pub struct ControlPlane {
    handle: Handle,
    requests: mpsc::Receiver<Command>,
    settings: Settings,
    seed: u64,
    new_sources: Vec<(SourceId, Descriptor, Box<dyn Source>)>,
    new_targets: Vec<(TargetId, Box<dyn Driver>)>,
    tasks: JoinSet<()>,
    members: HashMap<Id, Member>,
    /// The actions that follow when a task is gone.
    leaving: HashMap<Id, Leaving>,
    sources: HashMap<SourceId, AbortHandle>,
    targets: HashMap<TargetId, (AbortHandle, mpsc::Sender<Ask>)>,
}

/// The settings of the edge itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) source_backoff: BackoffConfig,
    pub(super) source_queue: usize,
    pub(super) pass_limit: Duration,
}

type Done<R> = oneshot::Sender<Result<R, PlaneError>>;

/// A request of a [`Handle`].
pub(super) enum Command {
    AddSource(Box<dyn Source>, Done<()>),
    AddTarget(Box<dyn Driver>, Done<()>),
    Preview(Name, Ask, Done<()>),
    RemoveSource(Name, Done<()>),
    RemoveTarget(Name, Done<()>),
    ReplaceSource(Box<dyn Source>, Done<()>),
    Shutdown,
}

/// The action that follows when the task of a member is gone.
struct Leaving {
    /// The source that takes its place.
    next: Option<(SourceId, Descriptor, Box<dyn Source>)>,
    done: Done<()>,
}

/// Whose task it is.
#[derive(Debug, Clone, Copy)]
enum Member {
    Source(SourceId),
    Target(TargetId),
}

/// A control plane that runs in a task of its own. Dropping it ends the control plane.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Begins to put a control plane together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn new(
        handle: Handle,
        requests: mpsc::Receiver<Command>,
        settings: Settings,
        seed: u64,
        new_sources: Vec<(SourceId, Descriptor, Box<dyn Source>)>,
        new_targets: Vec<(TargetId, Box<dyn Driver>)>,
    ) -> Self {
        Self {
            handle,
            requests,
            settings,
            seed,
            new_sources,
            new_targets,
            tasks: JoinSet::new(),
            members: HashMap::new(),
            leaving: HashMap::new(),
            sources: HashMap::new(),
            targets: HashMap::new(),
        }
    }

    /// A handle to look at the control plane and to ask it for things; usable before it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs in a task of its own. Must be called within a Tokio runtime with time enabled.
    #[must_use = "dropping it ends the control plane"]
    pub fn spawn(self) -> Running {
        let handle = self.handle();
        let task = tokio::spawn(self.run(std::future::pending()));
        Running { handle, task }
    }

    /// Runs until `shutdown` returns or [`Handle::shutdown`] is called, and ends all tasks then.
    ///
    /// Dropping the future ends everything as well. Targets keep serving what they serve.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        for (id, driver) in std::mem::take(&mut self.new_targets) {
            self.start_target(id, driver);
        }
        for (id, descriptor, source) in std::mem::take(&mut self.new_sources) {
            self.start_source(id, descriptor, source);
        }
        let shared = self.handle.shared.clone();
        tokio::pin!(shutdown);
        loop {
            let next = shared.turn();
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                request = self.requests.recv() => match request {
                    None | Some(Command::Shutdown) => break,
                    Some(command) => self.carry_out(command),
                },
                Some(ended) = self.tasks.join_next_with_id() => self.member_ended(ended),
                () = shared.wake.notified() => {}
                () = shared.clock.reach(next) => {}
            }
        }
        shared.with(|engine, now| engine.close(now));
        self.end(&shared).await;
    }

    /// Ends all tasks: sources at once, drivers when they have closed, or after a while all the same.
    async fn end(&mut self, shared: &Shared) {
        for source in self.sources.values() {
            source.abort();
        }
        for target in self.targets.keys() {
            shared.disconnect(*target);
        }
        // A pass that is on its way may end first.
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSE_LIMIT * 2, all).await;
        self.tasks.shutdown().await;
    }

    fn carry_out(&mut self, command: Command) {
        let shared = self.handle.shared.clone();
        // Whoever asked may have gone; what was asked for is done all the same.
        let _ = match command {
            Command::AddSource(source, done) => {
                let descriptor = source.describe();
                let added = shared.with(|engine, now| engine.add_source(now, descriptor.clone()));
                let added = added.map(|id| self.start_source(id, descriptor, source));
                done.send(added.map_err(PlaneError::from))
            }
            Command::AddTarget(driver, done) => {
                let name = driver.name().clone();
                // Its first pass may be due at once, so its mailbox must be there when it is added.
                let (mailbox, jobs) = mpsc::channel(1);
                let added = shared.add_target(name, mailbox);
                let added = added.map(|id| self.start_drive(id, driver, jobs));
                done.send(added.map_err(PlaneError::from))
            }
            Command::RemoveSource(name, done) => {
                let id = shared.with(|engine, now| engine.remove_source(now, &name));
                let task = id.and_then(|id| self.sources.get(&id).cloned());
                let unknown = PlaneError::Unknown {
                    what: "source",
                    name,
                };
                let leaving = Leaving { next: None, done };
                return self.end_member(id.map(|_| task).ok_or(unknown), leaving);
            }
            Command::RemoveTarget(name, done) => {
                let id = shared.with(|engine, now| engine.remove_target(now, &name));
                if let Some(id) = id {
                    shared.disconnect(id);
                }
                let task = id.and_then(|id| self.targets.remove(&id));
                let task = task.map(|(task, _)| task);
                let unknown = PlaneError::Unknown {
                    what: "target",
                    name,
                };
                let leaving = Leaving { next: None, done };
                return self.end_member(id.map(|_| task).ok_or(unknown), leaving);
            }
            Command::ReplaceSource(source, done) => {
                let descriptor = source.describe();
                let name = descriptor.name.clone();
                let id = shared.with(|engine, now| engine.replace_source(now, descriptor.clone()));
                let Some(id) = id else {
                    let what = "source";
                    drop(done.send(Err(PlaneError::Unknown { what, name })));
                    return;
                };
                let next = Some((id, descriptor, source));
                // The old one must be gone first, so that it says nothing after the new one did.
                let task = self.sources.get(&id).cloned();
                return self.end_member(Ok(task), Leaving { next, done });
            }
            Command::Preview(name, ask, done) => done.send(self.ask(name, ask)),
            Command::Shutdown => Ok(()),
        };
    }

    /// Ends the task of a member, if it still runs, and goes on when it is gone.
    fn end_member(&mut self, task: Result<Option<AbortHandle>, PlaneError>, leaving: Leaving) {
        match task {
            Ok(Some(task)) => {
                // Of a source that is replaced twice, or replaced and removed, before its task is gone, the last counts.
                let before = self.leaving.insert(task.id(), leaving);
                if let Some(before) = before {
                    drop(before.done.send(Ok(())));
                }
                task.abort();
            }
            Ok(None) => self.member_left(leaving),
            Err(error) => drop(leaving.done.send(Err(error))),
        }
    }

    fn member_left(&mut self, leaving: Leaving) {
        if let Some((id, descriptor, source)) = leaving.next {
            self.start_source(id, descriptor, source);
        }
        drop(leaving.done.send(Ok(())));
    }

    fn ask(&self, name: Name, ask: Ask) -> Result<(), PlaneError> {
        let id = self.handle.shared.read(|engine, _| engine.target_id(&name));
        let Some((_, asks)) = id.and_then(|id| self.targets.get(&id)) else {
            return Err(PlaneError::Unknown {
                what: "target",
                name,
            });
        };
        asks.try_send(ask).map_err(|_| PlaneError::TimedOut {
            what: format!("preview of target {name}, with {ASKS} waiting already,"),
            limit: Duration::ZERO,
        })
    }

    fn start_source(&mut self, id: SourceId, descriptor: Descriptor, source: Box<dyn Source>) {
        let supervise = Supervise {
            shared: self.handle.shared.clone(),
            id,
            descriptor,
            source,
            backoff: self.settings.source_backoff,
            // Sources started together must not retry together.
            seed: self.seed ^ (u64::from(id.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            queue: self.settings.source_queue,
        };
        let task = self.tasks.spawn(supervise.run());
        self.members.insert(task.id(), Member::Source(id));
        self.sources.insert(id, task);
    }

    fn start_target(&mut self, id: TargetId, driver: Box<dyn Driver>) {
        let (mailbox, jobs) = mpsc::channel(1);
        self.handle.shared.connect(id, mailbox);
        self.start_drive(id, driver, jobs);
    }

    fn start_drive(&mut self, id: TargetId, driver: Box<dyn Driver>, jobs: mpsc::Receiver<Job>) {
        let (asks, questions) = mpsc::channel(ASKS);
        let drive = Drive {
            shared: self.handle.shared.clone(),
            id,
            driver,
            jobs,
            asks: questions,
            limit: self.settings.pass_limit,
        };
        let task = self.tasks.spawn(drive.run());
        self.members.insert(task.id(), Member::Target(id));
        self.targets.insert(id, (task, asks));
    }

    fn member_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let leaving = self.leaving.remove(&id);
        match self.members.remove(&id) {
            Some(Member::Source(source)) => {
                self.sources.remove(&source);
                if panicked {
                    let end = AttemptEnd {
                        why: "the source panicked; its records stay, it is not tried again".into(),
                        kind: EndKind::Failed,
                        retry_at: None,
                    };
                    let shared = &self.handle.shared;
                    shared.with(|engine, now| engine.source_ended(now, source, end));
                }
            }
            Some(Member::Target(target)) => {
                self.targets.remove(&target);
                if panicked {
                    let shared = &self.handle.shared;
                    shared.disconnect(target);
                    shared.with(|engine, now| engine.target_lost(now, target));
                }
            }
            None => {}
        }
        if let Some(leaving) = leaving {
            self.member_left(leaving);
        }
    }
}

impl Running {
    /// A handle to look at the control plane and to ask it for things.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the control plane and waits until its tasks are gone.
    pub async fn shutdown(mut self) {
        self.handle.shutdown().await;
        // It ended, or was ended by the runtime: gone either way.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
