//! What can go wrong with a control plane.

use std::time::Duration;

use crate::{driver::DriveError, engine::DuplicateName, guard::InvalidGuard, model::Name};

/// Why a control plane could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two sources or two targets have one name.
    #[error(transparent)]
    Duplicate(#[from] DuplicateName),
    /// A guard policy makes no sense.
    #[error(transparent)]
    Guard(#[from] InvalidGuard),
    /// A setting is out of its range.
    #[error("{setting} is {value}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// The value given.
        value: String,
        /// The text of what was expected.
        expected: &'static str,
    },
}

/// Why a control plane did not do what its handle asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaneError {
    /// The control plane has ended.
    #[error("the control plane has ended")]
    Closed,
    /// A source or target of that name is there already.
    #[error(transparent)]
    Duplicate(#[from] DuplicateName),
    /// The driver could not tell what it would do.
    #[error("no preview of target {target}")]
    Preview {
        /// The target's name.
        target: Name,
        /// Why.
        #[source]
        cause: DriveError,
    },
    /// It took too long.
    #[error("{what} did not end within {limit:?}")]
    TimedOut {
        /// The state that was waited for.
        what: String,
        /// For how long.
        limit: Duration,
    },
    /// There is no such source or target.
    #[error("{what} {name} is not there")]
    Unknown {
        /// `source` or `target`.
        what: &'static str,
        /// The name asked for.
        name: Name,
    },
}
