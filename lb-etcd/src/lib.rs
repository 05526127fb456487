//! etcd as a source of the lb load-balancer control plane, and leased registration.
//!
//! [`EtcdSource`] lists the keys of one or more [layouts](layout) at a revision and watches from the next; what
//! changed in one revision is one batch. A lost cursor, a compacted history, another cluster or a store restored
//! from a backup lead to a listing; a lost leader, a lost quorum, a dead or frozen member to another member or to
//! another attempt. Nothing that fails takes an endpoint away.
//!
//! [`registration::Registration`] is the other side: it keeps an endpoint in etcd under a lease.
//!
//! ```no_run
//! use lb_core::ControlPlane;
//! use lb_etcd::{EtcdConfig, EtcdSource, layout::LayoutConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let confd = LayoutConfig::Confd { prefix: "/proxy".into(), service: None };
//! let config = EtcdConfig::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379"]).with_layouts([confd]);
//! let source = EtcdSource::new("etcd".parse()?, config)?;
//! let status = source.status();
//! let plane = ControlPlane::builder().source(source).build()?.spawn();
//! println!("{} revisions behind", status.read().lag());
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! - [`layout`]: what keys and values mean; pure
//! - `client`: the calls of etcd's version 3 interface that are needed, and sessions with its members
//! - `progress`: from answers of a watch to batches, and when to list again; pure
//! - `pager`, `patience`: the size of pages, and how long an answer is waited for; pure
//! - `listing`, `source`, `status`: the source
//! - [`registration`]: endpoints under leases, their health, and the events of serf
#![cfg_attr(
    feature = "register",
    doc = "- [`register`]: the program `lb-register`"
)]
#![cfg_attr(feature = "v2", doc = "- [`v2`]: the keys API of etcd 2, read-only")]
//!
//! # Features
//! - `register`: the program `lb-register`, which registers a command or a container
//! - `v2`: a source for the keys API of etcd 2
//! - `fuzzing`: for the fuzz targets: readings that are no part of what the crate offers
//!
//! No feature needs a protocol compiler: the messages are checked in, with a test that compares them with
//! `proto/etcd.proto`.

#![forbid(unsafe_code)]

mod client;
mod config;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod layout;
mod listing;
mod pager;
mod patience;
mod progress;
#[cfg(feature = "register")]
pub mod register;
pub mod registration;
mod source;
mod status;
#[cfg(feature = "v2")]
pub mod v2;

pub use config::{AuthConfig, ConnectionConfig, EtcdConfig, Secret, TlsConfig};
pub use error::EtcdError;
pub use source::EtcdSource;
pub use status::{EtcdStatus, EtcdStatusReader};
