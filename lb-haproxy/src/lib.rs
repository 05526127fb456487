//! HAProxy as a target of the `lb` control plane, driven through its runtime socket.
//!
//! Endpoints come and go in slots: servers that the configuration declares in advance, disabled and parked at an
//! address that refuses. Filling one, making it ready, draining it and taking it back are commands on HAProxy's
//! admin socket; no reload, no lost request. What such a command cannot change is an unmet condition, and reported.
//!
//! # Examples
//! ```no_run
//! use std::time::Duration;
//!
//! use lb_core::{ControlPlane, Endpoint, Record, RecordKey, feed};
//! use lb_haproxy::{HaproxyDriver, TargetConfig};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (publisher, source) = feed("program".parse()?);
//!     let edge = TargetConfig::new("edge".parse()?, "/run/haproxy/admin.sock".parse()?);
//!     let target = HaproxyDriver::new(edge);
//!     let plane = ControlPlane::builder().source(source).target(target).build()?.spawn();
//!
//!     let key = RecordKey::new("web".parse()?, "web-1".parse()?);
//!     let ticket = publisher.set(Record::new(key, Endpoint::new("10.0.0.7:8080".parse()?)))?;
//!     let state = plane.handle().wait(&ticket, Duration::from_secs(20)).await?;
//!     assert!(state.in_effect, "{state:?}"); // in effect, and read back from HAProxy
//!     plane.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # What HAProxy must be configured with
//! [`config::Config`] writes all of it; whoever writes their own `haproxy.cfg` needs
//! - HAProxy 2.2 or later, one process (`nbproc` 1), and a master (`-W -S SOCKET`) where reloads shall be seamless;
//! - `stats socket PATH level admin mode 600 expose-fd listeners`, a `stats timeout` of minutes and a
//!   `stats maxconn` of 16 or more: the connection beyond that waits without a word;
//! - in every backend `server-template slot 1-N … disabled` (another prefix is configured, see
//!   [`Policy::slot_prefix`](policy::Policy::slot_prefix)), the same order and names at every reload, its options
//!   written there and not in a `default-server` line;
//! - `balance` one of `roundrobin`, `leastconn`, `random`, or a hash with `hash-type consistent`: the others compute
//!   everything anew at each change;
//! - where slots have an `agent-check`: what the agent says of an endpoint that is to serve counts, its weight included,
//!   and is shown as `agent_hold`; while the endpoint is not to serve, its agent is switched off (`disable agent`);
//! - for addresses that outlive a reload `server-state-file PATH`, `load-server-state-from-file global` and slots
//!   written `slot.invalid:1 disabled init-addr last,127.0.0.1`; with a literal address HAProxy restores the port
//!   and the state but not the address. Else `load-server-state-from-file none`.
//!
//! Cookies and stick tables need [`Policy::persistence`], `http-reuse never` before 3.0 needs
//! `option http-server-close`. [`config::lint`] reads a configuration and says what of this it lacks.
//!
//! # Layout
//! - [`proto`]: commands to bytes, bytes to replies, replies to meaning; pure
//! - [`observed`], [`capability`], [`policy`], [`plan`]: what is, what this HAProxy can, what is wanted of it, and
//!   the steps between; pure
//! - [`config`]: `haproxy.cfg` as a value, and a linter for one written by hand; pure
//! - [`forecast`]: when slots run out; [`growth`]: what only a reload gives, and when to make one; pure
//! - [`client`]: sockets and deadlines; [`driver`]: observe, plan, apply, read back (feature `io`)
//! - [`process`]: HAProxy as a child (feature `process`)

#![forbid(unsafe_code)]

pub mod capability;
#[cfg(feature = "io")]
pub mod client;
pub mod config;
#[cfg(feature = "io")]
pub mod driver;
pub mod forecast;
pub mod growth;
pub mod observed;
pub mod plan;
pub mod policy;
#[cfg(feature = "process")]
pub mod process;
pub mod proto;
pub mod routes;
mod scope;
#[cfg(feature = "simulator")]
pub mod simulator;

#[cfg(feature = "io")]
pub use client::{Client, ClientConfig, ClientError, SocketAddress};
#[cfg(feature = "fuzzing")]
pub use driver::fuzzing;
#[cfg(feature = "io")]
pub use driver::{HaproxyDriver, TargetConfig};
pub use policy::Policy;
pub use scope::{InvalidScope, Scope};
