//! A response body that takes its time.

use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::content::{Ask, PIECE, PIECE_EVERY, piece};

/// The body of a download: piece after piece, of known length.
pub(super) struct Download {
    next: usize,
    pieces: usize,
    pause: Pin<Box<Sleep>>,
}

impl Download {
    pub(super) fn new(ask: Ask) -> Self {
        Self {
            next: 0,
            pieces: ask.pieces(),
            pause: Box::pin(sleep(PIECE_EVERY)),
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        // The first piece goes out at once, so that a client sees that the download runs.
        if self.next > 0 {
            ready!(self.pause.as_mut().poll(context));
            let next = self.pause.deadline() + PIECE_EVERY;
            self.pause.as_mut().reset(next);
        }
        let data = piece(self.next);
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.pieces
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(((self.pieces - self.next) * PIECE) as u64)
    }
}
