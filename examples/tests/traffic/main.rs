//! `lb` under traffic, on real HAProxy: every request is answered, and by an endpoint of its service.
//!
//! Runs over every executable named in `LB_HAPROXY_MATRIX` (separated by spaces), or else over `haproxy` from `PATH`.
//! An endpoint that is no longer desired keeps running until `lb` reports that it has left, as a container does
//! in its time to stop: one that stops earlier loses requests by itself.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod changes;
mod crashes;
mod departures;
mod reloads;
mod sockets;
#[path = "../support/users.rs"]
mod users;
mod world;
