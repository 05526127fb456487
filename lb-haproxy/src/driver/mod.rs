//! Keeps one HAProxy converged: observe, plan, apply, verify. All input and output is here and in the client.

mod apply;
mod apply_map;
mod certificates;
mod config;
mod counters;
mod disk;
mod error;
mod haproxy_driver;
mod live;
mod maps;

pub use config::TargetConfig;
pub use disk::Files;
pub use error::DriverError;
pub use haproxy_driver::HaproxyDriver;
pub use maps::{MapError, converge_map};
