//! Grammars of the schemes in which containers, services and keys say what they serve.
//!
//! One grammar per scheme, for Docker labels, Swarm labels and etcd keys alike. Pure: pairs of key and value go in with
//! the facts known of the object, services with routes come out, and one diagnostic for each thing that is not
//! honoured. The program that owns a scheme is its specification: where lb cannot do what that program does, the route
//! is left out or withheld and a diagnostic names the key. A route is never wider than its author wrote it.
//!
//! # Layout
//! - `spec`: the object read and the services it asks for; `scheme`: the schemes and which of them an object uses
//! - `diagnostics`, `labels`: what every grammar uses; `widen`: what a matcher that cannot be read matches at most
//! - one module per scheme: `own`, `traefik`, `docker_flow`, `virtual_host`, `easy_haproxy`

#![forbid(unsafe_code)]

mod constraint;
mod diagnostics;
mod docker_flow;
mod easy_haproxy;
mod keys;
mod labels;
mod options;
mod own;
#[cfg(test)]
mod page;
mod proportion;
mod restricting;
mod scheme;
mod spec;
pub mod traefik;
mod virtual_host;
pub mod widen;

pub use constraint::{Constraint, InvalidConstraint};
pub use diagnostics::Diagnostics;
pub use keys::{Effect, Key, Row, markdown};
pub use options::{EntryPoint, EntryPoints, Options, Unprotected};
pub use own::{ParsedRoute, parse_routes};
pub use proportion::Proportion;
pub use restricting::{plain_name, restricts};
pub use scheme::{LabelScheme, MAX_BYTES, MAX_LABELS, MAX_ROUTES, claims, read, read_among};
pub use spec::{
    Compose, Definition, Reading, ServiceSpec, SharedHost, Spread, Subject, WrittenWeight,
};
