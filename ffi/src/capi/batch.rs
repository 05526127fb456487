//! Endpoints and routes that belong together.

use std::{collections::BTreeMap, ffi::c_char, net::SocketAddr};

use lb_core::{
    Endpoint, EndpointState, Mode, Name, OnDown, Record, RecordKey, Route, ServiceOptions, Weight,
};

use super::{
    boundary::{Guarded, borrow_mut, enter, enter_void, hand_out, name, place, text},
    status::{Error, Failure, Status},
};

/// Endpoints, services and routes that take effect together. Used by one thread at a time.
#[derive(Debug)]
pub struct Batch {
    guarded: Guarded<Contents>,
}

/// The state of an endpoint.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStateCode {
    /// It serves and wants traffic.
    Ready = 0,
    /// Its address is known but it does not serve yet.
    Pending = 1,
    /// It is leaving: no new traffic, what runs may end.
    Draining = 2,
    /// It does not serve.
    Down = 3,
}

/// The contents of a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    set: Vec<Record>,
    pub(super) remove: Vec<RecordKey>,
    services: BTreeMap<Name, Declared>,
}

#[derive(Debug, Clone, Default)]
struct Declared {
    mode: Option<Mode>,
    options: ServiceOptions,
    routes: Vec<Route>,
}

impl Contents {
    /// The records to set, each in the mode of its service.
    pub(super) fn into_records(self) -> Vec<Record> {
        self.split().0
    }

    /// The records to set and the keys to remove.
    pub(super) fn split(self) -> (Vec<Record>, Vec<RecordKey>) {
        let Self {
            mut set,
            remove,
            services,
        } = self;
        for record in &mut set {
            if let Some(declared) = services.get(&record.key.service) {
                record.mode = declared.mode.unwrap_or_default();
            }
        }
        for (service, declared) in services {
            let record = Record::declare(lb_core::Publisher::declaration(service))
                .with_mode(declared.mode.unwrap_or_default())
                .with_options(declared.options)
                .with_routes(declared.routes);
            set.push(record);
        }
        (set, remove)
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.set
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Name> {
        self.services.keys()
    }
}

impl Batch {
    pub(super) fn empty() -> Self {
        Self {
            guarded: Guarded::new(Contents::default()),
        }
    }

    pub(super) fn take(&mut self) -> Result<Contents, Failure> {
        self.guarded
            .call_mut(|contents| Ok(std::mem::take(contents)))
    }

    pub(super) fn contents(&self) -> Result<Contents, Failure> {
        self.guarded.call(|contents| Ok(contents.clone()))
    }
}

/// An endpoint out of its C parts.
pub(super) fn endpoint(address: &str, weight: u32, state: u32) -> Result<Endpoint, Failure> {
    let address: SocketAddr = address.parse().map_err(|_| {
        Failure::new(
            Status::InvalidArgument,
            format!("address: {address:?} is none, expected such as 10.0.0.7:8080 or [::1]:80"),
        )
    })?;
    let endpoint = Endpoint::new(address)
        .with_weight(self::weight(weight)?)
        .with_state(state_of(state)?);
    endpoint
        .check()
        .map_err(|wrong| Failure::new(Status::InvalidArgument, wrong.to_string()))?;
    Ok(endpoint)
}

/// A weight out of its number.
pub(super) fn weight(number: u32) -> Result<Weight, Failure> {
    u16::try_from(number)
        .ok()
        .and_then(|number| Weight::new(number).ok())
        .ok_or_else(|| {
            let message = format!("weight is {number}, expected 0 to 256");
            Failure::new(Status::InvalidArgument, message)
        })
}

fn state_of(number: u32) -> Result<EndpointState, Failure> {
    use EndpointStateCode as Code;
    [
        (Code::Ready, EndpointState::Ready),
        (Code::Pending, EndpointState::Pending),
        (Code::Draining, EndpointState::Draining { grace: None }),
        (Code::Down, EndpointState::Down),
    ]
    .into_iter()
    .find(|(code, _)| *code as u32 == number)
    .map(|(_, state)| state)
    .ok_or_else(|| {
        let message = format!("state is {number}, expected an lb_endpoint_state");
        Failure::new(Status::InvalidArgument, message)
    })
}

/// An empty batch. Free it with lb_batch_free; it may be used again and again, also while empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_new(out: *mut *mut Batch, err: *mut *mut Error) -> Status {
    enter(err, || {
        let out = place(out, "out")?;
        // SAFETY: checked.
        unsafe { hand_out(out, Batch::empty()) };
        Ok(())
    })
}

/// Adds an endpoint: `id` names it within `service` as long as it lives, whatever its address ("10.0.0.7:8080" or
/// `[::1]:80`). `weight` is 0 to 256, its share relative to the others'; `state` an lb_endpoint_state. Names have 1
/// to 128 characters out of A-Z a-z 0-9 . _ : -
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_add_endpoint(
    batch: *mut Batch,
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
        let (batch, service, id, address) = unsafe {
            (
                borrow_mut(batch, "batch")?,
                name(service, service_len, "service")?,
                name(id, id_len, "id")?,
                text(address, address_len, "address")?,
            )
        };
        let endpoint = endpoint(address, weight, state)?;
        let record = Record::new(RecordKey::new(service, id), endpoint);
        batch.guarded.call_mut(|contents| {
            contents.set.push(record);
            Ok(())
        })
    })
}

/// Adds that an endpoint is gone. Only for lb_publisher_apply: elsewhere, what is not listed is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_remove_endpoint(
    batch: *mut Batch,
    service: *const c_char,
    service_len: usize,
    id: *const c_char,
    id_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (batch, service, id) = unsafe {
            (
                borrow_mut(batch, "batch")?,
                name(service, service_len, "service")?,
                name(id, id_len, "id")?,
            )
        };
        batch.guarded.call_mut(|contents| {
            contents.remove.push(RecordKey::new(service, id));
            Ok(())
        })
    })
}

/// Adds that a service is there, with or without endpoints; `tcp` other than 0: its traffic is not HTTP, which every
/// batch with endpoints of the service must say again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_add_service(
    batch: *mut Batch,
    service: *const c_char,
    service_len: usize,
    tcp: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (batch, service) = unsafe {
            (
                borrow_mut(batch, "batch")?,
                name(service, service_len, "service")?,
            )
        };
        batch.guarded.call_mut(|contents| {
            let mode = if tcp == 0 { Mode::Http } else { Mode::Tcp };
            contents.services.entry(service).or_default().mode = Some(mode);
            Ok(())
        })
    })
}

/// Adds how a service is to be served; it is declared with that, as by lb_batch_add_service. `exclusive` other than 0: at
/// most one of its endpoints can get traffic at any moment, as for the primary of a database; an endpoint is taken out,
/// with its sessions, before another one is admitted. `shutdown_on_down` other than 0: sessions to an endpoint in
/// LB_ENDPOINT_STATE_DOWN are shut down at once, else they end by themselves. Every batch that declares the service must
/// say it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_set_service_options(
    batch: *mut Batch,
    service: *const c_char,
    service_len: usize,
    exclusive: u32,
    shutdown_on_down: u32,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (batch, service) = unsafe {
            (
                borrow_mut(batch, "batch")?,
                name(service, service_len, "service")?,
            )
        };
        batch.guarded.call_mut(|contents| {
            contents.services.entry(service).or_default().options = ServiceOptions::default()
                .exclusive((exclusive != 0).then_some(true))
                .on_down((shutdown_on_down != 0).then_some(OnDown::ShutdownSessions));
            Ok(())
        })
    })
}

/// Adds that requests for `host` ("shop.example", "*.example", "*": any) and `path` ("/api" and below, "^/api" all that
/// begins with it, "=/api" only that, empty: any) belong to `service`. The routes of a service in one batch are all it has from there on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_add_route(
    batch: *mut Batch,
    host: *const c_char,
    host_len: usize,
    path: *const c_char,
    path_len: usize,
    service: *const c_char,
    service_len: usize,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for objects and texts.
        let (batch, host, path, service) = unsafe {
            (
                borrow_mut(batch, "batch")?,
                text(host, host_len, "host")?,
                text(path, path_len, "path")?,
                name(service, service_len, "service")?,
            )
        };
        let route = route(host, path, service.clone())?;
        batch.guarded.call_mut(|contents| {
            let declared = contents.services.entry(service).or_default();
            declared.routes.push(route);
            Ok(())
        })
    })
}

fn route(host: &str, path: &str, service: Name) -> Result<Route, Failure> {
    // An empty host, as an unset variable leaves it, is not every host.
    let host = host
        .parse()
        .map_err(|error| Failure::invalid("host", error))?;
    let path = match path {
        "" => lb_core::PathMatch::any(),
        path => path
            .parse()
            .map_err(|error| Failure::invalid("path", error))?,
    };
    Ok(Route::new(host, path, service))
}

/// The number of endpoints, removals and services the batch has; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_len(batch: *const Batch) -> usize {
    // SAFETY: NULL, or a batch handed out by this library and not yet freed.
    unsafe { batch.as_ref() }
        .and_then(|batch| {
            batch
                .guarded
                .call(|all| Ok(all.set.len() + all.remove.len() + all.services.len()))
                .ok()
        })
        .unwrap_or(0)
}

/// Frees a batch. NULL is fine. The batch that a callback is given is not freed by it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_batch_free(batch: *mut Batch) {
    enter_void(|| {
        if !batch.is_null() {
            // SAFETY: handed out by `lb_batch_new`, freed once, used by nobody else.
            drop(unsafe { Box::from_raw(batch) });
        }
    });
}
