//! Keeps one HAProxy converged: observe, plan, apply, verify. All input and output is here and in the client.

mod apply;
mod apply_backend;
mod apply_map;
mod attention;
mod certificates;
mod claim;
mod config;
mod conversation;
mod counters;
mod disk;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "process")]
mod grow;
mod haproxy_driver;
mod known_slots;
mod ladder;
mod live;
mod maps;
mod owned;
mod owner;
mod preview;
mod read_back;
mod reload_watch;
mod shown;
mod workers;

pub use config::TargetConfig;
pub use disk::Files;
pub use error::DriverError;
pub use haproxy_driver::HaproxyDriver;
pub use maps::{MapError, converge_map};
pub use owned::other_owner;
pub use owner::Owner;
