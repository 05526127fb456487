//! `haproxy.cfg` as a value: what the runtime API cannot change, written so that the rest can be.
//!
//! Pure: a [`Config`] becomes text for one version of HAProxy, the same text every time. Every name and value in it
//! is a typed one, and none can become another line or another keyword.

mod backend;
mod check;
mod defaults;
mod document;
mod error;
mod frontend;
mod global;
pub mod lint;
mod stats;
mod sticky;
mod template;
mod tls;
mod value;
mod writer;

pub use backend::{Backend, Balance, HashOn, Slots};
pub use check::{Check, HttpCheck, Method};
pub use defaults::Defaults;
pub use document::Config;
pub use error::ConfigError;
pub use frontend::{Bind, Frontend, Rule};
pub use global::{Global, StatsSocket};
pub use stats::StatsPage;
pub use sticky::{RateLimit, StickyCookie};
pub use template::Part;
pub use tls::{Certificates, TlsBind};
pub use value::{ConfigPath, HeaderName, InvalidConfigValue};
