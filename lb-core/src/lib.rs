//! The core of `lb`: what every source and every target of a load-balancer control plane share.
//!
//! [`Source`]s report [`Update`]s; the core merges them into one immutable [`Snapshot`]; every target's
//! [`Driver`] is asked to converge on it. This crate knows neither Docker nor etcd nor HAProxy.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use lb_core::{
//!     ControlPlane, DriveError, Driver, Endpoint, Name, Preview, Record, RecordKey, Report, Snapshot, feed,
//! };
//!
//! /// A target that only tells what it should do. A real one comes from `lb-haproxy`.
//! struct Print(Name);
//!
//! #[async_trait::async_trait]
//! impl Driver for Print {
//!     fn name(&self) -> &Name {
//!         &self.0
//!     }
//!
//!     async fn converge(&mut self, desired: &Arc<Snapshot>) -> Result<Report, DriveError> {
//!         println!("{} endpoints", desired.endpoint_count());
//!         let mut report = Report::default();
//!         report.generation = desired.generation();
//!         report.converged = true;
//!         Ok(report)
//!     }
//!
//!     async fn preview(&mut self, _: &Arc<Snapshot>) -> Result<Preview, DriveError> {
//!         Ok(Preview::new(0, String::new(), "[]".to_owned()))
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (publisher, source) = feed("program".parse()?);
//!     let target = Print("printer".parse()?);
//!     let plane = ControlPlane::builder().source(source).target(target).build()?.spawn();
//!
//!     let key = RecordKey::new("web".parse()?, "web-1".parse()?);
//!     publisher.reset([Record::new(key, Endpoint::new("10.0.0.7:8080".parse()?))])?;
//!
//!     let handle = plane.handle();
//!     let mut events = handle.subscribe();
//!     while handle.snapshot().endpoint_count() == 0 {
//!         events.next().await;
//!     }
//!     let done = handle.reconcile_now(Duration::from_secs(20)).await?;
//!     assert!(done.is_complete());
//!     plane.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # What holds
//! - A source that fails, falls silent or is lost removes nothing; stale and empty are told apart.
//! - A mass removal by absence waits until it is confirmed or has persisted: see [`guard`].
//! - Nothing is published before every source was heard once or waited for, and nothing at all before one was.
//! - A target makes one pass at a time, always on the newest generation; a dead one slows no other.
//! - Every applied change is followed from the source's cursor to the target's verification: see [`event`].
//!
//! # Layout
//! Pure, given the time and doing no input or output (a test holds that):
//! - [`model`]: names, endpoints, services, routes and the snapshot
//! - [`merge`]: the records of all sources become one snapshot
//! - [`limits`]: what one source may ask for
//! - [`guard`]: holds mass removals back
//! - [`reconciler`]: decides when which target makes a pass
//! - [`backoff`]: growing pauses with jitter
//! - [`engine`]: all of these as one value
//! - [`text`]: texts from outside, made fit for logs and terminals
//! - [`condition`], [`event`], [`status`]: what subscribers and readers of the status see
//!
//! At the edge:
//! - [`source`]: the [`Source`] trait, what a source may say, and the feed and file sources
//! - [`files`]: reads and writes files, whatever stands at their paths
//! - [`driver`]: the [`Driver`] trait and what a target answers
//! - [`plane`]: runs the engine on real time, with the supervisor of sources
//! - `testkit` (feature `testkit`): fakes, the conformance kit of sources, the checker of purity
//!
//! # Features
//! - `file` (default): the file source
//! - `fuzzing`: for the fuzz targets: parsers that are no part of what the crate offers
//! - `testkit`: helpers for tests

#![forbid(unsafe_code)]

pub mod backoff;
mod chain;
pub mod condition;
pub mod credentials;
pub mod driver;
pub mod duration;
pub mod engine;
pub mod event;
pub mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod guard;
pub mod limits;
pub mod merge;
pub mod model;
pub mod plane;
pub mod reconciler;
pub mod source;
pub mod status;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod text;
mod time;

pub use condition::{Condition, ConditionKind};
pub use driver::{
    About, DriveError, Driver, Notice, PassFailure, Preview, Report, Unmet, UnmetReason,
};
pub use event::{Event, Stamped};
pub use guard::{Confirm, GuardConfig, GuardPolicy};
pub use limits::Limits;
pub use model::{
    Endpoint, EndpointState, Mode, Name, OnDown, PathMatch, Route, RouteHost, Service,
    ServiceOptions, Snapshot, Weight,
};
pub use plane::{BuildError, ControlPlane, Events, Handle, PlaneError, Running};
#[cfg(feature = "file")]
pub use source::FileSource;
pub use source::{
    Cursor, Descriptor, Diagnostic, Feed, FeedClosed, Publisher, Record, RecordKey, Severity, Sink,
    SinkClosed, Source, SourceError, Ticket, Update, WriteError, Written, feed,
};
pub use status::Status;
pub use time::Time;
