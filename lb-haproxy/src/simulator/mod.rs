//! A simulated HAProxy: the runtime API, the state machine of its servers, and the traffic they get. Pure but for
//! [`Network`], which lets a real client speak to it in virtual time.
//!
//! It exists to be lied to by: everything that makes the real one hard to drive is in it, by version. Its answers are
//! compared with those of the real versions by `tests/differential.rs`.

mod agent;
mod check;

mod command;
mod config;
mod connection;
mod dynamic;
mod map_commands;
mod maps;
mod profile;
mod random;
mod restore;
mod server;
mod set_server;
mod show;
mod simulation;
mod traffic;
mod view;
#[cfg(feature = "io")]
mod wire;
mod words;
mod worker;

pub use agent::AgentWord;
pub use config::{BackendModel, Balance, CheckModel, ConfigModel, Level, MapModel, ServerModel};
pub use connection::ConnectionId;
pub use profile::Profile;
pub use random::Random;
pub use simulation::Simulator;
pub use traffic::{ClientId, Outcome, RequestId, Upstream};
pub use view::ServerView;
#[cfg(feature = "io")]
pub use wire::{Faults, Installed, Moment, Network, Observer};
#[cfg(feature = "io")]
pub(crate) use wire::{Wire, connect, identity};
