//! The decision: the desired state and what is observed, turned into steps. Pure.
//!
//! Nothing here reads a clock or a socket: `now` is an argument, counted from when the driver began.

mod backend;
mod contention;
mod decide;
mod dynamic;
mod edited;
mod exclusive;
mod fixed;
mod planner;
mod routes;
mod shared_map;
mod slot;
mod step;
mod usage;
mod want;

pub use planner::Planner;
pub use step::{BackendStep, Expect, MapStep, Plan, Read, Stage, Step, Why};
pub use want::Want;
