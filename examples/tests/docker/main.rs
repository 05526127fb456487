//! From containers of a real engine to real HAProxy, under traffic.
//!
//! Most tests run with the last HAProxy named in `LB_HAPROXY_MATRIX`, those of Swarm with others of them too, or else
//! with the one on the path. `LB_STORM` is how many containers the storm has, 500 if it is not set. `LB_AGENT` names an
//! agent for the images, such as the static one that `make image` leaves; else it is the one compiled for the tests.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod agent;
mod compose;
mod front;
mod http;
mod images;
mod network;
mod scale;
mod storm;
mod support;
mod swarm;
mod swarm_world;
#[path = "../support/users.rs"]
mod users;
mod verified;
mod world;
