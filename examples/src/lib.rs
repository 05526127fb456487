//! Programs built on `lb`, and what they share.
//!
//! - [`testbed`]: a HAProxy, endpoints and a control plane between them
//! - [`traffic`]: endpoints and users that count every lost and every misrouted request

#![forbid(unsafe_code)]

pub mod testbed;
pub mod traffic;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
