//! etcd as a source of the lb load-balancer control plane, and leased registration.

#![forbid(unsafe_code)]

mod client;
mod config;
mod duration;
mod error;
pub mod layout;
mod listing;
mod progress;
#[cfg(feature = "register")]
pub mod register;
pub mod registration;
mod source;
mod status;
#[cfg(feature = "v2")]
pub mod v2;

pub use config::{AuthConfig, ConnectionConfig, EtcdConfig, Secret, TlsConfig};
pub use duration::InvalidDuration;
pub use error::EtcdError;
pub use source::EtcdSource;
pub use status::{EtcdStatus, EtcdStatusReader};
