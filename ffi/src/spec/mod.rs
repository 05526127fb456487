//! The configuration of a control plane, written in TOML or JSON: what `lb-agent` reads from its file and what
//! the C functions take as text.
//!
//! ```
//! use lb::spec::{Format, Spec};
//!
//! let text = r#"
//!     [[sources]]
//!     kind = "file"
//!     path = "/etc/lb/routes.toml"
//!
//!     [[targets]]
//!     name = "edge"
//!     socket = "/run/haproxy/admin.sock"
//! "#;
//! let spec = Spec::parse(text, Format::Toml)?;
//! assert_eq!(spec.sources[0].name().as_str(), "file");
//!
//! let wrong = Spec::parse("[[targets]]\nname = \"edge\"\nsocket = 80", Format::Toml).unwrap_err();
//! assert!(wrong.to_string().starts_with("3:10: targets[0].socket: "), "{wrong}");
//! # Ok::<(), lb::spec::SpecError>(())
//! ```

mod agent;
mod bounds;
mod check;
mod document;
mod error;
mod haproxy;
mod maps;
mod origin;
mod parse;
mod sieve;
mod source;
mod target;

pub use agent::{AgentSpec, LogFormat, LogSpec};
pub use bounds::Bounds;
pub use check::{Problem, Severity};
pub use document::Spec;
pub use error::{Invalid, Position, SpecError};
pub use haproxy::{
    BackendSpec, BalanceSpec, CheckSpec, CookieSpec, FrontendSpec, HaproxySpec, HowToCheck,
    RateSpec, TlsSpec,
};
pub use origin::Format;
pub use source::{EtcdSpec, EtcdV2Spec, FileSpec, SourceSpec};
pub use target::TargetSpec;
