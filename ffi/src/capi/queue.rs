//! Events on their way to the program: a bounded queue with a file descriptor, independent of any runtime.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lb_core::{Event, Stamped};

/// Keeps the newest events for one subscriber. The descriptor is readable while one waits, or none will come.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    descriptor: OwnedFd,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Arc<Stamped>>,
    capacity: usize,
    dropped: u64,
    closed: bool,
}

/// The outcome of waiting for an event.
#[derive(Debug)]
pub(super) enum Next {
    Event(Arc<Stamped>),
    Closed,
    Timeout,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: no pointer is involved.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                capacity,
                dropped: 0,
                closed: false,
            }),
            ready: Condvar::new(),
            // SAFETY: just opened, and owned by nobody else.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
        })
    }

    pub(super) fn push(&self, event: Arc<Stamped>) {
        let mut state = self.lock();
        if let Event::Lost { count } = event.event {
            state.dropped += count;
            return;
        }
        if state.closed {
            return;
        }
        if state.events.len() >= state.capacity {
            state.events.pop_front();
            state.dropped += 1;
        }
        state.events.push_back(event);
        if state.events.len() == 1 {
            self.raise();
        }
        self.ready.notify_one();
    }

    /// No event comes after this.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if !state.closed {
            state.closed = true;
            self.raise();
        }
        self.ready.notify_all();
    }

    /// The oldest event, waiting for one at most this long; for ever without a limit.
    pub(super) fn next(&self, limit: Option<Duration>) -> Next {
        let nothing = |state: &mut State| state.events.is_empty() && !state.closed;
        let state = self.lock();
        let mut state = match limit {
            Some(limit) => {
                let waited = self.ready.wait_timeout_while(state, limit, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.ready.wait_while(state, nothing);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        match state.events.pop_front() {
            Some(event) => {
                if state.events.is_empty() && !state.closed {
                    self.lower();
                }
                Next::Event(event)
            }
            None if state.closed => Next::Closed,
            None => Next::Timeout,
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self) {
        let one = 1_u64;
        // SAFETY: the descriptor is ours and open, and eight bytes are read from a number of eight bytes. It cannot
        // fail short of 2^64 calls without a read.
        unsafe { libc::write(self.descriptor(), (&raw const one).cast(), 8) };
    }

    fn lower(&self) {
        let mut count = 0_u64;
        // SAFETY: the descriptor is ours and open, and eight bytes are written to a number of eight bytes. That there
        // is nothing to read is no failure.
        unsafe { libc::read(self.descriptor(), (&raw mut count).cast(), 8) };
    }
}
