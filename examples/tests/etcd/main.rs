//! From keys in real etcd to real HAProxy: what is written there takes effect, and is verified.
//!
//! Runs over every etcd named in `LB_ETCD_MATRIX` (or else the one on the path) with the last HAProxy named in
//! `LB_HAPROXY_MATRIX` (or else the one on the path), and the shortest test over every HAProxy with the last etcd.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod confd;
#[path = "../support/edge.rs"]
mod edge;
mod faults;
mod follow;
#[path = "../../../lb-haproxy/tests/support/handshake.rs"]
mod handshake;
mod layouts;
#[path = "../support/routed.rs"]
mod routed;
mod support;
mod transactions;
#[path = "../support/users.rs"]
mod users;
mod world;
