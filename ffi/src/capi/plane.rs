//! Making, starting and ending a control plane.

use std::{ffi::c_char, ffi::c_void, time::Duration};

use lb_core::feed;

use super::{
    boundary::{
        Guarded, Within, borrow, enter, enter_void, hand_out, name, place, text, where_am_i,
    },
    callback::{DiscoverFn, ReleaseFn, Userdata, callback_source},
    lifecycle::Lifecycle,
    publisher::Publisher,
    status::{Error, Failure, Status},
    thread::masked,
};
use crate::spec::{Format, SourceSpec, Spec, TargetSpec};

/// A control plane: sources of endpoints, and targets that are kept in step with them.
#[derive(Debug)]
pub struct Plane {
    pub(super) guarded: Guarded<Lifecycle>,
}

/// JSON begins with a brace, which no TOML does.
pub(super) fn format(text: &str) -> Format {
    if text.trim_start().starts_with('{') {
        Format::Json
    } else {
        Format::Toml
    }
}

/// A control plane out of its configuration: that of `lb-agent`, in TOML or (when it begins with a brace) JSON; empty
/// for the defaults. Its sources and targets may also be added later. Nothing runs and nobody is connected to before
/// lb_plane_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_new(
    config: *const c_char,
    config_len: usize,
    out: *mut *mut Plane,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for texts.
        let config = unsafe { text(config, config_len, "config") }?;
        let out = place(out, "out")?;
        let spec = Spec::parse(config, format(config))?;
        let plane = Plane {
            guarded: Guarded::new(Lifecycle::new(spec)?),
        };
        // SAFETY: checked.
        unsafe { hand_out(out, plane) };
        Ok(())
    })
}

/// Adds a source, written like one of the configuration's `sources`: {"kind": "docker" | "swarm" | "etcd" | "file",
/// "name": …, …}. Where sources disagree, the one added first wins. LB_STATUS_ALREADY_EXISTS for a name in use,
/// LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_add_source(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, source) =
            unsafe { (borrow(plane, "plane")?, text(source, source_len, "source")?) };
        plane.guarded.call(|plane| {
            let source = SourceSpec::parse(source, format(source))?;
            plane.add_source(source.build()?)
        })
    })
}

/// Adds a target, written like one of the configuration's `targets`: {"name": "edge", "socket": "/run/haproxy.sock"}.
/// LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_add_target(
    plane: *const Plane,
    target: *const c_char,
    target_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, target) =
            unsafe { (borrow(plane, "plane")?, text(target, target_len, "target")?) };
        plane.guarded.call(|plane| {
            let target = TargetSpec::parse(target, format(target))?;
            plane.add_target(target.build()?)
        })
    })
}

/// Adds a source that the program writes to. The plane waits for its first write (at most the configured
/// `initial_limit`) before it touches a target. LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after
/// lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_add_publisher(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    out: *mut *mut Publisher,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, name) =
            unsafe { (borrow(plane, "plane")?, name(source, source_len, "source")?) };
        let out = place(out, "out")?;
        let publisher = plane.guarded.call(|plane| {
            let (publisher, feed) = feed(name);
            plane.add_source(Box::new(feed))?;
            Ok(Publisher::new(publisher))
        })?;
        // SAFETY: checked.
        unsafe { hand_out(out, publisher) };
        Ok(())
    })
}

/// Adds a source that is asked: `discover` is called every `interval_ms` (10 or more), on a thread of the library made
/// for this source, never twice at once. It may call everything of this header but lb_plane_shutdown, which answers
/// LB_STATUS_WOULD_DEADLOCK; a plane that it frees ends in the background. `release` is called on that thread after
/// the source was removed or the plane shut down, or on the calling thread when the source was never started.
/// LB_STATUS_ALREADY_EXISTS for a name in use, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_add_callback_source(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    interval_ms: u32,
    discover: DiscoverFn,
    userdata: *mut c_void,
    release: ReleaseFn,
    err: *mut *mut Error,
) -> Status {
    // Made before anything is checked: it is released in every case.
    let userdata = Userdata::new(userdata, release);
    enter(err, move || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, name) =
            unsafe { (borrow(plane, "plane")?, name(source, source_len, "source")?) };
        let Some(discover) = discover else {
            let message = "discover is NULL, expected a function";
            return Err(Failure::new(Status::NullArgument, message));
        };
        if interval_ms < 10 {
            let message = format!("interval_ms is {interval_ms}, expected 10 or more");
            return Err(Failure::new(Status::InvalidArgument, message));
        }
        plane.guarded.call(move |plane| {
            let interval = Duration::from_millis(interval_ms.into());
            let (source, callback) = callback_source(name, interval, discover, userdata);
            plane.add_callback(Box::new(source), callback)
        })
    })
}

/// Ends a source and takes its endpoints away, which nothing holds back. LB_STATUS_NOT_FOUND when there is none of
/// that name, LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_remove_source(
    plane: *const Plane,
    source: *const c_char,
    source_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, name) =
            unsafe { (borrow(plane, "plane")?, name(source, source_len, "source")?) };
        plane.guarded.call(|plane| plane.remove_source(name))
    })
}

/// Ceases to drive a target, which goes on as it is. LB_STATUS_NOT_FOUND when there is none of that name,
/// LB_STATUS_CLOSED after lb_plane_shutdown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_remove_target(
    plane: *const Plane,
    target: *const c_char,
    target_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (plane, name) =
            unsafe { (borrow(plane, "plane")?, name(target, target_len, "target")?) };
        plane.guarded.call(|plane| plane.remove_target(name))
    })
}

/// Starts the plane's threads; does not wait for anything else. LB_STATUS_WRONG_STATE when it was started before,
/// LB_STATUS_CLOSED after lb_plane_shutdown, LB_STATUS_IO when the system gives no threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_start(plane: *const Plane, err: *mut *mut Error) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        plane.guarded.call(Lifecycle::start)
    })
}

/// Ends the plane and waits until its threads are gone and every callback has returned; wakes everyone who waits in
/// it, with LB_STATUS_CLOSED. Targets go on as they are. May be called from several threads, and again.
/// LB_STATUS_WOULD_DEADLOCK in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_shutdown(plane: *const Plane, err: *mut *mut Error) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let plane = unsafe { borrow(plane, "plane") }?;
        plane.guarded.call(Lifecycle::shutdown)
    })
}

/// Shuts the plane down as lb_plane_shutdown does and frees it; in a callback that happens in the background.
/// Publishers and subscriptions stay, closed, until they are freed. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_plane_free(plane: *mut Plane) {
    enter_void(|| {
        if plane.is_null() {
            return;
        }
        // SAFETY: handed out by `lb_plane_new`, freed once, used by nobody else.
        let plane = unsafe { Box::from_raw(plane) };
        if plane.guarded.is_foreign() {
            // Its threads are not in this process: there is nothing that could end them.
            std::mem::forget(plane);
            return;
        }
        let end = move || {
            let _ = plane.guarded.call_even_broken(Lifecycle::shutdown);
        };
        if where_am_i() == Within::Nothing {
            end();
        } else {
            // Without another thread, there is nothing to be done but to drop it.
            let background = std::thread::Builder::new().name("lb-shutdown".to_owned());
            let _ = masked(|| background.spawn(end));
        }
    });
}
