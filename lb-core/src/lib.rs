//! The core of `lb`: what every source and every target of a load-balancer control plane share.
//!
//! Sources report [`Update`]s; the core merges them into one immutable [`Snapshot`]; every target's
//! [`Driver`] is asked to converge on it. This crate knows neither Docker nor etcd nor HAProxy.
//!
//! # Layout
//! - [`model`]: names, endpoints, services, routes and the snapshot
//! - [`source`]: the [`Source`] trait, updates and what a source may say
//! - [`driver`]: the [`Driver`] trait and what a target answers

#![forbid(unsafe_code)]

pub mod backoff;
pub mod driver;
pub mod duration;
pub mod engine;
pub mod event;
pub mod guard;
pub mod merge;
pub mod model;
pub mod plane;
pub mod reconciler;
pub mod source;
pub mod status;
#[cfg(feature = "testkit")]
pub mod testkit;
mod time;

pub use driver::{DriveError, Driver, Preview, Report, Unmet, UnmetReason};
pub use event::{Event, Stamped};
pub use guard::{Confirm, GuardConfig, GuardPolicy};
pub use model::{
    Endpoint, EndpointState, Mode, Name, PathMatch, Route, RouteHost, Service, Snapshot, Weight,
};
pub use plane::{BuildError, ControlPlane, Events, Handle, PlaneError, Running};
#[cfg(feature = "file")]
pub use source::FileSource;
pub use source::{
    Cursor, Descriptor, Diagnostic, Feed, FeedClosed, Publisher, Record, RecordKey, Severity, Sink,
    SinkClosed, Source, SourceError, Update, feed,
};
pub use status::Status;
pub use time::Time;
