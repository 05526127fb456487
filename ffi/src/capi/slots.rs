//! The driver alone, for programs with a control plane of their own.

use std::{ffi::c_char, sync::Arc, time::Duration};

use lb_core::{Driver, Name, Snapshot};
use tokio::runtime::Runtime;

use super::{
    batch::{Batch, Contents},
    boundary::{Guarded, borrow, borrow_mut, enter, enter_void, hand_out, name, place, text},
    events::limit,
    plane::format,
    status::{Error, Failure, Status},
    text::Text,
    thread::elsewhere,
};
use crate::spec::TargetSpec;

/// The time for which a look-up of a name that was given up is waited for.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The slots of one backend of a running HAProxy, without a plane: the program says which endpoints it wants and when.
/// Has no thread between calls, and is used by one thread at a time.
#[derive(Debug)]
pub struct Slots {
    guarded: Guarded<Session>,
}

struct Session {
    service: Name,
    desired: Arc<Snapshot>,
    /// Lent to the thread of a call.
    engine: Option<Engine>,
}

struct Engine {
    driver: Box<dyn Driver>,
    /// Nothing runs in it but during a call; the connection to HAProxy belongs to it.
    runtime: Runtime,
}

impl Engine {
    fn new(driver: Box<dyn Driver>) -> Result<Self, Failure> {
        let runtime = elsewhere("lb-slots", || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        })?;
        let runtime = runtime.map_err(|error| Failure::caused(Status::Io, &error))?;
        Ok(Self { driver, runtime })
    }

    fn work(
        &mut self,
        work: Work,
        desired: &Arc<Snapshot>,
        timeout_ms: u32,
    ) -> Result<Text, Failure> {
        let Self { driver, runtime } = self;
        let run = async {
            match work {
                Work::Plan => Ok(Text::new(driver.preview(desired).await?.json)),
                Work::Apply => Text::json(&driver.converge(desired).await?),
            }
        };
        runtime.block_on(async {
            match limit(timeout_ms) {
                None => run.await,
                Some(limit) => tokio::time::timeout(limit, run).await.unwrap_or_else(|_| {
                    let message = format!("HAProxy was not through within {timeout_ms} ms");
                    Err(Failure::new(Status::Timeout, message))
                }),
            }
        })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// The work on a desired state.
#[derive(Debug, Clone, Copy)]
enum Work {
    Plan,
    Apply,
}

impl Session {
    /// The snapshot in which the service has these endpoints. Nothing is kept of it yet.
    fn desired(&self, contents: &Contents) -> Result<Arc<Snapshot>, Failure> {
        let mine = |name: &Name| *name == self.service;
        let records = contents.records();
        let keys = contents.remove.iter().map(|key| &key.service);
        let foreign = records
            .iter()
            .map(|record| &record.key.service)
            .chain(keys)
            .chain(contents.services())
            .find(|name| !mine(name));
        if let Some(name) = foreign {
            let message = format!("wanted has service {name}, expected only {}", self.service);
            return Err(Failure::new(Status::InvalidArgument, message));
        }
        if !contents.remove.is_empty() {
            let message = "wanted has removals, expected none: what it does not list is gone";
            return Err(Failure::new(Status::InvalidArgument, message));
        }
        let mut edit = self.desired.edit();
        let had: Vec<Name> = self
            .desired
            .service(&self.service)
            .map(|service| service.endpoints().map(|(id, _)| id.clone()).collect())
            .unwrap_or_default();
        let wanted: std::collections::BTreeSet<&Name> =
            records.iter().map(|record| &record.key.id).collect();
        for id in had.iter().filter(|id| !wanted.contains(id)) {
            edit.remove_endpoint(&self.service, id);
        }
        for record in records {
            if let Some(endpoint) = &record.endpoint {
                edit.set_endpoint(&self.service, &record.key.id, endpoint.clone());
            }
        }
        Ok(edit
            .commit()
            .map_or_else(|| Arc::clone(&self.desired), Arc::new))
    }

    fn work(&mut self, work: Work, contents: &Contents, timeout_ms: u32) -> Result<Text, Failure> {
        let desired = self.desired(contents)?;
        let given = Arc::clone(&desired);
        let Some(mut engine) = self.engine.take() else {
            let message = "an earlier call had no thread; the object can only be freed";
            return Err(Failure::new(Status::Panic, message));
        };
        // On a thread of its own: the caller's may belong to a runtime, which must not be blocked.
        let (engine, result) = elsewhere("lb-slots", move || {
            let result = engine.work(work, &given, timeout_ms);
            (engine, result)
        })?;
        self.engine = Some(engine);
        // The driver counts on being told what changed since what it was given last, whatever came of that.
        self.desired = desired;
        result
    }
}

/// The backend of `service` in the HAProxy of `target`, which is written like one of the configuration's `targets`.
/// Nothing is connected to yet. Where `target` has no `manage`, only the service's own backend is managed, and no other
/// is changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_slots_new(
    target: *const c_char,
    target_len: usize,
    service: *const c_char,
    service_len: usize,
    out: *mut *mut Slots,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for texts.
        let (target, service) = unsafe {
            (
                text(target, target_len, "target")?,
                name(service, service_len, "service")?,
            )
        };
        let out = place(out, "out")?;
        let spec = TargetSpec::parse(target, format(target))?.for_service(&service);
        let driver = spec.build()?;
        let slots = Slots {
            guarded: Guarded::new(Session {
                service,
                desired: Arc::default(),
                engine: Some(Engine::new(driver)?),
            }),
        };
        // SAFETY: checked.
        unsafe { hand_out(out, slots) };
        Ok(())
    })
}

/// The plan of lb_slots_apply for the endpoints in `wanted`, which is all that the backend shall have, as a JSON
/// object with "stages" of commands and their reasons. Nothing is changed. LB_STATUS_INVALID_ARGUMENT for other
/// services or removals in `wanted`, LB_STATUS_IO or LB_STATUS_REFUSED when HAProxy cannot be asked,
/// LB_STATUS_TIMEOUT. A plan is made also while another process manages the backend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_slots_plan(
    slots: *mut Slots,
    wanted: *const Batch,
    timeout_ms: u32,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        unsafe { work(slots, Work::Plan, wanted, timeout_ms, out) }
    })
}

/// Brings the backend to the endpoints in `wanted` as far as that is possible now, and tells the result as a JSON
/// object: "applied" steps, "unmet" conditions, whether all the rest has "converged", and with "again" (seconds and
/// nanoseconds, or null) when to call it again with the same endpoints, as something takes time, such as a drain.
/// Statuses as for lb_slots_plan, and LB_STATUS_REFUSED, naming the other process, while another on this machine manages
/// the backend; after LB_STATUS_TIMEOUT, LB_STATUS_IO or LB_STATUS_REFUSED some of it may be in
/// effect, and the next call finishes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_slots_apply(
    slots: *mut Slots,
    wanted: *const Batch,
    timeout_ms: u32,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        unsafe { work(slots, Work::Apply, wanted, timeout_ms, out) }
    })
}

/// # Safety
/// The header's rules for objects.
unsafe fn work(
    slots: *mut Slots,
    work: Work,
    wanted: *const Batch,
    timeout_ms: u32,
    out: *mut *mut Text,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (slots, wanted) = unsafe { (borrow_mut(slots, "slots")?, borrow(wanted, "wanted")?) };
    let out = place(out, "out")?;
    let contents = wanted.contents()?;
    let text = slots
        .guarded
        .call_mut(|session| session.work(work, &contents, timeout_ms))?;
    // SAFETY: checked.
    unsafe { hand_out(out, text) };
    Ok(())
}

/// Closes the connection; HAProxy goes on as it is. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_slots_free(slots: *mut Slots) {
    enter_void(|| {
        if slots.is_null() {
            return;
        }
        // SAFETY: handed out by `lb_slots_new`, freed once, used by nobody else.
        let slots = unsafe { Box::from_raw(slots) };
        if slots.guarded.is_foreign() {
            std::mem::forget(slots);
            return;
        }
        let Some(engine) = slots.guarded.into_inner().engine else {
            return;
        };
        let _ = elsewhere("lb-slots", move || {
            let Engine { driver, runtime } = engine;
            drop(driver);
            runtime.shutdown_timeout(LAST_WAIT);
        });
    });
}
