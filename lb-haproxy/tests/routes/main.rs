//! Route maps on real HAProxies: what is answered to real requests is what the routes say, also while maps change.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end in a panic"
)]

mod bed;
mod differential;
mod load;
mod options;
mod replaced;
mod server_names;
mod small;
#[path = "../support/mod.rs"]
mod support;
