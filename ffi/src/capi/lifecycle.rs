//! A control plane from its preparation to its end, and the threads it has meanwhile.

use std::{
    future::Future,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use lb_core::{ControlPlane, Driver, Handle, Name, Source, plane::Builder};
use tokio::{
    runtime::Runtime,
    sync::{
        oneshot::{self, error::TryRecvError},
        watch,
    },
};

use super::{
    boundary::{Within, where_am_i},
    callback::Callback,
    queue::Queue,
    status::{Failure, Status},
    thread::{answer, elsewhere},
};
use crate::spec::Spec;

/// The time for which tasks of the runtime that cannot be cancelled (a look-up of a name, a read of a file) are waited
/// for.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A control plane as C knows it.
#[derive(Debug)]
pub(super) struct Lifecycle {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Preparing(Box<Preparing>),
    Running(Box<Running>),
    /// Somebody ends it.
    Ending(Handle),
    /// The last state can be looked at, if there was one.
    Ended(Option<Handle>),
}

struct Preparing {
    builder: Builder,
    sources: Vec<(Name, Box<dyn Source>)>,
    targets: Vec<(Name, Box<dyn Driver>)>,
    callbacks: Vec<(Name, Callback)>,
    subscribers: Vec<(Arc<Queue>, oneshot::Receiver<()>)>,
}

#[derive(Debug)]
struct Running {
    runtime: Runtime,
    plane: lb_core::Running,
    callbacks: Vec<JoinHandle<()>>,
    closing: watch::Sender<bool>,
}

impl std::fmt::Debug for Preparing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preparing").finish_non_exhaustive()
    }
}

impl Lifecycle {
    pub(super) fn new(spec: Spec) -> Result<Self, Failure> {
        let builder = spec.builder();
        // What is wrong with the settings is said now, not at the start.
        spec.builder().build()?;
        let mut preparing = Preparing {
            builder,
            sources: Vec::new(),
            targets: Vec::new(),
            callbacks: Vec::new(),
            subscribers: Vec::new(),
        };
        for source in spec.sources {
            preparing.add_source(source.build()?)?;
        }
        for target in spec.targets {
            preparing.add_target(target.build()?)?;
        }
        Ok(Self {
            state: Mutex::new(State::Preparing(Box::new(preparing))),
            changed: Condvar::new(),
        })
    }

    pub(super) fn add_source(&self, source: Box<dyn Source>) -> Result<(), Failure> {
        if let State::Preparing(preparing) = &mut *self.lock() {
            return preparing.add_source(source);
        }
        self.ask(|handle| async move { Ok(handle.add_source(source).await?) })
    }

    pub(super) fn add_target(&self, target: Box<dyn Driver>) -> Result<(), Failure> {
        if let State::Preparing(preparing) = &mut *self.lock() {
            return preparing.add_target(target);
        }
        self.ask(|handle| async move { Ok(handle.add_target(target).await?) })
    }

    /// Adds a source with the callback that it asks.
    pub(super) fn add_callback(
        &self,
        source: Box<dyn Source>,
        callback: Callback,
    ) -> Result<(), Failure> {
        let name = source.describe().name;
        if let State::Preparing(preparing) = &mut *self.lock() {
            preparing.add_source(source)?;
            preparing.callbacks.push((name, callback));
            return Ok(());
        }
        let thread = callback.start()?;
        let added = self.ask(|handle| async move { Ok(handle.add_source(source).await?) });
        if added.is_ok()
            && let State::Running(running) = &mut *self.lock()
        {
            running.callbacks.retain(|thread| !thread.is_finished());
            running.callbacks.push(thread);
            return Ok(());
        }
        // The source is gone, so the thread ends, and with it what the program gave.
        if where_am_i() == Within::Nothing {
            let _ = thread.join();
        }
        added
    }

    pub(super) fn remove_source(&self, name: Name) -> Result<(), Failure> {
        if let State::Preparing(preparing) = &mut *self.lock() {
            take(&mut preparing.sources, &name)
                .ok_or_else(|| unknown("source", &name))
                .map(drop)?;
            take(&mut preparing.callbacks, &name);
            return Ok(());
        }
        self.ask(|handle| async move { Ok(handle.remove_source(&name).await?) })
    }

    pub(super) fn remove_target(&self, name: Name) -> Result<(), Failure> {
        if let State::Preparing(preparing) = &mut *self.lock() {
            return take(&mut preparing.targets, &name)
                .ok_or_else(|| unknown("target", &name))
                .map(drop);
        }
        self.ask(|handle| async move { Ok(handle.remove_target(&name).await?) })
    }

    /// Fills the queue with events from now on, while they are wanted.
    pub(super) fn subscribe(
        &self,
        queue: Arc<Queue>,
        wanted: oneshot::Receiver<()>,
    ) -> Result<(), Failure> {
        match &mut *self.lock() {
            State::Preparing(preparing) => {
                preparing
                    .subscribers
                    .retain_mut(|(_, wanted)| wanted.try_recv() == Err(TryRecvError::Empty));
                preparing.subscribers.push((queue, wanted));
            }
            State::Running(running) => {
                let handle = running.plane.handle();
                running.pump(&handle, queue, wanted);
            }
            State::Ending(_) | State::Ended(_) => return Err(Failure::closed()),
        }
        Ok(())
    }

    pub(super) fn start(&self) -> Result<(), Failure> {
        let mut state = self.lock();
        let State::Preparing(preparing) = &mut *state else {
            return Err(match *state {
                State::Running(_) => {
                    Failure::new(Status::WrongState, "the control plane is started already")
                }
                _ => Failure::closed(),
            });
        };
        let runtime = runtime()?;
        // Nothing below fails but for want of threads; what was prepared is used up then.
        let preparing = std::mem::replace(
            &mut **preparing,
            Preparing {
                builder: ControlPlane::builder(),
                sources: Vec::new(),
                targets: Vec::new(),
                callbacks: Vec::new(),
                subscribers: Vec::new(),
            },
        );
        *state = State::Ended(None);
        *state = State::Running(Box::new(preparing.start(runtime)?));
        Ok(())
    }

    /// A handle of the running plane, or of what was one.
    pub(super) fn handle(&self) -> Result<Handle, Failure> {
        match &*self.lock() {
            State::Preparing(_) => Err(not_started()),
            State::Running(running) => Ok(running.plane.handle()),
            State::Ending(handle) | State::Ended(Some(handle)) => Ok(handle.clone()),
            State::Ended(None) => Err(Failure::closed()),
        }
    }

    /// Asks the running plane for something and waits for it, outside of its runtime.
    pub(super) fn ask<T, F>(&self, question: impl FnOnce(Handle) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let answer = match &*self.lock() {
            State::Preparing(_) => return Err(not_started()),
            State::Ending(_) | State::Ended(_) => return Err(Failure::closed()),
            State::Running(running) => {
                let question = question(running.plane.handle());
                let (give, answer) = answer();
                running.runtime.spawn(async move {
                    // Whoever asked waits until it is answered or the runtime drops the question.
                    give.give(question.await);
                });
                answer
            }
        };
        answer.wait().ok_or_else(Failure::closed)?
    }

    pub(super) fn shutdown(&self) -> Result<(), Failure> {
        if where_am_i() != Within::Nothing {
            let message = "a callback cannot wait for its own end";
            return Err(Failure::new(Status::WouldDeadlock, message));
        }
        let mut state = self.lock();
        while matches!(*state, State::Ending(_)) {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Ended(None)) {
            State::Preparing(preparing) => {
                drop(state);
                for (queue, _) in &preparing.subscribers {
                    queue.close();
                }
                // What the program gave is released here, without any lock.
                drop(preparing);
            }
            State::Running(running) => {
                let handle = running.plane.handle();
                *state = State::Ending(handle.clone());
                drop(state);
                running.end();
                *self.lock() = State::Ended(Some(handle));
                self.changed.notify_all();
            }
            ended => *state = ended,
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Preparing {
    fn add_source(&mut self, source: Box<dyn Source>) -> Result<(), Failure> {
        let name = source.describe().name;
        add(&mut self.sources, "source", name, source)
    }

    fn add_target(&mut self, target: Box<dyn Driver>) -> Result<(), Failure> {
        let name = target.name().clone();
        add(&mut self.targets, "target", name, target)
    }

    fn start(self, runtime: Runtime) -> Result<Running, Failure> {
        let mut builder = self.builder;
        for (_, source) in self.sources {
            builder = builder.boxed_source(source);
        }
        for (_, target) in self.targets {
            builder = builder.boxed_target(target);
        }
        let plane = builder.build()?;
        let handle = plane.handle();
        let callbacks = self
            .callbacks
            .into_iter()
            .map(|(_, callback)| callback.start())
            .collect::<Result<_, _>>()?;
        let mut subscriptions = Vec::new();
        for (queue, wanted) in self.subscribers {
            subscriptions.push((handle.subscribe(), queue, wanted));
        }
        let plane = {
            let _inside = runtime.enter();
            plane.spawn()
        };
        let running = Running {
            runtime,
            plane,
            callbacks,
            closing: watch::Sender::new(false),
        };
        for (events, queue, wanted) in subscriptions {
            running.pump_from(events, queue, wanted);
        }
        Ok(running)
    }
}

impl Running {
    fn pump(&self, handle: &Handle, queue: Arc<Queue>, wanted: oneshot::Receiver<()>) {
        self.pump_from(handle.subscribe(), queue, wanted);
    }

    /// Moves events to a queue, on the runtime, until nobody wants them or the plane has ended.
    fn pump_from(
        &self,
        mut events: lb_core::Events,
        queue: Arc<Queue>,
        mut wanted: oneshot::Receiver<()>,
    ) {
        // However the task ends, whoever waits for events learns of it.
        struct Close(Arc<Queue>);
        impl Drop for Close {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let queue = Close(queue);
        let mut closing = self.closing.subscribe();
        self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(event) => queue.0.push(event),
                        None => return,
                    },
                    // Nobody sends there: it is over when the subscription is dropped.
                    _ = &mut wanted => return,
                    _ = closing.wait_for(|closing| *closing) => {
                        while let Some(event) = events.try_next() {
                            queue.0.push(event);
                        }
                        return;
                    }
                }
            }
        });
    }

    /// Ends everything, on a thread of its own: the caller's may belong to a runtime, which must not be blocked.
    fn end(self) {
        let Self {
            runtime,
            plane,
            callbacks,
            closing,
        } = self;
        let end = move || {
            runtime.block_on(async {
                plane.shutdown().await;
                closing.send_replace(true);
                closing.closed().await;
            });
            runtime.shutdown_timeout(LAST_WAIT);
            // Their sources are gone, so they end when the program's callback returns.
            for callback in callbacks {
                let _ = callback.join();
            }
        };
        // Without another thread, dropping all of it must do.
        let _ = elsewhere("lb-shutdown", end);
    }
}

/// The number of threads that do the work: more than there are sources, mostly, that are busy with what others write.
const WORKERS: usize = 4;
/// The most threads that wait for files. A file that hangs holds up to four of them, and must not hold up other files.
const MOST_FOR_FILES: usize = 64;

fn runtime() -> Result<Runtime, Failure> {
    let runtime = elsewhere("lb-start", || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(MOST_FOR_FILES)
            .thread_name("lb-plane")
            .enable_all()
            .build()
    })?;
    runtime.map_err(|error| Failure::caused(Status::Io, &error))
}

fn add<T>(list: &mut Vec<(Name, T)>, what: &str, name: Name, item: T) -> Result<(), Failure> {
    if list.iter().any(|(known, _)| *known == name) {
        let message = format!("{what} {name} is there already");
        return Err(Failure::new(Status::AlreadyExists, message));
    }
    list.push((name, item));
    Ok(())
}

fn take<T>(list: &mut Vec<(Name, T)>, name: &Name) -> Option<T> {
    let index = list.iter().position(|(known, _)| known == name)?;
    Some(list.remove(index).1)
}

fn unknown(what: &str, name: &Name) -> Failure {
    Failure::new(Status::NotFound, format!("{what} {name} is not there"))
}

fn not_started() -> Failure {
    Failure::new(Status::WrongState, "the control plane is not started")
}

#[cfg(test)]
mod tests {
    use lb_core::testkit::waiting_threads;

    use super::*;

    #[test]
    fn case_h05_at_most_64_threads_wait_for_files_and_the_work_goes_on() {
        let runtime = runtime().unwrap();
        assert_eq!(waiting_threads(&runtime, 64), Ok(()));
    }
}
