//! `traefik.*`: routers that match hosts and paths, and the services they lead to.
//!
//! The same grammar serves Docker and Swarm labels and keys in etcd: [`RouterKeys`] reads one router out of its keys,
//! [`Middlewares`] knows what the middlewares do that it names.

mod default_rule;
mod keys;
mod middleware;
mod misspelt;
mod object;
mod regexp;
mod router;
mod rule;
mod service;
mod shared;
mod typed;

use std::fmt;

use lb_core::{Name, model::Rank};

pub use keys::KEYS;
pub use middleware::{Middleware, Middlewares};
pub use misspelt::{Misspelt, misspelt, restricts_service};
pub(crate) use object::{PREFIX, read};
pub(crate) use regexp::hosts as regexp_hosts;
pub use router::{Naming, Outcome, Router, RouterKeys};
pub use rule::{Alternative, InvalidRule, Rule, default_priority, may_match, parse as parse_rule};
pub use service::{DEFAULT_WEIGHT, own_service, restricted_service, weight};
pub(crate) use shared::Found;
pub use shared::{MiddlewareDefinition, SharedMiddlewares};

/// The place of a router among all routers: the greater priority goes first.
#[must_use]
pub fn rank(priority: i32) -> Rank {
    Rank::new(Name::from_text("traefik"), priority)
}

/// What a router or service is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP requests.
    Http,
    /// TCP connections.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        })
    }
}
