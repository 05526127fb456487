//! Where C meets Rust: no panic leaves, no pointer is followed unchecked, no broken or foreign object is used.

use std::{
    any::Any,
    cell::Cell,
    ffi::c_char,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use lb_core::Name;

use super::status::{Error, Failure, Status};

/// An object of the library: refuses to be used after a panic, or in a child of the process that made it.
#[derive(Debug)]
pub(super) struct Guarded<T> {
    inner: T,
    broken: AtomicBool,
    process: u32,
}

/// The callback that a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Nothing,
    /// A source's callback, on a thread of its own.
    Discovery,
    /// The log, on any thread, maybe while something inside is locked.
    Log,
}

thread_local! {
    static WITHIN: Cell<Within> = const { Cell::new(Within::Nothing) };
}

/// Runs a callback of the program, marked as such.
pub(super) fn within<R>(what: Within, callback: impl FnOnce() -> R) -> R {
    struct Back(Within);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = self.0;
            let _ = WITHIN.try_with(|within| within.set(before));
        }
    }
    let _back = Back(WITHIN.replace(what));
    callback()
}

/// The callback that this thread is in.
pub(super) fn where_am_i() -> Within {
    WITHIN.try_with(Cell::get).unwrap_or(Within::Nothing)
}

impl<T> Guarded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            broken: AtomicBool::new(false),
            process: std::process::id(),
        }
    }

    /// Returns `true` if this is a child of the process that made it.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    /// Uses the object.
    pub(super) fn call<R>(
        &self,
        work: impl FnOnce(&T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.check()?;
        contain(&self.broken, || work(&self.inner))
    }

    /// Uses the object alone.
    pub(super) fn call_mut<R>(
        &mut self,
        work: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.check()?;
        let Self { inner, broken, .. } = self;
        contain(broken, || work(inner))
    }

    /// Takes the object apart.
    pub(super) fn into_inner(self) -> T {
        self.inner
    }

    /// Uses the object for the last time, whatever happened to it.
    pub(super) fn call_even_broken<R>(
        &self,
        work: impl FnOnce(&T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        contain(&self.broken, || work(&self.inner))
    }

    fn check(&self) -> Result<(), Failure> {
        if self.is_foreign() {
            let message = format!("the object belongs to process {}", self.process);
            return Err(Failure::new(Status::Forked, message));
        }
        if where_am_i() == Within::Log {
            let message = "objects cannot be used within the log's callback";
            return Err(Failure::new(Status::WouldDeadlock, message));
        }
        if self.broken.load(Ordering::Acquire) {
            let message = "an earlier call failed by a bug; the object can only be freed";
            return Err(Failure::new(Status::Panic, message));
        }
        Ok(())
    }
}

fn contain<R>(
    broken: &AtomicBool,
    work: impl FnOnce() -> Result<R, Failure>,
) -> Result<R, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        broken.store(true, Ordering::Release);
        Err(panicked(panic))
    })
}

fn panicked(panic: Box<dyn Any + Send>) -> Failure {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let failure = Failure::new(Status::Panic, format!("bug in lb: {what}"));
    // What a panic carries may panic again when it is dropped.
    std::mem::forget(panic);
    failure
}

/// Runs a function of the interface: whatever happens inside, a status comes out.
pub(super) fn enter(err: *mut *mut Error, work: impl FnOnce() -> Result<(), Failure>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic)));
    let Err(failure) = result else {
        return Status::Ok;
    };
    let status = failure.status;
    if !err.is_null() {
        // SAFETY: not NULL, so a place for one pointer by the header's rules.
        unsafe { err.write(failure.into_raw()) };
    }
    status
}

/// Runs something that has no way to fail.
pub(super) fn enter_void(work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        std::mem::forget(panic);
    }
}

fn null(what: &str) -> Failure {
    Failure::new(
        Status::NullArgument,
        format!("{what} is NULL, expected a pointer"),
    )
}

/// An object of the caller.
///
/// # Safety
/// NULL, or an object that this library handed out, not freed while the reference lives.
pub(super) unsafe fn borrow<'a, T>(object: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { object.as_ref() }.ok_or_else(|| null(what))
}

/// An object of the caller, used by nobody else.
///
/// # Safety
/// As for [`borrow`], and no other thread uses it.
pub(super) unsafe fn borrow_mut<'a, T>(object: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { object.as_mut() }.ok_or_else(|| null(what))
}

/// A place for a result.
pub(super) fn place<T>(out: *mut T, what: &str) -> Result<*mut T, Failure> {
    if out.is_null() {
        return Err(null(what));
    }
    Ok(out)
}

/// Hands an object out.
///
/// # Safety
/// `out` is a place for a pointer.
pub(super) unsafe fn hand_out<T>(out: *mut *mut T, object: T) {
    // SAFETY: the caller's promise.
    unsafe { out.write(Box::into_raw(Box::new(object))) };
}

/// A text of the caller.
///
/// # Safety
/// `ptr` is NULL, or points to `len` bytes that stay as they are while the reference lives.
pub(super) unsafe fn text<'a>(
    ptr: *const c_char,
    len: usize,
    what: &str,
) -> Result<&'a str, Failure> {
    if ptr.is_null() {
        return if len == 0 { Ok("") } else { Err(null(what)) };
    }
    if isize::try_from(len).is_err() {
        let message = format!("{what} has {len} bytes, expected a length");
        return Err(Failure::new(Status::InvalidArgument, message));
    }
    // SAFETY: not NULL, and the caller's promise; `len` is no more than an object can have.
    let bytes = unsafe { std::slice::from_raw_parts(ptr.cast::<u8>(), len) };
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Failure::new(
            Status::InvalidUtf8,
            format!("{what} is not UTF-8 at byte {at}"),
        )
    })
}

/// A name of the caller.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn name(ptr: *const c_char, len: usize, what: &str) -> Result<Name, Failure> {
    // SAFETY: the caller's promise.
    let text = unsafe { text(ptr, len, what) }?;
    text.parse().map_err(|error| Failure::invalid(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_breaks_the_object() {
        let object = Guarded::new(7);
        let mut err = std::ptr::null_mut();
        let status = enter(&raw mut err, || object.call(|_| panic!("planted")));
        assert_eq!(status, Status::Panic);
        // SAFETY: just handed out.
        unsafe {
            let message = super::super::status::lb_error_message(err);
            let message = text(message.ptr, message.len, "message").unwrap();
            assert_eq!(message, "bug in lb: planted");
            super::super::status::lb_error_free(err);
        }
        let again = object.call(|_| Ok(())).unwrap_err();
        assert_eq!(again.status, Status::Panic);
    }

    #[test]
    fn within_the_log_no_object_answers() {
        let object = Guarded::new(7);
        within(Within::Log, || {
            let failure = object.call(|_| Ok(())).unwrap_err();
            assert_eq!(failure.status, Status::WouldDeadlock);
        });
        object.call(|_| Ok(())).unwrap();
    }

    #[test]
    fn an_endless_length_is_refused_before_it_is_believed() {
        let byte = 0;
        // SAFETY: refused by its length before anything is read.
        let failure = unsafe { text(&raw const byte, usize::MAX, "name") }.unwrap_err();
        assert_eq!(failure.status, Status::InvalidArgument);
    }
}
