//! Threads of the library, and how the program's threads wait for them.
//!
//! Nothing here makes the standard library or tokio keep something for the program's own threads.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::status::{Failure, Status};

/// Runs something on a thread of its own and waits for it. A panic in it goes on here.
pub(super) fn elsewhere<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = masked(|| thread.spawn(work))
        .map_err(|error| Failure::new(Status::Io, format!("no thread: {error}")))?;
    thread
        .join()
        .map_err(|panic| std::panic::resume_unwind(panic))
}

/// Runs something that starts threads, with all signals blocked: threads inherit that, so that the program's signals
/// go to the program's threads.
pub(super) fn masked<R>(start: impl FnOnce() -> R) -> R {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: a set that `pthread_sigmask` has filled in; the old one is not asked for.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
            };
        }
    }
    // SAFETY: a set of signals is plain data, which the calls below fill in before it is read.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both point to sets of ours.
    let masked = unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before)
    };
    let _restore = (masked == 0).then_some(Restore(before));
    start()
}

/// The place of one answer that is waited for.
#[derive(Debug)]
pub(super) struct Answer<T>(Arc<Slot<T>>);

/// Who gives the answer; dropped without, there is none.
#[derive(Debug)]
pub(super) struct Giver<T>(Arc<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Waiting,
    Given(T),
    Over,
}

/// A place for one answer.
pub(super) fn answer<T>() -> (Giver<T>, Answer<T>) {
    let slot = Arc::new(Slot {
        state: Mutex::new(State::Waiting),
        changed: Condvar::new(),
    });
    (Giver(Arc::clone(&slot)), Answer(slot))
}

impl<T> Giver<T> {
    pub(super) fn give(self, answer: T) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Given(answer);
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waiting) {
            *state = State::Over;
        }
        self.0.changed.notify_one();
    }
}

impl<T> Answer<T> {
    /// Waits for the answer; `None` when there will be none.
    pub(super) fn wait(self) -> Option<T> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut State<T>| matches!(state, State::Waiting);
        let waited = self.0.changed.wait_while(state, waiting);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Over) {
            State::Given(answer) => Some(answer),
            State::Waiting | State::Over => None,
        }
    }
}
