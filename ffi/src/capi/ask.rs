//! Looking at a control plane, and asking it for things.

use std::{ffi::c_char, time::Duration};

use lb_core::{Confirm, Handle, Name, status::Health};

use super::{
    boundary::{borrow, enter, hand_out, name, place, text},
    events::limit,
    plane::Plane,
    status::{Error, Failure, Status},
    text::Text,
};

/// How often it is looked whether a write was taken in.
const LOOK: Duration = Duration::from_millis(1);

/// The longest wait there is: a wait for ever is made of these.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes every target pass once more and waits until what publishers of this plane have written and what the other
/// sources have said so far is applied and verified everywhere. LB_STATUS_TIMEOUT, naming who is late and why;
/// LB_STATUS_UNMET when all is in effect but for wishes that a target cannot meet at run time, naming the first;
/// LB_STATUS_WRONG_STATE before lb_plane_start, LB_STATUS_CLOSED after lb_plane_shutdown.
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
            let written = plane.written();
            let limit = limit(timeout_ms).unwrap_or(LONGEST);
            plane.ask(|handle| async move {
                tokio::time::timeout(limit, reconcile(&handle, written, limit))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Failure::new(
                            Status::Timeout,
                            format!("not in effect within {timeout_ms} ms: {}", late(&handle)),
                        ))
                    })
            })
        })
    })
}

async fn reconcile(
    handle: &Handle,
    written: Vec<(Name, u64)>,
    limit: Duration,
) -> Result<(), Failure> {
    while !taken_in(handle, &written) {
        tokio::time::sleep(LOOK).await;
    }
    let done = handle.reconcile_now(limit).await?;
    if let Some(lagging) = done.lagging.first() {
        let message = format!("target {}: {}", lagging.target, lagging.why);
        return Err(Failure::new(Status::Timeout, message));
    }
    let status = handle.status();
    let unmet = status.targets.iter().find_map(|target| {
        let first = target.unmet.first()?;
        Some((&target.name, target.unmet_count, first))
    });
    match unmet {
        None => Ok(()),
        Some((target, count, first)) => Err(Failure::new(
            Status::Unmet,
            format!(
                "target {target} cannot meet {count} of the wishes, such as {}: {}",
                first.service, first.detail
            ),
        )),
    }
}

/// Whether what was written has reached the model. A source that is gone has nothing more to tell.
fn taken_in(handle: &Handle, written: &[(Name, u64)]) -> bool {
    if written.is_empty() {
        return true;
    }
    let status = handle.status();
    written.iter().all(|(name, revision)| {
        let source = status.sources.iter().find(|source| source.name == *name);
        source.is_none_or(|source| {
            matches!(source.health, Health::Ended { .. } | Health::Failed { .. })
                || source.cursor.as_ref().map_or(0, |cursor| cursor.revision) >= *revision
        })
    })
}

/// Who is not in step, and why.
fn late(handle: &Handle) -> String {
    let status = handle.status();
    let target = status
        .targets
        .iter()
        .find(|target| target.behind > 0 || target.verified.is_none() || target.failures > 0);
    match target {
        Some(target) => {
            let why = target
                .last_error
                .as_deref()
                .unwrap_or("it is being changed");
            format!("target {}: {why}", target.name)
        }
        None if !status.published => "no source has told everything yet".to_owned(),
        None => "a source has not taken in what was written".to_owned(),
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

/// What is wished for now: generation, services with their endpoints, routes, as a JSON object. LB_STATUS_WRONG_STATE
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

/// The state of sources and targets: health, generations, last errors, unmet wishes, as a JSON object.
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

/// What a pass over a target would do now, as a JSON object with "stages" of commands and their reasons; nothing is
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
