//! Bytes to meaning and back: the runtime API's commands, replies and framing. Pure.

mod cli_sockets;
mod columns;
mod command;
mod der;
mod encode;
mod framing;
mod info;
mod key_pair;
mod map_text;
mod maps;
mod other_end;
mod parse_error;
mod pem;
mod proc;
mod reply;
mod servers_conn;
mod servers_state;
mod session;
mod sha1;
mod ssl;
mod stat;
mod verdict;

pub(crate) use cli_sockets::unix_sockets;
pub use command::{AdminState, Command, Health, ServerOptions, ServerRef};
pub(crate) use encode::check_address;
pub use encode::{EncodeError, MAX_COMMAND, command_text, encode, map_batches};
pub use framing::Dialect;
pub use info::{Epoch, Info, InvalidVersion, Version};
pub use map_text::{CertName, InvalidMapText, MapKey, MapName, MapValue, MapVersion};
pub use maps::{MapEntry, MapInfo, parse_map_entries, parse_maps};
pub use other_end::OtherEnd;
pub use parse_error::ParseError;
pub use pem::{InvalidPem, Pem};
pub use proc::{Process, Processes};
pub use reply::{Reply, Severity};
pub use servers_conn::{ConnRow, ServersConn};
pub use servers_state::{
    AdminBits, CheckBits, CheckResult, OpState, ServerRow, ServersState, StateLine, Unreadable,
};
pub use session::{Session, SessionConfig, SessionError, SubmitError, Ticket};
pub use ssl::{CertificateShown, MAX_CERTIFICATE, SslCommand};
pub use stat::{Stat, StatKind, StatRow, Status};
pub use verdict::{Accepted, BoundedText, Refusal, verdict};
