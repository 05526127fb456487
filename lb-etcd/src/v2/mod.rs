//! A read-only source for the keys API of etcd 2.

mod answer;
mod source;

pub use source::{EtcdV2Config, EtcdV2Source};
