//! `lb` under traffic in every mode of HAProxy that matters to a change: which server connections are used again, what
//! clients speak, and what keeps users with their endpoint.
//!
//! Runs over every executable named in `LB_HAPROXY_MATRIX` (separated by spaces), or else over `haproxy` from `PATH`.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    dead_code,
    unused_imports,
    reason = "the helpers are those of the traffic tests too, which use more of them"
)]

mod combinations;
#[path = "../support/users.rs"]
mod users;
#[path = "../traffic/world.rs"]
mod world;
