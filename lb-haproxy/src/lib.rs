//! HAProxy as a target of the `lb` control plane, driven through its runtime socket.

#![forbid(unsafe_code)]

pub mod capability;
#[cfg(feature = "io")]
pub mod client;
pub mod config;
#[cfg(feature = "io")]
pub mod driver;
pub mod observed;
pub mod plan;
pub mod policy;
#[cfg(feature = "process")]
pub mod process;
pub mod proto;
pub mod routes;

#[cfg(feature = "io")]
pub use client::{Client, ClientConfig, ClientError, SocketAddress};
#[cfg(feature = "io")]
pub use driver::{HaproxyDriver, TargetConfig};
pub use policy::Policy;
