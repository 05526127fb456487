//! Real requests whose every answer names the endpoint that gave it, so that a lost or misrouted one is counted.
//!
//! - [`IdentityServer`]: an endpoint that says who it is
//! - [`Oracle`]: judges every request, from the endpoint's side and from the user's
//! - [`Client`] and [`Load`]: users, one and many
//! - [`Latencies`], [`Seed`], [`Dropped`]: what measuring, repeating and judging needs

mod client;
mod clock;
mod content;
mod download;
mod dropped;
mod expected;
mod latency;
mod load;
mod oracle;
mod raw;
mod seed;
mod server;

pub use client::{Answer, Client, Loss, Protocol, USER_HEADER};
pub use clock::now;
pub use content::Ask;
pub use dropped::Dropped;
pub use latency::Latencies;
pub use load::{Connections, Load, Lost, Outcome, Progress, Running};
pub use oracle::{Misroute, Oracle, Witness};
pub use seed::Seed;
pub use server::{ENDPOINT_HEADER, IdentityServer, SERVICE_HEADER, Speaks};
