//! Programs built on `lb`, and what they share.
//!
//! - [`traffic`]: endpoints and users that count every lost and every misrouted request

#![forbid(unsafe_code)]

pub mod traffic;
