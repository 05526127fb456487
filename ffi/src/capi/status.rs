//! How a call ended.

use lb_core::{BuildError, PlaneError, WriteError};

use super::text::Str;
use crate::spec::SpecError;

/// The outcome of a call. Numbers are never changed, only added.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It did what it says.
    Ok = 0,
    /// A pointer is NULL that must not be.
    NullArgument = 1,
    /// A text is not UTF-8.
    InvalidUtf8 = 2,
    /// An argument cannot be what it is; the error says which and what was expected.
    InvalidArgument = 3,
    /// Something of that name is there already.
    AlreadyExists = 4,
    /// Nothing of that name is there.
    NotFound = 5,
    /// The time is over.
    Timeout = 6,
    /// The plane or the publisher was shut down.
    Closed = 7,
    /// It must not be called in a callback: it would wait for that callback.
    WouldDeadlock = 8,
    /// A file or socket failed.
    Io = 9,
    /// HAProxy refused.
    Refused = 10,
    /// A bug in the library, which it contained: the object can only be freed.
    Panic = 11,
    /// HAProxy is reached and in step, but for a desired state that it cannot meet at run time.
    Unmet = 12,
    /// The plane was not started yet, or is started already.
    WrongState = 13,
    /// The object is the parent process's.
    Forked = 14,
}

impl Status {
    const ALL: [Self; 15] = [
        Self::Ok,
        Self::NullArgument,
        Self::InvalidUtf8,
        Self::InvalidArgument,
        Self::AlreadyExists,
        Self::NotFound,
        Self::Timeout,
        Self::Closed,
        Self::WouldDeadlock,
        Self::Io,
        Self::Refused,
        Self::Panic,
        Self::Unmet,
        Self::WrongState,
        Self::Forked,
    ];

    /// The status of this number.
    pub(super) fn of(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| *status as u32 == number)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NullArgument => "NULL_ARGUMENT",
            Self::InvalidUtf8 => "INVALID_UTF8",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::NotFound => "NOT_FOUND",
            Self::Timeout => "TIMEOUT",
            Self::Closed => "CLOSED",
            Self::WouldDeadlock => "WOULD_DEADLOCK",
            Self::Io => "IO",
            Self::Refused => "REFUSED",
            Self::Panic => "PANIC",
            Self::Unmet => "UNMET",
            Self::WrongState => "WRONG_STATE",
            Self::Forked => "FORKED",
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub struct Error {
    failure: Failure,
}

/// The same before it is handed out.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn invalid(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(Status::InvalidArgument, format!("{what}: {error}"))
    }

    pub(super) fn caused(status: Status, error: &dyn std::error::Error) -> Self {
        Self::new(status, chain(error))
    }

    pub(super) fn closed() -> Self {
        Self::new(Status::Closed, "the control plane has ended")
    }

    pub(super) fn into_raw(self) -> *mut Error {
        Box::into_raw(Box::new(Error { failure: self }))
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        let status = match &error {
            SpecError::Build(BuildError::Duplicate(_)) => Status::AlreadyExists,
            SpecError::Read { .. } => Status::Io,
            _ => Status::InvalidArgument,
        };
        Self::caused(status, &error)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        SpecError::from(error).into()
    }
}

impl From<PlaneError> for Failure {
    fn from(error: PlaneError) -> Self {
        let status = match &error {
            PlaneError::Closed => Status::Closed,
            PlaneError::Duplicate(_) => Status::AlreadyExists,
            PlaneError::Preview { cause, .. } => return drive(&error, cause),
            PlaneError::TimedOut { .. } => Status::Timeout,
            PlaneError::Unknown { .. } => Status::NotFound,
            _ => Status::Refused,
        };
        Self::caused(status, &error)
    }
}

impl From<lb_core::DriveError> for Failure {
    fn from(error: lb_core::DriveError) -> Self {
        drive(&error, &error)
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let status = match error {
            WriteError::Closed(_) => Status::Closed,
            _ => Status::InvalidArgument,
        };
        Self::new(status, error.to_string())
    }
}

fn drive(error: &dyn std::error::Error, cause: &lb_core::DriveError) -> Failure {
    let status = match cause {
        lb_core::DriveError::Unreachable { .. } => Status::Io,
        _ => Status::Refused,
    };
    Failure::caused(status, error)
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The status that the call gave; LB_STATUS_NULL_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_error_status(error: *const Error) -> Status {
    // SAFETY: NULL, or an error handed out by this library and not yet freed.
    unsafe { error.as_ref() }.map_or(Status::NullArgument, |error| error.failure.status)
}

/// The problem, for people: a lower-case fragment that names what was given and what was expected. Lives as long
/// as the error; empty for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_error_message(error: *const Error) -> Str {
    // SAFETY: NULL, or an error handed out by this library and not yet freed.
    unsafe { error.as_ref() }.map_or(Str::EMPTY, |error| Str::of(&error.failure.message))
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_error_free(error: *mut Error) {
    if !error.is_null() {
        // SAFETY: handed out by `into_raw`, freed once, used by nobody else: the header's rules.
        drop(unsafe { Box::from_raw(error) });
    }
}
