//! A source that the program writes to.

use std::{
    cell::Cell,
    ffi::c_char,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lb_core::{Name, Record, RecordKey, Ticket, WriteError};

use super::{
    batch::{Batch, endpoint, weight},
    boundary::{Guarded, borrow, enter, enter_void, name, place, text},
    status::{Error, Failure, Status},
};

/// Writes to a source of the plane it was made for, from any number of threads; what is written last counts. Writing
/// does not wait for anything: it takes effect in the background. Every write has a ticket: see lb_publisher_ticket,
/// lb_plane_wait and LB_EVENT_KIND_IN_EFFECT; lb_plane_reconcile waits for every write before it.
#[derive(Debug)]
pub struct Publisher {
    guarded: Guarded<Writer>,
    /// Tells publishers apart, also after one is freed.
    number: u64,
    newest: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    publisher: lb_core::Publisher,
}

thread_local! {
    /// The publisher that this thread wrote to last, and the ticket of that write.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

impl Publisher {
    pub(super) fn new(publisher: lb_core::Publisher) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            guarded: Guarded::new(Writer { publisher }),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            newest: AtomicU64::new(0),
        }
    }

    fn write(
        &self,
        write: impl FnOnce(&lb_core::Publisher) -> Result<Ticket, WriteError>,
    ) -> Result<(), Failure> {
        self.guarded.call(|writer| {
            let ticket = write(&writer.publisher)?.revision;
            self.newest.fetch_max(ticket, Ordering::AcqRel);
            // A thread that ends has nobody to ask for its last write.
            let _ = LAST.try_with(|last| last.set((self.number, ticket)));
            Ok(())
        })
    }

    fn ticket(&self) -> u64 {
        match LAST.try_with(Cell::get) {
            Ok((number, ticket)) if number == self.number => ticket,
            _ => self.newest.load(Ordering::Acquire),
        }
    }
}

/// The ticket of the write that the calling thread made last, if that was to this publisher, else of the newest write of
/// any thread; 0 before the first. Of two writes to one publisher, the later has the greater ticket. A write that changes
/// nothing has one too; one that failed has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_ticket(
    publisher: *const Publisher,
    ticket: *mut u64,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let publisher = unsafe { borrow(publisher, "publisher") }?;
        let out = place(ticket, "ticket")?;
        let ticket = publisher.guarded.call(|_| Ok(publisher.ticket()))?;
        // SAFETY: checked.
        unsafe { out.write(ticket) };
        Ok(())
    })
}

/// Writes that what is in the batch is all there is; what it does not list is gone, which the guard may hold back:
/// see lb_plane_confirm. A program that starts begins with this. LB_STATUS_INVALID_ARGUMENT for a batch with
/// removals, LB_STATUS_CLOSED when the source is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_reset(
    publisher: *const Publisher,
    everything: *const Batch,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let (publisher, batch) = unsafe {
            (
                borrow(publisher, "publisher")?,
                borrow(everything, "everything")?,
            )
        };
        let contents = batch.contents()?;
        if !contents.remove.is_empty() {
            return Err(Failure::new(
                Status::InvalidArgument,
                "everything has removals, expected none: what it does not list is gone",
            ));
        }
        publisher.write(|publisher| publisher.reset(contents.into_records()))
    })
}

/// Writes what is in the batch at once: never half of it takes effect. What it does not name stays. LB_STATUS_CLOSED
/// when the source is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_apply(
    publisher: *const Publisher,
    changes: *const Batch,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let (publisher, batch) =
            unsafe { (borrow(publisher, "publisher")?, borrow(changes, "changes")?) };
        let (set, remove) = batch.contents()?.split();
        publisher.write(|publisher| publisher.batch(set, remove))
    })
}

/// Writes one endpoint: see lb_batch_add_endpoint. LB_STATUS_CLOSED when the source is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_set(
    publisher: *const Publisher,
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
    address: *const c_char,
    address_len: usize,
    weight: u32,
    state: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (publisher, key, address) = unsafe {
            (
                borrow(publisher, "publisher")?,
                key(service, service_len, id, id_len)?,
                text(address, address_len, "address")?,
            )
        };
        let record = Record::new(key, endpoint(address, weight, state)?);
        publisher.write(|publisher| publisher.set(record))
    })
}

/// Writes another weight, 0 to 256, of an endpoint; without such an endpoint nothing happens. LB_STATUS_CLOSED when
/// the source is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_weigh(
    publisher: *const Publisher,
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
    weight: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (publisher, key) = unsafe {
            (
                borrow(publisher, "publisher")?,
                key(service, service_len, id, id_len)?,
            )
        };
        let weight = self::weight(weight)?;
        publisher.write(|publisher| publisher.weigh(&key, weight))
    })
}

/// Writes that an endpoint is leaving: it gets no new traffic, and what runs may end within `grace_ms`, or
/// LB_TARGET_LIMIT. Without such an endpoint nothing happens. LB_STATUS_CLOSED when the source is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_drain(
    publisher: *const Publisher,
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
    grace_ms: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (publisher, key) = unsafe {
            (
                borrow(publisher, "publisher")?,
                key(service, service_len, id, id_len)?,
            )
        };
        let grace = (grace_ms != u32::MAX).then(|| Duration::from_millis(grace_ms.into()));
        publisher.write(|publisher| publisher.drain(&key, grace))
    })
}

/// Writes that an endpoint is gone; without such an endpoint nothing happens. LB_STATUS_CLOSED when the source is
/// gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_remove(
    publisher: *const Publisher,
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (publisher, key) = unsafe {
            (
                borrow(publisher, "publisher")?,
                key(service, service_len, id, id_len)?,
            )
        };
        publisher.write(|publisher| publisher.remove(&key))
    })
}

/// Takes away everything that was written and closes the source. LB_STATUS_CLOSED from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_retire(
    publisher: *const Publisher,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects.
        let publisher = unsafe { borrow(publisher, "publisher") }?;
        publisher.guarded.call(|writer| {
            // Nothing is written by this; it says whether there is a source to be retired.
            let nobody = RecordKey::new(Name::from_text("-"), Name::from_text("-"));
            writer.publisher.remove(&nobody)?;
            writer.publisher.clone().close_and_retire();
            Ok(())
        })
    })
}

/// Frees a publisher. The source has ended, and what was written stays in effect: so does a program that crashes. To
/// take it away call lb_publisher_retire or lb_plane_remove_source first. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_publisher_free(publisher: *mut Publisher) {
    enter_void(|| {
        if publisher.is_null() {
            return;
        }
        // SAFETY: handed out by `lb_plane_add_publisher`, freed once, used by nobody else.
        let publisher = unsafe { Box::from_raw(publisher) };
        if publisher.guarded.is_foreign() {
            // A thread that is not in this process may have held its lock.
            std::mem::forget(publisher);
        }
    });
}

/// # Safety
/// As for [`text`].
unsafe fn key(
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
) -> Result<RecordKey, Failure> {
    // SAFETY: the caller's promise.
    let (service, id) = unsafe {
        (
            name(service, service_len, "service")?,
            name(id, id_len, "id")?,
        )
    };
    Ok(RecordKey::new(service, id))
}
