//! Route maps on real HAProxies: what is answered to real requests is what the routes say, also while maps change.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

mod bed;
mod differential;
#[path = "../support/handshake.rs"]
mod handshake;
mod hosts;
mod http2;
mod load;
mod matchers;
mod options;
mod random;
mod readings;
mod replaced;
mod server_names;
mod small;
mod strip;
#[path = "../support/mod.rs"]
mod support;
