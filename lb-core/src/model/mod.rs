//! The route model: what should be served, by which endpoints, under which routes.
//!
//! Everything here is a value: no input or output, no clock. A value that exists is valid, because
//! the constructors parse.

mod address;
mod endpoint;
mod name;
mod options;
mod rank;
mod route;
mod service;
mod snapshot;
mod withheld;

pub use address::InvalidEndpoint;
pub use endpoint::{Endpoint, EndpointState, InvalidWeight, Weight};
pub use name::{InvalidName, Name};
pub use options::{OnDown, ServiceOptions};
pub use rank::Rank;
pub use route::{InvalidRoute, PathMatch, Route, RouteHost, parse_route};
pub use service::{Mode, Service};
pub use snapshot::{Changes, Snapshot, SnapshotEdit};
pub use withheld::{is_withheld, leads_to_none, mode_of_none, nowhere, withheld, withheld_tcp};
