//! The way from a source to its supervisor.

use tokio::sync::mpsc;

use super::Update;

/// The way of a source's updates to the control plane.
///
/// Sending waits while the supervisor is behind, so a source holds at most a bounded number of updates in the
/// queue; it must keep its own buffers bounded too.
#[derive(Debug, Clone)]
pub struct Sink {
    updates: mpsc::Sender<Update>,
}

/// The control plane no longer listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control plane has closed")]
pub struct SinkClosed;

impl Sink {
    /// A sink and the receiving end of its queue of `capacity` updates, for supervisors and tests.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Update>) {
        let (updates, receiver) = mpsc::channel(capacity);
        (Self { updates }, receiver)
    }

    /// Sends one update, waiting for room in the queue.
    ///
    /// # Errors
    /// [`SinkClosed`] when the control plane no longer listens: the attempt should end.
    pub async fn send(&self, update: Update) -> Result<(), SinkClosed> {
        self.updates.send(update).await.map_err(|_| SinkClosed)
    }
}
