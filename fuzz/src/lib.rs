//! What the fuzz targets do with their bytes; the tests of the workspace replay the corpora through the same.

pub mod config;
pub mod core;
pub mod docker;
pub mod etcd;
pub mod haproxy;
pub mod planner;
pub mod spec;
