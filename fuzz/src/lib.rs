//! What the fuzz targets do with their bytes; the tests of the workspace replay the corpora through the same.

pub mod bytes;
pub mod config;
pub mod core;
pub mod docker;
pub mod docker_engine;
pub mod etcd;
pub mod etcd_watch;
pub mod haproxy;
pub mod planner;
pub mod setup;
pub mod spec;
pub mod tables;
