//! A read-only source for the keys API of etcd 2.

mod answer;
mod source;

#[cfg(feature = "fuzzing")]
pub(crate) use answer::{Said, read};
pub use source::{EtcdV2Config, EtcdV2Source};
