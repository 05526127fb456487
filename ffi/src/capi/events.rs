//! Events, pulled by the program.

use std::{ffi::c_int, sync::Arc, time::Duration};

use lb_core::{Condition, Event as Happened, Name};
use tokio::sync::oneshot;

use super::{
    boundary::{Guarded, borrow, enter, enter_void, hand_out, place},
    plane::Plane,
    queue::{Next, Queue},
    status::{Error, Failure, Status},
    text::Str,
};

/// A subscription to events. Used by any number of threads; each event goes to one of them.
#[derive(Debug)]
pub struct Events {
    guarded: Guarded<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    queue: Arc<Queue>,
    /// Dropped with the subscription, which tells whoever fills the queue.
    _wanted: oneshot::Sender<()>,
}

/// Something that happened.
#[derive(Debug)]
pub struct Event {
    kind: EventKind,
    subject: String,
    /// The writes that it is about: those after the first up to the second.
    tickets: (u64, u64),
    json: String,
}

/// The kind of an event. lb_event_json has the details.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Something that this header does not know yet.
    Other = 0,
    /// A source was added.
    SourceAdded = 1,
    /// A source was taken away, with its endpoints.
    SourceRemoved = 2,
    /// A source's health changed.
    SourceHealth = 3,
    /// A source found something wrong with one of its objects.
    SourceDiagnostic = 4,
    /// An update of a source was older than what it had reported before, and was left out.
    SourceOutdated = 5,
    /// Removals are held back: lb_plane_confirm lets them through.
    GuardHeld = 6,
    /// Removals are no longer held back.
    GuardReleased = 7,
    /// The desired state changed: there is a new generation.
    Published = 8,
    /// A target was added.
    TargetAdded = 9,
    /// A target was taken away.
    TargetRemoved = 10,
    /// Everything that a new generation desires is in effect on a target and verified.
    Verified = 11,
    /// A target changed something, or verified a generation but for what is unmet; LB_EVENT_KIND_VERIFIED follows when
    /// the rest is in effect.
    Pass = 12,
    /// A target could not be changed; it is tried again.
    TargetFailed = 13,
    /// The plane is shutting down.
    Closing = 14,
    /// Something happened at a target that is no change of an endpoint: a reload, slots that run low.
    TargetNotice = 15,
    /// Something began that lasts and that a program or an operator should know of: a "condition".
    ConditionBegan = 16,
    /// A condition ended.
    ConditionEnded = 17,
    /// Writes of a publisher are in effect on every target: see lb_event_covers.
    InEffect = 18,
    /// Only permanent conditions, which it names, keep writes of a publisher from being in effect: see lb_event_covers.
    /// LB_EVENT_KIND_IN_EFFECT follows when they end.
    KeptBack = 19,
}

impl Event {
    fn new(stamped: &lb_core::Stamped) -> Result<Self, Failure> {
        let (kind, subject) = describe(&stamped.event);
        let json = serde_json::to_string(stamped)
            .map_err(|error| Failure::caused(Status::InvalidArgument, &error))?;
        Ok(Self {
            kind,
            subject: subject.unwrap_or_default().to_owned(),
            tickets: match &stamped.event {
                Happened::InEffect { ticket, after } | Happened::KeptBack { ticket, after, .. } => {
                    (*after, ticket.revision)
                }
                _ => (0, 0),
            },
            json,
        })
    }
}

fn describe(event: &Happened) -> (EventKind, Option<&str>) {
    use EventKind as Kind;
    let (kind, subject) = match event {
        Happened::SourceAdded { source } => (Kind::SourceAdded, source),
        Happened::SourceRemoved { source } => (Kind::SourceRemoved, source),
        Happened::SourceHealth { source, .. } => (Kind::SourceHealth, source),
        Happened::SourceDiagnostic { source, .. } => (Kind::SourceDiagnostic, source),
        Happened::SourceOutdated { source, .. } => (Kind::SourceOutdated, source),
        Happened::GuardHeld { source, .. } => (Kind::GuardHeld, source),
        Happened::GuardReleased { source, .. } => (Kind::GuardReleased, source),
        Happened::TargetAdded { target } => (Kind::TargetAdded, target),
        Happened::TargetRemoved { target } => (Kind::TargetRemoved, target),
        Happened::Verified { target, .. } => (Kind::Verified, target),
        Happened::Pass { target, .. } => (Kind::Pass, target),
        Happened::TargetFailed { target, .. } => (Kind::TargetFailed, target),
        Happened::TargetNotice { target, .. } => (Kind::TargetNotice, target),
        Happened::InEffect { ticket, .. } => (Kind::InEffect, &ticket.source),
        Happened::KeptBack { ticket, .. } => (Kind::KeptBack, &ticket.source),
        Happened::ConditionBegan { condition } => {
            return (Kind::ConditionBegan, concerned(condition));
        }
        Happened::ConditionEnded { condition } => {
            return (Kind::ConditionEnded, concerned(condition));
        }
        Happened::Published { .. } => return (Kind::Published, None),
        Happened::Closing => return (Kind::Closing, None),
        _ => return (Kind::Other, None),
    };
    (kind, Some(subject.as_str()))
}

fn concerned(condition: &Condition) -> Option<&str> {
    let name = condition.target.as_ref().or(condition.source.as_ref());
    name.map(Name::as_str)
}

/// A timeout in milliseconds; `None` for LB_FOREVER.
pub(super) fn limit(timeout_ms: u32) -> Option<Duration> {
    (timeout_ms != u32::MAX).then(|| Duration::from_millis(timeout_ms.into()))
}

/// Subscribes to the events from now on; before lb_plane_start, to all of them. `capacity` (1 to 1048576) is how many
/// are kept for a subscriber that does not fetch them: after that the oldest is dropped and counted.
/// LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_subscribe(
    plane: *const Plane,
    capacity: usize,
    out: *mut *mut Events,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        let out = place(out, "out")?;
        if !(1..=1 << 20).contains(&capacity) {
            let message = format!("capacity is {capacity}, expected 1 to 1048576");
            return Err(Failure::new(Status::InvalidArgument, message));
        }
        let (queue, wanted) = plane.guarded.call(|plane| {
            let queue =
                Queue::new(capacity).map_err(|error| Failure::caused(Status::Io, &error))?;
            let queue = Arc::new(queue);
            let (sender, wanted) = oneshot::channel();
            plane.subscribe(queue.clone(), wanted)?;
            Ok((queue, sender))
        })?;
        let events = Events {
            guarded: Guarded::new(Subscription {
                queue,
                _wanted: wanted,
            }),
        };
        // SAFETY: checked.
        unsafe { hand_out(out, events) };
        Ok(())
    })
}

/// Waits for the next event, which the caller frees. LB_STATUS_TIMEOUT when there was none (0: does not wait),
/// LB_STATUS_CLOSED when the plane was shut down and every event was fetched.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_events_next(
    events: *const Events,
    timeout_ms: u32,
    out: *mut *mut Event,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let events = unsafe { borrow(events, "events") }?;
        let out = place(out, "out")?;
        let event = events
            .guarded
            .call(|events| match events.queue.next(limit(timeout_ms)) {
                Next::Event(event) => Event::new(&event),
                Next::Closed => Err(Failure::closed()),
                Next::Timeout => Err(Failure::new(
                    Status::Timeout,
                    format!("no event within {timeout_ms} ms"),
                )),
            })?;
        // SAFETY: checked.
        unsafe { hand_out(out, event) };
        Ok(())
    })
}

/// A file descriptor for poll, select or epoll: readable while lb_events_next has something to say without waiting, an
/// event or LB_STATUS_CLOSED. It belongs to the subscription: do not read, write or close it. -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_events_fd(events: *const Events) -> c_int {
    // SAFETY: NULL, or a subscription handed out by this library and not yet freed.
    unsafe { events.as_ref() }
        .and_then(|events| events.guarded.call(|it| Ok(it.queue.descriptor())).ok())
        .unwrap_or(-1)
}

/// The number of events that were dropped since the subscription because they were not fetched in time; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_events_dropped(events: *const Events) -> u64 {
    // SAFETY: NULL, or a subscription handed out by this library and not yet freed.
    unsafe { events.as_ref() }
        .and_then(|events| events.guarded.call(|it| Ok(it.queue.dropped())).ok())
        .unwrap_or(0)
}

/// Ends a subscription. Nobody may be waiting in it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_events_free(events: *mut Events) {
    enter_void(|| {
        if events.is_null() {
            return;
        }
        // SAFETY: handed out by `lb_plane_subscribe`, freed once, used by nobody else.
        let events = unsafe { Box::from_raw(events) };
        if events.guarded.is_foreign() {
            std::mem::forget(events);
        }
    });
}

/// The kind of an event; LB_EVENT_KIND_OTHER for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_kind_of(event: *const Event) -> EventKind {
    // SAFETY: NULL, or an event handed out by this library and not yet freed.
    unsafe { event.as_ref() }.map_or(EventKind::Other, |event| event.kind)
}

/// The name of the source or target it happened to; empty where that is neither. Lives as long as the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_subject(event: *const Event) -> Str {
    // SAFETY: NULL, or an event handed out by this library and not yet freed.
    unsafe { event.as_ref() }.map_or(Str::EMPTY, |event| Str::of(&event.subject))
}

/// The newest write that the event is about, of the source that is its subject; 0 for an event that is about no write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_ticket(event: *const Event) -> u64 {
    // SAFETY: NULL, or an event handed out by this library and not yet freed.
    unsafe { event.as_ref() }.map_or(0, |event| event.tickets.1)
}

/// 1 if the event is about the write with this ticket, of the source that is its subject; else 0. An event is about
/// every write after that of the former such event, or about writes that were kept back before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_covers(event: *const Event, ticket: u64) -> c_int {
    // SAFETY: NULL, or an event handed out by this library and not yet freed.
    let covers = unsafe { event.as_ref() }.is_some_and(|event| {
        let (after, upto) = event.tickets;
        after < ticket && ticket <= upto
    });
    c_int::from(covers)
}

/// Everything about it, as a JSON object with at least "seq", "at_micros" and "event". Lives as long as the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_json(event: *const Event) -> Str {
    // SAFETY: NULL, or an event handed out by this library and not yet freed.
    unsafe { event.as_ref() }.map_or(Str::EMPTY, |event| Str::of(&event.json))
}

/// Frees an event. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_event_free(event: *mut Event) {
    if !event.is_null() {
        // SAFETY: handed out by `lb_events_next`, freed once, used by nobody else.
        drop(unsafe { Box::from_raw(event) });
    }
}
