//! A subscriber's end of the events.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::event::{Event, Stamped};

/// Receives events from the moment of subscription. A slow subscriber loses the oldest and is told how many by
/// [`Event::Lost`]; it never slows the control plane or another subscriber.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Arc<Stamped>>,
    last: (u64, u64),
}

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Stamped>>) -> Self {
        Self {
            receiver,
            last: (0, 0),
        }
    }

    /// The next event; `None` when the control plane has ended and everything was received.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Stamped>> {
        match self.receiver.recv().await {
            Ok(event) => Some(self.seen(event)),
            Err(RecvError::Lagged(count)) => Some(self.lost(count)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Arc<Stamped>> {
        match self.receiver.try_recv() {
            Ok(event) => Some(self.seen(event)),
            Err(TryRecvError::Lagged(count)) => Some(self.lost(count)),
            Err(TryRecvError::Closed | TryRecvError::Empty) => None,
        }
    }

    fn seen(&mut self, event: Arc<Stamped>) -> Arc<Stamped> {
        self.last = (event.seq, event.at_micros);
        event
    }

    fn lost(&mut self, count: u64) -> Arc<Stamped> {
        self.last.0 += count;
        let (seq, at_micros) = self.last;
        Arc::new(Stamped::new(seq, at_micros, Event::Lost { count }))
    }
}
