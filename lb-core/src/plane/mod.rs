//! The control plane on real time: the only place with a clock, tasks and channels.

mod builder;
mod clock;
mod drive;
mod error;
mod events;
mod handle;
mod run;
mod shared;
mod supervise;

pub use crate::status::Lagging;
pub use builder::Builder;
pub use error::{BuildError, PlaneError};
pub use events::Events;
pub use handle::{Handle, Reconciled};
pub use run::{ControlPlane, Running};
