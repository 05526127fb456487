//! Bytes to meaning and back: the runtime API's commands, replies and framing. Pure.

mod command;

pub use command::{AdminState, Command, Health, MapName, ServerRef};
