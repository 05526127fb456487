//! Keeps one HAProxy converged: observe, plan, apply, verify. All input and output is here and in the client.

mod apply;
mod config;
mod counters;
mod error;
mod haproxy_driver;
mod live;

pub use config::TargetConfig;
pub use error::DriverError;
pub use haproxy_driver::HaproxyDriver;
