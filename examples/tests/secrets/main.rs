//! No value that may restrict or authenticate is ever told: planted in each place of each source, and in the configuration,
//! it is in no log at any level, in no answer of the agent, and in no page or metric.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too, and measures real time"
)]

mod agent;
mod configuration;
#[path = "../etcd/support.rs"]
mod etcd;
mod keys;
mod labels;
mod planted;
#[path = "../support/routed.rs"]
mod routed;
mod sources;
#[path = "../docker/support.rs"]
mod support;
#[path = "../support/users.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod users;
