//! Bytes to meaning and back: the runtime API's commands, replies and framing. Pure.

mod command;
mod encode;
mod framing;
mod map_text;
mod reply;
mod session;
mod verdict;

pub use command::{AdminState, Command, Health, ServerOptions, ServerRef};
pub use encode::{EncodeError, MAX_COMMAND, command_text, encode, map_batches};
pub use framing::Dialect;
pub use map_text::{InvalidMapText, MapKey, MapName, MapValue, MapVersion};
pub use reply::{Reply, Severity};
pub use session::{Session, SessionConfig, SessionError, SubmitError, Ticket};
pub use verdict::{Accepted, BoundedText, Refusal, verdict};
