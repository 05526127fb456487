//! Looking at a control plane, and asking it for things.

use std::{ffi::c_char, time::Duration};

use lb_core::{Condition, Confirm, Handle, Name, Ticket, status::Lagging};

use super::{
    boundary::{borrow, enter, hand_out, name, place, text},
    events::limit,
    plane::Plane,
    status::{Error, Failure, Status},
    text::Text,
};

/// The longest wait there is: a wait for ever is made of these.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes every target pass once more and waits until everything that is desired is in effect and verified everywhere:
/// every write of publishers of this plane that returned before, and what the other sources have said so far.
/// LB_STATUS_TIMEOUT, naming what is late and why; LB_STATUS_UNMET when all is in effect but for what only permanent
/// conditions keep from it, naming the first (what passes by itself is waited for); LB_STATUS_WRONG_STATE before
/// lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_reconcile(
    plane: *const Plane,
    timeout_ms: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        plane.guarded.call(|plane| {
            let limit = limit(timeout_ms).unwrap_or(LONGEST);
            plane.ask(|handle| async move {
                let done = handle.reconcile_now(limit).await?;
                let late = match (done.unread.first(), done.lagging.first()) {
                    (Some(source), _) => {
                        Some(format!("source {source} has not taken in what was written"))
                    }
                    (None, Some(lagging)) => Some(why(lagging)),
                    (None, None) => None,
                };
                verdict(timeout_ms, late, &done.conditions)
            })
        })
    })
}

/// Waits until the write with `ticket` to the source named `source` is in effect and verified on every target; at once
/// if it is. LB_STATUS_TIMEOUT, naming what is late and why; LB_STATUS_UNMET when only permanent conditions keep it from
/// that, naming the first; LB_STATUS_INVALID_ARGUMENT for a ticket that was not given yet, LB_STATUS_NOT_FOUND for no
/// such source, LB_STATUS_WRONG_STATE before lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_wait(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    ticket: u64,
    timeout_ms: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, source) =
            unsafe { (borrow(plane, "plane")?, name(source, source_len, "source")?) };
        plane.guarded.call(|plane| {
            let limit = limit(timeout_ms).unwrap_or(LONGEST);
            plane.ask(|handle| async move {
                let ticket = find(&handle, &source, ticket)?;
                let state = handle.wait(&ticket, limit).await?;
                let late = match state.lagging.first() {
                    _ if state.in_effect => return Ok(()),
                    Some(lagging) => Some(why(lagging)),
                    None if state.generation.is_none() => {
                        Some(format!("source {source} has not taken it in"))
                    }
                    None => None,
                };
                verdict(timeout_ms, late, &state.conditions)
            })
        })
    })
}

/// The outcome of the write with `ticket` to the source named `source`, as a JSON object: "in_effect", the "generation"
/// that has it, the targets that are "lagging", and the "conditions" that keep it from being in effect. Statuses as for
/// lb_plane_wait; after lb_plane_shutdown, the last state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_ticket_json(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    ticket: u64,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, source) =
            unsafe { (borrow(plane, "plane")?, name(source, source_len, "source")?) };
        let out = place(out, "out")?;
        let text = plane.guarded.call(|plane| {
            let handle = plane.handle()?;
            let ticket = find(&handle, &source, ticket)?;
            Text::json(&handle.ticket_state(&ticket)?)
        })?;
        // SAFETY: checked.
        unsafe { hand_out(out, text) };
        Ok(())
    })
}

fn find(handle: &Handle, source: &Name, revision: u64) -> Result<Ticket, Failure> {
    let ticket = handle.ticket(source, revision)?;
    ticket.ok_or_else(|| {
        let message = format!("ticket is {revision}, expected one that source {source} gave");
        Failure::new(Status::InvalidArgument, message)
    })
}

fn why(lagging: &Lagging) -> String {
    format!("target {}: {}", lagging.target, lagging.why)
}

/// The outcome of a wait: what is late comes before what cannot be had.
fn verdict(timeout_ms: u32, late: Option<String>, conditions: &[Condition]) -> Result<(), Failure> {
    let transient = conditions.iter().find(|condition| condition.transient);
    if let Some(late) = late.or_else(|| transient.map(ToString::to_string)) {
        let message = format!("not in effect within {timeout_ms} ms: {late}");
        return Err(Failure::new(Status::Timeout, message));
    }
    match conditions.first() {
        None => Ok(()),
        Some(first) => {
            let message = match conditions.len() {
                1 => first.to_string(),
                count => format!("{count} conditions, such as {first}"),
            };
            Err(Failure::new(Status::Unmet, message))
        }
    }
}

/// Lets through what the guard holds back of `service`, or of all with an empty text, and says how many endpoints that
/// were; `released` may be NULL. LB_STATUS_WRONG_STATE before lb_plane_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_confirm(
    plane: *const Plane,
    service: *const c_char,
    service_len: usize,
    released: *mut usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, service) = unsafe {
            (
                borrow(plane, "plane")?,
                text(service, service_len, "service")?,
            )
        };
        let what = match service {
            "" => Confirm::All,
            service => Confirm::Service(
                service
                    .parse()
                    .map_err(|error| Failure::invalid("service", error))?,
            ),
        };
        let count = plane
            .guarded
            .call(|plane| plane.ask(|handle| async move { Ok(handle.confirm(&what)) }))?;
        if !released.is_null() {
            // SAFETY: not NULL, so a place for a number by the header's rules.
            unsafe { released.write(count) };
        }
        Ok(())
    })
}

/// The desired state: generation, services with their endpoints, routes, as a JSON object. LB_STATUS_WRONG_STATE
/// before lb_plane_start; after lb_plane_shutdown, the last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_snapshot_json(
    plane: *const Plane,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        let out = place(out, "out")?;
        let text = plane
            .guarded
            .call(|plane| Text::json(&*plane.handle()?.snapshot()))?;
        // SAFETY: checked.
        unsafe { hand_out(out, text) };
        Ok(())
    })
}

/// The state of sources and targets: health, generations, last errors, unmet conditions, as a JSON object.
/// LB_STATUS_WRONG_STATE before lb_plane_start; after lb_plane_shutdown, the last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_status_json(
    plane: *const Plane,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        let out = place(out, "out")?;
        let text = plane
            .guarded
            .call(|plane| Text::json(&plane.handle()?.status()))?;
        // SAFETY: checked.
        unsafe { hand_out(out, text) };
        Ok(())
    })
}

/// The plan of a pass over a target now, as a JSON object with "stages" of commands and their reasons; nothing is
/// changed. LB_STATUS_NOT_FOUND for no such target, LB_STATUS_IO or LB_STATUS_REFUSED when it cannot be asked,
/// LB_STATUS_TIMEOUT, LB_STATUS_WRONG_STATE before lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_plan_json(
    plane: *const Plane,
    target: *const c_char,
    target_len: usize,
    timeout_ms: u32,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, target) =
            unsafe { (borrow(plane, "plane")?, name(target, target_len, "target")?) };
        let out = place(out, "out")?;
        let preview = plane.guarded.call(|plane| {
            let limit = limit(timeout_ms).unwrap_or(LONGEST);
            plane.ask(|handle| async move {
                match tokio::time::timeout(limit, handle.preview(&target)).await {
                    Ok(preview) => Ok(preview?),
                    Err(_) => Err(Failure::new(
                        Status::Timeout,
                        format!("no plan for target {target} within {timeout_ms} ms"),
                    )),
                }
            })
        })?;
        // SAFETY: checked.
        unsafe { hand_out(out, Text::new(preview.json)) };
        Ok(())
    })
}
