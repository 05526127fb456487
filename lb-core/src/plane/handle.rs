//! The way for the program to look at a running control plane and to ask it for things.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    builder::check_resync,
    drive::Ask,
    error::{BuildError, PlaneError},
    events::Events,
    run::Command,
    shared::Shared,
};
use crate::{
    condition::Condition,
    driver::{Driver, Preview, Unmet},
    engine::Engine,
    guard::{Confirm, GuardConfig},
    model::{Name, Snapshot},
    source::{Source, Ticket},
    status::{Lagging, Status, TicketStatus},
};

/// Looks at a control plane and asks it for things. Clones are cheap and can be used from any thread.
///
/// A handle keeps nothing running: when the control plane has ended, requests give [`PlaneError::Closed`] and
/// looking shows the last state.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    limit: Duration,
}

/// The result of [`Handle::reconcile_now`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reconciled {
    /// The generation that was asked for: the newest when every write before the call was taken in.
    pub generation: u64,
    /// Sources that have not taken in every write before the call in time.
    pub unread: Vec<Name>,
    /// Targets that have not applied and verified the generation in time. Empty: all have.
    pub lagging: Vec<Lagging>,
    /// The conditions that keep something desired from being in effect although the targets have verified the rest, the
    /// first [`MOST_LISTED`](crate::status::MOST_LISTED). A transient one is listed if it lasted to the limit.
    pub conditions: Vec<Condition>,
}

impl Reconciled {
    /// Returns `true` if every write before the call, and everything else desired then, is in effect on every target.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_verified() && self.conditions.is_empty()
    }

    /// Returns `true` if all targets have applied and verified the generation, but for what `conditions` name.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.unread.is_empty() && self.lagging.is_empty()
    }

    fn is_settled(&self) -> bool {
        self.is_verified() && !self.conditions.iter().any(|condition| condition.transient)
    }
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        limit: Duration,
    ) -> Self {
        Self {
            shared,
            commands,
            limit,
        }
    }

    /// The newest snapshot: generation 0 and empty before the first.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.read(|engine, _| engine.snapshot().clone())
    }

    /// The state of everything now.
    #[must_use]
    pub fn status(&self) -> Status {
        // What time alone brings about is judged here too: the task that does so otherwise may be kept from its turn.
        self.shared.with(Engine::refresh_waiting);
        self.shared.read(|engine, now| engine.status(now))
    }

    /// Subscribes to events from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events::new(self.shared.subscribe())
    }

    /// Lets through what the guard holds back. Returns how many records that were.
    pub fn confirm(&self, what: &Confirm) -> usize {
        self.shared.with(|engine, now| engine.confirm(now, what))
    }

    /// Changes what mass removals are held back, from the next update on. What is held already stays held for as long
    /// as it was to be.
    ///
    /// # Errors
    /// [`BuildError::Guard`] for a policy that makes no sense; nothing changes then.
    pub fn set_guard(&self, guard: GuardConfig) -> Result<(), BuildError> {
        guard.check()?;
        self.shared.with(|engine, _| engine.set_guard(guard));
        Ok(())
    }

    /// Says what the program itself knows that an operator should know of, such as a configuration file that it cannot
    /// read: all of it. What is not listed has ended.
    pub fn set_conditions(&self, conditions: Vec<Condition>) {
        self.shared
            .with(|engine, now| engine.set_conditions(now, conditions));
    }

    /// Changes how long a change waits for others to come along, and how often a target is looked at although nothing
    /// changed: both from the next time on.
    ///
    /// # Errors
    /// [`BuildError::Setting`] for a time out of its range; nothing changes then.
    pub fn set_timing(&self, settle: Duration, resync: Duration) -> Result<(), BuildError> {
        check_resync(resync)?;
        self.shared
            .with(|engine, _| engine.set_timing(settle, resync));
        Ok(())
    }

    /// Makes every target pass once more and waits until everything that is desired now is in effect on all of them, at
    /// most for `limit`.
    ///
    /// That covers every write of a [`Publisher`](crate::Publisher) that returned before the call. A transient condition
    /// is waited for; permanent ones end the wait as soon as everything else is in effect.
    ///
    /// # Errors
    /// [`PlaneError::Closed`] when the control plane has ended.
    pub async fn reconcile_now(&self, limit: Duration) -> Result<Reconciled, PlaneError> {
        if self.commands.is_closed() {
            return Err(PlaneError::Closed);
        }
        let mut progress = self.shared.progress.subscribe();
        let written = self.shared.read(|engine, _| engine.written());
        let unread = |engine: &Engine| {
            let left = written
                .iter()
                .filter(|(id, revision)| !engine.has_taken(*id, *revision));
            engine.source_names(left.map(|(id, _)| *id))
        };
        let mut begun: Option<(u64, u64)> = None;
        let mut look = || {
            // Asked once: what is taken in a moment later is looked at next time.
            let left = match begun {
                Some(_) => Vec::new(),
                None => self.shared.read(|engine, _| unread(engine)),
            };
            if begun.is_none() && left.is_empty() {
                begun = Some(self.shared.with(|engine, now| {
                    engine.flush(now);
                    let since = engine.request_pass(now);
                    (engine.snapshot().generation(), since)
                }));
            }
            self.shared.read(|engine, _| Reconciled {
                generation: begun.map_or_else(|| engine.snapshot().generation(), |begun| begun.0),
                unread: left,
                lagging: match begun {
                    Some((generation, since)) => engine.unverified(generation, since),
                    None => Vec::new(),
                },
                conditions: engine.not_in_effect(),
            })
        };
        self.until(limit, &mut progress, &mut look, Reconciled::is_settled)
            .await
    }

    /// The ticket of the write at `revision` to a source of this control plane; `None` if nothing was written there yet.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] if there is no source of that name that the program writes to.
    pub fn ticket(&self, source: &Name, revision: u64) -> Result<Option<Ticket>, PlaneError> {
        let written = self.shared.read(|engine, _| engine.written_of(source));
        let written = written.ok_or_else(|| PlaneError::Unknown {
            what: "source",
            name: source.clone(),
        })?;
        let given = (1..=written.revision()).contains(&revision);
        Ok(given.then(|| written.ticket(source.clone(), revision)))
    }

    /// Says what became of a write now.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] if the source that was written to is not in this control plane.
    pub fn ticket_state(&self, ticket: &Ticket) -> Result<TicketStatus, PlaneError> {
        let found = self.shared.read(|engine, _| engine.ticket(ticket));
        found.ok_or_else(|| PlaneError::Unknown {
            what: "source",
            name: ticket.source.clone(),
        })
    }

    /// Waits until a write is in effect on every target, at most for `limit`.
    ///
    /// Returns earlier if only permanent conditions keep it from that: see [`TicketStatus::in_effect`].
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] if the source that was written to is not in this control plane, [`PlaneError::Closed`]
    /// when the control plane has ended.
    pub async fn wait(&self, ticket: &Ticket, limit: Duration) -> Result<TicketStatus, PlaneError> {
        let mut progress = self.shared.progress.subscribe();
        let settled = |state: &Result<TicketStatus, PlaneError>| {
            state.as_ref().map_or(true, TicketStatus::is_settled)
        };
        let mut look = || self.ticket_state(ticket);
        if settled(&look()) {
            return look();
        }
        if self.commands.is_closed() {
            return Err(PlaneError::Closed);
        }
        self.until(limit, &mut progress, &mut look, settled).await?
    }

    /// Looks again after each progress until what is seen is settled, or the limit is over.
    async fn until<T>(
        &self,
        limit: Duration,
        progress: &mut watch::Receiver<u64>,
        look: &mut impl FnMut() -> T,
        settled: impl Fn(&T) -> bool,
    ) -> Result<T, PlaneError> {
        let all_done = async {
            loop {
                progress.borrow_and_update();
                let seen = look();
                if settled(&seen) || progress.changed().await.is_err() {
                    return seen;
                }
            }
        };
        tokio::select! {
            done = tokio::time::timeout(limit, all_done) => {
                if let Ok(seen) = done {
                    return Ok(seen);
                }
            }
            () = self.commands.closed() => return Err(PlaneError::Closed),
        }
        Ok(look())
    }

    /// Everything that a target could not do of what is desired. The status lists only the first of it.
    #[must_use]
    pub fn unmet(&self, target: &Name) -> Vec<Unmet> {
        self.shared.read(|engine, _| engine.unmet(target))
    }

    /// The plan of a pass of one target now. Changes nothing. Waits for a running pass to end first.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] for no such target, [`PlaneError::Preview`] when the driver could not tell,
    /// [`PlaneError::TimedOut`] after twice the limit of a pass.
    pub async fn preview(&self, target: &Name) -> Result<Preview, PlaneError> {
        let (answer, reply) = oneshot::channel();
        let ask = Ask {
            desired: self.snapshot(),
            answer,
        };
        let name = target.clone();
        self.request(|done| Command::Preview(name, ask, done))
            .await??;
        let limit = self.limit * 2;
        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(Ok(preview))) => Ok(preview),
            Ok(Ok(Err(cause))) => Err(PlaneError::Preview {
                target: target.clone(),
                cause,
            }),
            Ok(Err(_)) => Err(PlaneError::Closed),
            Err(_) => Err(PlaneError::TimedOut {
                what: format!("preview of target {target}"),
                limit,
            }),
        }
    }

    /// Adds a source, with the lowest precedence so far.
    ///
    /// # Errors
    /// [`PlaneError::Duplicate`] when a source of that name is there.
    pub async fn add_source(&self, source: Box<dyn Source>) -> Result<(), PlaneError> {
        self.request(|done| Command::AddSource(source, done))
            .await?
    }

    /// Ends a source and takes its records away. Nothing of that is held by the guard: whoever asks for it means it.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] when there is no such source.
    pub async fn remove_source(&self, name: &Name) -> Result<(), PlaneError> {
        let name = name.clone();
        self.request(|done| Command::RemoveSource(name, done))
            .await?
    }

    /// Puts a source in the place of the one of the same name, which is ended first.
    ///
    /// What the old one said stays in effect, and its precedence stays, until the new one has told everything: what
    /// that does not list is gone then, within what the guard lets through.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] when there is no source of that name.
    pub async fn replace_source(&self, source: Box<dyn Source>) -> Result<(), PlaneError> {
        self.request(|done| Command::ReplaceSource(source, done))
            .await?
    }

    /// Adds a target by its driver.
    ///
    /// # Errors
    /// [`PlaneError::Duplicate`] when a target of that name is there.
    pub async fn add_target(&self, driver: Box<dyn Driver>) -> Result<(), PlaneError> {
        self.request(|done| Command::AddTarget(driver, done))
            .await?
    }

    /// Ceases to drive a target, cutting a pass that runs. Nothing is changed in it.
    ///
    /// # Errors
    /// [`PlaneError::Unknown`] when there is no such target.
    pub async fn remove_target(&self, name: &Name) -> Result<(), PlaneError> {
        let name = name.clone();
        self.request(|done| Command::RemoveTarget(name, done))
            .await?
    }

    /// Ends the control plane and waits until its tasks are gone. Targets keep serving what they serve.
    pub async fn shutdown(&self) {
        if self.commands.send(Command::Shutdown).await.is_ok() {
            self.commands.closed().await;
        }
    }

    async fn request<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<R>) -> Command,
    ) -> Result<R, PlaneError> {
        let (done, reply) = oneshot::channel();
        self.commands
            .send(command(done))
            .await
            .map_err(|_| PlaneError::Closed)?;
        reply.await.map_err(|_| PlaneError::Closed)
    }
}
