//! HAProxy as a target of the `lb` control plane, driven through its runtime socket.

#![forbid(unsafe_code)]

pub mod capability;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod proto;
