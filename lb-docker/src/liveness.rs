//! Time and links, as both sources need them.

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use lb_core::{Cursor, Sink, SourceError, Update};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::{engine::Engine, error::EngineError, refresh::Event};

/// Watches an engine, and the work with it, from a task of its own: neither long work nor a link that is silent without
/// an error hides that the other goes on or does not.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: mpsc::Receiver<Result<(), EngineError>>,
    task: AbortHandle,
}

impl Pulse {
    /// Asks every `interval` whether the engine answers. While the work takes too long to be told of it, that goes to
    /// `sink` as progress from where the attempt began, unless the work does not move at all.
    pub(crate) fn start(engine: Engine, interval: Duration, began: Cursor, sink: Sink) -> Self {
        let (told, beats) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let (mut moved, mut since) = (engine.moved(), now());
            loop {
                sleep(interval).await;
                let answered = engine.ping(interval * 2).await;
                let now_moved = engine.moved();
                match answered {
                    // A busy engine that says other things meanwhile lives.
                    Err(EngineError::Timeout { .. }) if now_moved != moved => {}
                    Err(error) => {
                        // Where the attempt is over, the receiver is gone.
                        let _ = told.send(Err(error)).await;
                        return;
                    }
                    Ok(()) => {}
                }
                let taken = told.try_send(Ok(())).is_ok();
                if taken || now_moved != moved {
                    (moved, since) = (now_moved, now());
                }
                let at = began.clone();
                if !taken
                    && since.elapsed() < STUCK
                    && sink.send(Update::Progress { at }).await.is_err()
                {
                    return;
                }
            }
        });
        Self {
            beats,
            task: task.abort_handle(),
        }
    }

    /// Returns when the engine has answered once more.
    ///
    /// # Errors
    /// Fails if it did not.
    pub(crate) async fn beat(&mut self) -> Result<(), EngineError> {
        match self.beats.recv().await {
            Some(answered) => answered,
            // Its end was told before.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The time work may go on without a word of the engine and still count as alive.
const STUCK: Duration = Duration::from_secs(120);

pub(crate) fn ended() -> SourceError {
    SourceError::transient("GET /events: the engine ended the stream")
}

/// An event and those that are there after it, as many as are handled in one go.
pub(crate) fn together<E>(
    first: Event,
    events: &mut (impl Stream<Item = Result<Event, E>> + Unpin),
) -> Result<Vec<Event>, SourceError>
where
    SourceError: From<E>,
{
    let mut size = first.size();
    let mut all = vec![first];
    while all.len() < MAX_TOGETHER && size < MAX_TOGETHER_SIZE {
        match events.next().now_or_never() {
            Some(event) => {
                let event = event.ok_or_else(ended)??;
                size += event.size();
                all.push(event);
            }
            None => break,
        }
    }
    Ok(all)
}

/// The most events handled in one go, and from how many bytes on no more are taken.
const MAX_TOGETHER: usize = 256;
const MAX_TOGETHER_SIZE: usize = 1 << 20;

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: pure code is given the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
