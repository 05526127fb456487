//! etcd as a source of the lb load-balancer control plane, and leased registration.

#![forbid(unsafe_code)]

mod duration;
pub mod layout;

pub use duration::InvalidDuration;
