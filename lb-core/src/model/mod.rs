//! The route model: what should be served, by which endpoints, under which routes.
//!
//! Everything here is a value: no input or output, no clock. A value that exists is valid, because
//! the constructors parse.

mod address;
mod endpoint;
mod name;
mod options;
mod path_match;
mod rank;
mod route;
mod route_host;
mod service;
mod snapshot;
mod withheld;

pub use address::InvalidEndpoint;
pub use endpoint::{Endpoint, EndpointState, InvalidWeight, Weight};
pub use name::{InvalidName, Name};
pub use options::{OnDown, ServiceOptions};
pub use path_match::PathMatch;
pub use rank::Rank;
pub use route::{InvalidRoute, Route, parse_route};
pub use route_host::RouteHost;
pub use service::{Mode, Service};
pub use snapshot::{Changes, Snapshot, SnapshotEdit};
pub use withheld::{is_withheld, leads_to_none, mode_of_none, nowhere, withheld, withheld_tcp};
