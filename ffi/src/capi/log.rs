//! The log, which is the only thing of the library that belongs to the whole process.

use std::{
    ffi::c_void,
    fmt::{self, Write},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use super::{
    boundary::{Within, enter, where_am_i, within},
    callback::{ReleaseFn, Userdata},
    status::{Error, Failure, Status},
    text::Str,
};

/// The level of a line of the log.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing at all.
    Off = 0,
    /// Something that needs somebody's care.
    Error = 1,
    /// Something that went wrong and is tried again, or worked around.
    Warn = 2,
    /// Information for a person who looks on.
    Info = 3,
    /// Details that help to understand.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Is called for a line of the log: its level (an lb_log_level), the module it is from and its text, both of which live
/// until the callback returns.
pub type LogFn =
    Option<unsafe extern "C" fn(userdata: *mut c_void, level: u32, module: Str, message: Str)>;

#[derive(Debug)]
struct Logger {
    most: LevelFilter,
    log: unsafe extern "C" fn(*mut c_void, u32, Str, Str),
    userdata: Userdata,
}

static LOGGER: RwLock<Option<Arc<Logger>>> = RwLock::new(None);
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Sends the log of the whole process's use of this library to `log`, lines up to `most` (an lb_log_level), in the
/// place of where it was sent before; NULL: nowhere, as in the beginning. `log` is called from any thread, several at
/// once, and at any time until `release` is called: on the thread that sent the log elsewhere, or on the one that
/// then still was in `log`. In `log`, functions of objects answer LB_STATUS_WOULD_DEADLOCK.
/// LB_STATUS_ALREADY_EXISTS when the process has another log that Rust code has set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_set_logger(
    most: u32,
    log: LogFn,
    userdata: *mut c_void,
    release: ReleaseFn,
    err: *mut *mut Error,
) -> Status {
    // Made before anything is checked: it is released in every case.
    let userdata = Userdata::new(userdata, release);
    enter(err, move || {
        if where_am_i() == Within::Log {
            let message = "the log cannot be sent elsewhere within its callback";
            return Err(Failure::new(Status::WouldDeadlock, message));
        }
        let most = filter(most)?;
        let installed =
            *INSTALLED.get_or_init(|| tracing::subscriber::set_global_default(ToCallback).is_ok());
        if !installed {
            let message = "the process has a log of its own";
            return Err(Failure::new(Status::AlreadyExists, message));
        }
        let logger = log.map(|log| {
            Arc::new(Logger {
                most,
                log,
                userdata,
            })
        });
        let mut current = LOGGER.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, logger);
        drop(current);
        // The program's release runs here, without the lock.
        drop(before);
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    })
}

fn filter(level: u32) -> Result<LevelFilter, Failure> {
    [
        (LogLevel::Off, LevelFilter::OFF),
        (LogLevel::Error, LevelFilter::ERROR),
        (LogLevel::Warn, LevelFilter::WARN),
        (LogLevel::Info, LevelFilter::INFO),
        (LogLevel::Debug, LevelFilter::DEBUG),
        (LogLevel::Trace, LevelFilter::TRACE),
    ]
    .into_iter()
    .find(|(known, _)| *known as u32 == level)
    .map(|(_, filter)| filter)
    .ok_or_else(|| {
        let message = format!("most is {level}, expected an lb_log_level");
        Failure::new(Status::InvalidArgument, message)
    })
}

fn current() -> Option<Arc<Logger>> {
    LOGGER
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Gives events to the callback; there is nothing to remember of spans.
#[derive(Debug)]
struct ToCallback;

impl Subscriber for ToCallback {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && current().is_some_and(|logger| *metadata.level() <= logger.most)
    }

    fn register_callsite(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if self.enabled(metadata) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(current().map_or(LevelFilter::OFF, |logger| logger.most))
    }

    fn event(&self, event: &Event<'_>) {
        let Some(logger) = current() else { return };
        // What a callback of the log does itself is not logged: that would have no end.
        if where_am_i() == Within::Log {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        };
        let text = line.message + &line.fields;
        let module = Str::of(event.metadata().target());
        within(Within::Log, || {
            // SAFETY: the program's function with its own data, which it accepts on any thread; both texts live
            // beyond the call.
            unsafe {
                (logger.log)(
                    logger.userdata.pointer(),
                    level as u32,
                    module,
                    Str::of(&text),
                )
            };
        });
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event as one line: its message, then its fields.
#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.record_debug(field, &format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
