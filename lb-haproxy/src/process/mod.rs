//! HAProxy as a child process in master-worker mode: for tests, demonstrations and programs that bring their own.

mod captured;
mod child;
mod error;
mod executable;
mod guard;

pub use child::{Haproxy, HaproxyOptions};
pub use error::ProcessError;
pub use executable::{Executable, check_config, check_configs};
