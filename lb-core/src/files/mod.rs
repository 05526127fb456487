//! Reads and writes files, whatever stands at their paths. Everything that this workspace reads or writes goes through here.
//!
//! - Only regular files are read and replaced: a FIFO, a device or a socket in their place is an error at once, not a wait.
//! - Nothing larger than its bound is read.
//! - A file is written anew under a random name and renamed into place; no link is followed to what it replaces.
//! - All functions block: [`Job`] and [`beside()`] run them beside the task, and a bounded number of them.

mod beside;
mod job;
mod read;
mod write;

pub use beside::beside;
pub use job::Job;
pub use read::{Links, read, read_in, read_text};
pub use write::{Written, replace};
